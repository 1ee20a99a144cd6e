"""Find the brain in a raw image, in its own space, with deepbet.

deepbet's two networks ship inside its wheel. We call them on arrays: no files, no progress
bars, no GPU, so that the same image gives the same mask everywhere.

Source: Fisch et al., Computers in Biology and Medicine 179 (2024) 108845.
"""

from typing import Any

import nibabel as nib
import numpy as np
from deepbet import BrainExtraction
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.errors import ImplausibleImage
from dlb_core.volume import Mask, Volume

_THRESHOLD = 0.5


def extract_brain(volume: Volume, *, role: str) -> Mask:
    """Brain mask of one raw head image.

    Parameters
    ----------
    volume : Volume
        T1w or FLAIR with the skull, any orientation.
    role : str
        "T1w" or "FLAIR", for the error message.

    Returns
    -------
    (I, J, K) bool
        One connected component without holes.

    Raises
    ------
    ImplausibleImage
        No brain was found.
    """
    canonical, back = _to_canonical(volume)
    extraction = BrainExtraction(no_gpu=True)
    try:
        probability = extraction.run_model(canonical)
        mask = extraction.postprocess(probability > _THRESHOLD)
    except (AssertionError, ValueError, RuntimeError) as error:
        # deepbet has no errors of its own: an empty mask ends in one of these.
        raise ImplausibleImage(
            f"No brain was found in the {role}: send a whole-head image, or, if the skull was "
            "already removed, say input_state=skull_stripped."
        ) from error
    return np.ascontiguousarray(nib.apply_orientation(mask, back)).astype(np.bool_)


def nonzero_brain(volume: Volume, *, role: str) -> Mask:
    """Brain mask of a skull-stripped image: its non-zero voxels and the holes among them.

    Raises
    ------
    ImplausibleImage
        Hardly any voxel is zero, so that the skull cannot have been removed.
    """
    mask = volume.data != 0
    if mask.mean() > _MAX_SHARE_OF_FOV:
        raise ImplausibleImage(
            f"The {role} is said to be skull-stripped, but {mask.mean():.0%} of its voxels are "
            "not zero: set everything outside the brain to zero, or say input_state=raw."
        )
    filled: Mask = ndimage.binary_fill_holes(mask)
    return filled


_MAX_SHARE_OF_FOV = 0.9
"""A brain's bounding box is about 45 % air; even a tight crop stays below this."""


def _to_canonical(volume: Volume) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """The array with axes nearest to RAS, and the orientation that leads back."""
    ornt = nib.io_orientation(volume.affine)
    canonical = nib.apply_orientation(np.asarray(volume.data, dtype=np.float32), ornt)
    ras = nib.io_orientation(np.eye(4))
    return np.ascontiguousarray(canonical), nib.orientations.ornt_transform(ras, ornt)
