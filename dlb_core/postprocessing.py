"""From the ensemble's consensus to lesion masks, on the MNI grid and on the patient's own.

A native mask is made as the field does it: the probability is resampled linearly, then
thresholded. Two things are done first. The probability is rescaled so that the bundle's vote
threshold comes to lie at 0.5: interpolation between a voxel of 1 and one of 0 puts the edge
half-way, and any other threshold would swell or shrink every lesion. And it is held at or above
the threshold inside the voted mask and below it elsewhere, so that it says what the vote said.
"""

import numpy as np
from numpy.typing import NDArray

from dlb_core.lesions import keep_lesions
from dlb_core.resampling import to_native
from dlb_core.volume import Affine, Grid, Mask
from dlb_core.voting import Consensus, convincing

_JUST_BELOW = 1e-3


def lesion_mask(
    consensus: Consensus, brain_mask: Mask, *, minimum_mm3: float, voxel_mm3: float
) -> Mask:
    """The voted mask inside the brain, without small and unsure lesions.

    Left out is what is smaller than `minimum_mm3`, and what has no voxel that convinces four
    fifths of the networks (`voting.convincing`): a bare majority marks many thin rims that are
    none.

    Parameters
    ----------
    consensus : Consensus
    brain_mask : (I, J, K) bool
    minimum_mm3 : float
        In the patient's own space.
    voxel_mm3 : float
        What one MNI voxel measures in the patient's own space.
    """
    sure = convincing(consensus.votes, consensus.coverage)
    voted = consensus.mask & brain_mask
    return keep_lesions(voted, sure, minimum_mm3=minimum_mm3, voxel_mm3=voxel_mm3)


def native_mask(
    mask: Mask,
    probability: NDArray[np.float32],
    native_grid: Grid,
    native_to_mni: Affine,
    *,
    threshold: float,
) -> Mask:
    """The lesion mask on a native image's voxels.

    Parameters
    ----------
    mask : (181, 217, 181) bool
        Final mask on the MNI grid.
    probability : (181, 217, 181) float32
        Mean lesion probability.
    native_grid : Grid
    native_to_mni : (4, 4) float
        Native world mm -> MNI world mm.
    threshold : float
        The bundle's vote threshold.
    """
    rescaled = np.interp(probability, (0, threshold, 1), (0, 0.5, 1))
    faithful = np.where(mask, np.maximum(rescaled, 0.5), np.minimum(rescaled, 0.5 - _JUST_BELOW))
    native: Mask = to_native(faithful.astype(np.float32), native_grid, native_to_mni) >= 0.5
    return native
