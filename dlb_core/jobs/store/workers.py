"""Which workers live."""

from datetime import timedelta
from typing import ClassVar

from sqlalchemy import delete, func, select

from dlb_core.jobs.models import WorkerColumns, WorkerRow
from dlb_core.jobs.store.sessions import Sessions

WORKER_FORGOTTEN_AFTER = timedelta(days=1)


class Workers(Sessions):
    """The part of a store that counts workers: those of jobs, unless a store says otherwise."""

    _worker_row: ClassVar[type[WorkerColumns]] = WorkerRow

    def worker_seen(self, worker_id: str) -> None:
        """Note that a worker lives; forget those long gone."""
        now = self._clock()
        old = self._worker_row.seen < now - WORKER_FORGOTTEN_AFTER
        with self._write() as session:
            session.merge(self._worker_row(id=worker_id, seen=now, stopping=False))
            session.execute(delete(self._worker_row).where(old))

    def worker_stopping(self, worker_id: str) -> None:
        """Note that a worker was told to stop: it gives back what it works on."""
        with self._write() as session:
            session.merge(self._worker_row(id=worker_id, seen=self._clock(), stopping=True))

    def worker_gone(self, worker_id: str) -> None:
        """Note that a worker has stopped."""
        with self._write() as session:
            session.execute(delete(self._worker_row).where(self._worker_row.id == worker_id))

    def workers_alive(self, within_s: float, *, host: str | None = None) -> int:
        """How many workers (of one host, if named) were seen in the last `within_s` seconds."""
        now, within = self._clock(), timedelta(seconds=within_s)
        query = (
            select(func.count())
            .select_from(self._worker_row)
            .where(
                # One seen at a time yet to come was seen before the clock was set back.
                self._worker_row.seen.between(now - within, now + within),
                self._worker_row.stopping.is_(False),
            )
        )
        if host is not None:
            query = query.where(self._worker_row.id.endswith(f"@{host}", autoescape=True))
        with self._read() as session:
            return session.scalars(query).one()
