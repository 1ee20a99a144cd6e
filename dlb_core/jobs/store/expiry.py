"""What is no longer kept: results whose time is over, images of failed jobs, old rows.

Rows change first, files go afterwards: a row must never promise what is gone.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import Session, lazyload

from dlb_core.contracts import FINAL_STATES, JobState
from dlb_core.jobs.deliveries.tables import DeliveryRow
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.store.sessions import Sessions
from dlb_core.pacs.documents import DeliveryState

BATCH = 500
"""Rows a transaction: others must not wait long for the write lock."""


class Expiry(Sessions):
    """The part of the store that forgets."""

    def expire_results(self, before: datetime) -> list[UUID]:
        """Turn successful jobs that ended earlier into tombstones; some at a time.

        What could say something about a person goes: totals, label, day of the scan, digests of
        the images.
        """
        now = self._clock()
        with self._write() as session:
            rows = _ended_before(
                session, before, JobRow.state == JobState.SUCCESSFUL, JobRow.expired.is_(None)
            )
            for row in rows:
                row.expired = row.updated = now
                row.artefacts, row.totals, row.inputs = [], None, {}
                row.options = _without_person(row.options)
                row.keep_inputs = False
            gone = [row.id for row in rows]
            _give_up_deliveries(session, gone, now)
            return gone

    def expire_inputs(self, before: datetime) -> list[UUID]:
        """Give up the images of jobs that failed or were cancelled earlier; some at a time."""
        with self._write() as session:
            rows = _ended_before(
                session,
                before,
                JobRow.state.in_((JobState.FAILED, JobState.DISMISSED)),
                JobRow.keep_inputs.is_(True),
            )
            for row in rows:
                row.keep_inputs = False
            return [row.id for row in rows]

    def forget(self, before: datetime) -> list[UUID]:
        """Remove rows without files of jobs that ended earlier; some at a time."""
        with self._write() as session:
            rows = _ended_before(
                session,
                before,
                JobRow.keep_inputs.is_(False),
                or_(JobRow.state != JobState.SUCCESSFUL, JobRow.expired.is_not(None)),
            )
            gone = [row.id for row in rows]
            session.execute(delete(JobRow).where(JobRow.id.in_(gone)))
            return gone


def _ended_before(
    session: Session, before: datetime, *conditions: ColumnElement[bool]
) -> list[JobRow]:
    """Lock some rows of jobs that ended before a moment."""
    query = (
        select(JobRow)
        # Nobody asks here what was tried.
        .options(lazyload(JobRow.log))
        .where(JobRow.state.in_(FINAL_STATES), JobRow.finished < before, *conditions)
        .order_by(JobRow.finished)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))


def _give_up_deliveries(session: Session, job_ids: list[UUID], now: datetime) -> None:
    """End those that still wait: there is nothing to deliver any more, which must be seen."""
    waiting = (
        select(DeliveryRow)
        .where(DeliveryRow.job_id.in_(job_ids), DeliveryRow.state == DeliveryState.PENDING)
        # What is delivered at this moment stays delivered.
        .with_for_update()
    )
    for row in session.scalars(waiting):
        row.state, row.next_try, row.lease_until = DeliveryState.FAILED, None, None
        row.fence += 1
        row.log = [*row.log, {"at": now.isoformat(), "error": "the results are no longer kept"}]


def _without_person(options: dict[str, Any]) -> dict[str, Any]:
    return options | {"label": "", "scan_date": None}
