"""Where an image without labels may hold lesions of its own.

Such an image still teaches what real brains look like: lesions are added to it, and what may
be one already counts in no loss. The rule must not miss lesions, nor take all that is bright:
bright cortex is what a network must learn to leave alone.
"""

from functools import cache

import numpy as np
from scipy import ndimage

from dlb_core.lesions import NEIGHBOURS_26
from dlb_core.location_atlas import location_atlas
from dlb_core.synthesis.fields import Array
from dlb_core.template import load_template
from dlb_core.volume import Mask

BRIGHT, VERY_BRIGHT = 1.12, 1.4
"""FLAIR, white matter = 1: suspect where lesions are usual, and suspect anywhere."""
_SMOOTHING_VOXELS = 0.7
_DEPTH_IN_WHITE_MATTER_MM = 3.0
_NEAR_VENTRICLES_MM = 6.0
_THICK_VOXELS = 2
"""Near the ventricles thinner layers are caps and plexus, seen in nearly everyone: no lesions."""
_MARGIN_VOXELS = 1


def may_be_lesion(flair: Array) -> Mask:
    """Mark every voxel of an unlabelled case that could be lesion.

    Parameters
    ----------
    flair : (I, J, K) float32
        On the MNI grid, white matter = 1.

    Returns
    -------
    (I, J, K) bool
    """
    flair = ndimage.gaussian_filter(flair, _SMOOTHING_VOXELS)
    inside, beside = _white_matter(), _beside_ventricles()
    bright = flair > BRIGHT
    suspect = (flair > VERY_BRIGHT) & ~beside
    suspect |= bright & inside & ~beside
    suspect |= _thick(bright & (inside | beside)) & beside
    return np.asarray(ndimage.binary_dilation(suspect, NEIGHBOURS_26, iterations=_MARGIN_VOXELS))


@cache
def _white_matter() -> Mask:
    """The depth of it: template and brain differ, so what lies close to cortex does not count."""
    white = ndimage.distance_transform_edt(load_template().white_matter > 0.5)
    return np.asarray(white >= _DEPTH_IN_WHITE_MATTER_MM)


@cache
def _beside_ventricles() -> Mask:
    away = ndimage.distance_transform_edt(~location_atlas().ventricles)
    return np.asarray(away <= _NEAR_VENTRICLES_MM)


def _thick(mask: Mask) -> Mask:
    """What is left of a mask when its thin parts are gone."""
    ball = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), _THICK_VOXELS)
    return np.asarray(ndimage.binary_opening(mask, ball))
