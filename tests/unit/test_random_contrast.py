"""What synthesised images show besides lesions."""

import numpy as np
import pytest
from scipy import ndimage

from dlb_core.synthesis import random_contrast
from dlb_core.synthesis.fields import Array
from dlb_core.synthesis.lesion_placement import transplant

SHAPE = (40, 40, 40)
SEEDS = range(12)


@pytest.fixture
def tissues() -> Array:
    """Fluid, grey and white matter in layers across the first axis."""
    tissues = np.zeros((3, *SHAPE), dtype=np.float32)
    tissues[0, :8] = tissues[1, 8:14] = tissues[2, 14:34] = tissues[0, 34:] = 1
    return tissues


@pytest.mark.parametrize("structure", ["lining", "seams"])
def test_what_is_bright_and_no_lesion_is_thin(tissues: Array, structure: str) -> None:
    """Thick bright regions in white matter are lesions: none may be painted as healthy."""
    csf, grey, white = tissues
    painted = [
        random_contrast._lining(np.random.default_rng(seed), csf, grey + white)
        if structure == "lining"
        else random_contrast._seams(np.random.default_rng(seed), tissues)
        for seed in SEEDS
    ]

    brightest = np.max(painted, axis=(0, 2, 3))
    assert brightest.max() > 0.25
    assert (brightest[18:29] < 0.02).all()


def test_noise_is_stronger_in_some_places_than_in_others() -> None:
    """A network that knows even noise alone takes a noisy brain stem for lesions."""
    levels = [random_contrast.uneven_noise_level(np.random.default_rng(s), SHAPE) for s in SEEDS]

    spread = [level.max() / level.min() for level in levels]
    assert max(spread) > 3
    assert min(spread) < 2


def test_lesions_grow_into_one_another_in_some_samples() -> None:
    """Most donors have few small lesions; patients with many have confluent ones."""
    donor = np.zeros(SHAPE, dtype=np.uint8)
    donor[10:16, 18:22, 18:22] = donor[24:30, 18:22, 18:22] = 1
    white = np.ones(SHAPE, dtype=np.float32)
    white[:, :12] = 0

    masks = [transplant(np.random.default_rng(seed), [donor], white).mask for seed in range(100)]

    grown = [mask for mask in masks if mask.sum() > 1.5 * donor.sum()]
    assert 3 <= len(grown) <= 20
    assert any(ndimage.label(mask)[1] == 1 for mask in grown)
    assert all((mask[donor > 0]).mean() > 0.9 for mask in masks)
    assert not any(mask[:, :10].any() for mask in masks)
