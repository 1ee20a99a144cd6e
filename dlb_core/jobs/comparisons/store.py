"""The store of comparisons: every change is one guarded UPDATE on a row, as with jobs.

    waiting --both jobs successful--> accepted --claim--> running --finish--> successful
       |                                  ^                 |  `---fail-----> failed
       |                                  `-- lease ended --'                    ^
       `--both jobs ended, not both successful-----------------------------------'

One of two jobs that have results begins as accepted. One that is deleted, at any time, is gone: a
worker that holds it finds no row to write to.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, lazyload

from dlb_core.contracts import FINAL_STATES, ArtefactEntry, ComparisonState, JobState
from dlb_core.errors import JobNotFound, QueueFull, VisitFailed, WorkerDied
from dlb_core.jobs.comparisons.records import ComparisonClaim, ComparisonRecord, record_of
from dlb_core.jobs.comparisons.tables import ComparisonRow
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.store.expiry import BATCH
from dlb_core.jobs.store.pages import cut_page, page_query
from dlb_core.jobs.store.requests import KeyTaken, NewJob, require_new, require_room
from dlb_core.jobs.store.sessions import Sessions
from dlb_core.longitudinal.naming import VISITS

NO_SUCH_COMPARISON = "no such comparison: it never was, or it was removed"
MOST_WAITING = 1000
MOST_OF_AN_OWNER = 100
"""Of finished jobs: a line asks for one, and nobody may keep the others' places with such."""
HINTED_AT_ONCE = 4
"""Hints are taken in their order, those at jobs among them: urgent jobs wait behind these."""
_WHAT_TO_DO = "Send the scans again, or retry the job and then compare the two jobs by their ids."
_SILENT = "its workers died or fell silent; the usual cause is too little memory: see their logs"


class ComparisonStore(Sessions):
    """Comparisons in SQL. Every method raises `StoreUnavailable` where that does not answer."""

    def insert(
        self,
        first: UUID,
        second: UUID,
        *,
        owner: str | None,
        label: str = "",
        ignore_differences: bool = False,
        idempotency: str | None = None,
        content: str | None = None,
        jobs: Sequence[NewJob] = (),
        max_waiting: int | None = None,
    ) -> ComparisonRecord:
        """Accept a comparison.

        Parameters
        ----------
        first, second : UUID
            Jobs, the earlier visit first.
        owner : str or None
        label : str
        ignore_differences : bool
        idempotency, content : str, optional
            From `dlb_core.jobs.idempotency`.
        jobs : sequence of NewJob
            The two, where they are to be accepted with it, all or nothing; it waits for them.
            Their input files must lie in place, fsynced, before this.
        max_waiting : int, optional
            How many jobs may wait, these included.

        Raises
        ------
        KeyTaken
            A comparison of this idempotency key exists: nothing was inserted.
        QueueFull
            As many wait as may, of all owners or of this one.
        """
        now = self._clock()
        row = ComparisonRow(
            id=uuid4(),
            owner=owner,
            first_job=first,
            second_job=second,
            label=label,
            ignore_differences=ignore_differences,
            state=ComparisonState.WAITING if jobs else ComparisonState.ACCEPTED,
            attempts=0,
            fence=0,
            created=now,
            updated=now,
            artefacts=[],
            idempotency=idempotency,
            content=content,
        )
        try:
            with self._write() as session:
                require_new(session, ComparisonRow.idempotency, idempotency)
                _require_place(session)
                if not jobs:
                    _require_own_place(session, owner)
                require_room(session, max_waiting, more=len(jobs))
                session.add_all([row, *(job.row(now) for job in jobs)])
                session.flush()
                return record_of(row)
        except IntegrityError as error:
            if idempotency is None:
                raise
            raise KeyTaken from error

    def require_place(self) -> None:
        """Look whether one more comparison may wait.

        Raises
        ------
        QueueFull
        """
        with self._read() as session:
            _require_place(session)

    def find_by_key(self, idempotency: str) -> ComparisonRecord | None:
        """Read the comparison that came with an idempotency key, if there is one."""
        query = select(ComparisonRow).where(ComparisonRow.idempotency == idempotency)
        with self._read() as session:
            row = session.scalar(query)
            return None if row is None else record_of(row)

    def get_many(self, comparison_ids: Sequence[UUID]) -> dict[UUID, ComparisonRecord]:
        """Read those of these comparisons that exist."""
        with self._read() as session:
            rows = session.scalars(
                select(ComparisonRow).where(ComparisonRow.id.in_(comparison_ids))
            )
            return {row.id: record_of(row) for row in rows}

    def get(self, comparison_id: UUID, *, sees: str | None) -> ComparisonRecord:
        """Read one.

        Parameters
        ----------
        comparison_id : UUID
        sees : str or None
            Whose comparisons are seen; None: everybody's.

        Raises
        ------
        JobNotFound
            It is another's, or there is none.
        """
        with self._read() as session:
            return record_of(_existing(session, comparison_id, sees))

    def list_comparisons(
        self,
        *,
        sees: str | None,
        state: ComparisonState | None = None,
        limit: int,
        before: str | None = None,
    ) -> tuple[list[ComparisonRecord], str | None]:
        """Read one page of comparisons, newest first, and the cursor of the next, as of jobs.

        Raises
        ------
        BadOption
            The cursor is not one of ours.
        """
        query = page_query(select(ComparisonRow), ComparisonRow, limit=limit, before=before)
        if sees is not None:
            query = query.where(ComparisonRow.owner == sees)
        if state is not None:
            query = query.where(ComparisonRow.state == state)
        with self._read() as session:
            page, cursor = cut_page(session.scalars(query).all(), limit)
            return [record_of(row) for row in page], cursor

    def remove(self, comparison_id: UUID, *, sees: str | None) -> None:
        """Forget one, whatever its state.

        Raises
        ------
        JobNotFound
        """
        with self._write() as session:
            session.delete(_existing(session, comparison_id, sees))

    def settle_waiting(self) -> dict[UUID, ComparisonState]:
        """Let those begin whose jobs have succeeded; end those whose jobs have ended otherwise.

        Until both jobs have ended nothing is decided: one that failed may be tried again.
        """
        first, second = aliased(JobRow), aliased(JobRow)
        query = (
            select(ComparisonRow.id, first, second)
            .options(lazyload(first.log), lazyload(second.log))
            .join(first, first.id == ComparisonRow.first_job)
            .join(second, second.id == ComparisonRow.second_job)
            .where(
                ComparisonRow.state == ComparisonState.WAITING,
                first.state.in_(FINAL_STATES),
                second.state.in_(FINAL_STATES),
            )
        )
        with self._read() as session:
            fates = {found[0]: self._fate(found[1], found[2]) for found in session.execute(query)}
        if fates:
            with self._write() as session:
                for comparison_id, values in fates.items():
                    waits = (
                        ComparisonRow.id == comparison_id,
                        ComparisonRow.state == ComparisonState.WAITING,
                    )
                    session.execute(update(ComparisonRow).where(*waits).values(**values))
        return {comparison_id: values["state"] for comparison_id, values in fates.items()}

    def claim(self, comparison_id: UUID, lease_s: float) -> ComparisonClaim | None:
        """Take one that waits; None when it does not."""
        now = self._clock()
        statement = (
            update(ComparisonRow)
            .where(
                ComparisonRow.id == comparison_id, ComparisonRow.state == ComparisonState.ACCEPTED
            )
            .values(
                state=ComparisonState.RUNNING,
                fence=ComparisonRow.fence + 1,
                attempts=ComparisonRow.attempts + 1,
                lease_until=now + timedelta(seconds=lease_s),
                updated=now,
            )
            .returning(ComparisonRow)
            .execution_options(synchronize_session=False)
        )
        with self._write() as session:
            row = session.scalars(statement).one_or_none()
            if row is None:
                return None
            return ComparisonClaim(
                comparison_id=row.id,
                fence=row.fence,
                attempt=row.attempts,
                lease_s=lease_s,
                first=row.first_job,
                second=row.second_job,
                label=row.label,
                ignore_differences=row.ignore_differences,
            )

    def heartbeat(self, claim: ComparisonClaim) -> bool:
        """Renew the lease; False when the claim was lost."""
        return self._update(
            claim, {"lease_until": self._clock() + timedelta(seconds=claim.lease_s)}
        )

    def finish(
        self, claim: ComparisonClaim, artefacts: Sequence[ArtefactEntry], totals: dict[str, Any]
    ) -> bool:
        """Publish results; the files must lie in place before. False: the claim was lost.

        True, too, where this claim has published before: its caller may not have heard the answer.
        """
        values = {"artefacts": [entry.model_dump() for entry in artefacts], "totals": totals}
        if self._update(claim, values | self._ended(ComparisonState.SUCCESSFUL)):
            return True
        published = select(ComparisonRow.id).where(
            ComparisonRow.id == claim.comparison_id,
            ComparisonRow.fence == claim.fence,
            ComparisonRow.state == ComparisonState.SUCCESSFUL,
        )
        with self._read() as session:
            return session.scalar(published) is not None

    def fail(self, claim: ComparisonClaim, code: str, message: str) -> bool:
        """End one with a cause; False when the claim was lost."""
        cause = {"error_code": code, "error_message": message}
        return self._update(claim, cause | self._ended(ComparisonState.FAILED))

    def release(self, claim: ComparisonClaim) -> bool:
        """Let one wait for another attempt; False when the claim was lost."""
        values = {"state": ComparisonState.ACCEPTED, "lease_until": None, "sent": None}
        return self._update(claim, values | {"updated": self._clock()})

    def requeue_expired(self, max_attempts: int) -> list[UUID]:
        """Take back what silent workers hold: it waits again, or fails after `max_attempts`."""
        now = self._clock()
        silent = (ComparisonRow.state == ComparisonState.RUNNING, ComparisonRow.lease_until < now)
        again = {
            "state": ComparisonState.ACCEPTED,
            "lease_until": None,
            "sent": None,
            "updated": now,
        }
        cause = {"error_code": WorkerDied.code, "error_message": _SILENT}
        spent = ComparisonRow.attempts >= max_attempts
        with self._write() as session:
            found = list(session.scalars(select(ComparisonRow.id).where(*silent)))
            if found:
                over = cause | self._ended(ComparisonState.FAILED)
                session.execute(update(ComparisonRow).where(*silent, spent).values(**over))
                session.execute(update(ComparisonRow).where(*silent).values(**again))
            return found

    def due_for_dispatch(self, *, stale_after_s: float | None) -> list[UUID]:
        """Those that wait without a hint, or (unless None) with one older than this.

        Who has waited longest for a hint comes first. No more are due than leaves `HINTED_AT_ONCE`
        with a hint.
        """
        due: ColumnElement[bool] = ComparisonRow.sent.is_(None)
        if stale_after_s is not None:
            due = due | (ComparisonRow.sent < self._clock() - timedelta(seconds=stale_after_s))
        waits = ComparisonRow.state == ComparisonState.ACCEPTED
        hinted = select(func.count()).select_from(ComparisonRow).where(waits, ~due)
        query = (
            select(ComparisonRow.id)
            .where(waits, due)
            .order_by(func.coalesce(ComparisonRow.sent, ComparisonRow.created))
        )
        with self._read() as session:
            room = HINTED_AT_ONCE - session.scalars(hinted).one()
            return list(session.scalars(query.limit(max(room, 0))))

    def mark_sent(self, comparison_ids: Sequence[UUID]) -> None:
        """Note that hints were sent."""
        with self._write() as session:
            session.execute(
                update(ComparisonRow)
                .where(ComparisonRow.id.in_(comparison_ids))
                .values(sent=self._clock())
            )

    def drop_outlived(self, finished_before: datetime | None) -> list[UUID]:
        """Forget those one of whose jobs is gone, or that ended before a time; some at a time."""
        jobs = select(JobRow.id)
        outlived: list[ColumnElement[bool]] = [
            ComparisonRow.first_job.not_in(jobs),
            ComparisonRow.second_job.not_in(jobs),
        ]
        if finished_before is not None:
            outlived.append(ComparisonRow.finished < finished_before)
        found = select(ComparisonRow.id).where(or_(*outlived)).limit(BATCH)
        with self._read() as session:
            if session.scalar(found) is None:
                # Mostly so, and a look costs no lock.
                return []
        gone = delete(ComparisonRow).where(ComparisonRow.id.in_(found)).returning(ComparisonRow.id)
        with self._write() as session:
            return list(session.scalars(gone.execution_options(synchronize_session=False)).all())

    def _fate(self, first: JobRow, second: JobRow) -> dict[str, Any]:
        """Columns of one that waited for these two, which have ended."""
        faults = [
            f"the {name} visit's job {_how_it_ended(job)}"
            for name, job in zip(VISITS, (first, second), strict=True)
            if job.state != JobState.SUCCESSFUL
        ]
        if not faults:
            return {"state": ComparisonState.ACCEPTED, "updated": self._clock()}
        said = "; ".join(faults)
        message = f"{said[0].upper()}{said[1:]}. {_WHAT_TO_DO}"
        cause = {"error_code": VisitFailed.code, "error_message": message}
        return cause | self._ended(ComparisonState.FAILED)

    def _ended(self, state: ComparisonState) -> dict[str, Any]:
        now = self._clock()
        ended = {"state": state, "finished": now, "updated": now, "lease_until": None}
        return ended | {"untold": True}

    def _update(self, claim: ComparisonClaim, values: dict[str, Any]) -> bool:
        """Change a row if the claim still holds it."""
        held = (
            ComparisonRow.id == claim.comparison_id,
            ComparisonRow.fence == claim.fence,
            ComparisonRow.state == ComparisonState.RUNNING,
        )
        with self._write() as session:
            result = session.execute(update(ComparisonRow).where(*held).values(**values))
            return cast("CursorResult[Any]", result).rowcount == 1


def _require_place(session: Session) -> None:
    """Refuse one comparison more than may wait."""
    waits = ComparisonRow.state.in_((ComparisonState.WAITING, ComparisonState.ACCEPTED))
    waiting = session.scalars(select(func.count()).select_from(ComparisonRow).where(waits)).one()
    if waiting >= MOST_WAITING:
        raise QueueFull(f"{waiting} comparisons wait: try again later")


def _require_own_place(session: Session, owner: str | None) -> None:
    """Refuse one comparison of finished jobs more than an owner may have waiting."""
    waits = (ComparisonRow.owner == owner, ComparisonRow.state == ComparisonState.ACCEPTED)
    waiting = session.scalars(select(func.count()).select_from(ComparisonRow).where(*waits)).one()
    if waiting >= MOST_OF_AN_OWNER:
        raise QueueFull(f"{waiting} comparisons of this owner wait: try again later")


def _how_it_ended(job: JobRow) -> str:
    """Say why a job has no results."""
    if job.state == JobState.DISMISSED:
        return "was cancelled"
    return f"failed ({job.error_code}): {(job.error_message or '').rstrip('.')}"


def _existing(session: Session, comparison_id: UUID, sees: str | None) -> ComparisonRow:
    row = session.get(ComparisonRow, comparison_id)
    if row is None or (sees is not None and row.owner != sees):
        raise JobNotFound(NO_SUCH_COMPARISON)
    return row
