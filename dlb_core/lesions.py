"""Name a mask's lesions, drop the smallest ones, and measure what remains.

A lesion is a set of lesion voxels on the 1 mm MNI grid that touch by a face, an edge or a corner
(26 neighbours). This is the only place where masks are taken apart, so that the mask, the table,
the totals and the metrics count the same lesions.

Volumes are given in the patient's own space: the affine registration of the T1w to the template
scales a brain by the determinant of its linear part, the same everywhere, so dividing by it undoes
the scaling. Arrays are indexed (i, j, k); affines map voxel indices to world mm, RAS+.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.errors import GridMismatch
from dlb_core.report.document import Lesion, Point, Totals
from dlb_core.volume import Affine, Grid, Mask

NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)
"""Neighbours of a voxel that belong to its lesion: by face, edge or corner."""

MM3_PER_ML = 1000.0

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


def remove_small(mask: Mask, minimum_mm3: float, voxel_mm3: float) -> Mask:
    """Keep the lesions of at least `minimum_mm3`.

    Parameters
    ----------
    mask : (I, J, K) bool
        Lesion mask.
    minimum_mm3 : float
        Smallest volume that is kept, mm3 on the mask's own grid; 0 keeps everything.
    voxel_mm3 : float
        Volume of one voxel, mm3.

    Returns
    -------
    (I, J, K) bool
        A new mask.
    """
    labels = label_lesions(mask)
    kept = np.bincount(labels.ravel()) * voxel_mm3 >= minimum_mm3
    kept[0] = False
    return np.asarray(kept[labels], dtype=bool)


def measure_lesions(
    labels: Labels,
    probability: NDArray[np.floating[Any]],
    votes: NDArray[np.integer[Any]],
    coverage: NDArray[np.integer[Any]],
    *,
    mni_affine: Affine,
    t1w_to_mni: Affine,
    flair_to_mni: Affine,
    native_t1w: Grid,
    native_flair: Grid,
) -> tuple[Lesion, ...]:
    """Measure every lesion.

    Parameters
    ----------
    labels : (I, J, K) int32
        From `label_lesions`, on the MNI grid.
    probability : (I, J, K) float
        Mean lesion probability of the networks that saw the voxel.
    votes, coverage : (I, J, K) int
        How many networks called the voxel lesion, and how many saw it.
    mni_affine : (4, 4)
        MNI voxel index -> MNI world mm.
    t1w_to_mni, flair_to_mni : (4, 4)
        Native world mm -> MNI world mm.
    native_t1w, native_flair : Grid
        The input files' grids.

    Returns
    -------
    tuple of Lesion
        By number, so from the largest to the smallest; empty where there is no lesion. A centroid
        is the mean position of the lesion's voxels; for a curved lesion it may lie outside it.

    Raises
    ------
    GridMismatch
        The arrays differ in shape.
    """
    _require_one_grid(labels, probability, votes, coverage)
    count = int(labels.max(initial=0))
    if count == 0:
        return ()
    numbers = np.arange(1, count + 1)
    share = np.divide(votes, coverage, out=np.zeros(labels.shape), where=coverage > 0)
    centroids_mni = _centroids(labels, count) @ mni_affine[:3, :3].T + mni_affine[:3, 3]
    centroids_t1w = _to_native_voxels(centroids_mni, t1w_to_mni, native_t1w)
    centroids_flair = _to_native_voxels(centroids_mni, flair_to_mni, native_flair)
    mni_volumes = np.bincount(labels.ravel())[1:] * Grid((1, 1, 1), mni_affine).voxel_mm3
    volumes = mni_volumes / linear_scale(t1w_to_mni)
    probabilities = ndimage.mean(probability, labels, numbers)
    agreements = ndimage.mean(share, labels, numbers)
    return tuple(
        Lesion(
            id=n + 1,
            volume_mm3=float(volumes[n]),
            mni_volume_mm3=float(mni_volumes[n]),
            centroid_mni_mm=_point(centroids_mni[n]),
            centroid_flair_voxel=_point(centroids_flair[n]),
            centroid_t1w_voxel=_point(centroids_t1w[n]),
            mean_probability=float(np.clip(probabilities[n], 0, 1)),
            agreement=float(np.clip(agreements[n], 0, 1)),
        )
        for n in range(count)
    )


def totals(
    lesions: tuple[Lesion, ...], brain_mask: Mask, *, mni_affine: Affine, t1w_to_mni: Affine
) -> Totals:
    """Sum a case up.

    Parameters
    ----------
    lesions : tuple of Lesion
        From `measure_lesions`.
    brain_mask : (I, J, K) bool
        The brain on the MNI grid.
    mni_affine : (4, 4)
        MNI voxel index -> MNI world mm.
    t1w_to_mni : (4, 4)
        T1w world mm -> MNI world mm.

    Returns
    -------
    Totals
        In the patient's own space; the lesion load of an empty brain mask is 0.
    """
    voxel_mm3 = Grid((1, 1, 1), mni_affine).voxel_mm3 / linear_scale(t1w_to_mni)
    brain_mm3 = float(np.count_nonzero(brain_mask)) * voxel_mm3
    lesion_mm3 = sum(lesion.volume_mm3 for lesion in lesions)
    return Totals(
        lesion_count=len(lesions),
        lesion_volume_ml=lesion_mm3 / MM3_PER_ML,
        brain_volume_ml=brain_mm3 / MM3_PER_ML,
        lesion_load_percent=100 * lesion_mm3 / brain_mm3 if brain_mm3 else 0.0,
    )


def linear_scale(transform: Affine) -> float:
    """By how much an affine transform enlarges volumes."""
    return float(abs(np.linalg.det(transform[:3, :3])))


def _require_one_grid(*arrays: NDArray[Any]) -> None:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise GridMismatch(
            "Labels, probability, votes and coverage must share one grid, but their shapes are "
            f"{sorted(shapes)}: resample them to the MNI grid first."
        )


def _centroids(labels: Labels, count: int) -> NDArray[np.float64]:
    """(count, 3): mean voxel index of each lesion."""
    where = np.nonzero(labels)
    numbers = labels[where]
    sizes = np.bincount(numbers, minlength=count + 1)[1:]
    sums = [np.bincount(numbers, weights=axis, minlength=count + 1)[1:] for axis in where]
    return np.asarray(np.stack(sums, axis=1) / sizes[:, None], dtype=np.float64)


def _to_native_voxels(
    points_mni: NDArray[np.float64], native_to_mni: Affine, grid: Grid
) -> NDArray[np.float64]:
    to_voxel = np.linalg.inv(native_to_mni @ grid.affine)
    return np.asarray(points_mni @ to_voxel[:3, :3].T + to_voxel[:3, 3], dtype=np.float64)


def _point(row: NDArray[np.float64]) -> Point:
    # A hundredth of a millimetre or voxel is far below what a centroid means.
    i, j, k = (round(float(x), 2) + 0.0 for x in row)
    return i, j, k
