"""Smooth random fields: the building material of synthetic contrast, bias and texture."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dlb_core.volume import Shape

Array = NDArray[np.float32]


def smooth_field(rng: np.random.Generator, shape: Shape, spacing: float) -> Array:
    """Random field of mean 0 and standard deviation near 1, smooth over `spacing` voxels."""
    coarse = [max(2, int(np.ceil(n / spacing)) + 1) for n in shape]
    noise = torch.from_numpy(rng.standard_normal(coarse).astype(np.float32))
    field = functional.interpolate(
        noise[None, None], size=shape, mode="trilinear", align_corners=True
    )
    return np.asarray(field[0, 0].numpy() * 1.6, dtype=np.float32)


def white_noise(rng: np.random.Generator, shape: Shape) -> Array:
    """Independent normal noise of standard deviation 1."""
    return rng.standard_normal(shape, dtype=np.float32)
