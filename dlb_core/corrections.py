"""A case's versions as others see them, and how a service asks for one.

Reading a version's record loads nothing of what makes it: `correction_process.py` does.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from dlb_core.artefacts import list_artefacts, write_text
from dlb_core.contracts import ArtefactEntry, Message
from dlb_core.report.document import Correction, Report, Totals
from dlb_core.versions import FIRST, version_folder, versions_in

RECORD = ".version.json"
"""In each version's folder but the first's: what it is, and its files' digests."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable characters, in one line")
    return text


class Reader(Message):
    """Who edited a mask, and what they say of it; printed on the report."""

    author: Annotated[str, Field(max_length=64), AfterValidator(_printable)] = ""
    note: Annotated[str, Field(max_length=500), AfterValidator(_printable)] = ""


class VersionRecord(Message):
    """One version made from an edited mask."""

    correction: Correction
    totals: Totals
    artefacts: tuple[ArtefactEntry, ...]


class CorrectionRequest(Message):
    """What a process is to make a version of."""

    results: Annotated[Path, Field(strict=False, description="folder of version 1")]
    mask: Annotated[Path, Field(strict=False)]
    reader: Reader = Reader()


class Outcome(Message):
    """What came of it: a version, or why not."""

    version: VersionRecord | None = None
    code: str = ""
    message: str = ""


def corrections_of(results: Path) -> tuple[VersionRecord, ...]:
    """The versions beside a job's own result, oldest first."""
    return tuple(
        VersionRecord.model_validate_json((version_folder(results, number) / RECORD).read_bytes())
        for number in versions_in(results)
        if number != FIRST
    )


def write_record(folder: Path, report: Report) -> None:
    """Note what a version is, once all its other files are there."""
    record = VersionRecord(
        correction=report.corrections[-1],
        totals=report.totals,
        artefacts=tuple(list_artefacts(folder)),
    )
    write_text(folder / RECORD, record.model_dump_json() + "\n")
