"""Documents of the HTTP API about picture archives and deliveries."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field

from dlb_core.contracts import Message, Priority, SegmentationOptions
from dlb_core.dicom.wishes import NamedSeries

Uid = Annotated[
    str, Field(pattern=r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$", min_length=3, max_length=64)
]


class ArchiveList(Message):
    """The picture archives that can be named."""

    archives: tuple[str, ...]


class PullRequest(Message):
    """A study to fetch from an archive, and what to do with it."""

    study_uid: Annotated[Uid, Field(description="Study Instance UID")]
    options: SegmentationOptions = SegmentationOptions()
    priority: Annotated[Priority, Field(strict=False)] = Priority.ROUTINE
    series: Annotated[
        NamedSeries, Field(description="series to take, whatever the rules would choose")
    ] = NamedSeries()
    deliver: Annotated[
        bool, Field(description="send the results to the same archive once they are there")
    ] = False


class DeliveryState(StrEnum):
    """What has become of a delivery; apart from what has become of its job."""

    PENDING = "pending"
    """It waits for its job's success, or for its next attempt."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up after many attempts; it can be replayed."""


class DeliveryRequest(Message):
    """Where a job's DICOM results are to be sent."""

    archive: Annotated[str, Field(min_length=1, max_length=32, pattern="^[A-Za-z0-9_-]+$")]


class DeliveryAttempt(Message):
    """One time that results were sent."""

    at: datetime
    error: Annotated[str | None, Field(description="why it failed, if it did")] = None


class DeliveryDocument(Message):
    """A delivery as it stands; times are UTC."""

    id: UUID
    archive: str
    state: Annotated[DeliveryState, Field(strict=False)]
    attempts: Annotated[int, Field(ge=0, description="since it was ordered or replayed")]
    created: datetime
    delivered: datetime | None = None
    next_try: Annotated[datetime | None, Field(description="not before; null: none is due")] = None
    log: Annotated[
        tuple[DeliveryAttempt, ...], Field(description="the last attempts, oldest first")
    ] = ()


class DeliveryList(Message):
    """A job's deliveries, oldest first."""

    deliveries: tuple[DeliveryDocument, ...]
