"""Which workers live."""

from datetime import timedelta

from sqlalchemy import delete, func, select

from dlb_core.jobs.models import WorkerRow
from dlb_core.jobs.store.sessions import Sessions

WORKER_FORGOTTEN_AFTER = timedelta(days=1)


class Workers(Sessions):
    """The part of the store that counts workers."""

    def worker_seen(self, worker_id: str) -> None:
        """Note that a worker lives; forget those long gone."""
        now = self._clock()
        with self._write() as session:
            session.merge(WorkerRow(id=worker_id, seen=now, stopping=False))
            session.execute(delete(WorkerRow).where(WorkerRow.seen < now - WORKER_FORGOTTEN_AFTER))

    def worker_stopping(self, worker_id: str) -> None:
        """Note that a worker was told to stop: its attempt gives the job back."""
        with self._write() as session:
            session.merge(WorkerRow(id=worker_id, seen=self._clock(), stopping=True))

    def worker_gone(self, worker_id: str) -> None:
        """Note that a worker has stopped."""
        with self._write() as session:
            session.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))

    def workers_alive(self, within_s: float, *, host: str | None = None) -> int:
        """How many workers (of one host, if named) were seen in the last `within_s` seconds."""
        since = self._clock() - timedelta(seconds=within_s)
        query = (
            select(func.count())
            .select_from(WorkerRow)
            .where(WorkerRow.seen >= since, WorkerRow.stopping.is_(False))
        )
        if host is not None:
            query = query.where(WorkerRow.id.endswith(f"@{host}", autoescape=True))
        with self._read() as session:
            return session.scalars(query).one()
