"""The shape of what a comparison says: page and PDF are laid out from this alone."""

from dataclasses import dataclass

from dlb_core.report.content import CheckRow, Column, Fact, Section
from dlb_core.report.document import CheckStatus


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


@dataclass(frozen=True, slots=True)
class ChangeContent:
    """Everything a comparison says."""

    kicker: str
    title: str
    identity: tuple[Fact, ...]
    research_title: str
    research: str
    headline: str
    summary: str
    key_figures: tuple[Fact, ...]
    quality_status: CheckStatus
    quality_symbol: str
    quality_headline: str
    nothing: tuple[str, ...]
    """Paragraphs that say that nothing changed."""
    fates: Section
    fate_columns: tuple[str, ...]
    fate_rows: tuple[FateRow, ...]
    slices: Section
    pictures: tuple[str, str, str]
    """What the three pictures of a row are."""
    largest: Section
    lesions: Section
    columns: tuple[Column, ...]
    rows: tuple[ChangeRow, ...]
    quality: Section
    check_columns: tuple[str, ...]
    checks: tuple[CheckRow, ...]
    method: Section
    method_paragraphs: tuple[str, ...]
    limits: Section
    limit_points: tuple[str, ...]
    source: str
    fine_print: str
