"""Cursors: names of places in a list of what was made, newest first."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, or_

from dlb_core.errors import BadOption


class Listed(Protocol):
    """What is listed in pages."""

    @property
    def id(self) -> UUID: ...
    @property
    def created(self) -> datetime: ...


Row = TypeVar("Row", bound=Listed)
Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])


def page_query(query: Query, table: Any, *, limit: int, before: str | None) -> Query:
    """Narrow a query to one page of a table's rows, newest first, and one row more.

    Parameters
    ----------
    query : Select
    table : type
        Whose `created` and `id` order it.
    limit : int
        Rows a page, at least 1.
    before : str or None
        The cursor that came with the page before.

    Raises
    ------
    BadOption
        The cursor is not one of ours.
    """
    if before is not None:
        query = query.where(_after(before, table.created, table.id))
    return query.order_by(table.created.desc(), table.id.desc()).limit(limit + 1)


def cut_page(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], str | None]:
    """The page among the rows of a `page_query`, and the next one's cursor, if there is one."""
    page = rows[:limit]
    return page, write_cursor(page[-1]) if len(rows) > limit else None


def _after(
    cursor: str, created: ColumnElement[Any], row_id: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Condition on a row: it comes after the place that a cursor names."""
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
