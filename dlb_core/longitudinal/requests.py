"""What callers of the service say of comparisons, and hear."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from dlb_core.contracts import ComparisonState, Message
from dlb_core.documents import ArtefactDocument, JobFailure, NextPage
from dlb_core.longitudinal.document import ChangeTotals


class ComparisonChoices(Message):
    """What may be chosen for a comparison."""

    label: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^[A-Za-z0-9._ -]*$",
            description="printed on the report; no patient identifiers, please",
        ),
    ] = ""
    ignore_differences: Annotated[
        bool, Field(description="go on where a check says that the visits cannot be compared")
    ] = False


class ComparisonRequest(ComparisonChoices):
    """Two jobs to compare."""

    first: Annotated[UUID, Field(description="job of the earlier visit, successful")]
    second: Annotated[UUID, Field(description="job of the later visit, successful")]


class ComparisonDocument(Message):
    """A comparison as it stands; times are UTC."""

    id: UUID
    state: Annotated[
        ComparisonState,
        Field(strict=False, description="waiting: until the jobs of both visits have ended"),
    ]
    first: Annotated[UUID, Field(description="job of the earlier visit")]
    second: Annotated[UUID, Field(description="job of the later visit")]
    label: str
    attempts: int
    created: datetime
    updated: datetime
    finished: datetime | None = None
    error: Annotated[JobFailure | None, Field(description="why it failed")] = None
    totals: Annotated[ChangeTotals | None, Field(description="once successful")] = None
    artefacts: Annotated[
        tuple[ArtefactDocument, ...], Field(description="comparison.json and all other files")
    ] = ()
    href: str


class ComparisonPage(Message):
    """One page of comparisons, newest first."""

    comparisons: tuple[ComparisonDocument, ...]
    next: NextPage
