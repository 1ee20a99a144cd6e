"""From votes to masks on the patient's own voxels."""

import numpy as np
import pytest

from dlb_core.postprocessing import lesion_mask, native_mask
from dlb_core.template import MNI_GRID
from dlb_core.volume import Grid
from dlb_core.voting import Consensus


def _sphere(radius: float) -> np.ndarray:
    ijk = np.indices(MNI_GRID.shape)
    centre = np.reshape((70, 110, 95), (3, 1, 1, 1))
    return np.sqrt(((ijk - centre) ** 2).sum(0)) <= radius


def _consensus(mask: np.ndarray) -> Consensus:
    ones = np.ones(mask.shape, dtype=np.uint8)
    return Consensus(mask, mask.astype(np.float32), ones * mask, ones)


def _native(mm: float) -> tuple[Grid, np.ndarray]:
    """A grid of its own, half a voxel off, thick-sliced; native world -> MNI world."""
    affine = np.diag([mm, mm, 3.0, 1.0])
    affine[:3, 3] = (-90.4, -126.3, -72.2)
    to_mni = np.eye(4)
    to_mni[:3, 3] = (0.3, -0.2, 0.4)
    return Grid((int(181 / mm), int(217 / mm), 60), affine), to_mni


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_native_volume_is_the_voted_volume_at_any_threshold(threshold: float) -> None:
    """A threshold off 0.5 must not swell or shrink every lesion."""
    mask = _sphere(9)
    grid, to_mni = _native(0.8)

    native = native_mask(mask, mask.astype(np.float32), grid, to_mni, threshold=threshold)

    assert native.sum() * grid.voxel_mm3 == pytest.approx(mask.sum(), rel=0.03)


def test_on_the_same_grid_the_vote_is_kept_voxel_by_voxel() -> None:
    """Even where the mean probability says otherwise than the majority."""
    rng = np.random.default_rng(0)
    mask = rng.random(MNI_GRID.shape) > 0.7
    probability = rng.random(MNI_GRID.shape).astype(np.float32)

    native = native_mask(mask, probability, MNI_GRID, np.eye(4), threshold=0.3)

    assert np.array_equal(native, mask)


def test_small_lesions_are_judged_in_the_patients_own_space() -> None:
    """A brain stretched onto the template must not gain lesions by that."""
    mask = np.zeros(MNI_GRID.shape, dtype=bool)
    mask[50, 100, 80:84] = True
    brain = np.ones_like(mask)

    kept = lesion_mask(_consensus(mask), brain, minimum_mm3=3.0, voxel_mm3=1.0)
    dropped = lesion_mask(_consensus(mask), brain, minimum_mm3=3.0, voxel_mm3=1 / 1.5)

    assert kept.sum() == 4
    assert not dropped.any()


def test_lesions_end_at_the_brains_edge() -> None:
    """What lies outside of it is not brain."""
    brain = _sphere(6)

    mask = lesion_mask(_consensus(_sphere(9)), brain, minimum_mm3=0, voxel_mm3=1)

    assert np.array_equal(mask, brain)


def test_a_lesion_must_convince_four_fifths_of_the_networks_somewhere() -> None:
    """A bare majority's rim goes, a lesion with one convincing voxel stays whole."""
    mask = np.zeros(MNI_GRID.shape, dtype=bool)
    mask[50, 100, 80:86] = True
    mask[90, 100, 80:86] = True
    coverage = np.full(mask.shape, 10, dtype=np.uint8)
    votes = np.where(mask, 7, 0).astype(np.uint8)
    votes[90, 100, 83] = 8
    consensus = Consensus(mask, (votes / 10).astype(np.float32), votes, coverage)

    kept = lesion_mask(consensus, np.ones_like(mask), minimum_mm3=3.0, voxel_mm3=1.0)

    assert np.array_equal(np.argwhere(kept), np.argwhere(mask & (np.indices(mask.shape)[0] == 90)))
