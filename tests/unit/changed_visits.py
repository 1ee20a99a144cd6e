"""A comparison with a lesion of each fate that a test asks for, without registering anything."""

from collections.abc import Sequence

import numpy as np

from dlb_core.longitudinal.compare import Compared, sum_up_changes
from dlb_core.longitudinal.document import (
    ChangeRules,
    ChangeStatus,
    ComparedVisit,
    Comparison,
    LesionChange,
)
from dlb_core.longitudinal.evidence import Evidence
from dlb_core.longitudinal.fusion import Joint
from dlb_core.longitudinal.gates import check_images, check_records
from dlb_core.longitudinal.intensity import Pair
from dlb_core.longitudinal.space import HALF_WAY_GRID, HalfWay
from dlb_core.longitudinal.visit import Visit, interval_days
from dlb_core.report.document import Location, Side

RULES = ChangeRules(
    certain_z=5,
    doubtful_z=2.5,
    certain_contrast=0.1,
    doubtful_contrast=0.05,
    overlap=0.1,
    minimum_lesion_mm3=3,
    limit_floor_mm3=20,
    limit_per_surface=1,
    limits_of_model_sha256="0" * 64,
)


def compared(visits: tuple[Visit, Visit], fates: Sequence[ChangeStatus]) -> Compared:
    """Cubes along a diagonal, each of which lost a slice, unless it is new or resolved."""
    shape = HALF_WAY_GRID.shape
    first, second = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for n, fate in enumerate(fates, 1):
        box = (slice(40 + 10 * n, 48 + 10 * n), slice(60, 68), slice(40 + 10 * n, 48 + 10 * n))
        first[box] = 0 if fate is ChangeStatus.NEW else n
        second[box] = 0 if fate is ChangeStatus.RESOLVED else n
        second[40 + 10 * n] = 0
    brain = np.zeros(shape, dtype=bool)
    brain[30:150, 30:190, 30:150] = True
    image = brain.astype(np.float32)
    rows = tuple(_row(n, fate) for n, fate in enumerate(fates, 1))
    comparison = Comparison(
        label="",
        created="2026-03-12T14:05:31+00:00",
        software_version="0.1.0",
        first=_visit(visits[0]),
        second=_visit(visits[1]),
        interval_days=interval_days(*visits),
        registration_disagreement_mm=0.7,
        flair_noise=0.01,
        totals=sum_up_changes(rows),
        lesions=rows,
        quality=(
            *check_records(*visits),
            *check_images(disagreement_mm=0.7, brain_dice=0.9, field_sd=0.2, noise=0.07),
        ),
        rules=RULES,
    )
    return Compared(
        comparison,
        visits,
        HalfWay(np.eye(4), np.eye(4), 0.7),
        Pair(image, image, image, image, brain, 0.1),
        Evidence(0.1 * image, image, image, 0.01),
        Joint(image, image, first, second),
        np.maximum(first, second),
    )


def _row(number: int, fate: ChangeStatus) -> LesionChange:
    return LesionChange(
        id=number,
        status=fate,
        volume_first_mm3=512,
        volume_second_mm3=448,
        change_mm3=-64,
        change_low_mm3=-80,
        change_high_mm3=-50,
        smallest_detectable_mm3=20,
        gained_mm3=0,
        lost_mm3=64,
        flair_change=0.4,
        parts_first=1,
        parts_second=1,
        lesions_first=(number,),
        lesions_second=(number,),
        location=list(Location)[number % 4],
        side=list(Side)[number % 3],
        centroid_halfway_mm=(0, 0, 0),
        centroid_first_flair_voxel=(0, 0, 0),
        centroid_second_flair_voxel=(0, 0, 0),
    )


def _visit(visit: Visit) -> ComparedVisit:
    return ComparedVisit(
        label=visit.report.label,
        created=visit.report.created,
        scan_date=visit.report.scan_date,
        model=visit.report.model,
        flair_sha256=visit.input("FLAIR").sha256,
        flair_voxel_mm=visit.input("FLAIR").voxel_sizes_mm,
        lesion_count=3,
        lesion_volume_ml=1.2,
        joint_lesion_volume_ml=1.3,
        seen_once_count=1,
        flair_to_halfway=np.eye(4).tolist(),
    )
