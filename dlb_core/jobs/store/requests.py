"""What callers ask of the job store: submit, look, list, cancel, retry, forget."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from dlb_core.contracts import FINAL_STATES, JobState, Priority, SegmentationOptions, Stage
from dlb_core.errors import InputsGone, JobNotRetriable, QueueFull
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.records import JobRecord, record_of
from dlb_core.jobs.store.pages import cut_page, page_query
from dlb_core.jobs.store.sessions import Sessions, end, existing, wait_again
from dlb_core.jobs.store.turns import turn_of


class KeyTaken(Exception):
    """What this idempotency key once made is there already."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is to be accepted: see `Requests.insert`."""

    job_id: UUID
    options: SegmentationOptions
    inputs: dict[str, str]
    owner: str | None = None
    priority: Priority = Priority.ROUTINE
    idempotency: str | None = None
    content: str | None = None
    trace: str | None = None

    def row(self, now: datetime) -> JobRow:
        """Its row, as it comes."""
        return JobRow(
            id=self.job_id,
            state=JobState.ACCEPTED,
            stage=Stage.QUEUED,
            done=0,
            total=1,
            options=self.options.model_dump(mode="json"),
            inputs=self.inputs,
            attempts=0,
            fence=0,
            worker_id="",
            cancel_requested=False,
            created=now,
            updated=now,
            artefacts=[],
            owner=self.owner,
            idempotency=self.idempotency,
            content=self.content,
            priority=self.priority,
            turn=turn_of(self.priority, now),
            keep_inputs=True,
            trace=self.trace,
            log=[],
        )


class Requests(Sessions):
    """The callers' part of the store."""

    def insert(
        self,
        job_id: UUID,
        options: SegmentationOptions,
        inputs: dict[str, str],
        *,
        owner: str | None = None,
        priority: Priority = Priority.ROUTINE,
        idempotency: str | None = None,
        content: str | None = None,
        max_waiting: int | None = None,
        trace: str | None = None,
    ) -> JobRecord:
        """Accept a job; its input files must lie in place, fsynced, before this.

        Parameters
        ----------
        job_id : UUID
            New, and the name of the job's folder.
        options : SegmentationOptions
        inputs : dict of str
            Role (T1w, FLAIR) -> SHA-256 of the file.
        owner : str, optional
            Who submits it, where the service asks.
        priority : Priority
        idempotency, content : str, optional
            From `dlb_core.jobs.idempotency`.
        max_waiting : int, optional
            How many jobs may wait, this one included.
        trace : str, optional
            W3C traceparent of the request.

        Raises
        ------
        KeyTaken
            A job of this idempotency key exists: nothing was inserted.
        QueueFull
        """
        job = NewJob(
            job_id,
            options,
            inputs,
            owner=owner,
            priority=priority,
            idempotency=idempotency,
            content=content,
            trace=trace,
        )
        row = job.row(self._clock())
        try:
            with self._write() as session:
                require_new(session, JobRow.idempotency, idempotency)
                require_room(session, max_waiting)
                session.add(row)
                session.flush()
                return record_of(row)
        except IntegrityError as error:
            if idempotency is None:
                raise
            raise KeyTaken from error

    def get(self, job_id: UUID) -> JobRecord:
        """Read one job.

        Raises
        ------
        JobNotFound
        """
        with self._read() as session:
            return record_of(existing(session, job_id))

    def owner_of(self, job_id: UUID) -> str | None:
        """Whose job this is; None: nobody's, or there is no such job."""
        with self._read() as session:
            return session.scalar(select(JobRow.owner).where(JobRow.id == job_id))

    def get_many(self, job_ids: Sequence[UUID]) -> dict[UUID, JobRecord]:
        """Read those of these jobs that exist."""
        with self._read() as session:
            rows = session.scalars(select(JobRow).where(JobRow.id.in_(job_ids)))
            return {row.id: record_of(row) for row in rows}

    def find_by_key(self, idempotency: str) -> JobRecord | None:
        """Read the job that came with an idempotency key, if there is one."""
        with self._read() as session:
            row = session.scalar(select(JobRow).where(JobRow.idempotency == idempotency))
            return None if row is None else record_of(row)

    def list_jobs(
        self,
        *,
        owner: str | None = None,
        state: JobState | None = None,
        limit: int,
        before: str | None = None,
    ) -> tuple[list[JobRecord], str | None]:
        """Read one page of jobs, newest first.

        Parameters
        ----------
        owner : str, optional
            Only this owner's jobs.
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
        query = page_query(select(JobRow), JobRow, limit=limit, before=before)
        if owner is not None:
            query = query.where(JobRow.owner == owner)
        if state is not None:
            query = query.where(JobRow.state == state)
        with self._read() as session:
            page, cursor = cut_page(session.scalars(query).all(), limit)
            return [record_of(row) for row in page], cursor

    def request_cancel(self, job_id: UUID, *, discard: bool = True) -> JobRecord:
        """Cancel a job: at once while it waits, within a heartbeat while it runs.

        A job that has ended stays as it is. The caller removes a dismissed job's files; a
        running job's files are removed by its worker.

        Parameters
        ----------
        discard : bool
            Whether its images are to go too: then it cannot be retried.

        Raises
        ------
        JobNotFound
        """
        now = self._clock()
        with self._write() as session:
            row = existing(session, job_id, lock=True)
            if row.state == JobState.ACCEPTED:
                end(row, JobState.DISMISSED, now)
            elif row.state == JobState.RUNNING and not row.cancel_requested:
                row.cancel_requested = True
                row.updated = now
            if discard and row.state in (JobState.RUNNING, JobState.DISMISSED):
                row.keep_inputs = False
            session.flush()
            return record_of(row)

    def retry(self, job_id: UUID, *, max_waiting: int | None = None) -> JobRecord:
        """Let a job that failed or was cancelled wait for a worker again, at the queue's end.

        Raises
        ------
        JobNotFound
        JobNotRetriable
            It waits or runs, or has succeeded.
        InputsGone
            Its images are no longer kept.
        QueueFull
        """
        now = self._clock()
        with self._write() as session:
            row = existing(session, job_id, lock=True)
            _require_retriable(row)
            require_room(session, max_waiting)
            _begin_anew(row, now)
            session.flush()
            return record_of(row)

    def remove(self, job_id: UUID) -> bool:
        """Forget a job that has ended; False: it has not, and is left alone.

        Raises
        ------
        JobNotFound
        """
        with self._write() as session:
            row = existing(session, job_id, lock=True)
            if row.state not in FINAL_STATES:
                return False
            session.delete(row)
            return True

    def counts_by_state(self) -> dict[JobState, int]:
        """How many jobs are in each state; zero where there is none."""
        query = select(JobRow.state, func.count()).group_by(JobRow.state)
        with self._read() as session:
            counts = {JobState(state): count for state, count in session.execute(query)}
        return {state: counts.get(state, 0) for state in JobState}

    def require_room(self, max_waiting: int, *, more: int = 1) -> None:
        """Look whether one more job, or so many, may wait.

        Raises
        ------
        QueueFull
        """
        with self._read() as session:
            require_room(session, max_waiting, more=more)


def require_new(
    session: Session, column: InstrumentedAttribute[str | None], idempotency: str | None
) -> None:
    """Tell a request that came before from one for which there is no room.

    Raises
    ------
    KeyTaken
    """
    if idempotency is None:
        return
    if session.scalar(select(column).where(column == idempotency)) is not None:
        raise KeyTaken


def require_room(session: Session, max_waiting: int | None, *, more: int = 1) -> None:
    """Refuse more jobs than may wait."""
    if max_waiting is None:
        return
    query = select(func.count()).select_from(JobRow).where(JobRow.state == JobState.ACCEPTED)
    waiting = session.scalars(query).one()
    if waiting + more > max_waiting:
        raise QueueFull(f"{waiting} jobs wait already, and {max_waiting} may: try again later")


def _require_retriable(row: JobRow) -> None:
    """Refuse a job that has no need of a retry, or no images for one."""
    if row.state not in (JobState.FAILED, JobState.DISMISSED):
        raise JobNotRetriable(
            f"the job is {row.state}: only one that failed or was cancelled can be tried again"
        )
    if not row.keep_inputs:
        raise InputsGone("the job's images are no longer kept: submit them again")


def _begin_anew(row: JobRow, now: datetime) -> None:
    """Make a job as it was when it came, but for its fence and its log."""
    wait_again(row, now)
    row.attempts = 0
    row.cancel_requested = False
    row.started = row.finished = None
    row.error_code = row.error_message = None
    row.turn = turn_of(Priority(row.priority), now)
