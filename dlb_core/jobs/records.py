"""What the job store hands out: frozen copies of rows."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from dlb_core.contracts import ArtefactEntry, JobState, SegmentationOptions, Stage
from dlb_core.jobs.models import JobRow


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


@dataclass(frozen=True, slots=True)
class Claim:
    """One worker's right to work on a job until its lease ends."""

    job_id: UUID
    fence: int
    attempt: int
    lease_s: float
    options: SegmentationOptions


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
    )
