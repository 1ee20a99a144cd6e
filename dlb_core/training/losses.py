"""Losses for very unbalanced classes.

Axes in names: B batch, C classes, I J K voxels.
"""

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dlb_core.lesions import label_lesions
from dlb_core.network import LESION_CLASS, NUM_CLASSES

IGNORED = -100
"""Target of voxels of which nobody knows what they are: no loss counts them."""

SMALL_LESION_VOXELS = 200
"""Lesions below this size weigh more in `lesion_balanced`."""
MAX_LESION_WEIGHT = 4.0

Loss = Callable[[Tensor, Tensor], Tensor]
"""From class scores (B, 2, I, J, K) and targets (B, I, J, K; int64: 0, 1 or `IGNORED`) to a
scalar."""


class LossName(StrEnum):
    """Selectable losses."""

    GENERALISED_JACCARD = "generalised_jaccard"
    JACCARD_CROSS_ENTROPY = "jaccard_cross_entropy"
    DICE_CROSS_ENTROPY = "dice_cross_entropy"
    LESION_BALANCED = "lesion_balanced"
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


def lesion_weights(target_BIJK: Tensor) -> Tensor:
    """What each voxel weighs in `lesion_balanced`: more in a small lesion, else 1.

    A lesion of n voxels weighs (200 / n)^0.5, between 1 and 4: a voxel-wise loss hardly notices
    when a whole small lesion is missed, but a reader does.

    Returns
    -------
    (B, I, J, K) float32
    """
    weights = torch.ones(target_BIJK.shape)
    for weight_IJK, target_IJK in zip(weights, target_BIJK.cpu().numpy(), strict=True):
        labels = label_lesions(target_IJK == LESION_CLASS)
        sizes = np.maximum(np.bincount(labels.ravel()), 1)
        of_label = np.clip(np.sqrt(SMALL_LESION_VOXELS / sizes), 1, MAX_LESION_WEIGHT)
        of_label[0] = 1
        weight_IJK.copy_(torch.from_numpy(of_label.astype(np.float32)[labels]))
    return weights.to(target_BIJK.device)


def lesion_balanced(scores_BCIJK: Tensor, target_BIJK: Tensor) -> Tensor:
    """`jaccard_cross_entropy` with small lesions' voxels weighing more; see `lesion_weights`."""
    weight_BIJK = lesion_weights(target_BIJK)
    p_BIJK, t_BIJK = _lesion_share(scores_BCIJK, target_BIJK)
    both = (weight_BIJK * p_BIJK * t_BIJK).sum()
    either = (weight_BIJK * (p_BIJK + t_BIJK)).sum() - both
    cross_entropy_BIJK = functional.cross_entropy(
        scores_BCIJK.float(), target_BIJK, ignore_index=IGNORED, reduction="none"
    )
    num_known = (target_BIJK != IGNORED).sum().clamp(min=1)
    cross_entropy = (weight_BIJK * cross_entropy_BIJK).sum() / num_known
    return 1 - (1 + both) / (1 + either) + 0.5 * cross_entropy


def squared_error(restored_BCIJK: Tensor, original_BCIJK: Tensor) -> Tensor:
    """Mean squared difference of two images."""
    return functional.mse_loss(restored_BCIJK.float(), original_BCIJK)


LOSSES: dict[LossName, Loss] = {
    LossName.GENERALISED_JACCARD: generalised_jaccard,
    LossName.JACCARD_CROSS_ENTROPY: jaccard_cross_entropy,
    LossName.DICE_CROSS_ENTROPY: dice_cross_entropy,
    LossName.LESION_BALANCED: lesion_balanced,
    LossName.SQUARED_ERROR: squared_error,
}
