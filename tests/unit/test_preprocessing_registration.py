"""Registration of brains, against transforms that are known."""

import numpy as np
import pytest

from dlb_core.preprocessing.registration import mask_overlap, register_affine, register_rigid
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Affine, Volume
from tests.unit.images import rigid, template_scan

PERSON = rigid((12, -9, 15), (20, 35, -25)) @ np.diag([1.1, 1.15, 1.05, 1.0])
"""World mm of somebody lying askew in the scanner, smaller than the template -> MNI mm."""


def _brain_points() -> np.ndarray:
    """MNI mm of a few thousand brain voxels, homogeneous, (4, N)."""
    index = np.argwhere(load_template().brain_mask)[::1000]
    return MNI_GRID.affine @ np.c_[index, np.ones(len(index))].T


def _error_mm(found: Affine, expected: Affine, points: np.ndarray) -> float:
    """Largest distance between where two transforms send the points."""
    return float(np.linalg.norm(((found - expected) @ points)[:3], axis=0).max())


def test_a_brain_is_brought_onto_the_template() -> None:
    """Tilted, shifted and of another size: within a millimetre everywhere in the brain."""
    t1w = template_scan(PERSON)

    found = register_affine(t1w, t1w.data > 0)

    assert _error_mm(found, PERSON, np.linalg.inv(PERSON) @ _brain_points()) < 1.0


def test_the_same_brain_registers_to_the_same_bits() -> None:
    """Users of other tools count 45 lesions today and 49 tomorrow."""
    t1w = template_scan(PERSON, voxel_mm=3)

    first, second = (register_affine(t1w, t1w.data > 0) for _ in range(2))

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "flair_to_t1w",
    [rigid((2, -3, 1), (3, -2, 4)), rigid((-6, 4, 9), (80, -60, 120))],
    ids=["one session", "another frame"],
)
def test_a_flair_is_brought_onto_its_t1w(flair_to_t1w: Affine) -> None:
    """By the headers where they are right, by the brains' centres where they are not."""
    t1w = template_scan(PERSON)
    flair = template_scan(PERSON @ flair_to_t1w, flair=True)

    found = register_rigid(flair, flair.data > 0, t1w, t1w.data > 0)

    points = np.linalg.inv(PERSON @ flair_to_t1w) @ _brain_points()
    assert _error_mm(found, flair_to_t1w, points) < 0.5
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)


def test_registration_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Greedy's optimiser writes to C's standard output, where a caller's own output goes."""
    t1w = template_scan(PERSON, voxel_mm=4)

    register_affine(t1w, t1w.data > 0)

    assert capfd.readouterr() == ("", "")


def test_masks_that_coincide_after_the_transform_overlap_fully() -> None:
    """And those brought elsewhere do not overlap at all."""
    mask = np.zeros((20, 20, 20), dtype=bool)
    mask[5:10, 5:10, 5:10] = True
    volume = Volume(mask, np.eye(4))
    moved = np.roll(mask, (3, 2, 1), axis=(0, 1, 2))

    assert mask_overlap(volume, mask, volume.grid, moved, rigid(shift_mm=(3, 2, 1))) == 1
    assert mask_overlap(volume, mask, volume.grid, mask, rigid(shift_mm=(9, 0, 0))) == 0
    assert mask_overlap(volume, mask & False, volume.grid, mask & False, np.eye(4)) == 0
