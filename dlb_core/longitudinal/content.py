"""The shape of what a comparison says: page and PDF are laid out from this alone."""

from dataclasses import dataclass

from dlb_core.report.content import Column, Printed, Section


@dataclass(frozen=True, slots=True)
class FateRow:
    """How many lesions had one fate."""

    name: str
    rule: str
    count: str
    volume: str
    is_change: bool


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One line of the table."""

    cells: tuple[str, ...]
    is_change: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeContent(Printed):
    """Everything a comparison says."""

    fates: Section
    fate_columns: tuple[str, ...]
    fate_rows: tuple[FateRow, ...]
    pictures: tuple[str, str, str]
    """What the three pictures of a row are."""
    columns: tuple[Column, ...]
    rows: tuple[ChangeRow, ...]
