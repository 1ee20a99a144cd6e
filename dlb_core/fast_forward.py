"""One lone subvolume through a network on a CPU, faster than `UNet3d.forward`; same answer.

Three things make the difference, none of them changes the function but for rounding:

- PyTorch (2.13) sends a batch of one with few channels to a slow convolution: oneDNN's is
  called by name, on the channels-last layout.
- A convolution of an up-sampled image is a convolution of the small image with eight times the
  filters, one set for each of the eight voxels that a small voxel becomes ("sub-pixel
  convolution", Shi et al., CVPR 2016): eight filters use half of a vector register, 64 fill it.
  Nothing is up-sampled nor concatenated: the convolution of the two parts is the sum of two.
- Of two class scores only the difference counts, so the last convolution has one filter.

Rounding can show where a subvolume is nearly empty: PyTorch's channels-last group normalisation
sums in float32, and single probabilities then differ by up to 0.02 from those of float64.

Axes in names: B batch, C channels, I J K voxels.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dlb_core.network import LESION_CLASS, Block, Level, UNet3d

TAPS = torch.tensor(
    [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ]
)
"""(2, 3, 3): along one axis, for the first and the second voxel that a small voxel becomes,
which of the three filter taps fall on the small voxel before, on itself, and after."""
SPATIAL = (2, 3, 4)


class FastForward:
    """A network's weights made ready; good until the network's weights change.

    Parameters
    ----------
    network : UNet3d
        On the CPU, in evaluation mode.
    """

    def __init__(self, network: UNet3d) -> None:
        self._network = network
        self._joins = [_Join(cast(Block, cast(Level, level)[0])) for level in network.decoder]
        weight, bias = network.classify.weight, network.classify.bias
        assert bias is not None  # every convolution of the network has one
        self._direction_C = (weight[LESION_CLASS] - weight[0]).flatten()
        self._offset = bias[LESION_CLASS] - bias[0]

    def __call__(self, x_BCIJK: Tensor) -> Tensor:
        """Probability of the lesion class (B, I, J, K) of images (B, C, I, J, K)."""
        x_BCIJK = x_BCIJK.contiguous(memory_format=torch.channels_last_3d)
        skips: list[Tensor] = []
        for n, level in enumerate(self._network.encoder):
            x_BCIJK = functional.max_pool3d(x_BCIJK, 2) if n else x_BCIJK
            for block in cast(Level, level):
                x_BCIJK = _run_block(cast(Block, block), x_BCIJK)
            skips.append(x_BCIJK)
        skips.pop()
        for join, level in zip(self._joins, self._network.decoder, strict=True):
            x_BCIJK = join(x_BCIJK, skips.pop())
            x_BCIJK = _run_block(cast(Block, cast(Level, level)[1]), x_BCIJK)
        score_BIJK = x_BCIJK.permute(0, 2, 3, 4, 1) @ self._direction_C + self._offset
        return score_BIJK.sigmoid_()


def _convolve(x_BCIJK: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return functional.conv3d(x_BCIJK, weight, bias, padding=1)
    answer: Tensor = torch.mkldnn_convolution(
        x_BCIJK, weight, bias, padding=(1, 1, 1), stride=(1, 1, 1), dilation=(1, 1, 1), groups=1
    )
    return answer


def _run_block(block: Block, x_BCIJK: Tensor) -> Tensor:
    norm, convolution = cast(nn.GroupNorm, block[0]), cast(nn.Conv3d, block[1])
    return _convolve(norm(x_BCIJK), convolution.weight, convolution.bias).relu_()


class _Join:
    """The block that joins the branch below, up-sampled, with the skip connection beside it."""

    def __init__(self, block: Block) -> None:
        self._norm, convolution = cast(nn.GroupNorm, block[0]), cast(nn.Conv3d, block[1])
        filters, channels = convolution.weight.shape[:2]
        # The branch below has twice the channels of the one beside it.
        below_channels = channels * 2 // 3
        below, beside = torch.split(
            convolution.weight, [below_channels, channels - below_channels], dim=1
        )
        phases = torch.einsum("pai,qbj,rdk,ocijk->pqrocabd", TAPS, TAPS, TAPS, below)
        layout = torch.channels_last_3d
        self._phases = phases.reshape(8 * filters, below_channels, 3, 3, 3).contiguous(
            memory_format=layout
        )
        self._beside = beside.contiguous(memory_format=layout)
        self._bias = convolution.bias

    def __call__(self, below_BCIJK: Tensor, beside_BCIJK: Tensor) -> Tensor:
        below_BCIJK, beside_BCIJK = self._normalise(below_BCIJK, beside_BCIJK)
        joined_BCIJK = _convolve(beside_BCIJK, self._beside, self._bias)
        phases_BCIJK = _convolve(below_BCIJK, self._phases, None)
        b, c, i, j, k = joined_BCIJK.shape
        fine = joined_BCIJK.permute(0, 2, 3, 4, 1).view(b, i // 2, 2, j // 2, 2, k // 2, 2, c)
        coarse = phases_BCIJK.permute(0, 2, 3, 4, 1).view(b, i // 2, j // 2, k // 2, 2, 2, 2, c)
        fine += coarse.permute(0, 1, 4, 2, 5, 3, 6, 7)
        return joined_BCIJK.relu_()

    def _normalise(self, below_BCIJK: Tensor, beside_BCIJK: Tensor) -> tuple[Tensor, Tensor]:
        """Group normalisation over the channels of both; up-sampling changes no average."""
        both, norm = (below_BCIJK, beside_BCIJK), self._norm
        mean_BC = torch.cat([x.mean(SPATIAL) for x in both], dim=1)
        square_BC = torch.cat([(x * x).mean(SPATIAL) for x in both], dim=1)
        # Every channel has as many voxels once up-sampled: a group's average is its channels'.
        centre_BG, square_BG = (
            torch.unflatten(m, 1, (norm.num_groups, -1)).mean(2) for m in (mean_BC, square_BC)
        )
        spread_BG = ((square_BG - centre_BG**2).clamp(min=0) + norm.eps).rsqrt()
        size = norm.num_channels // norm.num_groups
        scale_BC = norm.weight * spread_BG.repeat_interleave(size, dim=1)
        shift_BC = norm.bias - scale_BC * centre_BG.repeat_interleave(size, dim=1)
        parts = [x.shape[1] for x in both]
        below, beside = (
            torch.addcmul(shift[..., None, None, None], x, scale[..., None, None, None])
            for x, scale, shift in zip(
                both, torch.split(scale_BC, parts, 1), torch.split(shift_BC, parts, 1), strict=True
            )
        )
        return below, beside
