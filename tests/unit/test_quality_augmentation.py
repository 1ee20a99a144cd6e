"""IQDA against scipy, which is slower and independent."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from dlb_core.training.quality_augmentation import (
    MAX_SIGMA,
    MIN_SIGMA,
    SLICE_SIZES,
    alter_quality,
    axial_mean,
    gaussian_blur,
    unsharp_mask,
)

SHAPE = (2, 2, 13, 16, 11)


@pytest.fixture
def batch() -> torch.Tensor:
    """Noise: every error of a filter shows."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=SHAPE))


@pytest.mark.parametrize("sigma", [MIN_SIGMA, 1.0, MAX_SIGMA])
def test_blur_is_scipys(batch: torch.Tensor, sigma: float) -> None:
    """Edges included."""
    expected = ndimage.gaussian_filter(batch.numpy(), (0, 0, sigma, sigma, sigma))

    assert np.allclose(gaussian_blur(batch, sigma).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("size", SLICE_SIZES)
def test_axial_mean_is_scipys(batch: torch.Tensor, size: int) -> None:
    """Even sizes lean to one side: the same one."""
    expected = ndimage.uniform_filter1d(batch.numpy(), size, axis=4)

    assert np.allclose(axial_mean(batch, size).numpy(), expected, atol=1e-7)


def test_unsharp_masking_adds_what_the_blur_takes(batch: torch.Tensor) -> None:
    """The inverse of the blur, to first order."""
    taken = batch - gaussian_blur(batch, 1.0)

    assert torch.allclose(unsharp_mask(batch, 1.0), batch + taken)


def test_every_alteration_happens_and_differs_per_item(batch: torch.Tensor) -> None:
    """One of none, blur, sharpen, axial mean; both channels alike."""
    rng = np.random.default_rng(3)
    spreads = set()
    unchanged = 0
    for _ in range(40):
        altered = alter_quality(batch, rng)
        assert altered.shape == batch.shape
        for item, original in zip(altered, batch, strict=True):
            unchanged += int(torch.equal(item, original))
            spreads.add(round(item.std().item(), 6))

    assert 5 <= unchanged <= 40
    assert max(spreads) > batch.std().item() > min(spreads)


def test_the_generator_decides_alone(batch: torch.Tensor) -> None:
    """A resumed run must draw the same alterations."""
    first, second = (alter_quality(batch, np.random.default_rng(9)) for _ in range(2))

    assert torch.equal(first, second)
