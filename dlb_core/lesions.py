"""Name a mask's lesions and drop the smallest ones.

A lesion is a set of lesion voxels on the 1 mm MNI grid that touch by a face, an edge or a corner
(26 neighbours). This is the only place where masks are taken apart, so that the mask, the table,
the totals and the metrics count the same lesions.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.template import MNI_GRID
from dlb_core.volume import Affine, Mask

NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
"""Neighbours of a voxel that belong to its lesion: by face, edge or corner."""

Labels = NDArray[np.int32]


def label_lesions(mask: Mask) -> Labels:
    """Number the lesions of a mask, the largest first.

    Parameters
    ----------
    mask : (I, J, K) bool
        Lesion mask.

    Returns
    -------
    (I, J, K) int32
        0 outside lesions, 1 in the largest, 2 in the next one. Of lesions of one size, the one
        whose first voxel comes first in C order has the smaller number.
    """
    scanned, count = ndimage.label(np.asarray(mask, dtype=bool), structure=NEIGHBOURS_26)
    sizes = np.bincount(scanned.ravel(), minlength=count + 1)[1:]
    # ndimage numbers in C order, so a stable sort by size keeps that order among equals.
    order = np.argsort(-sizes, kind="stable")
    rank = np.zeros(count + 1, dtype=np.int32)
    rank[1:][order] = np.arange(1, count + 1, dtype=np.int32)
    labels: Labels = rank[scanned]
    return labels


def keep_lesions(mask: Mask, sure: Mask, *, minimum_mm3: float, voxel_mm3: float) -> Mask:
    """Keep the lesions that are large enough and hold at least one sure voxel.

    Parameters
    ----------
    mask : (I, J, K) bool
        Lesion mask.
    sure : (I, J, K) bool
        Where there is no doubt.
    minimum_mm3 : float
        Smallest volume that is kept, mm3 on the mask's own grid; 0 keeps every size.
    voxel_mm3 : float
        Volume of one voxel, mm3.

    Returns
    -------
    (I, J, K) bool
        A new mask.
    """
    labels = label_lesions(mask)
    sizes = np.bincount(labels.ravel())
    kept = sizes * voxel_mm3 >= minimum_mm3
    kept &= np.bincount(labels[sure], minlength=len(sizes)) > 0
    kept[0] = False
    return np.asarray(kept[labels], dtype=bool)


def linear_scale(transform: Affine) -> float:
    """By how much an affine transform enlarges volumes."""
    return float(abs(np.linalg.det(transform[:3, :3])))


def patient_voxel_mm3(t1w_to_mni: Affine) -> float:
    """What one MNI voxel measures in the patient's own space."""
    return MNI_GRID.voxel_mm3 / linear_scale(t1w_to_mni)


def voxels_to_patient(t1w_to_mni: Affine) -> NDArray[np.float64]:
    """(3, 3) matrix from steps of MNI voxels to the patient's mm."""
    steps: NDArray[np.float64] = np.linalg.inv(t1w_to_mni)[:3, :3] @ MNI_GRID.affine[:3, :3]
    return steps


def rim(region: Mask) -> Mask:
    """The outermost voxels of a region."""
    return np.asarray(region & ~ndimage.binary_erosion(region), dtype=bool)
