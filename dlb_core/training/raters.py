"""Fuse several raters' lesion masks into one.

Source of STAPLE: Warfield et al., IEEE Transactions on Medical Imaging 23 (2004) 903-921,
as implemented by ITK.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the name everyone knows it by
from scipy import ndimage

from dlb_core.volume import Mask

_RIM = 2
"""Voxels around what any rater marked that STAPLE counts as healthy. With the whole image, in
which nearly all is healthy to every rater, it takes thousands of iterations to the same end."""
_MAX_ITERATIONS = 1000


class Fusion(StrEnum):
    """How several raters' masks become one."""

    MAJORITY = "majority"
    """What more than half of the raters marked."""
    STAPLE = "staple"
    """What is likelier lesion than not, each rater weighed by an estimate of how good they are."""


def fuse(masks: Sequence[Mask], rule: Fusion) -> Mask:
    """Fuse masks of one grid.

    Parameters
    ----------
    masks : sequence of (I, J, K) bool
        One a rater, at least one. A single mask is returned as it is.
    rule : Fusion

    Returns
    -------
    (I, J, K) bool
        Empty where no rater marked anything.
    """
    if len(masks) == 1:
        return masks[0]
    return _RULES[rule](masks)


def _majority(masks: Sequence[Mask]) -> Mask:
    fused: Mask = 2 * np.sum(masks, axis=0) > len(masks)
    return fused


def _staple(masks: Sequence[Mask]) -> Mask:
    fused: Mask = np.zeros_like(masks[0])
    marked = np.any(masks, axis=0)
    if not marked.any():
        return fused
    region = ndimage.binary_dilation(marked, iterations=_RIM)
    estimate = sitk.STAPLEImageFilter()
    estimate.SetForegroundValue(1)
    estimate.SetMaximumIterations(_MAX_ITERATIONS)
    # STAPLE looks at each voxel by itself, so the region may be given as a row of voxels.
    rows = [sitk.GetImageFromArray(mask[region].astype(np.uint8)[None]) for mask in masks]
    fused[region] = sitk.GetArrayFromImage(estimate.Execute(rows))[0] >= 0.5
    return fused


_RULES: dict[Fusion, Callable[[Sequence[Mask]], Mask]] = {
    Fusion.MAJORITY: _majority,
    Fusion.STAPLE: _staple,
}
