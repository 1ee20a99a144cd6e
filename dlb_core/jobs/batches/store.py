"""Batches in SQL, and how their jobs stand."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dlb_core.contracts import FINAL_STATES, JobState
from dlb_core.errors import (
    BadOption,
    BatchNotFound,
    IdempotencyConflict,
    JobNotFound,
    TransientError,
)
from dlb_core.jobs.batches.tables import BatchCaseRow, BatchRow
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.store.pages import cut_page, page_query
from dlb_core.jobs.store.sessions import Sessions

CHUNK = 500
"""Rows a query: databases limit how many values one may name."""
MOST = 1000
"""Batches of one owner: each may have thousands of rows, and none ends by itself for a year."""
DELETED = "deleted"
"""Beside the jobs' states: there is no such job any more."""


@dataclass(frozen=True, slots=True)
class BatchCase:
    """One case, as a manifest names it."""

    subject: str
    session: str
    job_id: UUID


@dataclass(frozen=True, slots=True)
class BatchJob:
    """What a batch shows of a job; less than `JobRecord`, for a batch may have thousands."""

    state: JobState
    fence: int
    error_code: str | None
    error_message: str | None
    finished: datetime | None
    expired: datetime | None


@dataclass(frozen=True, slots=True)
class BatchOverview:
    """A batch as it stood when it was read, without its cases."""

    id: UUID
    name: str
    created: datetime
    counts: Counter[str]
    """State, or `deleted` -> how many jobs."""

    @property
    def ended(self) -> bool:
        """Whether no job waits or runs."""
        return self.counts.keys() <= {*FINAL_STATES, DELETED}


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch as it stood when it was read."""

    id: UUID
    owner: str | None
    name: str
    created: datetime
    cases: tuple[tuple[BatchCase, BatchJob | None], ...]
    """Each with its job; None: the job was deleted."""

    @property
    def overview(self) -> BatchOverview:
        """All but the cases."""
        counts = Counter(DELETED if job is None else job.state.value for _, job in self.cases)
        return BatchOverview(self.id, self.name, self.created, counts)


class BatchStore(Sessions):
    """Batches. Safe to share between threads.

    Every method raises `StoreUnavailable` where the database does not answer.
    """

    def create(
        self,
        name: str,
        cases: Sequence[BatchCase],
        *,
        owner: str | None,
        sees: str | None,
        idempotency: str | None = None,
    ) -> tuple[BatchRecord, bool]:
        """Make a batch of jobs that exist.

        Parameters
        ----------
        name : str
        cases : sequence of BatchCase
        owner : str or None
            Whose it is.
        sees : str or None
            Whose jobs may be named; None: everybody's.
        idempotency : str, optional
            From `dlb_core.jobs.idempotency`.

        Returns
        -------
        (BatchRecord, bool)
            The batch, and whether the same request had made it before.

        Raises
        ------
        JobNotFound
            A job is another's, or there is none.
        IdempotencyConflict
            The key came before with another manifest.
        BadOption
            The owner has as many batches as one may have.
        """
        content = _digest(name, cases)
        known = self._known(idempotency, content)
        if known is not None:
            return known, True
        self._require_jobs(cases, sees)
        row = BatchRow(
            id=uuid4(),
            owner=owner,
            name=name,
            created=self._clock(),
            idempotency=idempotency,
            content=content,
            cases=[
                BatchCaseRow(
                    position=position,
                    subject=case.subject,
                    session=case.session,
                    job_id=case.job_id,
                )
                for position, case in enumerate(cases)
            ],
        )
        batch_id = row.id
        try:
            with self._write() as session:
                _require_few(session, owner)
                session.add(row)
        except IntegrityError as error:
            # The same request came twice at the same moment, and the other was quicker.
            known = self._known(idempotency, content)
            if known is None:
                raise TransientError(
                    "the batch of this Idempotency-Key was just deleted: send it again"
                ) from error
            return known, True
        return self.get(batch_id, sees=None), False

    def get(self, batch_id: UUID, *, sees: str | None) -> BatchRecord:
        """Read a batch.

        Raises
        ------
        BatchNotFound
            It is another's, or there is none.
        """
        with self._read() as session:
            row = session.get(BatchRow, batch_id)
            if row is None or (sees is not None and row.owner != sees):
                raise BatchNotFound("no such batch: it never was, or it was removed")
            jobs = _jobs(session, [case.job_id for case in row.cases])
            return BatchRecord(
                id=row.id,
                owner=row.owner,
                name=row.name,
                created=row.created,
                cases=tuple(
                    (BatchCase(case.subject, case.session, case.job_id), jobs.get(case.job_id))
                    for case in row.cases
                ),
            )

    def list_batches(
        self, *, sees: str | None, limit: int, before: str | None = None
    ) -> tuple[list[BatchOverview], str | None]:
        """Read one page of batches, newest first.

        Parameters
        ----------
        sees : str or None
            Only this owner's; None: everybody's.
        limit : int
            Batches a page, at least 1.
        before : str, optional
            The cursor that came with the page before.

        Returns
        -------
        (list of BatchOverview, str or None)
            The page, and the cursor of the next one; None when this was the last.

        Raises
        ------
        BadOption
            The cursor is not one of ours.
        """
        columns = select(BatchRow.id, BatchRow.name, BatchRow.created)
        query = page_query(columns, BatchRow, limit=limit, before=before)
        if sees is not None:
            query = query.where(BatchRow.owner == sees)
        with self._read() as session:
            page, cursor = cut_page(session.execute(query).all(), limit)
            counts = _counts(session, [row.id for row in page])
        overviews = [BatchOverview(row.id, row.name, row.created, counts[row.id]) for row in page]
        return overviews, cursor

    def remove(self, batch_id: UUID, *, sees: str | None) -> None:
        """Forget a batch; its jobs stay.

        Raises
        ------
        BatchNotFound
        """
        self.get(batch_id, sees=sees)
        with self._write() as session:
            session.execute(delete(BatchRow).where(BatchRow.id == batch_id))

    def forget(self, before: datetime) -> int:
        """Forget batches made earlier, none of whose jobs is listed any more."""
        listed = select(BatchCaseRow.batch_id).join(JobRow, JobRow.id == BatchCaseRow.job_id)
        old = delete(BatchRow).where(BatchRow.created < before, BatchRow.id.not_in(listed))
        with self._write() as session:
            return len(session.scalars(old.returning(BatchRow.id)).all())

    def _known(self, idempotency: str | None, content: str) -> BatchRecord | None:
        """The batch that the same request made before, if it did."""
        if idempotency is None:
            return None
        query = select(BatchRow.id, BatchRow.content).where(BatchRow.idempotency == idempotency)
        with self._read() as session:
            found = session.execute(query).one_or_none()
        if found is None:
            return None
        if found.content != content:
            raise IdempotencyConflict(
                "this Idempotency-Key came before with another manifest: use a new key for a new "
                "batch"
            )
        return self.get(found.id, sees=None)

    def _require_jobs(self, cases: Sequence[BatchCase], sees: str | None) -> None:
        """Insist that every job is there to be seen."""
        missing = {case.job_id for case in cases}
        with self._read() as session:
            for start in range(0, len(cases), CHUNK):
                ids = [case.job_id for case in cases[start : start + CHUNK]]
                query = select(JobRow.id).where(JobRow.id.in_(ids))
                if sees is not None:
                    query = query.where(JobRow.owner == sees)
                missing -= set(session.scalars(query))
        if missing:
            some = ", ".join(sorted(map(str, missing))[:5])
            raise JobNotFound(f"{len(missing)} of the manifest's jobs are not there, e.g. {some}")


def _counts(session: Session, batch_ids: Sequence[UUID]) -> dict[UUID, Counter[str]]:
    """Count each batch's jobs by state, in the database: a batch may have thousands."""
    query = (
        select(BatchCaseRow.batch_id, JobRow.state, func.count())
        .outerjoin(JobRow, JobRow.id == BatchCaseRow.job_id)
        .where(BatchCaseRow.batch_id.in_(batch_ids))
        .group_by(BatchCaseRow.batch_id, JobRow.state)
    )
    found: dict[UUID, Counter[str]] = {batch_id: Counter() for batch_id in batch_ids}
    for batch_id, state, count in session.execute(query):
        found[batch_id][DELETED if state is None else state] = count
    return found


def _require_few(session: Session, owner: str | None) -> None:
    """Refuse an owner's batch too many."""
    query = select(func.count()).select_from(BatchRow).where(BatchRow.owner == owner)
    if session.scalars(query).one() >= MOST:
        raise BadOption(f"there are {MOST} batches already: delete some that are over")


def _jobs(session: Session, ids: Sequence[UUID]) -> dict[UUID, BatchJob]:
    """Read those of these jobs that there are."""
    columns = (
        JobRow.id,
        JobRow.state,
        JobRow.fence,
        JobRow.error_code,
        JobRow.error_message,
        JobRow.finished,
        JobRow.expired,
    )
    found: dict[UUID, BatchJob] = {}
    for start in range(0, len(ids), CHUNK):
        query = select(*columns).where(JobRow.id.in_(ids[start : start + CHUNK]))
        for row in session.execute(query):
            found[row.id] = BatchJob(
                state=JobState(row.state),
                fence=row.fence,
                error_code=row.error_code,
                error_message=row.error_message,
                finished=row.finished,
                expired=row.expired,
            )
    return found


def _digest(name: str, cases: Sequence[BatchCase]) -> str:
    rows = [[case.subject, case.session, str(case.job_id)] for case in cases]
    return hashlib.sha256(json.dumps([name, rows]).encode()).hexdigest()
