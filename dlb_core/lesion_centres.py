"""Count the centres of a lesion: confluent lesions are several that grew into one.

A centre is where the lesion probability bulges in every direction: all three eigenvalues of its
Hessian are negative. Neighbouring such voxels are one centre. A lesion without any is one centre.

Source: Dworkin et al., American Journal of Neuroradiology 39 (2018) 626-633. Unlike there, the
probability is held inside the lesion and smoothed before it is differentiated, since an
ensemble's probability is flat within a lesion.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.volume import Mask

SMOOTHING_VOXELS = 2.0
"""Standard deviation of the Gaussian; 1 mm voxels."""
SMALLEST_CENTRE_VOXELS = 10
"""Smaller ones are noise; the source's figure."""

_NEIGHBOURS = np.ones((3, 3, 3), dtype=bool)
_PAD = 5
_SECOND_DERIVATIVES = ((2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1))


def count_centres(lesion: Mask, probability: NDArray[np.floating[Any]]) -> int:
    """Count the centres of one lesion.

    Parameters
    ----------
    lesion : (I, J, K) bool
        One lesion, cropped to it or not.
    probability : (I, J, K) float
        Lesion probability on the same voxels of 1 mm.

    Returns
    -------
    int
        At least 1.
    """
    if lesion.sum() < 2 * SMALLEST_CENTRE_VOXELS:
        return 1
    held = np.pad(np.where(lesion, probability, 0).astype(np.float32), _PAD)
    bulging = _bulges(held)[(slice(_PAD, -_PAD),) * 3] & lesion
    labels, _ = ndimage.label(bulging, structure=_NEIGHBOURS)
    sizes = np.bincount(labels.ravel())[1:]
    return max(1, int((sizes >= SMALLEST_CENTRE_VOXELS).sum()))


def _bulges(values: NDArray[np.float32]) -> Mask:
    """Where the smoothed values' Hessian is negative definite, by Sylvester's criterion."""
    xx, yy, zz, xy, xz, yz = (
        ndimage.gaussian_filter(values, SMOOTHING_VOXELS, order=order, truncate=3.0)
        for order in _SECOND_DERIVATIVES
    )
    second = xx * yy - xy**2
    third = xx * (yy * zz - yz**2) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    return np.asarray((xx < 0) & (second > 0) & (third < 0))
