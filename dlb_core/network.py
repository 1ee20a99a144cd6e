"""The compact 3D U-Net that every network of the ensemble is.

Axes in names: B batch, C channels, I J K voxels.

Each block is GroupNorm, convolution, ReLU; dropout follows each max-pooling; skip connections
join the two branches at each level; the last convolution gives two classes.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, figure 2 and section 2.2.
The paper does not print the number of filters: width and depth are configuration.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from dlb_core.contracts import Message

NUM_CLASSES = 2
LESION_CLASS = 1


class Architecture(Message):
    """All that must be known to rebuild a network for its weights."""

    in_channels: Annotated[int, Field(ge=1, description="T1w, FLAIR")] = 2
    width: Annotated[int, Field(ge=1, description="filters of the first level; doubles per level")]
    num_levels: Annotated[int, Field(ge=2, le=6)] = 4
    num_groups: Annotated[int, Field(ge=1, description="of GroupNorm")] = 8
    dropout: Annotated[float, Field(ge=0, lt=1, description="rate after max-pooling")] = 0.5

    @property
    def multiple(self) -> int:
        """Each spatial extent of the input must be a multiple of this."""
        return 1 << (self.num_levels - 1)


class Block(nn.Sequential):
    """GroupNorm, 3x3x3 convolution, ReLU.

    Where 8 groups do not divide the channels, the largest number of groups that does is taken:
    one group per channel for the two images.
    """

    def __init__(self, in_channels: int, out_channels: int, num_groups: int) -> None:
        super().__init__(
            nn.GroupNorm(math.gcd(num_groups, in_channels), in_channels),
            nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
        )


class Level(nn.Sequential):
    """Two blocks at one resolution."""

    def __init__(self, in_channels: int, out_channels: int, num_groups: int) -> None:
        super().__init__(
            Block(in_channels, out_channels, num_groups),
            Block(out_channels, out_channels, num_groups),
        )


class UNet3d(nn.Module):
    """A 3D U-Net of `num_levels` resolutions.

    Parameters
    ----------
    architecture : Architecture
        Width, depth, groups and dropout.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        widths = [architecture.width * 2**level for level in range(architecture.num_levels)]
        groups = architecture.num_groups
        inputs = [architecture.in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            Level(i, o, groups) for i, o in zip(inputs, widths, strict=True)
        )
        self.decoder = nn.ModuleList(
            Level(below + beside, beside, groups)
            for below, beside in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.shrink = nn.Sequential(nn.MaxPool3d(2), nn.Dropout(architecture.dropout))
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.classify = nn.Conv3d(widths[0], NUM_CLASSES, kernel_size=1)

    def forward(self, x_BCIJK: Tensor) -> Tensor:
        """Class scores (B, 2, I, J, K), before softmax, of images (B, C, I, J, K)."""
        skips: list[Tensor] = []
        for n, level in enumerate(self.encoder):
            x_BCIJK = level(self.shrink(x_BCIJK) if n else x_BCIJK)
            skips.append(x_BCIJK)
        skips.pop()
        for level in self.decoder:
            x_BCIJK = level(torch.cat([self.grow(x_BCIJK), skips.pop()], dim=1))
        scores: Tensor = self.classify(x_BCIJK)
        return scores


def lesion_probability(scores_BCIJK: Tensor) -> Tensor:
    """Probability of the lesion class (B, I, J, K): softmax over two classes."""
    return torch.sigmoid(scores_BCIJK[:, LESION_CLASS] - scores_BCIJK[:, 0])


def place(network: UNet3d, device: torch.device) -> UNet3d:
    """Move a network to a device, its weights laid out channels-last (faster convolutions)."""
    # PyTorch's type stubs do not know this overload.
    return network.to(device=device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload,no-any-return]
