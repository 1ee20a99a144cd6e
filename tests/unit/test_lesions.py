"""Lesions are counted once, ordered and measured in the right space."""

import numpy as np
import pytest

from dlb_core.errors import GridMismatch
from dlb_core.lesions import label_lesions, measure_lesions, remove_small, totals
from dlb_core.report.document import Lesion
from dlb_core.volume import Grid

MNI_AFFINE = np.array([[1.0, 0, 0, -90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])
IDENTITY = np.eye(4)


def affine(scales: tuple[float, float, float], offset: tuple[float, float, float]) -> np.ndarray:
    matrix = np.diag([*scales, 1.0])
    matrix[:3, 3] = offset
    return matrix


def measure(labels: np.ndarray, **changes: object) -> tuple[Lesion, ...]:
    """Measure with a perfect model in an MNI-like native space, except for `changes`."""
    grid = Grid((20, 20, 20), MNI_AFFINE)
    given = {
        "probability": (labels > 0).astype(np.float32),
        "votes": (labels > 0).astype(np.uint8),
        "coverage": np.ones(labels.shape, np.uint8),
        "mni_affine": MNI_AFFINE,
        "t1w_to_mni": IDENTITY,
        "flair_to_mni": IDENTITY,
        "native_t1w": grid,
        "native_flair": grid,
    } | changes
    return measure_lesions(labels, **given)


@pytest.mark.parametrize("step", [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_voxels_that_touch_in_any_way_are_one_lesion(step: tuple[int, int, int]) -> None:
    """Counts must not depend on how a lesion's border runs through the lattice."""
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[1, 1, 1] = True
    mask[tuple(1 + s for s in step)] = True

    assert label_lesions(mask).max() == 1


def test_voxels_with_a_gap_between_them_are_two_lesions() -> None:
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[0, 0, 0] = mask[2, 0, 0] = True

    assert label_lesions(mask).max() == 2


def test_lesions_are_numbered_by_size_then_by_place() -> None:
    """The table's order and the label map must agree, and repeat on every machine."""
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[0, 0, 0] = True
    mask[4, 4, 4:7] = True
    mask[8, 0, 0] = True

    labels = label_lesions(mask)

    assert labels.dtype == np.int32
    assert labels[4, 4, 5] == 1
    assert labels[0, 0, 0] == 2
    assert labels[8, 0, 0] == 3


def test_an_empty_mask_has_no_lesions() -> None:
    labels = label_lesions(np.zeros((4, 4, 4), dtype=bool))

    assert not labels.any()
    assert measure(labels) == ()


def test_a_lesion_of_exactly_the_minimum_is_kept() -> None:
    """`minimum` is the smallest volume kept, not the largest dropped."""
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[0, 0, 0:2] = True
    mask[5, 5, 5:8] = True

    kept = remove_small(mask, minimum_mm3=3.0, voxel_mm3=1.0)

    assert kept.sum() == 3
    assert kept[5, 5, 5:8].all()


def test_the_minimum_is_a_volume_not_a_number_of_voxels() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[0, 0, 0:2] = True

    assert remove_small(mask, minimum_mm3=3.0, voxel_mm3=1.5).sum() == 2
    assert remove_small(mask, minimum_mm3=3.0, voxel_mm3=1.4).sum() == 0


def test_a_minimum_of_zero_keeps_every_lesion_and_no_background() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1, 1, 1] = True

    np.testing.assert_array_equal(remove_small(mask, 0.0, 1.0), mask)


def test_volumes_are_the_patients_own() -> None:
    """A small brain is enlarged to the template's size; its lesions must not grow with it."""
    labels = np.zeros((20, 20, 20), np.int32)
    labels[4:6, 4:6, 4:6] = 1

    (lesion,) = measure(labels, t1w_to_mni=affine((2, 1, 1), (0, 0, 0)))

    assert lesion.mni_volume_mm3 == 8
    assert lesion.volume_mm3 == 4


def test_a_mirroring_affine_does_not_make_volumes_negative() -> None:
    labels = np.zeros((20, 20, 20), np.int32)
    labels[4, 4, 4] = 1

    (lesion,) = measure(labels, t1w_to_mni=affine((-1, 1, 1), (0, 0, 0)))

    assert lesion.volume_mm3 == 1


def test_centroids_are_given_in_mni_mm_and_in_voxels_of_both_files() -> None:
    """They are what a reader types into a viewer; a swapped direction would point elsewhere."""
    labels = np.zeros((20, 20, 20), np.int32)
    labels[10, 4, 6:9] = 1
    t1w = Grid((10, 10, 10), affine((2, 2, 2), (-100, -130, -80)))
    flair = Grid((10, 10, 10), affine((-1, 1, 3), (0, -130, -80)))

    (lesion,) = measure(
        labels,
        native_t1w=t1w,
        native_flair=flair,
        flair_to_mni=affine((1, 1, 1), (0, 0, 5)),  # FLAIR world + 5 mm in z = MNI.
    )

    assert lesion.centroid_mni_mm == (-80, -122, -65)
    assert lesion.centroid_t1w_voxel == (10, 4, 7.5)
    assert lesion.centroid_flair_voxel == (80, 8, 3.33)


def test_probability_and_agreement_are_means_over_the_lesion() -> None:
    labels = np.zeros((20, 20, 20), np.int32)
    labels[5, 5, 5:7] = 1
    probability = np.zeros(labels.shape, np.float32)
    probability[5, 5, 5:7] = (0.5, 1.0)
    votes = np.zeros(labels.shape, np.uint8)
    votes[5, 5, 5:7] = (2, 30)
    coverage = np.full(labels.shape, 30, np.uint8)
    coverage[5, 5, 5] = 4

    (lesion,) = measure(labels, probability=probability, votes=votes, coverage=coverage)

    assert lesion.mean_probability == pytest.approx(0.75)
    assert lesion.agreement == pytest.approx(0.75)


def test_arrays_of_another_grid_are_refused() -> None:
    labels = np.zeros((20, 20, 20), np.int32)

    with pytest.raises(GridMismatch, match="MNI grid"):
        measure(labels, votes=np.zeros((20, 20, 21), np.uint8))


def test_totals_are_the_sums_of_the_table_in_the_patients_space() -> None:
    labels = np.zeros((20, 20, 20), np.int32)
    labels[0:2, 0:5, 0:5] = 1
    labels[10, 10, 10] = 2
    brain = np.ones(labels.shape, dtype=bool)
    doubled = affine((2, 1, 1), (0, 0, 0))

    case = totals(
        measure(labels, t1w_to_mni=doubled), brain, mni_affine=MNI_AFFINE, t1w_to_mni=doubled
    )

    assert case.lesion_count == 2
    assert case.lesion_volume_ml == pytest.approx(0.0255)
    assert case.brain_volume_ml == pytest.approx(4.0)
    assert case.lesion_load_percent == pytest.approx(0.6375)


def test_an_empty_brain_mask_has_a_lesion_load_of_zero() -> None:
    empty = np.zeros((3, 3, 3), dtype=bool)

    case = totals((), empty, mni_affine=MNI_AFFINE, t1w_to_mni=IDENTITY)

    assert case.brain_volume_ml == 0
    assert case.lesion_load_percent == 0
