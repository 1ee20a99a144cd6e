"""Tiny bundles of weights for tests: real networks, untrained."""

from pathlib import Path

import torch

from dlb_core.checkpoints import Bundle, write_bundle
from dlb_core.network import Architecture, UNet3d

TINY = Architecture(width=2, num_levels=2, dropout=0.1)


def write_tiny_bundle(folder: Path, *, threshold: float = 0.5) -> Bundle:
    """75 different networks of a few hundred weights each."""

    def weights_of(index: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(index)
        return dict(UNet3d(TINY).state_dict())

    return write_bundle(
        folder,
        weights_of,
        name="tiny",
        version="1",
        description="Untrained, for tests.",
        architecture=TINY,
        vote_threshold=threshold,
        training={"trained": False},
    )
