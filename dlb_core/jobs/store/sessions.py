"""Transactions on the job store, and what its parts do to rows alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from dlb_core.contracts import JobState, Stage
from dlb_core.errors import JobNotFound
from dlb_core.jobs.database import READ_ONLY, open_engine, store_errors, upgrade
from dlb_core.jobs.models import JobRow

Clock = Callable[[], datetime]

WAITING: dict[str, Any] = {
    "state": JobState.ACCEPTED,
    "stage": Stage.QUEUED,
    "done": 0,
    "total": 1,
    "lease_until": None,
    "heartbeat": None,
    "not_before": None,
    "sent": None,
}
"""Columns of a job that waits again."""

NO_SUCH_JOB = "no such job: it never was, or it was removed"
"""Said of another's job, too: nobody is to learn that there is one."""


def utc_now() -> datetime:
    """Now, aware."""
    return datetime.now(UTC)


class Sessions:
    """Opens transactions; base of every part of the store."""

    def __init__(self, engine: Engine, *, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._reads = engine.execution_options(**{READ_ONLY: True})
        self._clock = clock

    @classmethod
    def open(cls, database_url: str) -> Self:
        """Open this part of the database, making or upgrading the schema.

        Raises
        ------
        StoreUnavailable
            The database does not answer.
        """
        engine = open_engine(database_url)
        upgrade(engine)
        return cls(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def ping(self) -> None:
        """Ask the database for anything at all."""
        with self._read() as session:
            session.execute(select(1))

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with store_errors(), Session(self._reads) as session, session.begin():
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with store_errors(), Session(self._engine) as session, session.begin():
            yield session


def existing(session: Session, job_id: UUID, *, lock: bool = False) -> JobRow:
    """Read a job's row, locked against other writers if it is to change.

    Raises
    ------
    JobNotFound
    """
    row = session.get(JobRow, job_id, with_for_update=lock)
    if row is None:
        raise JobNotFound(NO_SUCH_JOB)
    return row


def ended(state: JobState, now: datetime) -> dict[str, Any]:
    """Columns of a job that ends."""
    return {"state": state, "finished": now, "updated": now, "lease_until": None, "untold": True}


def end(row: JobRow, state: JobState, now: datetime) -> None:
    """End a job without results."""
    for column, value in ended(state, now).items():
        setattr(row, column, value)


def wait_again(row: JobRow, now: datetime) -> None:
    """Make a job wait for its next attempt."""
    for column, value in WAITING.items():
        setattr(row, column, value)
    row.updated = now
