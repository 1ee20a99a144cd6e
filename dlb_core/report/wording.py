"""What the report says in words: numbers with their units, and the sentences built from them."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime

from dlb_core.contracts import InputState
from dlb_core.report.content import CheckRow, SizeClass
from dlb_core.report.document import (
    RESEARCH_TITLE,
    CheckStatus,
    Confidence,
    IntracranialGap,
    Lesion,
    Location,
    LocationRules,
    QualityCheck,
    Report,
    Side,
    Totals,
)
from dlb_core.report.language import mark, recorded, say, say_count, written

SIZE_CLASSES = (
    (0.0, 10.0, mark("under 10")),
    (10.0, 100.0, mark("10 to 100")),
    (100.0, 1000.0, mark("100 to 1000")),
    (1000.0, float("inf"), mark("1000 and more")),
)
"""mm3."""

STATUS_WORDS = {
    CheckStatus.PASS: mark("Passed"),
    CheckStatus.WARN: mark("Warning"),
    CheckStatus.FAIL: mark("Failed"),
}
STATUS_SYMBOLS = {CheckStatus.PASS: "✓", CheckStatus.WARN: "!", CheckStatus.FAIL: "✕"}
"""Shapes, so that nobody depends on colours."""

LOCATION_NAMES = {
    Location.PERIVENTRICULAR: mark("periventricular"),
    Location.JUXTACORTICAL: mark("juxtacortical or cortical"),
    Location.INFRATENTORIAL: mark("infratentorial"),
    Location.DEEP_WHITE_MATTER: mark("deep white matter"),
}

SHORT_NAMES = LOCATION_NAMES | {Location.JUXTACORTICAL: mark("juxtacortical")}
PHRASES = LOCATION_NAMES | {Location.DEEP_WHITE_MATTER: mark("in deep white matter")}

SIDES = {
    Side.LEFT: mark("left"),
    Side.RIGHT: mark("right"),
    Side.MIDLINE: mark("midline"),
}
CONFIDENCES = {
    Confidence.HIGH: mark("high"),
    Confidence.MODERATE: mark("moderate"),
    Confidence.LOW: mark("low"),
}
_INTRACRANIAL_GAPS = {
    IntracranialGap.SKULL_STRIPPED: mark("no intracranial volume: came stripped"),
    IntracranialGap.FIELD_OF_VIEW: mark("no intracranial volume: not all in view"),
}
INPUT_STATES = {
    InputState.RAW: mark("T1w and FLAIR, raw"),
    InputState.SKULL_STRIPPED: mark("T1w and FLAIR, already skull-stripped"),
}
MONTHS = (
    mark("January"),
    mark("February"),
    mark("March"),
    mark("April"),
    mark("May"),
    mark("June"),
    mark("July"),
    mark("August"),
    mark("September"),
    mark("October"),
    mark("November"),
    mark("December"),
)


def number(value: float, digits: int = 0) -> str:
    """A number with thin spaces between thousands, a true minus, and no minus before zero."""
    return written(f"{round(value, digits) + 0.0:,.{digits}f}")


def millilitres(value: float) -> str:
    """A volume with as many digits as it deserves."""
    return hundredths(value) if value < 1 else number(value, 1)


def hundredths(value: float) -> str:
    """A number to the hundredth, and never a nought for what is there."""
    return f"< {number(0.01, 2)}" if 0 < value < 0.005 else number(value, 2)


def cubic_millimetres(value: float) -> str:
    """A lesion's volume."""
    return number(value) if value >= 10 else number(value, 1)


def volume(mm3: float) -> str:
    """A lesion's volume with its unit: in ml, unless there is too little to say it so."""
    return f"{cubic_millimetres(mm3)} mm³" if mm3 < 5 else f"{millilitres(mm3 / 1000)} ml"


def measured(value: float) -> str:
    """A quality check's value: three digits that count."""
    return number(value) if abs(value) >= 100 else written(f"{value:.3g}")


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
    return day(time), f"{time:%H:%M} UTC"


def day(date: date) -> str:
    """A day with its month's name."""
    month = say(MONTHS[date.month - 1])
    return say("{day} {month} {year}", day=date.day, month=month, year=date.year)


def scan_day(date: date | None) -> str:
    """The day of a scan."""
    return say("not given") if date is None else day(date)


def location_rules(rules: LocationRules) -> dict[Location, str]:
    """The declared rules, a line each."""
    return {
        Location.PERIVENTRICULAR: say(
            "comes within {mm} mm of a lateral ventricle", mm=measured(rules.periventricular_mm)
        ),
        Location.JUXTACORTICAL: say(
            "else: comes within {mm} mm of the cerebral cortex", mm=measured(rules.juxtacortical_mm)
        ),
        Location.INFRATENTORIAL: say(
            "first: {percent} % or more in or near brainstem, cerebellum",
            percent=number(100 * rules.infratentorial_share),
        ),
        Location.DEEP_WHITE_MATTER: say("everything else, deep grey matter too"),
    }


def headline(report: Report) -> str:
    """The result in one line."""
    count = report.totals.lesion_count
    if count == 0:
        return say("No lesion left") if report.corrections else say("No lesion found")
    if count == 1:
        return say("1 lesion, {volume}", volume=volume(report.lesions[0].volume_mm3))
    return say_count(
        "{count} lesion, {ml} ml in all",
        "{count} lesions, {ml} ml in all",
        count,
        ml=millilitres(report.totals.lesion_volume_ml),
    )


def summary(report: Report) -> str:
    """The result in a sentence or two."""
    totals = report.totals
    space = head_volume(totals)
    if totals.lesion_count == 0 and report.corrections:
        return say("In {space} the reader’s mask marks no lesion.", space=space)
    if totals.lesion_count == 0:
        return say(
            "In {space} the networks found no lesion of at least {smallest} mm³ that convinced "
            "enough of them. This does not exclude smaller, cortical or spinal lesions.",
            space=space,
            smallest=measured(report.options.minimum_lesion_mm3),
        )
    largest = volume(report.lesions[0].volume_mm3)
    load = _load(totals.lesion_load_percent, space)
    if totals.lesion_count == 1:
        return say(
            "The lesion measures {largest} and takes up {load}. It is {where}.",
            largest=largest,
            load=load,
            where=say(PHRASES[report.lesions[0].location]),
        )
    told = say(
        "Together they take up {load}. The largest measures {largest}.", load=load, largest=largest
    )
    return f"{told} {_by_location(report)}"


def _load(percent: float, space: str) -> str:
    if 0 < percent < 0.005:
        return say("less than {percent} % of {space}", percent=number(0.01, 2), space=space)
    return say("{percent} % of {space}", percent=number(percent, 2), space=space)


def head_volume(totals: Totals) -> str:
    """The volume that lesions are a share of."""
    if totals.intracranial_volume_ml is not None:
        return say("an intracranial volume of {ml} ml", ml=number(totals.intracranial_volume_ml))
    return say("a brain mask of {ml} ml", ml=number(totals.brain_volume_ml))


def intracranial_gap(gap: IntracranialGap | None) -> str:
    """Why there is no intracranial volume; of an older report that is not known."""
    if gap is None:
        return say("with the fluid around the brain")
    return say(_INTRACRANIAL_GAPS[gap])


def _by_location(report: Report) -> str:
    """Counts of the classes that occur, the fullest first."""
    found = sorted(
        (item for item in report.locations if item.lesion_count),
        key=lambda item: -item.lesion_count,
    )
    parts = [f"{number(item.lesion_count)} {say(PHRASES[item.location])}" for item in found]
    return say("By place: {places}.", places=listed(parts)) if parts else ""


def listed(parts: Sequence[str]) -> str:
    """Several things in a row."""
    if len(parts) < 2:
        return "".join(parts)
    return say("{others} and {last}", others=", ".join(parts[:-1]), last=parts[-1])


def quality_headline(checks: Sequence[QualityCheck]) -> tuple[CheckStatus, str]:
    """The worst outcome of all checks, and the count in words."""
    failed = sum(check.status is CheckStatus.FAIL for check in checks)
    warned = sum(check.status is CheckStatus.WARN for check in checks)
    if failed:
        text = say("{failed} of {all} quality checks failed", failed=failed, all=len(checks))
        return CheckStatus.FAIL, text
    if warned:
        text = say(
            "{warned} of {all} quality checks ask for attention", warned=warned, all=len(checks)
        )
        return CheckStatus.WARN, text
    if not checks:
        return CheckStatus.WARN, say("No quality check was made")
    return CheckStatus.PASS, say("All {all} quality checks passed", all=len(checks))


def check_columns() -> tuple[str, ...]:
    """Heads of the table of checks."""
    return say("Outcome"), say("Check"), say("Measured"), say("Asked for")


def check_row(check: QualityCheck) -> CheckRow:
    """One quality check, in print."""
    value = "" if check.value is None else f"{measured(check.value)} {recorded(check.unit)}"
    return CheckRow(
        status=check.status,
        word=say(STATUS_WORDS[check.status]),
        symbol=STATUS_SYMBOLS[check.status],
        title=typeset(recorded(check.title)),
        advice=typeset(recorded(check.message)),
        measured=value.strip() or "–",
        asked=typeset(recorded(check.threshold)),
    )


def research_use(statement: str) -> str:
    """What the statement of a report.json adds to the title that stands before it."""
    return recorded(statement.removeprefix(RESEARCH_TITLE))


def smaller(lesions: Sequence[Lesion], printed: int) -> str:
    """What a table that holds the first so many lesions says of the others."""
    rest = [lesion.volume_mm3 for lesion in lesions[printed:]]
    if not rest:
        return ""
    return say_count(
        "And {count} smaller one, {largest} mm³ or less: all are in lesions.csv.",
        "And {count} smaller ones, {largest} mm³ or less, {ml} ml together: all are in "
        "lesions.csv.",
        len(rest),
        largest=cubic_millimetres(rest[0]),
        ml=hundredths(sum(rest) / 1000),
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
            name=say(name),
            count=len(volumes),
            volume_ml=sum(volumes) / 1000,
            volume=number(sum(volumes) / 1000, 2),
            share=len(volumes) / fullest,
        )
        for name, volumes in groups
    )
