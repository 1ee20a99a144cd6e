"""The 3D U-Net."""

import pytest
import torch
from torch import nn

from dlb_core.network import Architecture, UNet3d, lesion_probability


def _network(width: int = 8, **changes: float) -> UNet3d:
    torch.manual_seed(0)
    return UNet3d(Architecture(width=width, num_levels=4, **changes)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_scores_lie_on_the_inputs_grid(levels: int) -> None:
    """Skip connections must meet at every depth."""
    network = UNet3d(Architecture(width=4, num_levels=levels)).eval()

    scores = network(torch.zeros(2, 2, 16, 24, 8))

    assert scores.shape == (2, 2, 16, 24, 8)


def test_each_convolution_but_the_last_has_group_norm_before_and_relu_after() -> None:
    """The paper's block: GroupNorm, convolution, ReLU."""
    kinds = (nn.GroupNorm, nn.Conv3d, nn.ReLU)

    order = [k for m in _network().modules() for k in kinds if isinstance(m, k)]

    assert order == [nn.GroupNorm, nn.Conv3d, nn.ReLU] * 14 + [nn.Conv3d]


def test_two_input_channels_are_normalised_one_by_one() -> None:
    """GroupNorm(8) cannot share 8 groups among 2 channels."""
    norms = [m for m in _network().modules() if isinstance(m, nn.GroupNorm)]

    assert norms[0].num_groups == 2
    assert {m.num_groups for m in norms[1:]} == {8}


def test_width_8_is_compact() -> None:
    """75 of them must fit into a small bundle: 0.37 million parameters each."""
    assert sum(p.numel() for p in _network().parameters()) == pytest.approx(0.37e6, rel=0.02)


def test_the_answer_does_not_depend_on_the_images_scale() -> None:
    """The first GroupNorm takes each channel's scale and offset away."""
    network = _network()
    x = torch.rand(1, 2, 16, 16, 16)

    assert torch.allclose(network(x), network(3 * x + 1), atol=1e-3)


def test_dropout_is_at_work_in_training_only() -> None:
    """Inference must be deterministic."""
    network = _network(dropout=0.5)
    x = torch.rand(1, 2, 16, 16, 16)

    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


def test_lesion_probability_is_the_softmax() -> None:
    """The sigmoid of the difference is the same number, cheaper."""
    scores = torch.randn(2, 2, 4, 4, 4)

    assert torch.allclose(lesion_probability(scores), torch.softmax(scores, dim=1)[:, 1], atol=1e-6)
