"""Find the brain in a raw image, in its own space, with deepbet.

deepbet's two networks ship inside its wheel. We call them on arrays: no files, no progress
bars, no GPU, so that the same image gives the same mask everywhere.

Source: Fisch et al., Computers in Biology and Medicine 179 (2024) 108845.
"""

import warnings
from typing import Any

import nibabel as nib
import numpy as np
from deepbet import BrainExtraction
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from dlb_core.errors import ImplausibleImage
from dlb_core.volume import Affine, Mask, Volume

_THRESHOLD = 0.5
_COARSE_MM = 4.0
"""Resolution at which the head is found."""
_AIR_MM = 30.0
"""Left around the head: about what scanners leave, and deepbet was trained on."""
_MAX_SHARE_OF_FOV = 0.9
"""A brain's bounding box is about 45 % air; even a tight crop stays below this."""


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
    box = _head_box(volume)
    mask = np.zeros(volume.data.shape, dtype=np.bool_)
    mask[box] = _run_deepbet(volume.data[box], volume.affine, role)
    return mask


def _run_deepbet(data: NDArray[Any], affine: Affine, role: str) -> Mask:
    """Brain mask of a head that fills most of its array; `affine` tells its axes."""
    ornt = nib.io_orientation(affine)
    canonical = nib.apply_orientation(np.asarray(data, dtype=np.float32), ornt)
    extraction = _load_deepbet()
    try:
        probability = extraction.run_model(np.ascontiguousarray(canonical))
        mask = extraction.postprocess(probability > _THRESHOLD)
    except (AssertionError, ValueError) as error:
        # deepbet has no errors of its own: an empty mask ends in one of these.
        raise ImplausibleImage(
            f"No brain was found in the {role}: send a whole-head image, or, if the skull was "
            "already removed, say input_state=skull_stripped."
        ) from error
    back = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), ornt)
    return np.ascontiguousarray(nib.apply_orientation(mask, back)).astype(np.bool_)


def _load_deepbet() -> Any:
    with warnings.catch_warnings():
        # deepbet's networks are TorchScript files, whose loader torch deprecates; it is pinned.
        warnings.simplefilter("ignore", DeprecationWarning)
        return BrainExtraction(no_gpu=True)


def _head_box(volume: Volume) -> tuple[slice, ...]:
    """Slices around the head and some air.

    deepbet first looks for the brain in the whole array scaled to 128 voxels a side, and takes
    too much for brain where the head is a small part of it, off its centre.
    """
    sizes = np.array(volume.grid.voxel_sizes)
    steps = np.maximum(1, np.round(_COARSE_MM / sizes)).astype(int)
    coarse = volume.data[:: steps[0], :: steps[1], :: steps[2]]
    head = _largest_part(ndimage.binary_opening(coarse > _head_level(coarse)))
    margins = np.ceil(_AIR_MM / (sizes * steps)).astype(int)
    return tuple(
        slice(extent.start * step, extent.stop * step)
        for extent, step in zip(_grown_box(head, margins), steps, strict=True)
    )


def _head_level(data: NDArray[Any]) -> float:
    """An intensity that air stays below; zeros around a defaced or padded head do not count."""
    positive = data[data > 0]
    return 0.5 * float(threshold_otsu(positive)) if positive.size else 0.0


def _largest_part(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest: Mask = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return largest


def _grown_box(mask: Mask, margins: NDArray[np.int_]) -> list[slice]:
    """Bounding box, grown by a margin along each axis; the whole array for an empty mask."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    box = boxes[0] if boxes else tuple(slice(0, n) for n in mask.shape)
    return [
        slice(max(0, extent.start - margin), extent.stop + margin)
        for extent, margin in zip(box, margins, strict=True)
    ]


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
