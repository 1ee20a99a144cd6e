"""Lesions are counted once, and in order."""

import numpy as np
import pytest

from dlb_core.lesions import keep_lesions, label_lesions, linear_scale


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


def test_a_lesion_of_exactly_the_minimum_is_kept() -> None:
    """`minimum` is the smallest volume kept, not the largest dropped."""
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[0, 0, 0:2] = True
    mask[5, 5, 5:8] = True

    kept = keep_lesions(mask, mask, minimum_mm3=3.0, voxel_mm3=1.0)

    assert kept.sum() == 3
    assert kept[5, 5, 5:8].all()


def test_the_minimum_is_a_volume_not_a_number_of_voxels() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[0, 0, 0:2] = True

    assert keep_lesions(mask, mask, minimum_mm3=3.0, voxel_mm3=1.5).sum() == 2
    assert keep_lesions(mask, mask, minimum_mm3=3.0, voxel_mm3=1.4).sum() == 0


def test_a_minimum_of_zero_keeps_every_lesion_and_no_background() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1, 1, 1] = True

    np.testing.assert_array_equal(keep_lesions(mask, mask, minimum_mm3=0.0, voxel_mm3=1.0), mask)


def test_a_mirroring_affine_does_not_make_volumes_negative() -> None:
    assert linear_scale(np.diag([-2.0, 1, 1, 1])) == 2
