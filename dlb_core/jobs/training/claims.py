"""What a worker writes: claim a task, keep it, and end it one way or another."""

from datetime import timedelta
from typing import Any

from sqlalchemy import case, select, update

from dlb_core.jobs.training.records import (
    TaskClaim,
    TaskKind,
    TaskState,
    TaskVerdict,
    TrainingState,
)
from dlb_core.jobs.training.rows import (
    Task,
    TrainingSessions,
    held_by,
    is_task,
    let_next_kind_begin,
    lock_training,
    update_held,
)
from dlb_core.jobs.training.tables import TrainingRow, TrainingTaskRow, TrainingWorkerRow


class TaskClaims(TrainingSessions):
    """The workers' part of the store of trainings."""

    def claim(self, task: Task, lease_s: float, *, worker_id: str) -> TaskClaim | None:
        """Take a task that waits for a worker; None when it does not."""
        now = self._clock()
        statement = (
            update(TrainingTaskRow)
            .where(*is_task(task), TrainingTaskRow.state == TaskState.ACCEPTED)
            .values(
                state=TaskState.RUNNING,
                fence=TrainingTaskRow.fence + 1,
                attempts=TrainingTaskRow.attempts + 1,
                lease_until=now + timedelta(seconds=lease_s),
                worker_id=worker_id,
                started=now,
            )
            .returning(TrainingTaskRow.kind, TrainingTaskRow.fence, TrainingTaskRow.attempts)
            .execution_options(synchronize_session=False)
        )
        with self._write() as session:
            row = session.execute(statement).one_or_none()
            if row is None:
                return None
            plan = session.scalars(select(TrainingRow.plan).where(TrainingRow.id == task[0])).one()
        return TaskClaim(
            training_id=task[0],
            name=task[1],
            kind=TaskKind(row.kind),
            fence=row.fence,
            attempt=row.attempts,
            lease_s=lease_s,
            plan=plan,
        )

    def heartbeat(
        self, claim: TaskClaim, *, step: int | None = None, loss: float | None = None
    ) -> bool:
        """Renew the lease and note how far the task is; False when the claim was lost.

        An attempt that comes further than any before it starts the count of attempts anew:
        only failing at one spot again and again is given up.
        """
        values: dict[str, Any] = {"lease_until": self._clock() + timedelta(seconds=claim.lease_s)}
        if step is not None:
            further = TrainingTaskRow.step < step
            values |= {
                "loss": loss,
                "step": case((further, step), else_=TrainingTaskRow.step),
                "attempts": case((further, 0), else_=TrainingTaskRow.attempts),
            }
        with self._write() as session:
            return update_held(session, claim, values)

    def verdict(self, claim: TaskClaim) -> TaskVerdict:
        """Ask, without writing, whether an attempt is still wanted."""
        query = (
            select(TrainingTaskRow.name, TrainingWorkerRow.stopping)
            .outerjoin(TrainingWorkerRow, TrainingWorkerRow.id == TrainingTaskRow.worker_id)
            .where(*held_by(claim))
        )
        with self._read() as session:
            row = session.execute(query).one_or_none()
        if row is None:
            return TaskVerdict.LOST
        return TaskVerdict.WORKER_STOPPING if row.stopping else TaskVerdict.GO_ON

    def finish(self, claim: TaskClaim) -> bool:
        """Note that a task is done and let begin what waited for it; False: claim lost."""
        now = self._clock()
        values = {
            "state": TaskState.SUCCESSFUL,
            "finished": now,
            "lease_until": None,
            # Patience may have ended it before its last step.
            "step": TrainingTaskRow.num_steps,
        }
        with self._write() as session:
            # Locked first: of two tasks that end together, the later sees the earlier's end.
            training = lock_training(session, claim.training_id)
            if not update_held(session, claim, values):
                return False
            if not let_next_kind_begin(session, training.id):
                self._end(session, training, TrainingState.SUCCESSFUL)
            return True

    def fail(self, claim: TaskClaim, code: str, message: str) -> bool:
        """End a task with a cause, and its training with it; False: claim lost."""
        values = {"state": TaskState.FAILED, "finished": self._clock(), "lease_until": None}
        with self._write() as session:
            training = lock_training(session, claim.training_id)
            if not update_held(session, claim, values):
                return False
            self._fail_training(session, training, claim.name, code, message)
            return True

    def release(self, claim: TaskClaim, *, counted: bool = False, later: bool = False) -> bool:
        """Give a task back; False when the claim was lost.

        Parameters
        ----------
        counted : bool
            Whether it counts against the limit of attempts.
        later : bool
            Let it wait for as long as a lost hint before the next attempt.
        """
        attempts = TrainingTaskRow.attempts
        values: dict[str, Any] = {
            "state": TaskState.ACCEPTED,
            "lease_until": None,
            "sent": self._clock() if later else None,
        }
        if not counted:
            values["attempts"] = case((attempts > 0, attempts - 1), else_=0)
        with self._write() as session:
            return update_held(session, claim, values)
