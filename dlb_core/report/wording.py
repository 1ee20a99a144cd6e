"""What the report says in words: numbers with their units, and the sentences built from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dlb_core.contracts import InputState
from dlb_core.report.document import CheckStatus, Lesion, QualityCheck, Report

MIDLINE_MM = 4.0
"""A centroid nearer than this to the mid-sagittal plane is called midline."""

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

INPUT_STATES = {InputState.RAW: "raw", InputState.SKULL_STRIPPED: "already skull-stripped"}


@dataclass(frozen=True, slots=True)
class SizeClass:
    """How many lesions are of one size."""

    name: str
    count: int
    volume_ml: float
    share: float
    """Of the fullest class, for the bar."""


def number(value: float, digits: int = 0) -> str:
    """A number with thin spaces between thousands, a true minus, and no minus before zero."""
    text = f"{round(value, digits) + 0.0:,.{digits}f}"
    return text.replace(",", "\u202f").replace("-", "−")


def millilitres(value: float) -> str:
    """A volume with as many digits as it deserves."""
    return number(value, 2 if value < 1 else 1)


def measured(value: float) -> str:
    """A quality check's value: three digits that count."""
    return number(value) if abs(value) >= 100 else f"{value:.3g}".replace("-", "−")


def asked(threshold: str) -> str:
    """A quality check's threshold in typeset signs."""
    return threshold.replace(">=", "≥").replace("<=", "≤")


def point(values: Sequence[float], digits: int) -> str:
    """Coordinates side by side."""
    return ", ".join(number(value, digits) for value in values)


def moment(created: str) -> str:
    """A UTC time as a reader writes it; left as it is when it is no ISO time."""
    try:
        time = datetime.fromisoformat(created)
    except ValueError:
        return created
    time = time.astimezone(UTC) if time.tzinfo else time
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def side(lesion: Lesion) -> str:
    """The hemisphere of a lesion's centroid."""
    x = lesion.centroid_mni_mm[0]
    if abs(x) < MIDLINE_MM:
        return "midline"
    return "right" if x > 0 else "left"


def headline(report: Report) -> str:
    """The result in one line."""
    count = report.totals.lesion_count
    if count == 0:
        return "No lesion found"
    volume = millilitres(report.totals.lesion_volume_ml)
    return f"{number(count)} {'lesion' if count == 1 else 'lesions'}, {volume} ml in all"


def summary(report: Report) -> str:
    """The result in a sentence or two."""
    totals = report.totals
    brain = f"a brain of {number(totals.brain_volume_ml)} ml"
    if totals.lesion_count == 0:
        return (
            f"In {brain} the networks marked no lesion of at least "
            f"{measured(report.options.minimum_lesion_mm3)} mm³. This does not exclude smaller, "
            "cortical or spinal lesions."
        )
    largest = millilitres(report.lesions[0].volume_mm3 / 1000)
    load = f"{number(totals.lesion_load_percent, 2)} % of {brain}"
    if totals.lesion_count == 1:
        return f"The lesion measures {largest} ml and takes up {load}."
    return f"Together they take up {load}. The largest measures {largest} ml."


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
