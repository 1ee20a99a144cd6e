"""What the lesion volume is set against: the brain mask, and when it stands for the whole skull.

deepbet's mask follows the inside of the skull: the fluid in and around the brain is in it. Its
authors call its volume the total intracranial volume (docs/decisions/intracranial-volume.md). The
mask of an image that came stripped may be anything, and of a head that the scan cuts off too small.

No norms: whether a volume is large for its age and sex is not said here.

Source: Fisch et al., Computers in Biology and Medicine 179 (2024) 108845.
"""

from dataclasses import dataclass

import numpy as np

from dlb_core.contracts import InputState
from dlb_core.report.document import IntracranialGap
from dlb_core.volume import Grid, Mask

MM3_PER_ML = 1000.0
CUT_CM2 = 10.0
"""Area of the mask on a face of the image above which the head is cut off. Spinal cord and a vertex
that just touches the last slice had up to 4 cm2, a head whose top and bottom lack 30 and 34 cm2."""


@dataclass(frozen=True, slots=True)
class Intracranial:
    """The intracranial volume, or why there is none."""

    volume_ml: float | None = None
    gap: IntracranialGap | None = None


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


def intracranial_volume(brain_mask: Mask, grid: Grid, *, input_state: InputState) -> Intracranial:
    """Estimate the volume within the skull.

    Parameters
    ----------
    brain_mask : (I, J, K) bool
        The brain on the T1w's own voxels, deepbet's where the input is raw.
    grid : Grid
        The T1w's.
    input_state : InputState
        Whether the mask is deepbet's or the input's own.
    """
    if input_state is InputState.SKULL_STRIPPED:
        return Intracranial(gap=IntracranialGap.SKULL_STRIPPED)
    if largest_cut_cm2(brain_mask, grid) > CUT_CM2:
        return Intracranial(gap=IntracranialGap.FIELD_OF_VIEW)
    return Intracranial(volume_ml=brain_volume_ml(brain_mask, grid))


def largest_cut_cm2(brain_mask: Mask, grid: Grid) -> float:
    """Largest area of a mask on one of the image's six faces."""
    areas = (
        np.count_nonzero(brain_mask.take(end, axis=axis)) * grid.voxel_mm3 / size
        for axis, size in enumerate(grid.voxel_sizes)
        for end in (0, -1)
    )
    return max(areas) / 100
