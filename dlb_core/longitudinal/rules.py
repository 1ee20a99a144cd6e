"""How two visits are held against each other, and what can be told before either is segmented.

Light enough for the service: nothing here reads an image.
"""

from collections.abc import Iterable
from datetime import date

from dlb_core.errors import QualityFailed
from dlb_core.report.document import CheckStatus, QualityCheck
from dlb_core.report.language import record

Sizes = tuple[float, float, float]
VOXEL_RATIO = 1.25, 2.0
"""Largest ratio of the FLAIRs' voxel sizes that passes, and that only warns."""


def require_comparable(checks: Iterable[QualityCheck]) -> None:
    """Refuse what must not be compared.

    Raises
    ------
    QualityFailed
        Names each check that failed.
    """
    failed = [check for check in checks if check.status is CheckStatus.FAIL]
    if failed:
        reasons = " ".join(f"{check.title}: {check.message}" for check in failed)
        raise QualityFailed(f"These visits cannot be compared. {reasons}")


def check_resolution(first_mm: Sizes, second_mm: Sizes) -> QualityCheck:
    """Whether two FLAIRs' voxels are alike.

    Parameters
    ----------
    first_mm, second_mm : (3,) float
        Voxel sizes, mm; in whatever order the axes lie.
    """
    sizes = sorted(first_mm), sorted(second_mm)
    ratio = max(max(a / b, b / a) for a, b in zip(*sizes, strict=True))
    return at_most(
        "resolution",
        record("FLAIR voxel sizes, largest ratio"),
        ratio,
        VOXEL_RATIO,
        _unlike_voxels(first_mm, second_mm, refused=ratio > VOXEL_RATIO[1]),
    )


def check_order(first: date | None, second: date | None) -> tuple[QualityCheck, ...]:
    """Whether the first visit was scanned first; nothing where a day is not known.

    Parameters
    ----------
    first, second : date or None
        Days of the scans.
    """
    days = days_between(first, second)
    if days is None:
        return ()
    found = check(
        "order",
        record("The first visit was scanned first"),
        float(days),
        days >= 0,
        False,
        record("0 days or more"),
        record("The first visit was scanned after the second: give them the other way round."),
        unit=record("days"),
    )
    return (found,)


def days_between(first: date | None, second: date | None) -> int | None:
    """Days from the first scan to the second; None where a day is not known."""
    return None if first is None or second is None else (second - first).days


def _unlike_voxels(first_mm: Sizes, second_mm: Sizes, *, refused: bool) -> str:
    """What is said of them; a refusal may come before anything was done to the images."""
    if not refused:
        return record(
            "The FLAIRs differ in resolution. Both were blurred to one, which hides small changes."
        )
    first, second = (" x ".join(f"{size:.3g}" for size in mm) for mm in (first_mm, second_mm))
    return record(
        "The FLAIRs' voxels ({first} and {second} mm) differ too much: small changes would be "
        "hidden. Use scans of like resolution, or ignore_differences.",
        first=first,
        second=second,
    )


def at_most(
    name: str,
    title: str,
    value: float,
    limits: tuple[float, float],
    message: str,
    *,
    unit: str = "",
) -> QualityCheck:
    asked = record("<= {good} (fail > {usable})", good=f"{limits[0]:g}", usable=f"{limits[1]:g}")
    good, usable = value <= limits[0], value <= limits[1]
    return check(name, title, round(value, 4), good, usable, asked, message, unit=unit)


def check(
    name: str,
    title: str,
    value: float | None,
    good: bool,
    usable: bool,
    asked: str,
    message: str,
    *,
    unit: str = "",
) -> QualityCheck:
    status = CheckStatus.PASS if good else CheckStatus.WARN if usable else CheckStatus.FAIL
    return QualityCheck(
        name=name,
        title=title,
        status=status,
        value=value,
        unit=unit,
        threshold=asked,
        message="" if good else message,
    )
