"""Read a batch's manifest: JSON, or a table as spreadsheets write it."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from dlb_core.documents import BatchRequest
from dlb_core.errors import BadOption

MAX_BYTES = 4 * 1024 * 1024
MAX_NAMED = 20
"""Faults that an answer names: a table of thousands may have thousands."""
TABLE = "text/csv"
_COLUMNS = ("subject", "session", "job")


def read_manifest(body: bytes, *, content_type: str, name: str) -> BatchRequest:
    """Parse a manifest.

    Parameters
    ----------
    body : bytes
    content_type : str
        `text/csv`: a table with the columns subject, session (which may be missing) and job.
        Anything else counts as JSON.
    name : str
        The batch's name, of a table; JSON holds its own.

    Raises
    ------
    BadOption
        The fields at fault are named.
    """
    is_table = content_type.partition(";")[0].strip().lower() == TABLE
    try:
        if is_table:
            manifest = BatchRequest.model_validate({"name": name, "cases": _rows(body)})
        else:
            manifest = BatchRequest.model_validate_json(body)
    except ValidationError as error:
        raise BadOption(
            "the manifest is not as its schema says", fields=_faults(error.errors())
        ) from error
    _require_unique(manifest)
    return manifest


def _rows(body: bytes) -> list[dict[str, Any]]:
    """Read a table's rows; empty lines do not count."""
    try:
        text = body.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in reader.fieldnames or ()]
        unknown, missing = set(header) - set(_COLUMNS), {"subject", "job"} - set(header)
        if unknown or missing:
            raise BadOption("the manifest's first line must be: subject,session,job")
        reader.fieldnames = header
        return [_stripped(row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadOption("the manifest is not a table in UTF-8: write it as CSV again") from error


def _stripped(row: dict[str | None, Any]) -> dict[str, Any]:
    return {
        key or "more cells than columns": value.strip() if isinstance(value, str) else value
        for key, value in row.items()
        if value is not None
    }


def _require_unique(manifest: BatchRequest) -> None:
    """Refuse a subject's visit, or a job, that stands there twice."""
    cases = manifest.cases
    twice = [
        *_repeated((case.subject, case.session) for case in cases),
        *_repeated((str(case.job),) for case in cases),
    ]
    if twice:
        raise BadOption(
            "the manifest says something twice",
            fields={" ".join(key).strip(): "stands there twice" for key in twice[:MAX_NAMED]},
        )


def _repeated(keys: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [key for key, count in Counter(keys).items() if count > 1]


def _faults(errors: Iterable[Any]) -> dict[str, str]:
    """Path of each field at fault -> what is wrong; the value itself is not repeated."""
    found = [(".".join(map(str, fault["loc"])) or "manifest", fault["msg"]) for fault in errors]
    return dict(found[:MAX_NAMED])
