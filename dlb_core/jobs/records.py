"""What the job store hands out: frozen copies of rows."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from dlb_core.contracts import (
    ArtefactEntry,
    JobState,
    Outcome,
    Priority,
    SegmentationOptions,
    Stage,
)
from dlb_core.jobs.models import AttemptRow, JobRow


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One claim of a job, and what became of it; times are UTC."""

    fence: int
    worker_id: str
    started: datetime
    ended: datetime | None
    outcome: Outcome | None
    """None while it goes on."""
    error_code: str | None
    error_message: str | None
    stage: Stage
    """The last one it was in."""
    stage_s: dict[str, float]
    """Seconds spent in each stage."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it stood when it was read; times are UTC."""

    id: UUID
    state: JobState
    stage: Stage
    done: int
    """Units finished in `stage`, of `total` (networks, while it is inference)."""
    total: int
    attempts: int
    fence: int
    """Of the last claim: `DataFolder.attempt(id, fence)` holds a successful job's artefacts."""
    options: SegmentationOptions
    inputs: dict[str, str]
    """Role (T1w, FLAIR) -> SHA-256 of the file as uploaded."""
    created: datetime
    updated: datetime
    """When a caller could last see something change."""
    started: datetime | None
    """When the last attempt began."""
    finished: datetime | None
    cancel_requested: bool
    error_code: str | None
    error_message: str | None
    artefacts: tuple[ArtefactEntry, ...]
    totals: dict[str, Any] | None
    """`dlb_core.report.document.Totals` of a successful job, as a dictionary."""
    owner: str | None
    """Who submitted it; None where the service asks nobody who they are."""
    content: str | None
    """Digest of what was asked for."""
    priority: Priority
    keep_inputs: bool
    """Whether its images are to stay after its end, for a retry."""
    expired: datetime | None
    """When its results were removed because their time was over."""
    log: tuple[AttemptRecord, ...]
    """Every claim, oldest first."""
    heartbeat: datetime | None = field(compare=False)
    """When its worker was last heard of; no change by itself."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One worker's right to work on a job until its lease ends."""

    job_id: UUID
    fence: int
    attempt: int
    lease_s: float
    options: SegmentationOptions
    accepted: datetime | None = None
    trace: str | None = None
    """W3C traceparent of the request that submitted the job."""


class Verdict(StrEnum):
    """What an attempt is to do next."""

    GO_ON = "go_on"
    LOST = "lost"
    """Another attempt has the job, or it has ended: leave no trace."""
    CANCELLED = "cancelled"
    WORKER_STOPPING = "worker_stopping"


@dataclass(frozen=True, slots=True)
class Expired:
    """What became of the jobs whose lease had ended."""

    requeued: tuple[UUID, ...] = ()
    failed: tuple[UUID, ...] = ()
    dismissed: tuple[UUID, ...] = ()


def record_of(row: JobRow) -> JobRecord:
    """Copy a row."""
    return JobRecord(
        id=row.id,
        state=JobState(row.state),
        stage=Stage(row.stage),
        done=row.done,
        total=row.total,
        attempts=row.attempts,
        fence=row.fence,
        options=SegmentationOptions.model_validate(row.options),
        inputs=dict(row.inputs),
        created=row.created,
        updated=row.updated,
        started=row.started,
        finished=row.finished,
        cancel_requested=row.cancel_requested,
        error_code=row.error_code,
        error_message=row.error_message,
        artefacts=tuple(ArtefactEntry.model_validate(entry) for entry in row.artefacts),
        totals=row.totals,
        owner=row.owner,
        content=row.content,
        priority=Priority(row.priority),
        keep_inputs=row.keep_inputs,
        expired=row.expired,
        log=tuple(_attempt_of(attempt) for attempt in row.log),
        heartbeat=row.heartbeat,
    )


def _attempt_of(row: AttemptRow) -> AttemptRecord:
    return AttemptRecord(
        fence=row.fence,
        worker_id=row.worker_id,
        started=row.started,
        ended=row.ended,
        outcome=None if row.outcome is None else Outcome(row.outcome),
        error_code=row.error_code,
        error_message=row.error_message,
        stage=Stage(row.stage),
        stage_s=dict(row.stage_s),
    )
