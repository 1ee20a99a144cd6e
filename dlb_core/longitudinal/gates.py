"""May these two visits be compared? What differs between them that is not the patient.

A failed check refuses the comparison unless the caller overrides it. NIfTI files name no scanner:
its stand-ins are the voxels, how unevenly the two FLAIRs are lit, and the noise of their
difference.
"""

from collections.abc import Iterator

from dlb_core.longitudinal.limits import MODEL_SHA256
from dlb_core.longitudinal.rules import at_most, check, check_order, check_resolution
from dlb_core.longitudinal.visit import Visit
from dlb_core.report.document import CheckStatus, QualityCheck
from dlb_core.report.language import record

BRAIN_CHANGE_PERCENT = 5.0, 12.0
DISAGREEMENT_MM = 0.5, 1.5
BRAIN_DICE = 0.97, 0.95
FIELD_SD = 0.15, 0.40
NOISE = 0.04, 0.08
"""Of the smoothed difference, white matter = 1."""


def check_records(first: Visit, second: Visit) -> tuple[QualityCheck, ...]:
    """What the two results' own records say."""
    return tuple(_records(first, second))


def check_images(
    *, disagreement_mm: float, brain_dice: float, field_sd: float, noise: float
) -> tuple[QualityCheck, ...]:
    """What showed when the images were brought together."""
    return (
        at_most(
            "registration",
            record("Registration there and back"),
            disagreement_mm,
            DISAGREEMENT_MM,
            record("The two visits do not align: look at the slices before trusting any change."),
            unit="mm",
        ),
        check(
            "same_head",
            record("Brains overlap (Dice)"),
            round(brain_dice, 4),
            brain_dice >= BRAIN_DICE[0],
            brain_dice >= BRAIN_DICE[1],
            record(
                ">= {good} (fail < {usable})",
                good=f"{BRAIN_DICE[0]:g}",
                usable=f"{BRAIN_DICE[1]:g}",
            ),
            record("The brains do not cover one another: are these two visits of one person?"),
        ),
        at_most(
            "sensitivity",
            record("FLAIR sensitivity, difference"),
            field_sd,
            FIELD_SD,
            record("The two FLAIRs are lit very differently, as by another scanner or coil."),
        ),
        at_most(
            "difference_noise",
            record("FLAIR difference, noise over white matter"),
            noise,
            NOISE,
            record(
                "The two FLAIRs differ everywhere, as by another scanner or sequence: small "
                "changes will be missed."
            ),
        ),
    )


def _records(first: Visit, second: Visit) -> Iterator[QualityCheck]:
    one, other = first.report.model.sha256, second.report.model.sha256
    yield check(
        "model",
        record("Same networks at both visits"),
        None,
        one == other,
        False,
        record("one digest"),
        record("The visits were segmented by different networks: segment the earlier one again."),
    )
    yield check(
        "limits",
        record("Limits of noise measured with these networks"),
        None,
        one == MODEL_SHA256,
        True,
        record("one digest"),
        record(
            "The smallest detectable change was measured with other networks: run "
            "benchmarks/bench_longitudinal.py with these."
        ),
    )
    yield from check_order(first.report.scan_date, second.report.scan_date)
    yield check_resolution(
        first.input("FLAIR").voxel_sizes_mm, second.input("FLAIR").voxel_sizes_mm
    )
    yield _protocol(first, second)
    yield check(
        "two_scans",
        record("Two different FLAIR scans"),
        None,
        first.input("FLAIR").sha256 != second.input("FLAIR").sha256,
        True,
        record("two digests"),
        record("Both visits hold the same FLAIR file."),
    )
    volumes = [visit.report.totals.brain_volume_ml for visit in (first, second)]
    yield at_most(
        "brain_volume",
        record("Volume of the brain mask, difference"),
        100 * abs(volumes[1] - volumes[0]) / max(*volumes, 1e-6),
        BRAIN_CHANGE_PERCENT,
        record(
            "The brain's volume differs by more than disease explains: are these two visits of one "
            "person, and both brains whole?"
        ),
        unit="%",
    )
    doubts = sum(
        check.status is not CheckStatus.PASS
        for visit in (first, second)
        for check in visit.report.quality
    )
    yield check(
        "single_visits",
        record("Quality checks of the single visits with a remark"),
        float(doubts),
        doubts == 0,
        True,
        record("none"),
        record("See the single visits' own reports."),
    )


def _protocol(first: Visit, second: Visit) -> QualityCheck:
    same = all(
        first.input(role).shape == second.input(role).shape
        and max(
            abs(a - b)
            for a, b in zip(
                first.input(role).voxel_sizes_mm, second.input(role).voxel_sizes_mm, strict=True
            )
        )
        < 0.01
        for role in ("T1w", "FLAIR")
    )
    return check(
        "protocol",
        record("Same matrix and voxels at both visits"),
        None,
        same,
        True,
        record("both images alike"),
        record(
            "Another protocol, perhaps another scanner: volumes of unchanged lesions may differ."
        ),
    )
