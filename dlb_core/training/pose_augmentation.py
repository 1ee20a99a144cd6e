"""The same anatomy, turned and scaled a little: heads lie and grow differently.

Axes in names: B batch, C channels, I J K voxels.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

MAX_ANGLE = math.radians(10)
"""Turned by up to this about each axis."""
MAX_SCALE = 1.1
"""Each axis is stretched or shortened by up to this factor."""


def alter_pose(
    x_BCIJK: Tensor, target_BIJK: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Turn and scale each item about its centre, images and ground truth alike.

    Parameters
    ----------
    x_BCIJK : (B, C, I, J, K) float
        Images; interpolated linearly. What comes in from outside is mirrored at the edge.
    target_BIJK : (B, I, J, K) int64
        Ground truth; takes the nearest voxel's.
    rng : numpy.random.Generator
        Decides by how much.

    Returns
    -------
    tuple of Tensor
        Same shapes and types.
    """
    matrices = np.stack([draw_pose(rng) for _ in x_BCIJK])
    return apply_pose(x_BCIJK, target_BIJK, matrices)


def draw_pose(rng: np.random.Generator) -> NDArray[np.float64]:
    """A 3 x 3 matrix: from where, in (I, J, K) about the centre, each voxel is taken."""
    matrix = np.diag(np.exp(rng.uniform(-1, 1, 3) * math.log(MAX_SCALE)))
    for axis, angle in enumerate(rng.uniform(-MAX_ANGLE, MAX_ANGLE, 3)):
        turn = np.eye(3)
        first, second = (n for n in range(3) if n != axis)
        turn[first, first] = turn[second, second] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    return matrix


def apply_pose(
    x_BCIJK: Tensor,
    target_BIJK: Tensor,
    matrices: NDArray[np.float64],
) -> tuple[Tensor, Tensor]:
    """Resample each item by its matrix; see `draw_pose`."""
    size = np.array(x_BCIJK.shape[2:])
    # torch counts axes from the last to the first, each from -1 to 1.
    normalised = matrices * size[None, None, :] / size[None, :, None]
    theta = np.zeros((len(matrices), 3, 4))
    theta[:, :, :3] = normalised[:, ::-1, ::-1]
    places = functional.affine_grid(
        torch.from_numpy(theta).to(x_BCIJK), list(x_BCIJK.shape), align_corners=False
    )
    image = _sample(x_BCIJK, places, "bilinear")
    target = _sample(target_BIJK[:, None].to(x_BCIJK.dtype), places, "nearest")
    return image, target[:, 0].round().to(target_BIJK.dtype)


def _sample(x_BCIJK: Tensor, places: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(
        x_BCIJK, places, mode=mode, padding_mode="reflection", align_corners=False
    )
