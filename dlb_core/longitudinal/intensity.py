"""Make two FLAIRs on one grid comparable: one resolution, one sensitivity, white matter at 1.

What is left of their difference is noise, edges that do not quite match, and change.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from dlb_core.volume import Affine, Mask

Array = NDArray[np.float32]

STRIDE = 4
"""Smooth fields are computed on every fourth voxel along each axis."""
FIELD_SIGMA = 12.0
"""Voxels over which sensitivity is even."""
_FIELD_ROUNDS = 3
_LEAST_SIGNAL = 0.3
"""Of white matter: fluid tells little about sensitivity."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two FLAIRs on one grid, white matter at 1."""

    first: Array
    second: Array
    """As sharp as they are, to be looked at."""
    first_matched: Array
    second_matched: Array
    """Blurred to one resolution, to be compared."""
    brain: Mask
    field_sd: float
    """How unevenly the two differed in sensitivity, as the logarithm's standard deviation."""

    @cached_property
    def difference(self) -> Array:
        """Second minus first, at one resolution; zero outside the brain."""
        return np.where(self.brain, self.second_matched - self.first_matched, 0).astype(np.float32)

    @cached_property
    def mean(self) -> Array:
        """Of the two, at one resolution."""
        return (self.first_matched + self.second_matched) / np.float32(2)


def make_comparable(
    flairs: tuple[Array, Array],
    levels: tuple[Array, Array],
    brain: Mask,
    *,
    voxels: tuple[Affine, Affine],
) -> Pair:
    """Scale two FLAIRs to one another.

    Parameters
    ----------
    flairs : (I, J, K), (I, J, K) float32
        On one grid of 1 mm, as the scanner sent them.
    levels : (I, J, K), (I, J, K) float32
        The same images free of bias, with white matter at 1: only their smooth ratio to `flairs`
        is used.
    brain : (I, J, K) bool
        In both.
    voxels : (3, 3), (3, 3)
        One step along each axis of either native grid, in voxels of the common grid.
    """
    first, second = (
        np.asarray(flair / np.exp(_log_field(flair, level, brain)), dtype=np.float32)
        for flair, level in zip(flairs, levels, strict=True)
    )
    inside = brain.astype(np.float32)
    # Each gets the blur that the other has from its scanner.
    blurred = [
        np.asarray(blur(image * inside, other) / np.maximum(blur(inside, other), 0.3), np.float32)
        for image, other in ((first, voxels[1]), (second, voxels[0]))
    ]
    log_ratio = _log_field(blurred[1], blurred[0], brain)
    half = np.asarray(np.exp(log_ratio / 2), dtype=np.float32)
    return Pair(
        first=_within(first * half, brain),
        second=_within(second / half, brain),
        first_matched=_within(blurred[0] * half, brain),
        second_matched=_within(blurred[1] / half, brain),
        brain=brain,
        field_sd=float(log_ratio[brain].std()) if brain.any() else 0.0,
    )


def blur(image: Array, voxel: Affine) -> Array:
    """Blur as a voxel of this size and direction would, with a Gaussian of its variance.

    Parameters
    ----------
    image : (I, J, K) float32
    voxel : (3, 3)
        Columns: one step along each axis of a scanner's grid, in voxels of the image.
    """
    covariance = (voxel @ voxel.T / 12).astype(np.float32)
    shape = [fft.next_fast_len(n + 8, real=True) for n in image.shape]
    axes = [np.asarray(fft.fftfreq(n), np.float32) for n in shape[:2]]
    axes.append(np.asarray(fft.rfftfreq(shape[2]), np.float32))
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    c = covariance
    exponent = c[0, 0] * x * x + c[1, 1] * y * y + c[2, 2] * z * z
    exponent = exponent + 2 * (c[0, 1] * x * y + c[0, 2] * x * z + c[1, 2] * y * z)
    spectrum = fft.rfftn(image, s=shape) * np.exp(np.float32(-2 * np.pi**2) * exponent)
    i, j, k = image.shape
    return np.asarray(fft.irfftn(spectrum, s=shape)[:i, :j, :k], dtype=np.float32)


def _log_field(image: Array, reference: Array, brain: Mask) -> Array:
    """The smooth part of log(image / reference); lesions and edges have little say in it."""
    coarse = (slice(None, None, STRIDE),) * 3
    top, bottom, inside = image[coarse], reference[coarse], brain[coarse]
    usable = inside & (top > 0) & (bottom > 0)
    if not usable.any():
        return np.zeros(image.shape, dtype=np.float32)
    usable &= bottom > _LEAST_SIGNAL * np.median(bottom[usable])
    ratio = np.zeros(top.shape, dtype=np.float32)
    ratio[usable] = np.log(top[usable] / bottom[usable])
    field: NDArray[Any] = np.full(top.shape, np.median(ratio[usable]), dtype=np.float32)
    for _ in range(_FIELD_ROUNDS):
        rest = ratio - field
        spread = max(1.4826 * float(np.median(np.abs(rest[usable]))), 1e-4)
        weight = usable * np.exp(-0.5 * (rest / (2 * spread)) ** 2)
        total = _smooth(weight)
        # Far from the brain nothing is known: the nearest would be as good a guess as the median.
        field = np.where(total > 1e-3, _smooth(weight * ratio) / np.maximum(total, 1e-3), field)
    return _enlarged(field.astype(np.float32), image.shape)


def _smooth(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(ndimage.gaussian_filter(values, FIELD_SIGMA / STRIDE, truncate=3))


def _enlarged(coarse: Array, shape: tuple[int, ...]) -> Array:
    fine: Array = ndimage.affine_transform(
        coarse, np.full(3, 1 / STRIDE), output_shape=shape, order=1, mode="nearest"
    )
    return fine


def _within(image: Array, brain: Mask) -> Array:
    return np.where(brain, np.maximum(image, 0), 0).astype(np.float32)
