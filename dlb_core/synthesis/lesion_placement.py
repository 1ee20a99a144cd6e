"""Where synthetic lesions lie: real lesion shapes moved into another brain's white matter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.lesions import NEIGHBOURS_26
from dlb_core.synthesis.fields import Array, smooth_field
from dlb_core.volume import Mask, Shape

RIM_LOSS = (0.1, 0.6)
"""Share of its contrast that a lesion has lost at its outline; drawn once a sample."""
RIM_WIDTH_VOXELS = (1.0, 4.0)
"""Depth over which the contrast comes back."""
CONFLUENT = 0.1
"""Share of samples whose lesions are grown into one another, as in patients with many."""
GROWTH_VOXELS = (1.0, 7.0)
DEEP_SIGMA_VOXELS, DEEP_SHARE = 1.5, 0.8
"""Where they may grow: so much white matter around."""


def soften(mask: NDArray[np.float32], sigma: float) -> Array:
    """Blur a mask's edge by `sigma` voxels; small lesions keep their peak at 1."""
    blurred = ndimage.gaussian_filter(mask, sigma, mode="nearest")
    return np.asarray(np.clip(blurred * 1.25, 0, 1), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedLesions:
    """Lesions ready to be painted into an image."""

    share: Array
    """(I, J, K): how much of each voxel's signal is lesion, in [0, 1]."""
    mask: Mask
    """(I, J, K): what an expert would outline, faint rims too."""


def transplant(
    rng: np.random.Generator, donors: Sequence[NDArray[np.uint8]], host_white_matter: Array
) -> PlacedLesions:
    """Join donors' lesions, kept where the host has white matter.

    Parameters
    ----------
    rng : numpy.random.Generator
    donors : sequence of (I, J, K) uint8
        Lesion masks (0 or 1), already cut at the place where they go.
    host_white_matter : (I, J, K) float32
        Share of white matter in each voxel of the host.

    Returns
    -------
    PlacedLesions
    """
    joined = np.zeros(host_white_matter.shape, dtype=np.float32)
    for donor in donors:
        np.maximum(joined, donor, out=joined)
    if rng.random() < CONFLUENT:
        joined = _grow(rng, joined, host_white_matter)
    reach: Array = np.clip(ndimage.gaussian_filter(host_white_matter, 1.0) * 2 - 0.3, 0, 1)
    lesions: Array = soften(joined, float(rng.uniform(0.3, 0.8))) * reach.astype(np.float32)
    mask = lesions >= 0.5
    return PlacedLesions(_fade(rng, lesions, mask), mask)


def _grow(
    rng: np.random.Generator, lesions: NDArray[np.float32], white_matter: Array
) -> NDArray[np.float32]:
    """Let lesions grow, more in some places than in others; most donors have few and small ones.

    Without it a network never sees a corpus callosum full of lesion, and takes it for healthy.
    The fringe below the cortex stays as it is: whole ribbons of it would look like grey matter.
    """
    if not lesions.any():
        return lesions
    growth = rng.uniform(*GROWTH_VOXELS) * np.clip(smooth_field(rng, lesions.shape, 14) + 0.5, 0, 1)
    near = ndimage.distance_transform_edt(lesions == 0) <= growth
    deep = ndimage.gaussian_filter(white_matter, DEEP_SIGMA_VOXELS) > DEEP_SHARE
    return np.where(near & deep, np.float32(1), lesions)


def _fade(rng: np.random.Generator, lesions: Array, mask: Mask) -> Array:
    """Weaken lesions towards their rims: experts outline more than the bright core."""
    loss, width = rng.uniform(*RIM_LOSS), rng.uniform(*RIM_WIDTH_VOXELS)
    if not mask.any():
        return lesions
    depth = ndimage.distance_transform_edt(mask)
    faded: Array = lesions * (1 - loss * np.exp(-(depth**2) / width**2)).astype(np.float32)
    return faded


@dataclass(frozen=True, slots=True)
class LesionContrast:
    """How the cores of lesions differ from normal white matter = 1; "black holes" too."""

    flair: tuple[float, float] = (1.25, 1.8)
    t1w: tuple[float, float] = (0.2, 0.97)


def lesion_intensities(
    rng: np.random.Generator, lesions: Array, contrast: LesionContrast
) -> tuple[Array, Array]:
    """Intensity of every voxel if it were lesion: (T1w, FLAIR), each lesion its own.

    The brighter in FLAIR, the darker in T1w, loosely; both vary smoothly within a lesion.
    """
    labels, count = ndimage.label(lesions > 0.3, NEIGHBOURS_26)
    labels = _spread(np.asarray(labels), count)
    strength = np.clip(rng.normal(0.5, 0.28, count + 1), 0, 1).astype(np.float32)
    damage = np.clip(strength + rng.normal(0, 0.3, count + 1), 0, 1).astype(np.float32)
    shape: Shape = lesions.shape
    texture = 1 + rng.uniform(0.04, 0.14) * smooth_field(rng, shape, rng.uniform(3, 8))
    flair = np.interp(strength, (0, 1), contrast.flair).astype(np.float32)[labels] * texture
    t1w = np.interp(damage, (0, 1), contrast.t1w[::-1]).astype(np.float32)[labels] / texture
    return t1w, flair


def _spread(labels: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Give unlabelled voxels the label of the nearest lesion, so that soft edges match."""
    if count == 0:
        return labels
    nearest = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    spread: NDArray[np.int32] = labels[tuple(nearest)]
    return spread
