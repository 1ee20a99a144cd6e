"""The shape of what a report says: page and PDF are laid out from this alone."""

from collections.abc import Callable
from dataclasses import dataclass

from dlb_core.report.document import CheckStatus


@dataclass(frozen=True, slots=True)
class Fact:
    """A value with its name, and perhaps a unit and a remark."""

    name: str
    value: str
    unit: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One location class in the class diagram."""

    name: str
    rule: str
    shade: str
    count: str
    volume_ml: str
    share: float
    """Of the fullest class's count, for the bar."""
    sides: tuple[str, ...]
    """Lesions on the right, on the left, across the midline."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the lesion table."""

    name: str
    unit: str = ""
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class SizeClass:
    """How many lesions are of one size."""

    name: str
    count: int
    volume_ml: float
    volume: str
    """In ml, in print."""
    share: float
    """Of the fullest class, for the bar."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One quality check."""

    status: CheckStatus
    word: str
    symbol: str
    title: str
    advice: str
    measured: str
    asked: str


@dataclass(frozen=True, slots=True)
class Light:
    """An outcome in a word, a shape and a sentence."""

    status: CheckStatus
    symbol: str
    text: str


@dataclass(frozen=True, slots=True)
class TraitRow:
    """One trait of the input against what is known."""

    status: CheckStatus
    symbol: str
    title: str
    measured: str
    known: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what it introduces."""

    title: str
    lead: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What every report says: of one visit, or of two compared."""

    language: str
    """BCP 47."""
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
    slices: Section
    largest: Section
    lesions: Section
    nothing: tuple[str, ...]
    """Paragraphs that say that there is nothing to tell; none where there is."""
    quality: Section
    check_columns: tuple[str, ...]
    checks: tuple[CheckRow, ...]
    method: Section
    method_paragraphs: tuple[str, ...]
    limits: Section
    limit_points: tuple[str, ...]
    source: str
    fine_print: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content(Printed):
    """Everything a report says."""

    correction: str
    """What readers changed; nothing where the result is the networks' own."""
    classes: Section
    class_columns: tuple[str, ...]
    class_rows: tuple[ClassRow, ...]
    glass: Section
    projections: Section
    scale: str
    largest_rows: tuple[str, ...]
    lesion_columns: tuple[Column, ...]
    lesion_rows: tuple[tuple[str, ...], ...]
    smaller: Callable[[int], str]
    """What is said of the lesions after the first so many; nothing where there is none."""
    size_classes: tuple[SizeClass, ...]
    trust_light: Light | None
    """Of the input; none in reports of earlier versions."""
    trust: Section
    trait_columns: tuple[str, ...]
    trait_rows: tuple[TraitRow, ...]
    robustness: Section
    robustness_columns: tuple[str, ...]
    robustness_rows: tuple[tuple[str, ...], ...]
    """Empty unless the altered runs were asked for."""
