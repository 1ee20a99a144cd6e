"""Segment a case again from images altered a little, to see how far its volume moves.

Three alterations that a routine scan may come with, each made to both images on the MNI grid and
each followed by a whole inference with the case's own rules: together three times the case's own
inference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.metrics import dice
from dlb_core.report.document import AlteredRun, Robustness
from dlb_core.report.language import record
from dlb_core.tissue import MM3_PER_ML
from dlb_core.volume import Mask

Image = NDArray[np.float32]
"""(2, I, J, K): T1w and FLAIR, white matter at 1, zero outside the brain."""

BLUR_SIGMA_MM = 0.7
SLICE_MM = 3
GAMMA = 0.85
"""White matter stays at 1: FLAIR's contrasts shrink, and so do the T1w's."""


@dataclass(frozen=True, slots=True)
class Alteration:
    """One way that images get a little worse."""

    name: str
    title: str
    alter: Callable[[Image], Image]


def _blur(image: Image) -> Image:
    return np.stack([ndimage.gaussian_filter(one, BLUR_SIGMA_MM) for one in image])


def _thick_slices(image: Image) -> Image:
    """Means over neighbouring axial slices, as thicker ones would give."""
    return np.stack([ndimage.uniform_filter1d(one, SLICE_MM, axis=2) for one in image])


def _contrast(image: Image) -> Image:
    return np.asarray(np.maximum(image, 0) ** np.float32(GAMMA), dtype=np.float32)


ALTERATIONS = (
    Alteration("blur", record("blurred (Gaussian, {mm} mm)", mm=f"{BLUR_SIGMA_MM:g}"), _blur),
    Alteration("slices", record("axial slices of {mm} mm", mm=SLICE_MM), _thick_slices),
    Alteration(
        "contrast", record("weaker contrast (power of {gamma})", gamma=f"{GAMMA:g}"), _contrast
    ),
)


def altered(image: Image, brain_mask: Mask, alteration: Alteration) -> Image:
    """The images altered, zero outside the brain as before.

    Parameters
    ----------
    image : (2, I, J, K) float32
    brain_mask : (I, J, K) bool
    alteration : Alteration
    """
    return np.where(brain_mask, alteration.alter(image), 0).astype(np.float32)


def summarise_runs(own: Mask, runs: dict[str, tuple[Mask, int]], *, voxel_mm3: float) -> Robustness:
    """Put the runs together.

    Parameters
    ----------
    own : (I, J, K) bool
        The case's own lesion mask.
    runs : dict
        Alteration's name -> its mask, and the number of its lesions.
    voxel_mm3 : float
        What one voxel measures in the patient's own space.
    """

    def millilitres(mask: NDArray[Any]) -> float:
        return float(mask.sum()) * voxel_mm3 / MM3_PER_ML

    volumes = [millilitres(own), *(millilitres(mask) for mask, _ in runs.values())]
    return Robustness(
        lesion_volume_low_ml=min(volumes),
        lesion_volume_high_ml=max(volumes),
        runs=tuple(
            AlteredRun(
                name=alteration.name,
                title=alteration.title,
                lesion_count=runs[alteration.name][1],
                lesion_volume_ml=millilitres(runs[alteration.name][0]),
                overlap_dice=dice(own, runs[alteration.name][0]),
            )
            for alteration in ALTERATIONS
            if alteration.name in runs
        ),
    )
