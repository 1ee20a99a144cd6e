"""Cursors: names of places in a list of what was made, newest first."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, or_

from dlb_core.errors import BadOption


class Listed(Protocol):
    """What is listed in pages."""

    @property
    def id(self) -> UUID: ...
    @property
    def created(self) -> datetime: ...


def after_cursor(
    cursor: str, created: ColumnElement[Any] | Any, row_id: ColumnElement[Any] | Any
) -> ColumnElement[bool]:
    """Condition on a row: it comes after the place that a cursor names.

    Raises
    ------
    BadOption
        The cursor is not one of ours.
    """
    last_created, last_id = read_cursor(cursor)
    return or_(created < last_created, (created == last_created) & (row_id < last_id))


def write_cursor(record: Listed) -> str:
    """Name the place after this one."""
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
