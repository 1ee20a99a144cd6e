"""Deliveries in SQL: a delivery is a row before anything is sent, and whoever sends holds a lease.

A process that dies loses nothing; results may be sent twice, and an archive holds them once, for
their UIDs are the same.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dlb_core.contracts import JobState
from dlb_core.errors import DeliveryNotFound, ResultsExpired
from dlb_core.jobs.deliveries.tables import DeliveryRow
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.store.sessions import Sessions, existing
from dlb_core.pacs.documents import DeliveryAttempt, DeliveryDocument, DeliveryState

KEPT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A delivery that is ours to make, until the lease ends."""

    id: UUID
    job_id: UUID
    archive: str
    job_fence: int
    """Of the attempt whose results they are."""
    artefacts: tuple[str, ...]
    attempts: int
    """With this one."""
    fence: int


class DeliveryStore(Sessions):
    """Deliveries. Safe to share between threads.

    Every method raises `StoreUnavailable` where the database does not answer.
    """

    def order(self, job_id: UUID, archive: str) -> DeliveryDocument:
        """Order a delivery; the same order given again is the same delivery.

        Raises
        ------
        JobNotFound, ResultsExpired
        """
        try:
            with self._write() as session:
                _require_kept(session, job_id)
                row = _of(session, job_id, archive) or self._new(session, job_id, archive)
                session.flush()
                return _document(row)
        except IntegrityError:
            # Ordered twice at the same moment.
            with self._read() as session:
                found = _of(session, job_id, archive)
                assert found is not None, "the other order stands"
                return _document(found)

    def of_job(self, job_id: UUID) -> list[DeliveryDocument]:
        """A job's deliveries, oldest first."""
        query = (
            select(DeliveryRow)
            .where(DeliveryRow.job_id == job_id)
            .order_by(DeliveryRow.created, DeliveryRow.id)
        )
        with self._read() as session:
            return [_document(row) for row in session.scalars(query)]

    def counts(self) -> dict[DeliveryState, int]:
        """How many deliveries are in each state."""
        query = select(DeliveryRow.state, func.count()).group_by(DeliveryRow.state)
        with self._read() as session:
            found = {DeliveryState(state): count for state, count in session.execute(query)}
        return {state: found.get(state, 0) for state in DeliveryState}

    def replay(self, job_id: UUID, delivery_id: UUID) -> DeliveryDocument:
        """Deliver again, whatever became of it before.

        Raises
        ------
        JobNotFound, DeliveryNotFound, ResultsExpired
        """
        with self._write() as session:
            _require_kept(session, job_id)
            row = session.get(DeliveryRow, delivery_id, with_for_update=True)
            if row is None or row.job_id != job_id:
                raise DeliveryNotFound("no such delivery: it never was, or its job was removed")
            row.state, row.attempts, row.next_try = DeliveryState.PENDING, 0, self._clock()
            row.fence += 1
            row.lease_until = row.delivered = None
            session.flush()
            return _document(row)

    def take(self, *, lease_s: float) -> Outgoing | None:
        """Take a due delivery whose job has results."""
        now, row = self._clock(), DeliveryRow
        due = (
            select(row, JobRow)
            .join(JobRow, JobRow.id == row.job_id)
            .where(
                row.state == DeliveryState.PENDING,
                row.next_try <= now,
                or_(row.lease_until.is_(None), row.lease_until < now),
                JobRow.state == JobState.SUCCESSFUL,
                JobRow.expired.is_(None),
            )
            .order_by(row.next_try, row.id)
            .limit(1)
            .with_for_update(skip_locked=True, of=row)
        )
        with self._write() as session:
            found = session.execute(due).first()
            if found is None:
                return None
            delivery, job = found
            delivery.fence += 1
            delivery.attempts += 1
            delivery.lease_until = now + timedelta(seconds=lease_s)
            return Outgoing(
                id=delivery.id,
                job_id=job.id,
                archive=delivery.archive,
                job_fence=job.fence,
                artefacts=tuple(entry["name"] for entry in job.artefacts),
                attempts=delivery.attempts,
                fence=delivery.fence,
            )

    def note(
        self,
        outgoing: Outgoing,
        state: DeliveryState,
        *,
        error: str | None = None,
        next_try: datetime | None = None,
    ) -> bool:
        """Note what became of an attempt; False: another took it over, or it was replayed."""
        now = self._clock()
        with self._write() as session:
            row = session.get(DeliveryRow, outgoing.id, with_for_update=True)
            if row is None or row.fence != outgoing.fence:
                return False
            row.log = [*row.log, {"at": now.isoformat(), "error": error}][-KEPT_ATTEMPTS:]
            row.state, row.next_try, row.lease_until = state, next_try, None
            row.delivered = now if state is DeliveryState.DELIVERED else None
            return True

    def _new(self, session: Session, job_id: UUID, archive: str) -> DeliveryRow:
        now = self._clock()
        row = DeliveryRow(
            id=uuid4(),
            job_id=job_id,
            archive=archive,
            state=DeliveryState.PENDING,
            attempts=0,
            created=now,
            next_try=now,
            fence=0,
            log=[],
        )
        session.add(row)
        return row


def _require_kept(session: Session, job_id: UUID) -> None:
    """Refuse a job whose results are gone: nothing would ever be delivered.

    Its row is locked, before any delivery's, as expiry does it: that comes before, or after.
    """
    if existing(session, job_id, lock=True).expired is not None:
        raise ResultsExpired("the job's results are no longer kept: submit the images again")


def _of(session: Session, job_id: UUID, archive: str) -> DeliveryRow | None:
    query = select(DeliveryRow).where(DeliveryRow.job_id == job_id, DeliveryRow.archive == archive)
    return session.scalar(query)


def _document(row: DeliveryRow) -> DeliveryDocument:
    return DeliveryDocument(
        id=row.id,
        archive=row.archive,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        created=row.created,
        delivered=row.delivered,
        next_try=row.next_try,
        log=tuple(
            DeliveryAttempt(at=datetime.fromisoformat(entry["at"]), error=entry["error"])
            for entry in row.log
        ),
    )
