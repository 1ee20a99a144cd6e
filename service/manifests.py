"""Read a batch's manifest: JSON, or a table as spreadsheets write it."""

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from dlb_core.documents import MAX_CASES, BatchCaseRequest, BatchRequest
from dlb_core.errors import BadOption
from service.lanes import Lane

READING = Lane("manifests", 1)
"""Threads in which manifests are parsed: each may take a hundred MB for a moment."""
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
    content = {"name": name, "cases": _rows(body)} if is_table else _parsed(body)
    _require_shape(content)
    try:
        manifest = BatchRequest.model_validate(content)
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
        return [_stripped(row) for row in islice(reader, MAX_CASES + 1)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadOption("the manifest is not a table in UTF-8: write it as CSV again") from error


def _parsed(body: bytes) -> Any:
    """Read a JSON document."""
    try:
        return from_json(body)
    except ValueError as error:
        raise BadOption("the manifest is no JSON document: write it again") from error


def _require_shape(content: Any) -> None:
    """Refuse too many cases, and names that nobody knows, before each of them is complained of.

    A complaint takes hundreds of bytes, and a manifest has room for a million things to be wrong.
    """
    if not isinstance(content, dict):
        raise BadOption("the manifest must be a JSON object with `cases`")
    _require_known(content, BatchRequest.model_fields)
    cases = content.get("cases")
    if not isinstance(cases, list):
        raise BadOption("the manifest has no list of cases", fields={"cases": "must be a list"})
    if len(cases) > MAX_CASES:
        raise BadOption(
            "the manifest has too many cases: make several batches",
            fields={"cases": f"at most {MAX_CASES}"},
        )
    for at, case in enumerate(cases):
        if isinstance(case, dict):
            _require_known(case, BatchCaseRequest.model_fields, f"cases.{at}.")


def _require_known(content: dict[str, Any], known: Collection[str], where: str = "") -> None:
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise BadOption(
            "the manifest is not as its schema says",
            fields={f"{where}{name[:64]}": "unknown" for name in unknown[:MAX_NAMED]},
        )


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
