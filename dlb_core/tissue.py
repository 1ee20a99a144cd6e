"""Brain and intracranial volume: what the lesion volume is set against.

No norms: whether a volume is large for its age and sex is not said here.
"""

from functools import cache

import numpy as np

from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Affine, Grid, Mask

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


def intracranial_volume_ml(t1w_to_mni: Affine) -> float:
    """Estimate the intracranial volume from the scale of the affine registration, ml.

    The template's intracranial volume divided by the determinant of the affine's linear part: the
    atlas scaling factor. The affine is fitted to the brain, not to the skull, so a shrunken brain
    lowers the estimate somewhat.

    Parameters
    ----------
    t1w_to_mni : (4, 4)
        T1w world mm -> MNI world mm.

    References
    ----------
    Buckner et al., NeuroImage 23 (2004) 724-738.
    """
    return template_intracranial_ml() / float(abs(np.linalg.det(t1w_to_mni[:3, :3])))


@cache
def template_intracranial_ml() -> float:
    """Volume within the template's mask, outer fluid included, ml."""
    return float(np.count_nonzero(load_template().t1w)) * MNI_GRID.voxel_mm3 / MM3_PER_ML
