"""How sure the networks are: of a lesion in a word, of the whole volume as an interval.

Both come from the votes alone: the share of the networks that saw a voxel and called it lesion.
They say how far the networks agree, not how far they are right.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core.lesions import keep_lesions
from dlb_core.report.document import Confidence
from dlb_core.volume import Mask
from dlb_core.voting import convincing

HIGH_AGREEMENT = 0.9
MODERATE_AGREEMENT = 0.75
"""Mean agreement over a lesion that earns the word; declared, not fitted."""

SURE_SHARE = 0.75
POSSIBLE_SHARE = 0.25
"""Shares of the networks that bound the volume from below and from above."""


def confidence(agreement: float) -> Confidence:
    """The word for a lesion's mean agreement.

    Parameters
    ----------
    agreement : float
        Mean of votes / coverage over the lesion, in [0, 1].
    """
    if agreement >= HIGH_AGREEMENT:
        return Confidence.HIGH
    return Confidence.MODERATE if agreement >= MODERATE_AGREEMENT else Confidence.LOW


def volume_bounds_mm3(
    votes: NDArray[np.integer[Any]],
    coverage: NDArray[np.integer[Any]],
    brain_mask: Mask,
    *,
    minimum_mm3: float,
    voxel_mm3: float,
) -> tuple[float, float]:
    """What three quarters of the networks call lesion, and what a quarter does, mm3.

    The rules are the mask's own: inside the brain, without lesions under the minimum and without
    those that convince too few networks. The voted mask lies between the two, since a majority is
    more than a quarter, and three quarters are a majority.

    Parameters
    ----------
    votes, coverage : (I, J, K) int
        How many networks called the voxel lesion, and how many saw it.
    brain_mask : (I, J, K) bool
    minimum_mm3 : float
        In the patient's own space.
    voxel_mm3 : float
        What one voxel measures in the patient's own space.

    Returns
    -------
    low, high : float
    """
    seen = brain_mask & (coverage > 0)
    sure = convincing(votes, coverage)
    low, high = (
        keep_lesions(
            seen & (votes >= share * coverage), sure, minimum_mm3=minimum_mm3, voxel_mm3=voxel_mm3
        ).sum()
        * voxel_mm3
        for share in (SURE_SHARE, POSSIBLE_SHARE)
    )
    return float(low), float(high)
