"""Losses for very unbalanced classes.

Axes in names: B batch, C classes, I J K voxels.
"""

from collections.abc import Callable
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional

from dlb_core.network import LESION_CLASS, NUM_CLASSES

IGNORED = -100
"""Target of voxels of which nobody knows what they are: no loss counts them."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From class scores (B, 2, I, J, K) and targets (B, I, J, K; int64: 0, 1 or `IGNORED`) to a
scalar."""


class LossName(StrEnum):
    """Selectable losses."""

    GENERALISED_JACCARD = "generalised_jaccard"
    JACCARD_CROSS_ENTROPY = "jaccard_cross_entropy"
    DICE_CROSS_ENTROPY = "dice_cross_entropy"
    SQUARED_ERROR = "squared_error"
    """Of a restored image: see `restoration`."""


def _one_hot(target_BIJK: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.stack([target_BIJK == c for c in range(NUM_CLASSES)], dim=1).to(dtype)


def _lesion_share(scores_BCIJK: Tensor, target_BIJK: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and truth of the lesion class, (B, I, J, K); both 0 where ignored."""
    p_BIJK = torch.softmax(scores_BCIJK.float(), dim=1)[:, LESION_CLASS]
    t_BIJK = (target_BIJK == LESION_CLASS).to(p_BIJK.dtype)
    return p_BIJK * (target_BIJK != IGNORED), t_BIJK


def generalised_jaccard(
    scores_BCIJK: Tensor, target_BIJK: Tensor, *, smoothness: float = 1.0
) -> Tensor:
    """One minus the smooth generalised Jaccard index, averaged over the batch.

    Parameters
    ----------
    scores_BCIJK : (B, 2, I, J, K) float
        Class scores before softmax.
    target_BIJK : (B, I, J, K) int64
        0 healthy, 1 lesion, `IGNORED`.
    smoothness : float
        The sigma of equation 1.

    Returns
    -------
    Tensor
        Scalar in [0, 1].

    References
    ----------
    Kamraoui et al., Medical Image Analysis 76 (2022) 102312, equation 1: class c weighs
    w_c = 1 / (1 + number of its voxels).
    """
    known_B1IJK = (target_BIJK != IGNORED).unsqueeze(1)
    p_BCN = (torch.softmax(scores_BCIJK.float(), dim=1) * known_B1IJK).flatten(2)
    t_BCN = _one_hot(target_BIJK, p_BCN.dtype).flatten(2)
    weight_BC = 1 / (1 + t_BCN.sum(2))
    both_BC = (p_BCN * t_BCN).sum(2)
    either_BC = (p_BCN + t_BCN).sum(2) - both_BC
    intersection_B = smoothness + (weight_BC * both_BC).sum(1)
    union_B = smoothness + (weight_BC * either_BC).sum(1)
    return (1 - intersection_B / union_B).mean()


def soft_jaccard(scores_BCIJK: Tensor, target_BIJK: Tensor) -> Tensor:
    """One minus the lesion class's Jaccard index over the whole batch."""
    p_BIJK, t_BIJK = _lesion_share(scores_BCIJK, target_BIJK)
    both = (p_BIJK * t_BIJK).sum()
    return 1 - (1 + both) / (1 + p_BIJK.sum() + t_BIJK.sum() - both)


def soft_dice(scores_BCIJK: Tensor, target_BIJK: Tensor) -> Tensor:
    """One minus the lesion class's Dice coefficient over the whole batch."""
    p_BIJK, t_BIJK = _lesion_share(scores_BCIJK, target_BIJK)
    return 1 - (1 + 2 * (p_BIJK * t_BIJK).sum()) / (1 + p_BIJK.sum() + t_BIJK.sum())


def jaccard_cross_entropy(scores_BCIJK: Tensor, target_BIJK: Tensor) -> Tensor:
    """Lesion Jaccard loss plus half the cross-entropy."""
    cross_entropy = functional.cross_entropy(
        scores_BCIJK.float(), target_BIJK, ignore_index=IGNORED
    )
    return soft_jaccard(scores_BCIJK, target_BIJK) + 0.5 * cross_entropy


def dice_cross_entropy(scores_BCIJK: Tensor, target_BIJK: Tensor) -> Tensor:
    """Lesion Dice loss plus the cross-entropy."""
    cross_entropy = functional.cross_entropy(
        scores_BCIJK.float(), target_BIJK, ignore_index=IGNORED
    )
    return soft_dice(scores_BCIJK, target_BIJK) + cross_entropy


def squared_error(restored_BCIJK: Tensor, original_BCIJK: Tensor) -> Tensor:
    """Mean squared difference of two images."""
    return functional.mse_loss(restored_BCIJK.float(), original_BCIJK)


LOSSES: dict[LossName, Loss] = {
    LossName.GENERALISED_JACCARD: generalised_jaccard,
    LossName.JACCARD_CROSS_ENTROPY: jaccard_cross_entropy,
    LossName.DICE_CROSS_ENTROPY: dice_cross_entropy,
    LossName.SQUARED_ERROR: squared_error,
}
