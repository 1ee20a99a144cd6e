"""Which workers of trainings live."""

from datetime import timedelta

from sqlalchemy import delete, func, select

from dlb_core.jobs.store.sessions import Sessions
from dlb_core.jobs.store.workers import WORKER_FORGOTTEN_AFTER
from dlb_core.jobs.training.tables import TrainingWorkerRow


class TrainingWorkers(Sessions):
    """The part of the store of trainings that counts workers."""

    def worker_seen(self, worker_id: str) -> None:
        """Note that a worker lives; forget those long gone."""
        self._note_worker(worker_id, stopping=False)

    def worker_stopping(self, worker_id: str) -> None:
        """Note that a worker was told to stop: it gives its network back."""
        self._note_worker(worker_id, stopping=True)

    def worker_gone(self, worker_id: str) -> None:
        """Note that a worker has stopped."""
        with self._write() as session:
            session.execute(delete(TrainingWorkerRow).where(TrainingWorkerRow.id == worker_id))

    def workers_alive(self, within_s: float) -> int:
        """How many workers were seen in the last `within_s` seconds."""
        since = self._clock() - timedelta(seconds=within_s)
        query = (
            select(func.count())
            .select_from(TrainingWorkerRow)
            .where(TrainingWorkerRow.seen >= since, TrainingWorkerRow.stopping.is_(False))
        )
        with self._read() as session:
            return session.scalars(query).one()

    def _note_worker(self, worker_id: str, *, stopping: bool) -> None:
        now = self._clock()
        old = TrainingWorkerRow.seen < now - WORKER_FORGOTTEN_AFTER
        with self._write() as session:
            session.merge(TrainingWorkerRow(id=worker_id, seen=now, stopping=stopping))
            session.execute(delete(TrainingWorkerRow).where(old))
