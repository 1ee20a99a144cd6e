"""Brain volume: what the lesion volume is set against.

No norms: whether a volume is large for its age and sex is not said here.
"""

import numpy as np

from dlb_core.volume import Grid, Mask

MM3_PER_ML = 1000.0


def brain_volume_ml(brain_mask: Mask, grid: Grid) -> float:
    """Volume of a native brain mask, ml.

    Parameters
    ----------
    brain_mask : (I, J, K) bool
        The brain on the T1w's own voxels.
    grid : Grid
        The T1w's.
    """
    return float(np.count_nonzero(brain_mask)) * grid.voxel_mm3 / MM3_PER_ML
