"""Denoise with non-local means.

Source: Buades et al., CVPR 2005; Darbon et al., ISBI 2008 (the fast variant). The parameters
blur lesion edges least (docs/preprocessing.md); the paper's own filter is Coupé et al., 2008.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import denoise_nl_means, estimate_sigma

from dlb_core.volume import Mask, Volume

_PATCH_SIZE = 3
_PATCH_DISTANCE = 2
_STRENGTH = 0.6
"""Filter strength over noise level: scikit-image advises 0.8, which costs small lesions."""
_MARGIN = _PATCH_SIZE // 2 + _PATCH_DISTANCE


def denoise(volume: Volume, mask: Mask | None = None) -> Volume:
    """Remove noise and keep edges.

    Parameters
    ----------
    volume : Volume
        (I, J, K) image.
    mask : (I, J, K) bool, optional
        Only these voxels matter: the noise is measured and removed in their bounding box, and
        the others become zero.

    Returns
    -------
    Volume
        float32, on the same grid.
    """
    if mask is None:
        return Volume(_denoise_box(volume.data), volume.affine)
    box = bounding_box(mask, margin=_MARGIN)
    data = np.zeros(volume.data.shape, dtype=np.float32)
    data[box] = np.where(mask[box], _denoise_box(volume.data[box]), 0)
    return Volume(data, volume.affine)


def noise_level(data: NDArray[Any]) -> float:
    """Standard deviation of the noise, from the finest wavelet coefficients."""
    return float(estimate_sigma(data))


def bounding_box(mask: Mask, *, margin: int = 0) -> tuple[slice, slice, slice]:
    """Slices around a mask's True voxels, grown by `margin` and kept inside the array.

    An empty mask gives the whole array.
    """
    if not mask.any():
        return slice(None), slice(None), slice(None)
    slices = []
    for axis in range(3):
        held = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        slices.append(slice(max(0, int(held[0]) - margin), int(held[-1]) + 1 + margin))
    return slices[0], slices[1], slices[2]


def _denoise_box(data: NDArray[Any]) -> NDArray[np.float32]:
    sigma = noise_level(data)
    if not sigma > 0:
        return np.asarray(data, dtype=np.float32)
    filtered: NDArray[np.float32] = denoise_nl_means(
        np.asarray(data, dtype=np.float32),
        patch_size=_PATCH_SIZE,
        patch_distance=_PATCH_DISTANCE,
        h=_STRENGTH * sigma,
        sigma=sigma,
        fast_mode=True,
    )
    return filtered
