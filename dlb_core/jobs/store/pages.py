"""Cursors: names of places in the list of jobs."""

import base64
import binascii
from datetime import UTC, datetime
from uuid import UUID

from dlb_core.errors import BadOption
from dlb_core.jobs.records import JobRecord


def write_cursor(record: JobRecord) -> str:
    """Name the place after this job."""
    text = f"{record.created.isoformat()} {record.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Read what `write_cursor` wrote.

    Raises
    ------
    BadOption
        It is not one of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text, job_id = base64.urlsafe_b64decode(padded).decode().split(" ")
        created = datetime.fromisoformat(text)
        if created.tzinfo is None:
            raise ValueError("a time without its zone")
        # The last moments of a calendar have no counterpart in another zone.
        return created.astimezone(UTC), UUID(job_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise BadOption(
            "the page cursor is not one that this service gave: start from the first page"
        ) from error
