"""What the report says in words: numbers with their units, and the sentences built from them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dlb_core.contracts import InputState
from dlb_core.report.document import (
    CheckStatus,
    Lesion,
    Location,
    LocationRules,
    QualityCheck,
    Report,
)

SIZE_CLASSES = (
    (0.0, 10.0, "under 10"),
    (10.0, 100.0, "10 to 100"),
    (100.0, 1000.0, "100 to 1000"),
    (1000.0, float("inf"), "1000 and more"),
)
"""mm3."""

STATUS_WORDS = {
    CheckStatus.PASS: "Passed",
    CheckStatus.WARN: "Warning",
    CheckStatus.FAIL: "Failed",
}
STATUS_SYMBOLS = {CheckStatus.PASS: "✓", CheckStatus.WARN: "!", CheckStatus.FAIL: "✕"}
"""Shapes, so that nobody depends on colours."""

LOCATION_NAMES = {
    Location.PERIVENTRICULAR: "periventricular",
    Location.JUXTACORTICAL: "juxtacortical or cortical",
    Location.INFRATENTORIAL: "infratentorial",
    Location.DEEP_WHITE_MATTER: "deep white matter",
}

SHORT_NAMES = LOCATION_NAMES | {Location.JUXTACORTICAL: "juxtacortical"}
PHRASES = LOCATION_NAMES | {Location.DEEP_WHITE_MATTER: "in deep white matter"}

INPUT_STATES = {InputState.RAW: "raw", InputState.SKULL_STRIPPED: "already skull-stripped"}


@dataclass(frozen=True, slots=True)
class SizeClass:
    """How many lesions are of one size."""

    name: str
    count: int
    volume_ml: float
    share: float
    """Of the fullest class, for the bar."""

    @property
    def volume(self) -> str:
        """In ml, in print."""
        return number(self.volume_ml, 2)


def number(value: float, digits: int = 0) -> str:
    """A number with thin spaces between thousands, a true minus, and no minus before zero."""
    text = f"{round(value, digits) + 0.0:,.{digits}f}"
    return text.replace(",", "\u202f").replace("-", "−")


def millilitres(value: float) -> str:
    """A volume with as many digits as it deserves."""
    return hundredths(value) if value < 1 else number(value, 1)


def hundredths(value: float) -> str:
    """A number to the hundredth, and never a nought for what is there."""
    return "< 0.01" if 0 < value < 0.005 else number(value, 2)


def cubic_millimetres(value: float) -> str:
    """A lesion's volume."""
    return number(value) if value >= 10 else number(value, 1)


def volume(mm3: float) -> str:
    """A lesion's volume with its unit: in ml, unless there is too little to say it so."""
    return f"{cubic_millimetres(mm3)} mm³" if mm3 < 5 else f"{millilitres(mm3 / 1000)} ml"


def measured(value: float) -> str:
    """A quality check's value: three digits that count."""
    return number(value) if abs(value) >= 100 else f"{value:.3g}".replace("-", "−")


def typeset(text: str) -> str:
    """A quality check's words, written with plain signs, in those of print."""
    return re.sub(r"(?<=\w)'(?=\w)", "’", text.replace(">=", "≥").replace("<=", "≤"))


def point(values: Sequence[float], digits: int) -> str:
    """Coordinates side by side."""
    return ", ".join(number(value, digits) for value in values)


def moment(created: str) -> str:
    """A UTC time as a reader writes it; left as it is when it is no ISO time."""
    return ", ".join(filter(None, day_and_time(created)))


def day_and_time(created: str) -> tuple[str, str]:
    """The same in its two parts; the second one is empty when it is no ISO time."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        return created, ""
    time = time.astimezone(UTC) if time.tzinfo else time
    return f"{time.day} {time:%B %Y}", f"{time:%H:%M} UTC"


def location_rules(rules: LocationRules) -> dict[Location, str]:
    """The declared rules, a line each."""
    return {
        Location.PERIVENTRICULAR: "comes within "
        f"{measured(rules.periventricular_mm)} mm of a lateral ventricle",
        Location.JUXTACORTICAL: "else: comes within "
        f"{measured(rules.juxtacortical_mm)} mm of the cerebral cortex",
        Location.INFRATENTORIAL: f"first: {number(100 * rules.infratentorial_share)} % or more in "
        "or near brainstem, cerebellum",
        Location.DEEP_WHITE_MATTER: "everything else, deep grey matter too",
    }


def headline(report: Report) -> str:
    """The result in one line."""
    count = report.totals.lesion_count
    if count == 0:
        return "No lesion left" if report.corrections else "No lesion found"
    if count == 1:
        return f"1 lesion, {volume(report.lesions[0].volume_mm3)}"
    return f"{number(count)} lesions, {millilitres(report.totals.lesion_volume_ml)} ml in all"


def summary(report: Report) -> str:
    """The result in a sentence or two."""
    totals = report.totals
    brain = f"a brain of {number(totals.brain_volume_ml)} ml"
    if totals.lesion_count == 0 and report.corrections:
        return f"In {brain} the reader’s mask marks no lesion."
    if totals.lesion_count == 0:
        return (
            f"In {brain} the networks marked no lesion of at least "
            f"{measured(report.options.minimum_lesion_mm3)} mm³. This does not exclude smaller, "
            "cortical or spinal lesions."
        )
    largest = volume(report.lesions[0].volume_mm3)
    load = f"{hundredths(totals.lesion_load_percent)} % of {brain}".replace("< ", "less than ")
    if totals.lesion_count == 1:
        where = PHRASES[report.lesions[0].location]
        return f"The lesion measures {largest} and takes up {load}. It is {where}."
    return f"Together they take up {load}. The largest measures {largest}. {_by_location(report)}"


def _by_location(report: Report) -> str:
    """Counts of the classes that occur, the fullest first."""
    found = sorted(
        (item for item in report.locations if item.lesion_count),
        key=lambda item: -item.lesion_count,
    )
    parts = [f"{number(item.lesion_count)} {PHRASES[item.location]}" for item in found]
    if not parts:
        return ""
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"By place: {listed}."


def quality_headline(checks: Sequence[QualityCheck]) -> tuple[CheckStatus, str]:
    """The worst outcome of all checks, and the count in words."""
    failed = sum(check.status is CheckStatus.FAIL for check in checks)
    warned = sum(check.status is CheckStatus.WARN for check in checks)
    if failed:
        return CheckStatus.FAIL, f"{failed} of {len(checks)} quality checks failed"
    if warned:
        return CheckStatus.WARN, f"{warned} of {len(checks)} quality checks ask for attention"
    if not checks:
        return CheckStatus.WARN, "No quality check was made"
    return CheckStatus.PASS, f"All {len(checks)} quality checks passed"


def smaller(lesions: Sequence[Lesion], printed: int) -> str:
    """What a table that holds the first so many lesions says of the others."""
    rest = [lesion.volume_mm3 for lesion in lesions[printed:]]
    if not rest:
        return ""
    others = "1 smaller one" if len(rest) == 1 else f"{number(len(rest))} smaller ones"
    together = f", {hundredths(sum(rest) / 1000)} ml together" if len(rest) > 1 else ""
    return (
        f"And {others}, {cubic_millimetres(rest[0])} mm³ or less{together}: all are in lesions.csv."
    )


def size_classes(lesions: Sequence[Lesion]) -> tuple[SizeClass, ...]:
    """Lesions sorted into classes of volume."""
    groups = [
        (name, [lesion.volume_mm3 for lesion in lesions if low <= lesion.volume_mm3 < high])
        for low, high, name in SIZE_CLASSES
    ]
    fullest = max(1, *(len(volumes) for _, volumes in groups))
    return tuple(
        SizeClass(
            name=name,
            count=len(volumes),
            volume_ml=sum(volumes) / 1000,
            share=len(volumes) / fullest,
        )
        for name, volumes in groups
    )
