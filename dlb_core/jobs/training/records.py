"""What the store of trainings hands out: frozen copies of rows."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from dlb_core.jobs.training.tables import TrainingRow, TrainingTaskRow


class TaskKind(StrEnum):
    """What a task makes; each kind begins when the one before it is done."""

    GENERIC = "generic"
    NETWORK = "network"
    BUNDLE = "bundle"


class TaskState(StrEnum):
    """A task's life; the last three are final."""

    WAITING = "waiting"
    """For tasks of an earlier kind."""
    ACCEPTED = "accepted"
    """Any worker may claim it."""
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"


class TrainingState(StrEnum):
    """A training's life; all but the first are final."""

    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task to be inserted."""

    name: str
    kind: TaskKind
    num_steps: int


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task as it stood when it was read."""

    name: str
    kind: TaskKind
    state: TaskState
    step: int
    num_steps: int
    loss: float | None
    fence: int


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """A training as it stood when it was read."""

    id: UUID
    state: TrainingState
    error_code: str | None
    error_message: str | None
    tasks: tuple[TaskRecord, ...]

    def tasks_in(self, *states: TaskState) -> list[TaskRecord]:
        """Tasks in one of these states."""
        return [task for task in self.tasks if task.state in states]


@dataclass(frozen=True, slots=True)
class TaskClaim:
    """One worker's right to work on a task until its lease ends."""

    training_id: UUID
    name: str
    kind: TaskKind
    fence: int
    attempt: int
    lease_s: float
    plan: dict[str, Any]


class TaskVerdict(StrEnum):
    """What an attempt is to do next."""

    GO_ON = "go_on"
    LOST = "lost"
    """Another attempt has the task, or the training has ended."""
    WORKER_STOPPING = "worker_stopping"


def training_of(row: TrainingRow) -> TrainingRecord:
    """Copy a row and its tasks'."""
    return TrainingRecord(
        id=row.id,
        state=TrainingState(row.state),
        error_code=row.error_code,
        error_message=row.error_message,
        tasks=tuple(_task_of(task) for task in row.tasks),
    )


def _task_of(row: TrainingTaskRow) -> TaskRecord:
    return TaskRecord(
        name=row.name,
        kind=TaskKind(row.kind),
        state=TaskState(row.state),
        step=row.step,
        num_steps=row.num_steps,
        loss=row.loss,
        fence=row.fence,
    )
