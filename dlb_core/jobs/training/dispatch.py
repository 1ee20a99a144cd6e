"""What the dispatcher asks: which tasks need a hint, which leases have ended."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, update

from dlb_core.errors import WorkerDied
from dlb_core.jobs.training.records import TaskState
from dlb_core.jobs.training.rows import Task, TrainingSessions, is_task, lock_training
from dlb_core.jobs.training.tables import TrainingTaskRow


class TaskDispatching(TrainingSessions):
    """The dispatcher's part of the store of trainings."""

    def requeue_expired(self, now: datetime, max_attempts: int) -> list[Task]:
        """Take tasks whose lease has ended from their workers.

        One that came no further in `max_attempts` attempts fails, and its training with it.
        """
        expired = (TrainingTaskRow.state == TaskState.RUNNING, TrainingTaskRow.lease_until < now)
        with self._read() as session:
            query = select(TrainingTaskRow.training_id, TrainingTaskRow.name).where(*expired)
            found = [(row.training_id, row.name) for row in session.execute(query)]
        return [task for task in found if self._take_back(task, expired, max_attempts)]

    def _take_back(
        self, task: Task, expired: tuple[ColumnElement[bool], ...], max_attempts: int
    ) -> bool:
        """Let a task wait again, or fail; False when someone else was first."""
        with self._write() as session:
            # The training first, as in every other change of both.
            training = lock_training(session, task[0])
            query = select(TrainingTaskRow).where(*is_task(task), *expired).with_for_update()
            row = session.scalars(query).one_or_none()
            if row is None:
                return False
            row.lease_until = row.sent = None
            if row.attempts < max_attempts:
                row.state = TaskState.ACCEPTED
                return True
            row.state = TaskState.FAILED
            cause = (
                f"its workers died or fell silent {row.attempts} times at step {row.step}; the "
                "usual cause is too little memory: see their logs"
            )
            self._fail_training(session, training, row.name, WorkerDied.code, cause)
            return True

    def count_ready(self) -> int:
        """How many tasks wait for nothing but a worker."""
        query = (
            select(func.count())
            .select_from(TrainingTaskRow)
            .where(TrainingTaskRow.state == TaskState.ACCEPTED)
        )
        with self._read() as session:
            return session.scalars(query).one()

    def due_for_dispatch(self, now: datetime, stale_after: timedelta | None) -> list[Task]:
        """Ready tasks without a hint, or (unless None) with one older than `stale_after`."""
        due: ColumnElement[bool] = TrainingTaskRow.sent.is_(None)
        if stale_after is not None:
            due = due | (TrainingTaskRow.sent < now - stale_after)
        query = (
            select(TrainingTaskRow.training_id, TrainingTaskRow.name)
            .where(TrainingTaskRow.state == TaskState.ACCEPTED, due)
            .order_by(TrainingTaskRow.position)
        )
        with self._read() as session:
            return [(row.training_id, row.name) for row in session.execute(query)]

    def mark_sent(self, tasks: Sequence[Task], now: datetime) -> None:
        """Note that a message for each of these was put into the broker."""
        with self._write() as session:
            for task in tasks:
                session.execute(update(TrainingTaskRow).where(*is_task(task)).values(sent=now))
