"""Losses for very unbalanced classes."""

import math

import pytest
import torch

from dlb_core.training.losses import (
    IGNORED,
    LOSSES,
    LossName,
    dice_cross_entropy,
    generalised_jaccard,
    jaccard_cross_entropy,
    lesion_balanced,
    lesion_weights,
    soft_dice,
    soft_jaccard,
)

SEGMENTATION_LOSSES = [name for name in LossName if name is not LossName.SQUARED_ERROR]


def _scores(p: torch.Tensor) -> torch.Tensor:
    """Scores whose softmax gives lesion probability `p`."""
    return torch.stack([torch.zeros_like(p), torch.logit(p)], dim=1)


def test_generalised_jaccard_is_equation_1() -> None:
    """Worked by hand: 4 voxels, 1 lesion, sigma 1."""
    p = torch.tensor([0.8, 0.3, 0.1, 0.2], dtype=torch.float64).view(1, 4, 1, 1)
    target = torch.tensor([1, 0, 0, 0]).view(1, 4, 1, 1)
    lesion_weight, healthy_weight = 1 / 2, 1 / 4
    lesion_both, healthy_both = 0.8, 0.7 + 0.9 + 0.8
    lesion_either = (0.8 + 0.3 + 0.1 + 0.2) + 1 - lesion_both
    healthy_either = (0.2 + 0.7 + 0.9 + 0.8) + 3 - healthy_both
    expected = 1 - (1 + lesion_weight * lesion_both + healthy_weight * healthy_both) / (
        1 + lesion_weight * lesion_either + healthy_weight * healthy_either
    )

    loss = generalised_jaccard(_scores(p), target, smoothness=1.0)

    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_a_perfect_answer_costs_nothing(name: LossName) -> None:
    """And the opposite costs a lot."""
    target = (torch.rand(2, 6, 6, 6, generator=torch.manual_seed(0)) > 0.8).long()
    right = 40.0 * torch.stack([1 - target, target], dim=1).float()

    assert LOSSES[name](right, target).item() == pytest.approx(0, abs=1e-4)
    assert LOSSES[name](-right, target).item() > 0.5


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_gradients_agree_with_finite_differences(name: LossName) -> None:
    """The optimiser follows what is computed, not what was meant."""
    torch.manual_seed(1)
    scores = torch.randn(2, 2, 3, 3, 3, dtype=torch.float64)
    target = (torch.rand(2, 3, 3, 3) > 0.7).long()
    tracked = scores.clone().requires_grad_()
    LOSSES[name](tracked, target).backward()
    assert tracked.grad is not None
    step = 1e-2

    for index in [(0, 0, 0, 0, 0), (0, 1, 1, 2, 0), (1, 0, 2, 2, 2), (1, 1, 0, 1, 2)]:
        up, down = scores.clone(), scores.clone()
        up[index] += step
        down[index] -= step
        slope = (LOSSES[name](up, target) - LOSSES[name](down, target)) / (2 * step)
        assert tracked.grad[index].item() == pytest.approx(slope.item(), abs=3e-5)


@pytest.mark.parametrize("loss", [generalised_jaccard, soft_jaccard, soft_dice])
def test_an_empty_target_is_finite_and_punishes_false_positives(loss) -> None:  # type: ignore[no-untyped-def]
    """Most subvolumes hold no lesion."""
    target = torch.zeros(1, 4, 4, 4, dtype=torch.long)
    quiet = loss(_scores(torch.full((1, 4, 4, 4), 1e-6)), target).item()
    loud = loss(_scores(torch.full((1, 4, 4, 4), 0.5)), target).item()

    assert math.isfinite(quiet)
    assert quiet < 0.01 < loud


def test_joined_losses_are_the_sum_of_their_parts() -> None:
    """Jaccard + CE / 2, Dice + CE."""
    torch.manual_seed(2)
    scores, target = torch.randn(1, 2, 4, 4, 4), (torch.rand(1, 4, 4, 4) > 0.6).long()
    cross_entropy = torch.nn.functional.cross_entropy(scores, target)

    assert torch.isclose(
        jaccard_cross_entropy(scores, target), soft_jaccard(scores, target) + cross_entropy / 2
    )
    assert torch.isclose(
        dice_cross_entropy(scores, target), soft_dice(scores, target) + cross_entropy
    )


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_ignored_voxels_count_in_no_loss(name: LossName) -> None:
    """Whatever the network says of them, neither the loss nor its gradient changes."""
    torch.manual_seed(2)
    scores = torch.randn(1, 2, 4, 4, 4, dtype=torch.float64)
    target = (torch.rand(1, 4, 4, 4) > 0.7).long()
    target[:, 0] = IGNORED
    other = scores.clone()
    other[:, :, 0] = torch.randn(1, 2, 4, 4, dtype=torch.float64) * 5
    tracked = other.clone().requires_grad_()
    LOSSES[name](tracked, target).backward()

    assert LOSSES[name](scores, target).item() == pytest.approx(LOSSES[name](other, target).item())
    assert tracked.grad is not None
    assert tracked.grad[:, :, 0].abs().max() == 0
    assert tracked.grad[:, :, 1:].abs().max() > 0


def test_a_small_lesion_weighs_more_than_a_large_one() -> None:
    """(200 / n)^0.5, from 1 to 4; what is no lesion, or unknown, weighs 1."""
    target = torch.zeros(1, 16, 16, 16, dtype=torch.int64)
    target[0, 0, 0, 0] = 1
    target[0, 3:7, 3:7, 3:7] = 1  # 64 voxels
    target[0, 8:15, 8:15, 8:15] = 1  # 343
    target[0, 0, 8:] = IGNORED

    weights = lesion_weights(target)[0]

    assert weights[0, 0, 0] == 4
    assert weights[4, 4, 4] == pytest.approx(math.sqrt(200 / 64))
    assert weights[10, 10, 10] == weights[2, 0, 0] == weights[0, 9, 9] == 1


def test_missing_a_small_lesion_costs_more_than_missing_as_much_of_a_large_one() -> None:
    """What the weights are for."""
    target = torch.zeros(1, 16, 16, 16, dtype=torch.int64)
    target[0, 1:3, 1:3, 1:3] = 1
    target[0, 6:14, 6:14, 6:14] = 1
    found = target[:].float() * 0.98 + 0.01
    without_small, without_part = found.clone(), found.clone()
    without_small[0, 1:3, 1:3, 1:3] = 0.01
    without_part[0, 6:8, 6:8, 6:8] = 0.01

    small, part = (
        lesion_balanced(_scores(p), target).item() for p in (without_small, without_part)
    )

    assert small > part
