"""Noise of the scanner and of the networks is no change; what both show is."""

import numpy as np
import pytest
from scipy import ndimage

from dlb_core.longitudinal.evidence import weigh
from dlb_core.longitudinal.fusion import decide_together
from dlb_core.longitudinal.intensity import Array, Pair, blur, make_comparable
from dlb_core.volume import Mask

SHAPE = (48, 48, 48)
BRAIN = np.zeros(SHAPE, dtype=bool)
BRAIN[4:-4, 4:-4, 4:-4] = True
LESION = np.zeros(SHAPE, dtype=bool)
LESION[20:27, 20:27, 20:27] = True
VOXEL = np.diag([1.0, 1.0, 3.0])


def scan(seed: int, lesion: Mask, *, level: float = 300.0, drift: float = 0.0) -> Array:
    """A noisy brain of white matter, some fluid and perhaps a lesion."""
    rng = np.random.default_rng(seed)
    image = BRAIN.astype(np.float32)
    image[30:40, 10:16, 10:40] = 0.3
    image[lesion] = 1.5
    image += rng.normal(0, 0.04, SHAPE).astype(np.float32)
    slope = np.linspace(-drift, drift, SHAPE[0], dtype=np.float32)[:, None, None]
    return np.where(BRAIN, level * image * np.exp(slope), 0).astype(np.float32)


def pair_of(first: Array, second: Array) -> Pair:
    levels = tuple(np.where(BRAIN, image / np.median(image[BRAIN]), 0) for image in (first, second))
    return make_comparable(
        (first, second),
        (levels[0].astype(np.float32), levels[1].astype(np.float32)),
        BRAIN,
        voxels=(VOXEL, VOXEL),
    )


NOTHING = np.zeros(SHAPE, dtype=bool)


def test_a_new_lesion_is_evidence_and_noise_is_none() -> None:
    evidence = weigh(pair_of(scan(1, NOTHING), scan(2, LESION)))

    assert evidence.weight[LESION].mean() > 0.9
    far = BRAIN & ~ndimage.binary_dilation(LESION, iterations=4)
    assert (evidence.weight[far] > 0.5).mean() < 1e-4
    core = ndimage.binary_erosion(LESION, iterations=2)
    assert evidence.difference[core].mean() == pytest.approx(0.5, abs=0.1)


def test_brightness_and_sensitivity_are_no_change() -> None:
    """Scanners scale and light their images as they like."""
    same = weigh(pair_of(scan(1, LESION), scan(2, LESION, level=900, drift=0.15)))

    assert (same.weight[BRAIN] > 0.5).mean() < 1e-3
    assert np.abs(same.difference[LESION]).mean() < 0.06


def test_swapping_the_visits_swaps_the_sign() -> None:
    """Otherwise growth and shrinkage would be measured by two rules."""
    one, other = scan(1, NOTHING), scan(2, LESION)

    there, back = weigh(pair_of(one, other)), weigh(pair_of(other, one))

    np.testing.assert_allclose(there.difference, -back.difference, atol=2e-3)
    np.testing.assert_allclose(there.weight, back.weight, atol=0.06)


def test_blurring_as_a_voxel_adds_its_variance() -> None:
    """Both FLAIRs get one resolution only if each is given the other's."""
    point = np.zeros((33, 33, 33), dtype=np.float32)
    point[16, 16, 16] = 1
    tilted = np.array([[4.0, 0, 2.0], [0, 4.0, 0], [0, 0, 8.0]])

    blurred = blur(point, tilted).astype(np.float64)

    steps = np.stack(np.meshgrid(*[np.arange(33) - 16] * 3, indexing="ij"), -1).reshape(-1, 3)
    weights = blurred.ravel()
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    covariance = (steps * weights[:, None]).T @ steps
    np.testing.assert_allclose(covariance, tilted @ tilted.T / 12, atol=0.05)


def votes(mask: Mask, share: float) -> Array:
    return (share * mask).astype(np.float32)


def test_a_lesion_that_one_visits_networks_missed_is_at_both_or_neither() -> None:
    """The FLAIRs show the same: the networks' mood is no change."""
    evidence = weigh(pair_of(scan(1, LESION), scan(2, LESION)))

    joint = decide_together(votes(LESION, 0.1), votes(LESION, 1), evidence, BRAIN, minimum_voxels=3)

    assert (joint.first_labels > 0).sum() == pytest.approx(LESION.sum(), abs=2)
    assert ((joint.first_labels > 0) ^ (joint.second_labels > 0)).sum() <= 2


def test_a_lesion_that_flair_and_networks_find_new_is_new() -> None:
    evidence = weigh(pair_of(scan(1, NOTHING), scan(2, LESION)))

    joint = decide_together(votes(LESION, 0), votes(LESION, 0.8), evidence, BRAIN, minimum_voxels=3)

    assert not joint.first_labels.any()
    assert (joint.second_labels > 0).sum() == pytest.approx(LESION.sum(), rel=0.1)


def test_votes_against_the_images_are_not_believed() -> None:
    """FLAIR darkened, the votes rose: one of the two is wrong."""
    evidence = weigh(pair_of(scan(1, LESION), scan(2, NOTHING)))

    joint = decide_together(votes(LESION, 0), votes(LESION, 0.8), evidence, BRAIN, minimum_voxels=3)

    assert not joint.first_labels.any()
    assert not joint.second_labels.any()


def test_what_is_too_small_is_left_out_of_both_visits() -> None:
    """A lesion must not appear by growing past the minimum."""
    small, large = NOTHING.copy(), NOTHING.copy()
    small[20, 20, 20] = True
    large[20:22, 20:22, 20] = True
    evidence = weigh(pair_of(scan(1, NOTHING), scan(2, LESION)))

    joint = decide_together(votes(small, 1), votes(large, 1), evidence, BRAIN, minimum_voxels=5)

    assert not joint.first_labels.any()
    assert not joint.second_labels.any()
