"""Two results of one person to one comparison: stations in order, each in its module."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core import __version__
from dlb_core.contracts import StopCallback
from dlb_core.errors import Cancelled
from dlb_core.lesions import Labels
from dlb_core.longitudinal import evidence as evidences
from dlb_core.longitudinal.changes import CHANGED, ReportedVisit, measure_changes
from dlb_core.longitudinal.document import (
    ChangeRules,
    ChangeStatus,
    ChangeTotals,
    ComparedVisit,
    Comparison,
    LesionChange,
)
from dlb_core.longitudinal.evidence import Evidence, weigh
from dlb_core.longitudinal.fusion import Joint, decide_together
from dlb_core.longitudinal.gates import check_images, check_records
from dlb_core.longitudinal.intensity import Array, Pair, make_comparable
from dlb_core.longitudinal.limits import (
    FLOOR_MM3,
    MODEL_SHA256,
    PER_SURFACE,
    smallest_detectable_total_mm3,
)
from dlb_core.longitudinal.matching import OVERLAP, match_lesions
from dlb_core.longitudinal.rules import require_comparable
from dlb_core.longitudinal.space import HALF_WAY_GRID, HalfWay, meet_half_way
from dlb_core.longitudinal.visit import Visit, interval_days, read_visit
from dlb_core.preprocessing.steps import never
from dlb_core.provenance import utc_now
from dlb_core.resampling import Order, resample
from dlb_core.template import MNI_GRID
from dlb_core.tissue import MM3_PER_ML
from dlb_core.volume import Affine, Mask, Volume

StepCallback = Callable[[str], None]
"""Told in a word what comes next."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A comparison with its arrays, all on the half-way grid."""

    comparison: Comparison
    visits: tuple[Visit, Visit]
    halfway: HalfWay
    pair: Pair
    evidence: Evidence
    joint: Joint
    groups: Labels
    """Numbers of `comparison.lesions`."""


def compare_visits(
    first: Path,
    second: Path,
    *,
    label: str = "",
    ignore_differences: bool = False,
    on_step: StepCallback = lambda _: None,
    should_stop: StopCallback = never,
) -> Compared:
    """Compare two visits of one person.

    Parameters
    ----------
    first, second : Path
        Folders that `segment_case` wrote, the earlier visit first.
    label : str
        Printed on the report.
    ignore_differences : bool
        Go on although a check says that the visits cannot be compared.
    on_step : callable
    should_stop : callable
        Asked between steps.

    Raises
    ------
    InputError
        A folder holds no result, or the two cannot be compared.
    StageFailed
        The registration diverged.
    Cancelled
        `should_stop` said so.
    """

    def enter(step: str) -> None:
        if should_stop():
            raise Cancelled("The comparison was cancelled.")
        on_step(step)

    enter("reading")
    visits = read_visit(first, name="first"), read_visit(second, name="second")
    checks = check_records(*visits)
    if not ignore_differences:
        require_comparable(checks)
    enter("registration")
    halfway = meet_half_way(
        visits[0].flair,
        visits[0].flair_brain,
        visits[1].flair,
        visits[1].flair_brain,
        to_mni=(visits[0].flair_to_mni, visits[1].flair_to_mni),
    )
    enter("normalisation")
    brains = _brains(visits, halfway)
    brain = brains[0] & brains[1]
    pair = _pair(visits, halfway, brain)
    evidence = weigh(pair)
    checks += check_images(
        disagreement_mm=halfway.disagreement_mm,
        brain_dice=2 * float(brain.sum()) / max(1.0, float(brains[0].sum() + brains[1].sum())),
        field_sd=pair.field_sd,
        noise=evidence.flat_noise,
    )
    if not ignore_differences:
        require_comparable(checks)
    enter("matching")
    minimum = max(visit.report.options.minimum_lesion_mm3 for visit in visits)
    votes = [
        _from_mni(visit.agreement, to_half, visit) for visit, to_half in _each(visits, halfway)
    ]
    joint = decide_together(votes[0], votes[1], evidence, brain, minimum_voxels=minimum)
    reported = _reported(visits, halfway)
    measured = measure_changes(
        match_lesions(joint.first_labels, joint.second_labels),
        joint,
        evidence,
        visits=reported,
        grid=HALF_WAY_GRID,
    )
    comparison = Comparison(
        label=label or visits[1].report.label,
        created=utc_now(),
        software_version=__version__,
        first=_compared(visits[0], reported[0], joint.first_labels, measured.groups),
        second=_compared(visits[1], reported[1], joint.second_labels, measured.groups),
        interval_days=interval_days(*visits),
        registration_disagreement_mm=round(halfway.disagreement_mm, 4),
        flair_noise=round(evidence.flat_noise, 4),
        totals=sum_up_changes(measured.changes),
        lesions=measured.changes,
        quality=checks,
        rules=_rules(minimum),
    )
    return Compared(comparison, visits, halfway, pair, evidence, joint, measured.groups)


def sum_up_changes(changes: tuple[LesionChange, ...]) -> ChangeTotals:
    """Count what became of the lesions, and sum their volumes."""
    counts = {
        status.value: sum(change.status is status for change in changes) for status in ChangeStatus
    }
    counted = [change for change in changes if change.status in CHANGED]
    limits = (change.smallest_detectable_mm3 for change in changes)
    return ChangeTotals(
        **counts,
        gained_ml=sum(change.gained_mm3 for change in counted) / MM3_PER_ML,
        lost_ml=sum(change.lost_mm3 for change in counted) / MM3_PER_ML,
        change_ml=sum(change.change_mm3 for change in changes) / MM3_PER_ML,
        smallest_detectable_ml=smallest_detectable_total_mm3(limits) / MM3_PER_ML,
    )


def _each(visits: tuple[Visit, Visit], halfway: HalfWay) -> list[tuple[Visit, Affine]]:
    return list(zip(visits, (halfway.first, halfway.second), strict=True))


def _brains(visits: tuple[Visit, Visit], halfway: HalfWay) -> list[Mask]:
    masks = []
    for visit, to_half in _each(visits, halfway):
        brain = Volume(visit.flair_brain.astype(np.float32), visit.flair.affine)
        masks.append(resample(brain, HALF_WAY_GRID, to_half) >= 0.5)
    return masks


def _pair(visits: tuple[Visit, Visit], halfway: HalfWay, brain: Mask) -> Pair:
    flairs, levels, voxels = [], [], []
    for visit, to_half in _each(visits, halfway):
        flairs.append(np.maximum(resample(visit.flair, HALF_WAY_GRID, to_half, order=3), 0))
        levels.append(_from_mni(visit.preprocessed, to_half, visit))
        voxels.append((np.linalg.inv(HALF_WAY_GRID.affine) @ to_half @ visit.flair.affine)[:3, :3])
    return make_comparable(
        (flairs[0], flairs[1]), (levels[0], levels[1]), brain, voxels=(voxels[0], voxels[1])
    )


def _from_mni(data: NDArray[Any], to_half: Affine, visit: Visit, *, order: Order = 1) -> Array:
    to_mni = to_half @ np.linalg.inv(visit.flair_to_mni)
    return resample(Volume(data, MNI_GRID.affine), HALF_WAY_GRID, to_mni, order=order)


def _reported(visits: tuple[Visit, Visit], halfway: HalfWay) -> tuple[ReportedVisit, ReportedVisit]:
    first, second = (
        ReportedVisit(
            visit.report.lesions,
            np.rint(_from_mni(visit.labels, to_half, visit, order=0)).astype(np.int32),
            to_half,
            visit.flair_grid,
        )
        for visit, to_half in _each(visits, halfway)
    )
    return first, second


def _compared(
    visit: Visit, reported: ReportedVisit, labels: Labels, groups: Labels
) -> ComparedVisit:
    kept = np.unique(reported.labels[groups > 0])
    flair = visit.input("FLAIR")
    return ComparedVisit(
        label=visit.report.label,
        created=visit.report.created,
        scan_date=visit.report.scan_date,
        model=visit.report.model,
        flair_sha256=flair.sha256,
        flair_voxel_mm=flair.voxel_sizes_mm,
        lesion_count=visit.report.totals.lesion_count,
        lesion_volume_ml=visit.report.totals.lesion_volume_ml,
        joint_lesion_volume_ml=float((labels > 0).sum()) * HALF_WAY_GRID.voxel_mm3 / MM3_PER_ML,
        seen_once_count=visit.report.totals.lesion_count - int((kept > 0).sum()),
        flair_to_halfway=reported.flair_to_halfway.tolist(),
    )


def _rules(minimum_mm3: float) -> ChangeRules:
    return ChangeRules(
        certain_z=evidences.CERTAIN_Z,
        doubtful_z=evidences.DOUBTFUL_Z,
        certain_contrast=evidences.CERTAIN_CONTRAST,
        doubtful_contrast=evidences.DOUBTFUL_CONTRAST,
        overlap=OVERLAP,
        minimum_lesion_mm3=minimum_mm3,
        limit_floor_mm3=FLOOR_MM3,
        limit_per_surface=PER_SURFACE,
        limits_of_model_sha256=MODEL_SHA256,
    )
