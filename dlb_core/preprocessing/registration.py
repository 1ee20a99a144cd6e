"""Register brains with greedy: T1w to the template (affine), FLAIR to T1w (rigid).

Results are (4, 4) matrices, moving world mm -> fixed world mm, RAS+. Runs repeat bit for bit:
greedy's default sampling jitter and threads move a brain by up to 0.5 mm from run to run, so
there is neither jitter nor a second thread here. (Its NCC metrics do not repeat even so.)

Source: Yushkevich et al., https://github.com/pyushkevich/greedy; the metric is normalised
mutual information (Studholme et al., Pattern Recognition 32 (1999) 71-86).
"""

import ctypes
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from picsl_greedy import Greedy3D

from dlb_core.errors import StageFailed
from dlb_core.preprocessing.denoise import bounding_box
from dlb_core.preprocessing.simpleitk import to_itk
from dlb_core.resampling import resample
from dlb_core.template import load_coarse_t1w
from dlb_core.volume import Affine, Grid, Mask, Volume

# Iterations at a quarter, at half and at the full resolution of the fixed image. The coarse levels
# alone often go astray; fewer fine iterations leave shrunken brains at the wrong size and a FLAIR
# a millimetre off (docs/preprocessing.md).
_FLAGS = "-a -m NMI -n 100x100x50 -jitter 0 -threads 1 -V 0"
_RIGID_DOF, _AFFINE_DOF = 6, 12

_STDOUT = threading.Lock()


def register_affine(moving: Volume, moving_mask: Mask) -> Affine:
    """Affine transform of a T1w brain to the template.

    Parameters
    ----------
    moving : Volume
        T1w (or anything with its contrast), not negative.
    moving_mask : (I, J, K) bool
        Its brain; all else is ignored.

    Returns
    -------
    (4, 4) float
        Moving world mm -> MNI world mm.

    Raises
    ------
    StageFailed
        The registration diverged.
    """
    fixed = load_coarse_t1w()
    brain = _only(moving, moving_mask)
    start = _shift(centroid(fixed.data > 0, fixed.affine), centroid(moving_mask, moving.affine))
    return _greedy(fixed, brain, start, dof=_AFFINE_DOF)


def register_rigid(moving: Volume, moving_mask: Mask, fixed: Volume, fixed_mask: Mask) -> Affine:
    """Rigid transform between two brains of one person.

    Parameters
    ----------
    moving, fixed : Volume
        FLAIR and T1w, in their own spaces.
    moving_mask, fixed_mask : (I, J, K) bool
        Their brains.

    Returns
    -------
    (4, 4) float
        Moving world mm -> fixed world mm.

    Raises
    ------
    StageFailed
        The registration diverged.
    """
    start = _best_start(moving, moving_mask, fixed, fixed_mask)
    target, brain = _cropped(fixed, fixed_mask), _only(moving, moving_mask)
    return _greedy(target, brain, start, dof=_RIGID_DOF)


def centroid(mask: Mask, affine: Affine) -> NDArray[np.float64]:
    """World mm of the centre of a mask's voxels."""
    centre: NDArray[np.float64] = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    return centre


def mask_overlap(
    moving: Volume, moving_mask: Mask, fixed: Grid, fixed_mask: Mask, transform: Affine
) -> float:
    """Dice of two masks after a transform (moving world -> fixed world); 0 where both are empty."""
    source = Volume(moving_mask.astype(np.float32), moving.affine)
    moved = resample(source, fixed, transform) >= 0.5
    total = int(moved.sum()) + int(fixed_mask.sum())
    return 2 * int((moved & fixed_mask).sum()) / total if total else 0.0


def _best_start(moving: Volume, moving_mask: Mask, fixed: Volume, fixed_mask: Mask) -> Affine:
    """The headers' own alignment or that of the centroids, in greedy's sense (fixed -> moving).

    One session's images share the scanner's frame, and then the header knows best; converted
    or separately moved images do not.
    """
    shift = _shift(centroid(fixed_mask, fixed.affine), centroid(moving_mask, moving.affine))
    starts = (np.eye(4), shift)
    return max(
        starts,
        key=lambda start: mask_overlap(
            moving, moving_mask, fixed.grid, fixed_mask, np.linalg.inv(start)
        ),
    )


def _shift(start: NDArray[np.float64], end: NDArray[np.float64]) -> Affine:
    transform = np.eye(4)
    transform[:3, 3] = end - start
    return transform


def _only(volume: Volume, mask: Mask) -> Volume:
    """The volume with zeros outside the mask."""
    return Volume(np.where(mask, volume.data, 0).astype(np.float32), volume.affine)


def _cropped(volume: Volume, mask: Mask) -> Volume:
    """The masked volume, cut to the mask and a small margin: fewer voxels to compare."""
    box = bounding_box(mask, margin=4)
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [slice_.start or 0 for slice_ in box]
    return Volume(_only(volume, mask).data[box], affine)


def _greedy(fixed: Volume, moving: Volume, start: Affine, *, dof: int) -> Affine:
    """Run greedy from a shift, `start` (fixed world -> moving world); return moving -> fixed.

    The start goes into the moving image's affine: greedy's Python interface takes no matrix.
    """
    greedy = Greedy3D()
    moved = Volume(moving.data, np.linalg.inv(start) @ moving.affine)
    log = io.StringIO()
    try:
        with _silent_stdout():
            greedy.execute(
                f"-i fixed moving {_FLAGS} -dof {dof} -ia-identity -o result",
                log,
                log,
                fixed=to_itk(fixed),
                moving=to_itk(moved),
                result=None,
            )
    except RuntimeError as error:
        raise StageFailed(
            "The registration did not run: check that both images show one whole brain."
        ) from error
    result = np.asarray(greedy["result"], dtype=np.float64)
    if not np.isfinite(result).all() or abs(np.linalg.det(result[:3, :3])) < 1e-3:
        raise StageFailed("The registration diverged: check that both images show one whole brain.")
    return np.linalg.inv(start @ result)


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Send C's standard output nowhere: greedy's optimiser prints past Python's."""
    libc = ctypes.CDLL(None)
    with _STDOUT, open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # devnull is no path of ours
        kept = os.dup(1)
        try:
            os.dup2(nowhere.fileno(), 1)
            yield
        finally:
            # C buffers what it prints to a pipe: flush before the real output is back.
            libc.fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
