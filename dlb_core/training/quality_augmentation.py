"""Image Quality Data Augmentation (IQDA): the same anatomy, seen by a poorer or sharper scanner.

Axes in names: B batch, C channels, I J K voxels; K is the axial direction.
Edges are mirrored with the edge voxel repeated, as scipy's `mode="reflect"` does.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, section 2.1.2.
"""

from enum import StrEnum

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MIN_SIGMA, MAX_SIGMA = 0.5, 1.75
"""Range of the Gaussian's standard deviation, in voxels of 1 mm."""
SLICE_SIZES = (2, 3, 4)
"""Lengths of the axial mean filter, in voxels."""
TRUNCATE = 4.0
"""The Gaussian kernel ends at this many standard deviations."""


class Alteration(StrEnum):
    """What may happen to a subvolume; each is as likely as the others."""

    NONE = "none"
    BLUR = "blur"
    SHARPEN = "sharpen"
    AXIAL_MEAN = "axial_mean"


def _reflected_indices(length: int, before: int, after: int) -> Tensor:
    indices = np.arange(-before, length + after) % (2 * length)
    return torch.from_numpy(np.minimum(indices, 2 * length - 1 - indices))


def filter_axis(x_BCIJK: Tensor, kernel: Tensor, dim: int, before: int) -> Tensor:
    """Correlate one spatial axis (2, 3 or 4) with a kernel that starts `before` voxels back."""
    length = x_BCIJK.shape[dim]
    indices = _reflected_indices(length, before, len(kernel) - 1 - before).to(x_BCIJK.device)
    padded = x_BCIJK.index_select(dim, indices).movedim(dim, -1)
    flat = padded.reshape(-1, 1, padded.shape[-1])
    filtered = functional.conv1d(flat, kernel.to(flat).view(1, 1, -1))
    return filtered.reshape(*padded.shape[:-1], length).movedim(-1, dim)


def gaussian_blur(x_BCIJK: Tensor, sigma: float) -> Tensor:
    """Isotropic Gaussian blur; sigma in voxels."""
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for dim in (2, 3, 4):
        x_BCIJK = filter_axis(x_BCIJK, kernel, dim, radius)
    return x_BCIJK


def unsharp_mask(x_BCIJK: Tensor, sigma: float) -> Tensor:
    """Edge enhancement: the image plus what the blur of `sigma` takes from it."""
    return 2 * x_BCIJK - gaussian_blur(x_BCIJK, sigma)


def axial_mean(x_BCIJK: Tensor, size: int) -> Tensor:
    """Mean over `size` neighbouring axial slices, as a thicker slice would give."""
    return filter_axis(x_BCIJK, torch.full((size,), 1 / size), 4, size // 2)


def alter_quality(x_BCIJK: Tensor, rng: np.random.Generator) -> Tensor:
    """Apply one alteration, drawn per item of the batch, to all its channels.

    Parameters
    ----------
    x_BCIJK : (B, C, I, J, K) float
        Images; the ground truth needs no change.
    rng : numpy.random.Generator
        Decides which alteration, and how strong.

    Returns
    -------
    Tensor
        Same shape.
    """
    return torch.cat([_alter(item[None], rng) for item in x_BCIJK])


def _alter(x_BCIJK: Tensor, rng: np.random.Generator) -> Tensor:
    alteration = tuple(Alteration)[rng.integers(len(Alteration))]
    sigma = float(rng.uniform(MIN_SIGMA, MAX_SIGMA))
    size = int(rng.choice(SLICE_SIZES))
    match alteration:
        case Alteration.BLUR:
            return gaussian_blur(x_BCIJK, sigma)
        case Alteration.SHARPEN:
            return unsharp_mask(x_BCIJK, sigma)
        case Alteration.AXIAL_MEAN:
            return axial_mean(x_BCIJK, size)
        case Alteration.NONE:
            return x_BCIJK
