"""Scale intensities so that healthy white matter is 1.

The white matter's intensity is the mode of a kernel density estimate. For both images it is
taken among voxels that are white matter in the template (probability > 0.9), which are known
once the case is registered:

- T1w: among all of them. Lesions and enlarged ventricles that lie there are darker and fewer.
- FLAIR: among those of them that the T1w shows as healthy white matter too (within 15 % of
  its mode), so that neither lesions (bright) nor ventricles (dark) take part. The mode of the
  whole brain would not do: in FLAIR, grey and white matter overlap, and it is a mix of both.

The mode is ambiguous where the density has a second peak almost as high, away from the first.
Then the peak nearest to the median is taken, and a quality check warns.

Source: the paper, section 3.1; FFTKDE: Odland, KDEpy (2018); bandwidth: Silverman (1986).
"""

from dataclasses import dataclass

import numpy as np
from KDEpy import FFTKDE
from numpy.typing import NDArray

from dlb_core.errors import ImplausibleImage
from dlb_core.volume import Mask

_WHITE_MATTER_PROBABILITY = 0.9
_HEALTHY_BAND = 0.15
_RIVAL_HEIGHT = 0.7
"""A second peak of at least this share of the highest makes the mode ambiguous ..."""
_RIVAL_DISTANCE = 0.1
"""... if it lies further away than this share of the highest one's position."""
_MIN_VOXELS = 1000


@dataclass(frozen=True, slots=True)
class Mode:
    """Where the white matter's intensity lies."""

    value: float
    ambiguous: bool
    """Another peak was almost as high."""


def white_matter_mode(values: NDArray[np.float32]) -> Mode:
    """Most frequent intensity of a sample of white matter.

    Parameters
    ----------
    values : (N,) float
        Intensities; at least two different ones.
    """
    low, high = np.percentile(values, [0.5, 99.5])
    sample = values[(values >= low) & (values <= high)].astype(np.float64)
    positions, density = FFTKDE(kernel="gaussian", bw="silverman").fit(sample).evaluate(1024)
    inner = density[1:-1]
    peaks = 1 + np.flatnonzero((inner > density[:-2]) & (inner >= density[2:]))
    highest = peaks[np.argmax(density[peaks])]
    tall = peaks[density[peaks] >= _RIVAL_HEIGHT * density[highest]]
    distance = np.abs(positions[tall] - positions[highest])
    if not (distance > _RIVAL_DISTANCE * abs(positions[highest])).any():
        return Mode(float(positions[highest]), ambiguous=False)
    nearest = tall[np.argmin(np.abs(positions[tall] - np.median(sample)))]
    return Mode(float(positions[nearest]), ambiguous=True)


def normalise_pair(
    t1w: NDArray[np.float32],
    flair: NDArray[np.float32],
    *,
    brain_mask: Mask,
    white_matter: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], Mode, Mode]:
    """Divide both images by their white matter's mode.

    Parameters
    ----------
    t1w, flair : (I, J, K) float32
        On the template's grid, free of bias, not negative.
    brain_mask : (I, J, K) bool
        All else becomes zero.
    white_matter : (I, J, K) float32
        The template's probability of white matter.

    Returns
    -------
    t1w, flair : (I, J, K) float32
        White matter at 1.
    t1w_mode, flair_mode : Mode
        What they were divided by.

    Raises
    ------
    ImplausibleImage
        One of the images shows too little white matter to tell.
    """
    core = brain_mask & (white_matter > _WHITE_MATTER_PROBABILITY)
    t1w_mode = _mode_within(t1w, core & (t1w > 0), role="T1w")
    healthy = np.abs(t1w - t1w_mode.value) <= _HEALTHY_BAND * t1w_mode.value
    flair_mode = _mode_within(flair, core & healthy & (flair > 0), role="FLAIR")
    return (
        np.where(brain_mask, t1w / np.float32(t1w_mode.value), 0).astype(np.float32),
        np.where(brain_mask, flair / np.float32(flair_mode.value), 0).astype(np.float32),
        t1w_mode,
        flair_mode,
    )


def _mode_within(data: NDArray[np.float32], mask: Mask, *, role: str) -> Mode:
    values = data[mask]
    if values.size < _MIN_VOXELS or values.min() == values.max():
        raise ImplausibleImage(
            f"The {role} shows too little white matter where the template has it: check that it "
            "shows a whole brain and that the two images belong together."
        )
    return white_matter_mode(values)
