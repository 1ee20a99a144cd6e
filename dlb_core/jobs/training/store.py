"""The store of trainings: every change to a task is one guarded UPDATE on its row.

As with jobs (`dlb_core.jobs.store`), a worker may write only with the fence of the last claim
while the task runs, and the broker's messages are hints that may be lost or doubled. When the
last task of a kind is done, the same transaction lets those of the next kind begin: there is
nothing else that could be lost in between.

    waiting --earlier kind done--> accepted --claim--> running --finish--> successful
                                      ^--release, lease ended--'  `--fail--> failed, and the
                                                                  training with it
"""

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from dlb_core.errors import InputError, JobNotFound
from dlb_core.jobs.store.workers import Workers
from dlb_core.jobs.training.claims import TaskClaims
from dlb_core.jobs.training.dispatch import TaskDispatching
from dlb_core.jobs.training.records import (
    TaskSpec,
    TaskState,
    TrainingRecord,
    TrainingState,
    training_of,
)
from dlb_core.jobs.training.rows import let_next_kind_begin
from dlb_core.jobs.training.tables import TrainingRow, TrainingTaskRow, TrainingWorkerRow


class TrainingStore(TaskClaims, TaskDispatching, Workers):
    """Trainings in SQL. Safe to share between threads.

    Every method raises `StoreUnavailable` where the database does not answer.
    """

    _worker_row = TrainingWorkerRow

    def submit(self, run: str, plan: dict[str, Any], tasks: Sequence[TaskSpec]) -> UUID:
        """Insert a training, or find the one that goes on in this run folder.

        Raises
        ------
        InputError
            Another plan is being carried out in this folder.
        """
        key = _active_key(run)
        query = select(TrainingRow).where(TrainingRow.active_key == key)
        with self._write() as session:
            row = session.scalars(query).one_or_none()
            if row is not None:
                if row.plan != plan:
                    raise InputError(
                        "another training goes on in this run folder: let it end, or stop it "
                        "with --cancel"
                    )
                return row.id
            row = TrainingRow(
                id=uuid4(),
                active_key=key,
                plan=plan,
                state=TrainingState.RUNNING,
                created=self._clock(),
                tasks=[_task_row(position, spec) for position, spec in enumerate(tasks)],
            )
            session.add(row)
            session.flush()
            let_next_kind_begin(session, row.id)
            return row.id

    def get(self, training_id: UUID) -> TrainingRecord:
        """Read a training.

        Raises
        ------
        JobNotFound
        """
        query = (
            select(TrainingRow)
            .where(TrainingRow.id == training_id)
            .options(selectinload(TrainingRow.tasks))
        )
        with self._read() as session:
            row = session.scalars(query).one_or_none()
            if row is None:
                raise JobNotFound("no such training")
            return training_of(row)

    def cancel(self, run: str) -> bool:
        """End the training that goes on in a run folder; False when none does.

        Its workers hear of it at their next heartbeat and leave their checkpoints.
        """
        of_run = TrainingRow.active_key == _active_key(run)
        query = select(TrainingRow).where(of_run).with_for_update()
        with self._write() as session:
            row = session.scalars(query).one_or_none()
            if row is None:
                return False
            self._end(session, row, TrainingState.DISMISSED)
            return True


def _active_key(run: str) -> str:
    """By which a run folder's training is found while it goes on."""
    return hashlib.sha256(run.encode()).hexdigest()


def _task_row(position: int, spec: TaskSpec) -> TrainingTaskRow:
    return TrainingTaskRow(
        name=spec.name,
        kind=spec.kind,
        position=position,
        state=TaskState.WAITING,
        num_steps=spec.num_steps,
    )
