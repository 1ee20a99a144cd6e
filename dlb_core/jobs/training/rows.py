"""What the parts of the store of trainings do to rows alike."""

from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from dlb_core.jobs.store.sessions import Sessions
from dlb_core.jobs.training.records import TaskClaim, TaskKind, TaskState, TrainingState
from dlb_core.jobs.training.tables import TrainingRow, TrainingTaskRow

Task = tuple[UUID, str]
"""A task's training and name."""
UNFINISHED = (TaskState.WAITING, TaskState.ACCEPTED, TaskState.RUNNING)


class TrainingSessions(Sessions):
    """Ends trainings; base of the parts of the store."""

    def _fail_training(
        self, session: Session, training: TrainingRow, task: str, code: str, message: str
    ) -> None:
        training.error_code, training.error_message = code, f"{task}: {message}"
        self._end(session, training, TrainingState.FAILED)

    def _end(self, session: Session, training: TrainingRow, state: TrainingState) -> None:
        """End a training; whoever works on it finds its claim lost."""
        training.state, training.finished, training.active_key = state, self._clock(), None
        session.execute(
            update(TrainingTaskRow)
            .where(
                TrainingTaskRow.training_id == training.id, TrainingTaskRow.state.in_(UNFINISHED)
            )
            .values(state=TaskState.DISMISSED, lease_until=None)
        )


def let_next_kind_begin(session: Session, training_id: UUID) -> bool:
    """Accept the waiting tasks of the earliest kind that is not done; False: all are done."""
    of_training = TrainingTaskRow.training_id == training_id
    query = select(TrainingTaskRow.kind).where(
        of_training, TrainingTaskRow.state != TaskState.SUCCESSFUL
    )
    open_kinds = set(session.scalars(query.distinct()))
    kind = next((kind for kind in TaskKind if kind in open_kinds), None)
    if kind is None:
        return False
    session.execute(
        update(TrainingTaskRow)
        .where(
            of_training, TrainingTaskRow.kind == kind, TrainingTaskRow.state == TaskState.WAITING
        )
        .values(state=TaskState.ACCEPTED)
    )
    return True


def lock_training(session: Session, training_id: UUID) -> TrainingRow:
    query = select(TrainingRow).where(TrainingRow.id == training_id).with_for_update()
    return session.scalars(query).one()


def update_held(session: Session, claim: TaskClaim, values: dict[str, Any]) -> bool:
    """Change a running task's row if the claim still holds it."""
    statement = (
        update(TrainingTaskRow)
        .where(*held_by(claim))
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return cast("CursorResult[Any]", session.execute(statement)).rowcount == 1


def held_by(claim: TaskClaim) -> tuple[ColumnElement[bool], ...]:
    """Condition on a task's row: this claim is the last one, and the task runs."""
    return (
        *is_task((claim.training_id, claim.name)),
        TrainingTaskRow.fence == claim.fence,
        TrainingTaskRow.state == TaskState.RUNNING,
    )


def is_task(task: Task) -> tuple[ColumnElement[bool], ...]:
    return TrainingTaskRow.training_id == task[0], TrainingTaskRow.name == task[1]
