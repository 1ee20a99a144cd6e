"""What a worker writes: claim a job, keep it, and end it one way or another."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.engine import CursorResult

from dlb_core.contracts import (
    ArtefactEntry,
    JobState,
    Outcome,
    Progress,
    SegmentationOptions,
    Stage,
)
from dlb_core.jobs.models import AttemptRow, JobRow, WorkerRow
from dlb_core.jobs.records import Claim, Verdict
from dlb_core.jobs.store.sessions import WAITING, Sessions, ended
from dlb_core.jobs.store.turns import IN_TURN, ready

RETRY_PAUSE_S = 30.0
"""Between an attempt that failed and the next, unless told otherwise."""


class Claims(Sessions):
    """The workers' part of the store."""

    def claim(self, job_id: UUID | None, lease_s: float, *, worker_id: str = "") -> Claim | None:
        """Take a waiting job.

        Parameters
        ----------
        job_id : UUID or None
            This one, or the one whose turn it is.
        lease_s : float
            How long it is ours without a heartbeat.
        worker_id : str

        Returns
        -------
        Claim or None
            None when no such job waits: another worker has it, it has ended, or it was removed.
        """
        now = self._clock()
        statement = (
            update(JobRow)
            .where(
                JobRow.id == (self._first_in_turn() if job_id is None else job_id),
                JobRow.state == JobState.ACCEPTED,
            )
            .values(
                state=JobState.RUNNING,
                fence=JobRow.fence + 1,
                attempts=JobRow.attempts + 1,
                lease_until=now + timedelta(seconds=lease_s),
                heartbeat=now,
                worker_id=worker_id,
                started=now,
                updated=now,
                stage=Stage.QUEUED,
                done=0,
                total=1,
            )
            .returning(
                JobRow.id,
                JobRow.fence,
                JobRow.attempts,
                JobRow.options,
                JobRow.created,
                JobRow.trace,
            )
            .execution_options(synchronize_session=False)
        )
        with self._write() as session:
            row = session.execute(statement).one_or_none()
            if row is None:
                return None
            session.add(
                AttemptRow(
                    job_id=row.id,
                    fence=row.fence,
                    worker_id=worker_id,
                    started=now,
                    stage=Stage.QUEUED,
                    stage_s={},
                )
            )
        return Claim(
            job_id=row.id,
            fence=row.fence,
            attempt=row.attempts,
            lease_s=lease_s,
            options=SegmentationOptions.model_validate(row.options),
            accepted=row.created,
            trace=row.trace,
        )

    def heartbeat(
        self,
        claim: Claim,
        progress: Progress | None = None,
        *,
        stage_s: dict[str, float] | None = None,
    ) -> bool:
        """Renew the lease and, if given, note the progress and each stage's seconds.

        Returns
        -------
        bool
            False when the work must stop: the claim was lost, or a cancel was requested.
        """
        now = self._clock()
        values: dict[str, Any] = {
            "lease_until": now + timedelta(seconds=claim.lease_s),
            "heartbeat": now,
        }
        noted: dict[str, Any] = {}
        if progress is not None:
            values |= {
                "stage": progress.stage,
                "done": progress.done,
                "total": progress.total,
                "updated": now,
            }
            noted = {"stage": progress.stage}
        if stage_s is not None:
            noted["stage_s"] = stage_s
        return self._update_held(claim, values, JobRow.cancel_requested.is_(False), noted=noted)

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
        self,
        claim: Claim,
        artefacts: Sequence[ArtefactEntry],
        totals: dict[str, Any],
        *,
        keep_inputs: bool = False,
        stage_s: dict[str, float] | None = None,
    ) -> bool:
        """Publish a job's results; the files must lie in place, fsynced, before this.

        Returns
        -------
        bool
            False when the claim was lost or a cancel was requested: nothing was published.
            True, too, where this claim has published before: its caller may not have heard the
            answer.
        """
        values = {
            "stage": Stage.DONE,
            "done": 1,
            "total": 1,
            "artefacts": [entry.model_dump() for entry in artefacts],
            "totals": totals,
            "keep_inputs": keep_inputs,
        }
        held = self._update_held(
            claim,
            values | ended(JobState.SUCCESSFUL, self._clock()),
            JobRow.cancel_requested.is_(False),
            noted=self._over(Outcome.SUCCESSFUL, stage_s=stage_s) | {"stage": Stage.DONE},
        )
        return held or self._has_published(claim)

    def fail(
        self,
        claim: Claim,
        code: str,
        message: str,
        *,
        keep_inputs: bool = True,
        stage_s: dict[str, float] | None = None,
    ) -> bool:
        """End a job with a cause; False when the claim was lost.

        Parameters
        ----------
        keep_inputs : bool
            Whether its images stay for a retry, if the caller has not asked for their removal.
        """
        values: dict[str, Any] = {"error_code": code, "error_message": message}
        if not keep_inputs:
            values["keep_inputs"] = False
        return self._update_held(
            claim,
            values | ended(JobState.FAILED, self._clock()),
            noted=self._over(Outcome.FAILED, code, message, stage_s=stage_s),
        )

    def dismiss(self, claim: Claim) -> bool:
        """End a job that was to be cancelled; False when the claim was lost or no cancel asked."""
        return self._update_held(
            claim,
            ended(JobState.DISMISSED, self._clock()),
            JobRow.cancel_requested.is_(True),
            noted=self._over(Outcome.DISMISSED),
        )

    def release(self, claim: Claim) -> bool:
        """Give a job back, uncounted, because the worker stops in an orderly way."""
        values = WAITING | {"attempts": JobRow.attempts - 1, "updated": self._clock()}
        return self._update_held(
            claim,
            values,
            JobRow.cancel_requested.is_(False),
            noted=self._over(Outcome.RELEASED),
        )

    def retry_or_fail(
        self,
        claim: Claim,
        code: str,
        message: str,
        *,
        max_attempts: int,
        pause_s: float = RETRY_PAUSE_S,
        stage_s: dict[str, float] | None = None,
    ) -> bool:
        """End an attempt that another one might mend; False when the claim was lost.

        The job waits, and is not begun for `pause_s` seconds; after `max_attempts` it fails
        with this cause.
        """
        if claim.attempt >= max_attempts:
            tried = f"{message} (tried {claim.attempt} times)"
            return self.fail(claim, code, tried, stage_s=stage_s)
        now = self._clock()
        values = WAITING | {"not_before": now + timedelta(seconds=pause_s), "updated": now}
        return self._update_held(
            claim,
            values,
            JobRow.cancel_requested.is_(False),
            noted=self._over(Outcome.FAILED, code, message, stage_s=stage_s),
        )

    def _first_in_turn(self) -> Any:
        """Id of the waiting job to begin next."""
        return (
            select(JobRow.id)
            .where(*ready(self._clock()))
            .order_by(*IN_TURN)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )

    def _has_published(self, claim: Claim) -> bool:
        query = select(JobRow.id).where(
            JobRow.id == claim.job_id,
            JobRow.fence == claim.fence,
            JobRow.state == JobState.SUCCESSFUL,
        )
        with self._read() as session:
            return session.scalar(query) is not None

    def _over(
        self,
        outcome: Outcome,
        code: str | None = None,
        message: str | None = None,
        *,
        stage_s: dict[str, float] | None = None,
    ) -> dict[str, Any]:
        """Columns of an attempt that ends now."""
        columns: dict[str, Any] = {
            "ended": self._clock(),
            "outcome": outcome,
            "error_code": code,
            "error_message": message,
        }
        return columns if stage_s is None else columns | {"stage_s": stage_s}

    def _update_held(
        self,
        claim: Claim,
        values: dict[str, Any],
        *conditions: ColumnElement[bool],
        noted: dict[str, Any],
    ) -> bool:
        """Change a running job's row, and its attempt's, if the claim still holds it."""
        statement = update(JobRow).where(*_held_by(claim), *conditions).values(**values)
        with self._write() as session:
            result = cast("CursorResult[Any]", session.execute(statement))
            held = result.rowcount == 1
            if held and noted:
                session.execute(
                    update(AttemptRow)
                    .where(AttemptRow.job_id == claim.job_id, AttemptRow.fence == claim.fence)
                    .values(**noted)
                )
            return held


def _held_by(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """Condition on a job's row: this claim is the last one, and the job runs."""
    return (
        JobRow.id == claim.job_id,
        JobRow.fence == claim.fence,
        JobRow.state == JobState.RUNNING,
    )
