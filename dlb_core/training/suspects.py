"""Where an image without labels may hold lesions of its own.

Such an image still teaches what real brains look like: lesions are added to it, and what may
be one already counts in no loss. The rule must not miss lesions, nor take all that is bright:
bright cortex is what a network must learn to leave alone.
"""

import numpy as np
from scipy import ndimage

from dlb_core.lesions import NEIGHBOURS_26
from dlb_core.location_atlas import location_atlas
from dlb_core.synthesis.fields import Array
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Mask

BRIGHT, VERY_BRIGHT = 1.12, 1.4
"""FLAIR, white matter = 1: suspect where lesions are usual, and suspect anywhere."""
_SMOOTHING_VOXELS = 0.7
_DEPTH_IN_WHITE_MATTER_MM = 3.0
_NEAR_VENTRICLES_MM = 6.0
_MARGIN_VOXELS = 1


def may_be_lesion(image: Array) -> Mask:
    """Mark every voxel of an unlabelled image pair that could be lesion.

    Parameters
    ----------
    image : (2, I, J, K) float32
        T1w and FLAIR on the MNI grid, white matter = 1.

    Returns
    -------
    (I, J, K) bool
    """
    flair = ndimage.gaussian_filter(image[1].astype(np.float32), _SMOOTHING_VOXELS)
    bright = (flair > VERY_BRIGHT) | ((flair > BRIGHT) & _usual_places())
    return np.asarray(ndimage.binary_dilation(bright, NEIGHBOURS_26, iterations=_MARGIN_VOXELS))


def _usual_places() -> Mask:
    """Depth of white matter and surroundings of the ventricles; template and brain differ, so
    what lies close to the cortex is not among them."""
    white = ndimage.distance_transform_edt(load_template().white_matter > 0.5)
    ventricles = ndimage.distance_transform_edt(~location_atlas().ventricles)
    assert white.shape == MNI_GRID.shape
    return np.asarray((white >= _DEPTH_IN_WHITE_MATTER_MM) | (ventricles <= _NEAR_VENTRICLES_MM))
