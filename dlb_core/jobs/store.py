"""The job store: every change to a job is one guarded UPDATE on its row.

A worker may write only with the fence of the last claim, and only while the job runs; so of
two workers that believe they own a job (one was frozen, its lease ended, another took over)
exactly one can publish. The broker's messages are hints and may be lost or doubled.

    accepted --claim--> running --finish--> successful
       ^                 |  |  `--fail----> failed
       `-- lease ended --'  `--dismiss----> dismissed   (accepted jobs: at once)
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, delete, func, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from dlb_core.contracts import (
    FINAL_STATES,
    ArtefactEntry,
    JobState,
    Progress,
    SegmentationOptions,
    Stage,
)
from dlb_core.errors import BadOption, JobNotFound, WorkerDied
from dlb_core.jobs.database import READ_ONLY, open_engine, store_errors, upgrade
from dlb_core.jobs.models import JobRow, WorkerRow
from dlb_core.jobs.records import Claim, Expired, JobRecord, Verdict, record_of

Clock = Callable[[], datetime]

WORKER_FORGOTTEN_AFTER = timedelta(days=1)
MAX_ATTEMPTS = 3
"""Attempts a job gets when its workers die, unless told otherwise."""

_WAITING: dict[str, Any] = {
    "state": JobState.ACCEPTED,
    "stage": Stage.QUEUED,
    "done": 0,
    "total": 1,
    "lease_until": None,
    "sent": None,
}
"""Columns of a job that waits again."""


def utc_now() -> datetime:
    """Now, aware."""
    return datetime.now(UTC)


def open_store(database_url: str) -> "JobStore":
    """Open a job store, making or upgrading its schema.

    Raises
    ------
    StoreUnavailable
        The database does not answer.
    """
    engine = open_engine(database_url)
    upgrade(engine)
    return JobStore(engine)


class JobStore:
    """Jobs and workers in SQL. Safe to share between threads.

    Every method raises `StoreUnavailable` where the database does not answer.
    """

    def __init__(self, engine: Engine, *, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._reads = engine.execution_options(**{READ_ONLY: True})
        self._clock = clock

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

    # What callers do

    def insert(
        self, job_id: UUID, options: SegmentationOptions, inputs: dict[str, str]
    ) -> JobRecord:
        """Accept a job; its input files must lie in place, fsynced, before this.

        Parameters
        ----------
        job_id : UUID
            New, and the name of the job's folder.
        options : SegmentationOptions
        inputs : dict of str
            Role (T1w, FLAIR) -> SHA-256 of the file.
        """
        now = self._clock()
        row = JobRow(
            id=job_id,
            state=JobState.ACCEPTED,
            stage=Stage.QUEUED,
            done=0,
            total=1,
            options=options.model_dump(mode="json"),
            inputs=inputs,
            attempts=0,
            fence=0,
            worker_id="",
            cancel_requested=False,
            created=now,
            updated=now,
            artefacts=[],
        )
        with self._write() as session:
            session.add(row)
            session.flush()
            return record_of(row)

    def get(self, job_id: UUID) -> JobRecord:
        """Read one job.

        Raises
        ------
        JobNotFound
        """
        with self._read() as session:
            return record_of(_existing(session, job_id))

    def list_jobs(
        self, *, state: JobState | None = None, limit: int, before: str | None = None
    ) -> tuple[list[JobRecord], str | None]:
        """Read one page of jobs, newest first.

        Parameters
        ----------
        state : JobState, optional
            Only jobs in this state.
        limit : int
            Jobs a page, at least 1.
        before : str, optional
            The cursor that came with the page before.

        Returns
        -------
        (list of JobRecord, str or None)
            The page, and the cursor of the next one; None when this was the last.

        Raises
        ------
        BadOption
            The cursor is not one of ours.
        """
        query = select(JobRow).order_by(JobRow.created.desc(), JobRow.id.desc()).limit(limit + 1)
        if state is not None:
            query = query.where(JobRow.state == state)
        if before is not None:
            created, job_id = _read_cursor(before)
            query = query.where(
                or_(
                    JobRow.created < created,
                    (JobRow.created == created) & (JobRow.id < job_id),
                )
            )
        with self._read() as session:
            records = [record_of(row) for row in session.scalars(query)]
        page = records[:limit]
        return page, _write_cursor(page[-1]) if len(records) > limit else None

    def request_cancel(self, job_id: UUID) -> JobRecord:
        """Cancel a job: at once while it waits, within a heartbeat while it runs.

        A job that has ended stays as it is. The caller removes a dismissed job's files; a
        running job's files are removed by its worker.

        Raises
        ------
        JobNotFound
        """
        now = self._clock()
        with self._write() as session:
            row = _existing(session, job_id, lock=True)
            if row.state == JobState.ACCEPTED:
                _end(row, JobState.DISMISSED, now)
            elif row.state == JobState.RUNNING and not row.cancel_requested:
                row.cancel_requested = True
                row.updated = now
            session.flush()
            return record_of(row)

    def remove(self, job_id: UUID) -> None:
        """Forget a job that has ended; one that has not is left alone.

        Raises
        ------
        JobNotFound
        """
        with self._write() as session:
            row = _existing(session, job_id, lock=True)
            if row.state in FINAL_STATES:
                session.delete(row)

    def counts_by_state(self) -> dict[JobState, int]:
        """How many jobs are in each state; zero where there is none."""
        query = select(JobRow.state, func.count()).group_by(JobRow.state)
        with self._read() as session:
            counts = {JobState(state): count for state, count in session.execute(query)}
        return {state: counts.get(state, 0) for state in JobState}

    # What the dispatcher does

    def due_for_dispatch(self, now: datetime, stale_after: timedelta | None) -> list[UUID]:
        """Waiting jobs without a message, or (unless None) with one older than `stale_after`."""
        due: ColumnElement[bool] = JobRow.sent.is_(None)
        if stale_after is not None:
            due = due | (JobRow.sent < now - stale_after)
        query = (
            select(JobRow.id)
            .where(JobRow.state == JobState.ACCEPTED, due)
            .order_by(JobRow.created, JobRow.id)
        )
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
        """
        query = (
            select(JobRow)
            .where(JobRow.state == JobState.RUNNING, JobRow.lease_until < now)
            .with_for_update(skip_locked=True)
        )
        fates: dict[JobState, list[UUID]] = {state: [] for state in JobState}
        with self._write() as session:
            for row in session.scalars(query):
                fates[_expire(row, now, max_attempts)].append(row.id)
        return Expired(
            requeued=tuple(fates[JobState.ACCEPTED]),
            failed=tuple(fates[JobState.FAILED]),
            dismissed=tuple(fates[JobState.DISMISSED]),
        )

    # What a worker does

    def claim(self, job_id: UUID, lease_s: float, *, worker_id: str = "") -> Claim | None:
        """Take a waiting job.

        Returns
        -------
        Claim or None
            None when the job is not waiting (another worker has it, it has ended, or it was
            removed): the message was a double and is to be dropped.
        """
        now = self._clock()
        statement = (
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.state == JobState.ACCEPTED)
            .values(
                state=JobState.RUNNING,
                fence=JobRow.fence + 1,
                attempts=JobRow.attempts + 1,
                lease_until=now + timedelta(seconds=lease_s),
                worker_id=worker_id,
                started=now,
                updated=now,
                stage=Stage.QUEUED,
                done=0,
                total=1,
            )
            .returning(JobRow.fence, JobRow.attempts, JobRow.options)
        )
        with self._write() as session:
            row = session.execute(statement).one_or_none()
        if row is None:
            return None
        return Claim(
            job_id=job_id,
            fence=row.fence,
            attempt=row.attempts,
            lease_s=lease_s,
            options=SegmentationOptions.model_validate(row.options),
        )

    def heartbeat(self, claim: Claim, progress: Progress | None = None) -> bool:
        """Renew the lease and, if given, note the progress.

        Returns
        -------
        bool
            False when the work must stop: the claim was lost, or a cancel was requested.
        """
        now = self._clock()
        values: dict[str, Any] = {"lease_until": now + timedelta(seconds=claim.lease_s)}
        if progress is not None:
            values |= {
                "stage": progress.stage,
                "done": progress.done,
                "total": progress.total,
                "updated": now,
            }
        return self._update_held(claim, values, JobRow.cancel_requested.is_(False))

    def verdict(self, claim: Claim) -> Verdict:
        """Ask, without writing, whether an attempt is still wanted."""
        query = (
            select(JobRow.cancel_requested, WorkerRow.stopping)
            .outerjoin(WorkerRow, WorkerRow.id == JobRow.worker_id)
            .where(*_held_by(claim))
        )
        with self._read() as session:
            row = session.execute(query).one_or_none()
        if row is None:
            return Verdict.LOST
        if row.cancel_requested:
            return Verdict.CANCELLED
        return Verdict.WORKER_STOPPING if row.stopping else Verdict.GO_ON

    def finish(
        self, claim: Claim, artefacts: Sequence[ArtefactEntry], totals: dict[str, Any]
    ) -> bool:
        """Publish a job's results; the files must lie in place, fsynced, before this.

        Returns
        -------
        bool
            False when the claim was lost or a cancel was requested: nothing was published.
        """
        values = {
            "stage": Stage.DONE,
            "done": 1,
            "total": 1,
            "artefacts": [entry.model_dump() for entry in artefacts],
            "totals": totals,
        }
        return self._update_held(
            claim,
            values | self._ended(JobState.SUCCESSFUL),
            JobRow.cancel_requested.is_(False),
        )

    def fail(self, claim: Claim, code: str, message: str) -> bool:
        """End a job with a cause; False when the claim was lost."""
        values = {"error_code": code, "error_message": message}
        return self._update_held(claim, values | self._ended(JobState.FAILED))

    def dismiss(self, claim: Claim) -> bool:
        """End a job that was to be cancelled; False when the claim was lost or no cancel asked."""
        return self._update_held(
            claim, self._ended(JobState.DISMISSED), JobRow.cancel_requested.is_(True)
        )

    def release(self, claim: Claim) -> bool:
        """Give a job back, uncounted, because the worker stops in an orderly way."""
        values = _WAITING | {"attempts": JobRow.attempts - 1, "updated": self._clock()}
        return self._update_held(claim, values, JobRow.cancel_requested.is_(False))

    def retry_or_fail(self, claim: Claim, code: str, message: str, *, max_attempts: int) -> bool:
        """End an attempt that another one might mend; False when the claim was lost.

        The job waits for the dispatcher's next round of stale jobs, or, after `max_attempts`,
        fails with this cause.
        """
        if claim.attempt >= max_attempts:
            return self.fail(claim, code, f"{message} (tried {claim.attempt} times)")
        now = self._clock()
        # Marked as sent now: so the next try comes after a pause, not at once.
        values = _WAITING | {"sent": now, "updated": now}
        return self._update_held(claim, values, JobRow.cancel_requested.is_(False))

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

    def _ended(self, state: JobState) -> dict[str, Any]:
        """Columns of a job that ends now."""
        now = self._clock()
        return {"state": state, "finished": now, "updated": now, "lease_until": None}

    def _update_held(
        self, claim: Claim, values: dict[str, Any], *conditions: ColumnElement[bool]
    ) -> bool:
        """Change a running job's row if the claim still holds it."""
        statement = update(JobRow).where(*_held_by(claim), *conditions).values(**values)
        with self._write() as session:
            result = cast("CursorResult[Any]", session.execute(statement))
            return result.rowcount == 1

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with store_errors(), Session(self._reads) as session, session.begin():
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with store_errors(), Session(self._engine) as session, session.begin():
            yield session


def _existing(session: Session, job_id: UUID, *, lock: bool = False) -> JobRow:
    """Read a job's row, locked against other writers if it is to change."""
    row = session.get(JobRow, job_id, with_for_update=lock)
    if row is None:
        raise JobNotFound("no such job: it never was, or it was removed")
    return row


def _held_by(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """Condition on a job's row: this claim is the last one, and the job runs."""
    return (
        JobRow.id == claim.job_id,
        JobRow.fence == claim.fence,
        JobRow.state == JobState.RUNNING,
    )


def _end(row: JobRow, state: JobState, now: datetime) -> None:
    """End a job without results."""
    row.state = state
    row.finished = row.updated = now
    row.lease_until = None


def _expire(row: JobRow, now: datetime, max_attempts: int) -> JobState:
    """Decide what becomes of a job whose worker stopped renewing the lease."""
    if row.cancel_requested:
        _end(row, JobState.DISMISSED, now)
        return JobState.DISMISSED
    if row.attempts >= max_attempts:
        row.error_code = WorkerDied.code
        row.error_message = _death_cause(row)
        _end(row, JobState.FAILED, now)
        return JobState.FAILED
    for column, value in _WAITING.items():
        setattr(row, column, value)
    row.updated = now
    return JobState.ACCEPTED


def _death_cause(row: JobRow) -> str:
    """Say how often the worker died, and where the last one was."""
    place = row.stage if row.total == 1 else f"{row.stage} ({row.done} of {row.total})"
    return (
        f"the worker died or stopped answering {row.attempts} times on this job, last in stage "
        f"{place}; the usual cause is too little memory: see the worker's log, then submit again"
    )


def _write_cursor(record: JobRecord) -> str:
    """Name a place in the list of jobs."""
    text = f"{record.created.isoformat()} {record.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Read what `_write_cursor` wrote."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created, job_id = base64.urlsafe_b64decode(padded).decode().split(" ")
        return datetime.fromisoformat(created), UUID(job_id)
    except (ValueError, binascii.Error) as error:
        raise BadOption(
            "the page cursor is not one that this service gave: start from the first page"
        ) from error
