"""What the dispatcher asks of the job store: which jobs need a hint, which leases have ended."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, update

from dlb_core.contracts import JobState, Outcome
from dlb_core.errors import WorkerDied
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.records import Expired
from dlb_core.jobs.store.sessions import Sessions, end, wait_again
from dlb_core.jobs.store.turns import IN_TURN, ready


class Dispatching(Sessions):
    """The dispatcher's part of the store."""

    def count_ready(self, now: datetime) -> int:
        """How many jobs wait for nothing but a worker."""
        query = select(func.count()).select_from(JobRow).where(*ready(now))
        with self._read() as session:
            return session.scalars(query).one()

    def due_for_dispatch(self, now: datetime, stale_after: timedelta | None) -> list[UUID]:
        """Ready jobs without a hint, or (unless None) with one older than `stale_after`.

        They come in the order of their turns.
        """
        due: ColumnElement[bool] = JobRow.sent.is_(None)
        if stale_after is not None:
            # One sent later than now was sent before the clock was set back.
            due = due | (JobRow.sent < now - stale_after) | (JobRow.sent > now)
        query = select(JobRow.id).where(*ready(now), due).order_by(*IN_TURN)
        with self._read() as session:
            return list(session.scalars(query))

    def mark_sent(self, job_ids: Sequence[UUID], now: datetime) -> None:
        """Note that a message for each of these was put into the broker."""
        with self._write() as session:
            session.execute(update(JobRow).where(JobRow.id.in_(job_ids)).values(sent=now))

    def requeue_expired(self, now: datetime, max_attempts: int) -> Expired:
        """Take running jobs whose lease has ended from their workers.

        They wait again; those that were tried `max_attempts` times fail with the cause, and
        those that someone asked to cancel are dismissed.

        Where the clock was set back, leases and pauses that were written before are counted from
        now: they would last for as long as the clock was ahead.
        """
        locked = select(JobRow).with_for_update(skip_locked=True)
        from_later = locked.where(_is_from_later(now))
        query = locked.where(JobRow.state == JobState.RUNNING, JobRow.lease_until < now)
        fates: dict[JobState, list[UUID]] = {state: [] for state in JobState}
        with self._write() as session:
            for row in session.scalars(from_later):
                _count_from(row, now)
            for row in session.scalars(query):
                fates[_expire(row, now, max_attempts)].append(row.id)
        return Expired(
            requeued=tuple(fates[JobState.ACCEPTED]),
            failed=tuple(fates[JobState.FAILED]),
            dismissed=tuple(fates[JobState.DISMISSED]),
        )


def _is_from_later(now: datetime) -> ColumnElement[bool]:
    """Condition on a job's row: its lease, or its pause, was written at a time yet to come."""
    return or_(
        (JobRow.state == JobState.RUNNING) & (JobRow.heartbeat > now),
        (JobRow.state == JobState.ACCEPTED) & (JobRow.updated > now) & (JobRow.not_before > now),
    )


def _count_from(row: JobRow, now: datetime) -> None:
    """Let a lease or a pause begin now, as long as it was meant to be."""
    if row.state == JobState.RUNNING and row.lease_until and row.heartbeat:
        row.lease_until = now + (row.lease_until - row.heartbeat)
        row.heartbeat = now
    elif row.not_before:
        row.not_before = now + (row.not_before - row.updated)
        row.updated = now


def _expire(row: JobRow, now: datetime, max_attempts: int) -> JobState:
    """Decide what becomes of a job whose worker stopped renewing the lease."""
    _close_attempt(row, now)
    if row.cancel_requested:
        end(row, JobState.DISMISSED, now)
        return JobState.DISMISSED
    if row.attempts >= max_attempts:
        row.error_code = WorkerDied.code
        row.error_message = _death_cause(row)
        end(row, JobState.FAILED, now)
        return JobState.FAILED
    wait_again(row, now)
    return JobState.ACCEPTED


def _close_attempt(row: JobRow, now: datetime) -> None:
    """Note in the log that the last attempt's worker fell silent."""
    for attempt in row.log:
        if attempt.fence == row.fence:
            attempt.ended = now
            attempt.outcome = Outcome.SILENT
            attempt.error_code = WorkerDied.code
            attempt.error_message = "the worker died or stopped answering"


def _death_cause(row: JobRow) -> str:
    """Say how often the worker died, and where the last one was."""
    place = row.stage if row.total == 1 else f"{row.stage} ({row.done} of {row.total})"
    return (
        f"the worker died or stopped answering {row.attempts} times on this job, last in stage "
        f"{place}; the usual cause is too little memory: see the worker's log, then try again"
    )
