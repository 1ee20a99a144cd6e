"""What became of each lesion, on phantoms whose answer is known."""

import numpy as np
import pytest

from dlb_core.lesions import label_lesions
from dlb_core.longitudinal.changes import ReportedVisit, classify, measure_changes
from dlb_core.longitudinal.compare import sum_up_changes
from dlb_core.longitudinal.document import ChangeStatus, LesionChange
from dlb_core.longitudinal.evidence import Evidence
from dlb_core.longitudinal.fusion import Joint
from dlb_core.longitudinal.matching import Group, match_lesions
from dlb_core.report.document import Confidence, Lesion, Location, Side
from dlb_core.volume import Grid, Mask

SHAPE = (40, 40, 40)
GRID = Grid(SHAPE, np.eye(4))


REPORTED = Lesion(
    id=1,
    volume_mm3=216,
    mni_volume_mm3=216,
    largest_diameter_mm=10,
    centroid_mni_mm=(0, 0, 0),
    centroid_flair_voxel=(0, 0, 0),
    centroid_t1w_voxel=(0, 0, 0),
    location=Location.JUXTACORTICAL,
    side=Side.LEFT,
    ventricle_distance_mm=9,
    cortex_distance_mm=1,
    infratentorial_share=0,
    centres=1,
    mean_probability=0.9,
    agreement=0.9,
    confidence=Confidence.HIGH,
)


def boxes(*corners: tuple[int, int, int, int]) -> Mask:
    """Cubes: corner (i, j, k) and side."""
    mask = np.zeros(SHAPE, dtype=bool)
    for i, j, k, side in corners:
        mask[i : i + side, j : j + side, k : k + side] = True
    return mask


def bridge(mask: Mask) -> Mask:
    """Join two cubes that lie along the first axis, by filling the gap of 4 x 8 x 8 voxels."""
    joined = mask.copy()
    joined[16:20, 8:16, 8:16] = True
    return joined


def changes(first: Mask, second: Mask, grid: Grid = GRID) -> tuple[LesionChange, ...]:
    """All rows, where every network votes for the mask and FLAIR brightens by 0.4."""
    joint = Joint(
        first.astype(np.float32),
        second.astype(np.float32),
        label_lesions(first),
        label_lesions(second),
    )
    difference = 0.4 * (second.astype(np.float32) - first.astype(np.float32))
    ones = np.ones(SHAPE, dtype=np.float32)
    evidence = Evidence(difference, 0.02 * ones, ones, 0.02)
    nobody = ReportedVisit((), np.zeros(SHAPE, dtype=np.int32), np.eye(4), grid)
    groups = match_lesions(joint.first_labels, joint.second_labels)
    return measure_changes(groups, joint, evidence, visits=(nobody, nobody), grid=grid).changes


PAIR = boxes((8, 8, 8, 8), (20, 8, 8, 8))


@pytest.mark.parametrize(
    ("first", "second", "status", "volumes"),
    [
        (boxes(), boxes((10, 10, 10, 8)), ChangeStatus.NEW, (0, 512)),
        (boxes((10, 10, 10, 8)), boxes(), ChangeStatus.RESOLVED, (512, 0)),
        (boxes((10, 10, 10, 6)), boxes((10, 10, 10, 9)), ChangeStatus.ENLARGING, (216, 729)),
        (boxes((10, 10, 10, 9)), boxes((10, 10, 10, 6)), ChangeStatus.SHRINKING, (729, 216)),
        (boxes((10, 10, 10, 8)), boxes((10, 10, 10, 8)), ChangeStatus.STABLE, (512, 512)),
        (boxes(), boxes((10, 10, 10, 2)), ChangeStatus.UNCONFIRMED, (0, 8)),
        (boxes((12, 12, 12, 3)), boxes((8, 8, 8, 12)), ChangeStatus.NEW, (27, 1728)),
    ],
)
def test_one_lesion(
    first: Mask, second: Mask, status: ChangeStatus, volumes: tuple[int, int]
) -> None:
    """These are the words that a reader acts on."""
    (found,) = changes(first, second)

    assert found.status is status
    assert (found.volume_first_mm3, found.volume_second_mm3) == volumes
    assert found.change_mm3 == volumes[1] - volumes[0]


def test_two_lesions_that_grow_together_have_merged() -> None:
    (found,) = changes(PAIR, bridge(PAIR))

    assert found.status is ChangeStatus.MERGED
    assert (found.parts_first, found.parts_second) == (2, 1)
    assert found.gained_mm3 == found.change_mm3 == 256


def test_a_lesion_that_falls_apart_has_split() -> None:
    (found,) = changes(bridge(PAIR), PAIR)

    assert found.status is ChangeStatus.SPLIT
    assert (found.parts_first, found.parts_second) == (1, 2)
    assert found.lost_mm3 == 256


def test_a_lesion_that_hardly_touches_another_is_another() -> None:
    """One voxel in common is no reason to call a new lesion the growth of an old one."""
    first, second = boxes((8, 8, 8, 6)), boxes((13, 13, 13, 6))

    assert match_lesions(label_lesions(first), label_lesions(second)) == (
        Group((1,), ()),
        Group((), (1,)),
    )
    assert {change.status for change in changes(first, second)} == {
        ChangeStatus.NEW,
        ChangeStatus.RESOLVED,
    }


def test_many_and_many_are_one_group() -> None:
    """A chain of overlaps must not be counted lesion by lesion."""
    first = boxes((0, 0, 0, 5), (8, 0, 0, 5))
    second = first.copy()
    second[4:9, 0:5, 0:5] = True
    labels = label_lesions(first), label_lesions(second)

    assert match_lesions(*labels) == (Group((1, 2), (1,)),)
    assert match_lesions(labels[1], labels[0]) == (Group((1,), (1, 2)),)


def test_every_lesion_is_in_exactly_one_group() -> None:
    rng = np.random.default_rng(3)
    first, second = (label_lesions(rng.random(SHAPE) > 0.93) for _ in range(2))

    groups = match_lesions(first, second)

    assert sorted(n for group in groups for n in group.first) == list(range(1, first.max() + 1))
    assert sorted(n for group in groups for n in group.second) == list(range(1, second.max() + 1))


def test_volumes_are_the_grids_mm3() -> None:
    grid = Grid(SHAPE, np.diag([2.0, 2.0, 2.0, 1.0]))

    (found,) = changes(boxes(), boxes((10, 10, 10, 4)), grid)

    assert found.volume_second_mm3 == pytest.approx(64 * 8)
    assert found.centroid_halfway_mm == (23, 23, 23)


def test_nothing_at_either_visit_is_no_row() -> None:
    assert changes(boxes(), boxes()) == ()


def test_what_changed_most_comes_first() -> None:
    first = boxes((0, 0, 0, 10), (20, 0, 0, 5))
    second = boxes((0, 0, 0, 10), (20, 0, 0, 7), (20, 20, 20, 9))

    found = changes(first, second)

    assert [change.status for change in found] == [
        ChangeStatus.NEW,
        ChangeStatus.ENLARGING,
        ChangeStatus.STABLE,
    ]
    assert [change.id for change in found] == [1, 2, 3]
    totals = sum_up_changes(found)
    assert (totals.new, totals.enlarging, totals.stable) == (1, 1, 1)
    assert totals.gained_ml == pytest.approx((729 + 343 - 125) / 1000)


def test_a_change_that_only_some_networks_see_does_not_count() -> None:
    """At three quarters of the votes the lesion may have shrunk: then nobody can say it grew."""
    status = classify(
        Group((1,), (1,)),
        volumes_mm3=(500, 700),
        gained_mm3=200,
        lost_mm3=0,
        interval_mm3=(-10, 220),
        limit_mm3=70,
    )

    assert status is ChangeStatus.STABLE


def test_a_bridge_of_a_few_voxels_merges_nothing() -> None:
    """Two lesions a voxel apart touch today and not tomorrow."""
    apart = boxes((8, 8, 8, 8), (17, 8, 8, 8))
    touching = apart.copy()
    touching[16, 10:12, 10:12] = True

    (found,) = changes(apart, touching)

    assert found.status is ChangeStatus.STABLE


def test_a_row_names_the_reports_lesions_it_overlaps() -> None:
    """A reader must find the lesion in the visits' own reports."""
    mask = boxes((10, 10, 10, 6))
    labels = mask.astype(np.int32)
    visit = ReportedVisit((REPORTED,), labels, np.eye(4), GRID)
    joint = Joint(mask.astype(np.float32), mask.astype(np.float32), labels, labels)
    zeros = np.zeros(SHAPE, dtype=np.float32)

    groups = match_lesions(labels, labels)
    measured = measure_changes(
        groups, joint, Evidence(zeros, zeros + 1, zeros, 1.0), visits=(visit, visit), grid=GRID
    )

    (found,) = measured.changes
    assert (found.lesions_first, found.lesions_second) == ((1,), (1,))
    assert (found.location, found.side) == (REPORTED.location, REPORTED.side)
    assert found.centroid_first_flair_voxel == (12.5, 12.5, 12.5)
