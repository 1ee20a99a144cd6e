"""Non-local means."""

import numpy as np
import pytest

from dlb_core.preprocessing.denoise import bounding_box, denoise, noise_level
from dlb_core.volume import Volume

SHAPE = (40, 44, 36)
NOISE = 0.03


def _two_tissues() -> np.ndarray:
    """A plane between 0.7 and 1, and a lesion of 27 voxels at 1.5."""
    image = np.ones(SHAPE, np.float32)
    image[:20] = 0.7
    image[29:32, 20:23, 17:20] = 1.5
    return image


def _noisy(image: np.ndarray) -> Volume:
    noise = np.random.default_rng(0).normal(0, NOISE, image.shape)
    return Volume((image + noise).astype(np.float32), np.eye(4))


def test_noise_goes_and_small_lesions_stay() -> None:
    """A filter that smooths lesions away would find none of the small ones."""
    image = _two_tissues()

    error = denoise(_noisy(image)).data - image

    assert error[24:28].std() < 0.5 * NOISE
    assert abs(error[30, 21, 18]) < 0.1 * 0.5  # a tenth of the lesion's contrast
    assert np.abs(error[18:22].mean(axis=(1, 2))).max() < 0.3 * NOISE  # the edge does not move


def test_noise_is_measured_not_anatomy() -> None:
    """An edge taken for noise would make the filter blur."""
    assert noise_level(_noisy(_two_tissues()).data) == pytest.approx(NOISE, rel=0.1)


def test_an_image_without_noise_is_left_alone() -> None:
    """Its level is zero: nothing to divide by."""
    image = np.ones(SHAPE, np.float32)

    np.testing.assert_array_equal(denoise(Volume(image, np.eye(4))).data, image)


def test_outside_of_the_mask_is_zero() -> None:
    """And the zeros around a stripped brain do not make it look free of noise."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[8:32, 8:36, 8:28] = True
    noisy = _noisy(_two_tissues())
    stripped = Volume(np.where(mask, noisy.data, 0), noisy.affine)

    filtered = denoise(stripped, mask).data

    assert not filtered[~mask].any()
    assert filtered[22:28, 12:18, 12:16].std() < 0.5 * NOISE


def test_a_bounding_box_holds_the_mask_and_its_margin() -> None:
    """It ends at the array's border, and an empty mask means everything."""
    mask = np.zeros((10, 11, 12), dtype=bool)
    mask[3:5, 0:2, 11] = True

    assert bounding_box(mask) == (slice(3, 5), slice(0, 2), slice(11, 12))
    assert bounding_box(mask, margin=2)[0] == slice(1, 7)
    assert mask[bounding_box(mask, margin=2)].shape == (6, 4, 3)
    assert mask[bounding_box(np.zeros_like(mask))].shape == mask.shape
