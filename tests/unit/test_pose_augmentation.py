"""Turned and scaled subvolumes: images and ground truth stay together."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.training.losses import IGNORED
from dlb_core.training.pose_augmentation import MAX_ANGLE, alter_pose, apply_pose, draw_pose

SHAPE = (20, 24, 28)


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    """Smooth, and different along every axis."""
    noise = np.random.default_rng(3).normal(size=SHAPE)
    return np.asarray(ndimage.gaussian_filter(noise, 3), dtype=np.float32)


def test_the_resampling_is_scipys(image: NDArray[np.float32]) -> None:
    """Axes that are counted backwards, or sizes mixed up, would turn heads the wrong way."""
    matrix = draw_pose(np.random.default_rng(5))
    centre = (np.array(SHAPE) - 1) / 2
    expected = ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1)

    altered, _ = apply_pose(
        torch.from_numpy(image)[None, None], torch.zeros(1, *SHAPE).long(), matrix[None]
    )

    inside = (slice(6, -6),) * 3
    assert altered[0, 0].numpy()[inside] == pytest.approx(expected[inside], abs=1e-4)


def test_lesions_stay_where_the_image_shows_them() -> None:
    """A ground truth that moves less than its image teaches the wrong places."""
    target = torch.zeros((2, *SHAPE), dtype=torch.int64)
    target[:, 3:9, 12:20, 14:24] = 1
    x = target[:, None].float().repeat(1, 2, 1, 1, 1)

    altered, moved = alter_pose(x, target, np.random.default_rng(1))

    shown, lesions = altered[:, 0] > 0.5, target == 1
    unlike = (shown != (moved == 1)).sum() / lesions.sum()
    assert unlike < 0.08, "the nearest voxel and the mean of eight differ at edges alone"
    assert (shown != lesions).sum() / lesions.sum() > 2 * unlike
    assert not torch.equal(moved[0], moved[1]), "each item has a pose of its own"


def test_voxels_that_nobody_knows_stay_unknown() -> None:
    """Between lesion and unknown there is nothing: labels are not averaged."""
    target = torch.full((1, *SHAPE), IGNORED, dtype=torch.int64)
    target[:, 5:15, 5:15, 5:15] = 1

    _, moved = alter_pose(torch.zeros(1, 2, *SHAPE), target, np.random.default_rng(2))

    assert moved.dtype == torch.int64
    assert set(moved.flatten().tolist()) == {IGNORED, 1}


def test_poses_are_small() -> None:
    """A head upside down is no head that anyone will scan."""
    rng = np.random.default_rng(0)

    for _ in range(50):
        _, stretches, _ = np.linalg.svd(draw_pose(rng))
        assert 1 / 1.1 - 1e-9 <= stretches.min() <= stretches.max() <= 1.1 + 1e-9
        assert np.linalg.det(draw_pose(rng)) > 0
    corner = draw_pose(np.random.default_rng(7)) @ np.array([1.0, 0, 0])
    assert corner[0] > math.cos(2 * MAX_ANGLE) / 1.1
