"""What one owner may upload in a day, counted in SQL: it holds over all API processes."""

from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Engine, delete, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dlb_core.errors import RateLimited
from dlb_core.jobs.key_tables import UploadUsageRow
from dlb_core.jobs.store.sessions import Clock, Sessions, utc_now

FORGOTTEN_AFTER = timedelta(days=31)
MIB = 1024 * 1024


class UploadQuotas(Sessions):
    """Daily limits; zero means none. A day is a UTC day.

    Parameters
    ----------
    engine : Engine
        Of the job store.
    uploads, size_bytes : int
        How many uploads, and how much in all, an owner has a day.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        uploads: int,
        size_bytes: int,
        clock: Clock = utc_now,
    ) -> None:
        super().__init__(engine, clock=clock)
        self._uploads = uploads
        self._size_bytes = size_bytes

    def reserve(self, owner: str, size_bytes: int, *, uploads: int = 1) -> date:
        """Count an upload before it is read; returns the day that it counts for.

        One that holds several cases counts as so many `uploads`.

        Raises
        ------
        RateLimited
            The day's quota does not hold it; nothing was counted.
        """
        now = self._clock()
        row = UploadUsageRow
        fits = [row.owner == owner, row.day == now.date()]
        if self._uploads:
            fits.append(row.uploads + uploads <= self._uploads)
        if self._size_bytes:
            fits.append(row.size_bytes + size_bytes <= self._size_bytes)
        counted = {
            "uploads": row.uploads + uploads,
            "size_bytes": row.size_bytes + size_bytes,
        }
        with self._write() as session:
            self._begin_day(session, owner, now)
            result = session.execute(update(row).where(*fits).values(**counted))
            if cast("CursorResult[Any]", result).rowcount == 0:
                raise RateLimited(self._refusal(), retry_after_s=_until_midnight(now))
        return now.date()

    def settle(self, owner: str, difference_bytes: int, *, day: date) -> None:
        """Correct the size that was reserved, once it is known, on the day that it counts for.

        An upload that ends after midnight must not leave more than a whole quota for the new day.
        """
        row = UploadUsageRow
        statement = (
            update(row)
            .where(row.owner == owner, row.day == day)
            .values(size_bytes=row.size_bytes + difference_bytes)
        )
        with self._write() as session:
            session.execute(statement)

    def _begin_day(self, session: Session, owner: str, now: datetime) -> None:
        """Make the day's row, and forget those of long ago."""
        if session.get(UploadUsageRow, (owner, now.date())) is not None:
            return
        # Another process may make it at the same moment: one row is enough.
        with suppress(IntegrityError), session.begin_nested():
            session.add(UploadUsageRow(owner=owner, day=now.date(), uploads=0, size_bytes=0))
        old = (now - FORGOTTEN_AFTER).date()
        session.execute(delete(UploadUsageRow).where(UploadUsageRow.day < old))

    def _refusal(self) -> str:
        limits = [f"{self._uploads} uploads"] if self._uploads else []
        limits += [f"{self._size_bytes // MIB} MiB"] if self._size_bytes else []
        return (
            f"this key's uploads of today are used up ({' and '.join(limits)} a day): go on after "
            "midnight UTC, or ask the operator for more"
        )


def _until_midnight(now: datetime) -> int:
    """Seconds left of a UTC day."""
    return int(86_400 - (now.hour * 3600 + now.minute * 60 + now.second))
