"""Where two FLAIRs differ by more than their noise, voxel by voxel.

The noise of the difference is measured on the pair itself. It is larger at edges, where the
smallest misalignment shows, so it is measured apart for each steepness of the image. Few voxels
change between visits, and the median does not notice them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.longitudinal.intensity import Array, Pair
from dlb_core.volume import Mask

SMOOTHING = 1.0
"""Standard deviation in voxels of 1 mm, for the difference as for the steepness."""
DOUBTFUL_Z, CERTAIN_Z = 3.0, 5.0
"""Noise levels at which a difference begins to count, and counts fully."""
DOUBTFUL_CONTRAST, CERTAIN_CONTRAST = 0.05, 0.15
"""The same for its size, white matter = 1: small but certain differences are no lesions."""
_BINS = 24
_FEWEST_VOXELS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """How two FLAIRs differ."""

    difference: Array
    """Second minus first, smoothed; white matter = 1."""
    noise: Array
    """Standard deviation of `difference` where nothing changed."""
    weight: Array
    """How far `difference` counts, in [0, 1], whatever its sign."""
    flat_noise: float
    """Of even tissue."""


def weigh(pair: Pair) -> Evidence:
    """Measure the difference of a pair and its noise."""
    brain = pair.brain
    difference = _smoothed(pair.difference, brain)
    noise, flat = _noise(difference, _steepness(pair.mean, brain), brain)
    weight = ramp(np.abs(difference) / noise, DOUBTFUL_Z, CERTAIN_Z)
    weight *= ramp(np.abs(difference), DOUBTFUL_CONTRAST, CERTAIN_CONTRAST)
    return Evidence(difference, noise, np.where(brain, weight, 0).astype(np.float32), flat)


def ramp(values: NDArray[Any], low: float, high: float) -> Array:
    """0 up to `low`, 1 from `high`, straight in between."""
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def _smoothed(values: Array, brain: Mask) -> Array:
    inside = brain.astype(np.float32)
    share = ndimage.gaussian_filter(inside, SMOOTHING)
    smooth = ndimage.gaussian_filter(values * inside, SMOOTHING) / np.maximum(share, 0.3)
    return np.where(brain, smooth, 0).astype(np.float32)


def _steepness(image: Array, brain: Mask) -> Array:
    # The brain's rim is no edge in it.
    filled = np.where(brain, image, np.float32(1))
    return np.asarray(ndimage.gaussian_gradient_magnitude(filled, SMOOTHING), dtype=np.float32)


def _noise(difference: Array, steepness: Array, brain: Mask) -> tuple[Array, float]:
    """Noise of every voxel, and that of even tissue."""
    known, values = steepness[brain], np.abs(difference[brain])
    if known.size < _FEWEST_VOXELS:
        return np.ones(brain.shape, dtype=np.float32), 1.0
    edges = np.quantile(known, np.linspace(0, 1, _BINS + 1))
    bins = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, _BINS - 1)
    levels = [1.4826 * float(np.median(values[bins == n])) for n in range(_BINS)]
    # Steeper is never less noisy; and no image is free of noise.
    levels = np.maximum(np.maximum.accumulate(levels), 1e-4).tolist()
    noise = np.interp(steepness, (edges[:-1] + edges[1:]) / 2, levels)
    return noise.astype(np.float32), float(np.median(levels[: _BINS // 2]))
