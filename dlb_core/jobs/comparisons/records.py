"""What the store tells of a comparison."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dlb_core.contracts import ArtefactEntry, ComparisonState
from dlb_core.jobs.comparisons.tables import ComparisonRow


@dataclass(frozen=True, slots=True)
class ComparisonRecord:
    """A comparison as it stands; times are UTC."""

    id: UUID
    owner: str | None
    first: UUID
    second: UUID
    """The jobs whose results are compared."""
    label: str
    ignore_differences: bool
    state: ComparisonState
    attempts: int
    fence: int
    created: datetime
    updated: datetime
    finished: datetime | None
    error_code: str | None
    error_message: str | None
    artefacts: tuple[ArtefactEntry, ...]
    totals: dict[str, Any] | None
    content: str | None
    """Digest of what was asked for."""


@dataclass(frozen=True, slots=True)
class ComparisonClaim:
    """A worker's hold on a comparison."""

    comparison_id: UUID
    fence: int
    attempt: int
    lease_s: float
    first: UUID
    second: UUID
    label: str
    ignore_differences: bool


def record_of(row: ComparisonRow) -> ComparisonRecord:
    """Read a row."""
    return ComparisonRecord(
        id=row.id,
        owner=row.owner,
        first=row.first_job,
        second=row.second_job,
        label=row.label,
        ignore_differences=row.ignore_differences,
        state=ComparisonState(row.state),
        attempts=row.attempts,
        fence=row.fence,
        created=row.created,
        updated=row.updated,
        finished=row.finished,
        error_code=row.error_code,
        error_message=row.error_message,
        artefacts=tuple(ArtefactEntry.model_validate(entry) for entry in row.artefacts),
        totals=row.totals,
        content=row.content,
    )
