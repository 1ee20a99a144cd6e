"""Move images between the patient's space and MNI space.

A transform is a (4, 4) matrix, world mm -> world mm, RAS+. Images travel once, from their own
voxels to the target's, whatever the number of transforms in between: each interpolation blurs.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.template import MNI_GRID
from dlb_core.volume import Affine, Grid, Volume

Order = Literal[0, 1, 3]


def resample(
    volume: Volume, grid: Grid, transform: Affine, *, order: Order = 1
) -> NDArray[np.float32]:
    """Sample a volume at the voxel centres of another grid.

    Parameters
    ----------
    volume : Volume
        Source, (I, J, K).
    grid : Grid
        Where to sample.
    transform : (4, 4) float
        The volume's world mm -> the grid's world mm.
    order : {0, 1, 3}
        Nearest, linear or cubic B-spline.

    Returns
    -------
    (I', J', K') float32
        Zero where the grid lies outside the volume. Cubic interpolation can overshoot the
        volume's range.
    """
    to_source = np.linalg.inv(volume.affine) @ np.linalg.inv(transform) @ grid.affine
    sampled: NDArray[np.float32] = ndimage.affine_transform(
        np.asarray(volume.data, dtype=np.float32),
        to_source[:3, :3],
        to_source[:3, 3],
        output_shape=grid.shape,
        output=np.float32,
        order=order,
        prefilter=order > 1,
    )
    return sampled


def to_native(data: NDArray[Any], native_grid: Grid, native_to_mni: Affine) -> NDArray[np.float32]:
    """Bring a map on the MNI grid back onto the patient's own voxels, linearly.

    Parameters
    ----------
    data : (181, 217, 181)
        A probability map (or a mask: threshold the result at 0.5).
    native_grid : Grid
        The native image's lattice.
    native_to_mni : (4, 4) float
        Native world mm -> MNI world mm.
    """
    volume = Volume(data, MNI_GRID.affine)
    return resample(volume, native_grid, np.linalg.inv(native_to_mni), order=1)
