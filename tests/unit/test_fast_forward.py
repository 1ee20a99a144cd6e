"""The fast way through a network is the same function as the plain one."""

import pytest
import torch
from torch.profiler import profile

from dlb_core.fast_forward import FastForward
from dlb_core.network import Architecture, UNet3d, lesion_probability


def _network(width: int, levels: int) -> UNet3d:
    torch.manual_seed(width)
    network = UNet3d(Architecture(width=width, num_levels=levels, dropout=0.5)).eval()
    for parameter in network.parameters():
        # Freshly made, norms scale by one and shift by nothing: a mistake there would not show.
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize(("width", "levels"), [(8, 4), (2, 2), (6, 3), (24, 3)])
@torch.inference_mode()
def test_it_gives_what_the_plain_way_gives(width: int, levels: int) -> None:
    """Border voxels, groups across the two branches, odd widths: all alike but for rounding."""
    network = _network(width, levels)
    x = 3 * torch.rand(2, 2, 16, 24, 32)

    plain = lesion_probability(network(x))
    fast = FastForward(network)(x)

    assert plain.std() > 0.01
    assert torch.allclose(fast, plain, atol=2e-3)


@torch.inference_mode()
def test_the_slow_convolution_is_never_called() -> None:
    """It is what a lone subvolume gets from PyTorch, and why this module exists."""
    network = _network(8, 4)
    x = torch.rand(1, 2, 32, 32, 32)
    fast = FastForward(network)

    with profile() as plain_run:
        network(x)
    with profile() as fast_run:
        fast(x)

    called = [{event.name for event in run.events()} for run in (plain_run, fast_run)]
    assert "aten::slow_conv3d_forward" in called[0]
    assert "aten::slow_conv3d_forward" not in called[1]
