"""What a specialised network starts from: the variants of the paper's ablation.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, section 3.1.
"""

from pathlib import Path

import numpy as np
import torch

from dlb_core.network import UNet3d
from dlb_core.tiling import NETWORK_LOCATIONS, NetworkLocation
from dlb_core.training.recipe import Recipe
from dlb_core.training.start import StartWeights, from_file

HEAD = "classify."
"""Parameters of the last convolution begin with this."""
_KERNEL_DIMS, _KERNEL_I = 5, 2
"""A convolution's weights are (out, in, I, J, K)."""


def neighbour_of(index: int) -> int | None:
    """The network whose weights network `index` takes over; None for the first.

    Networks are trained in bundle order, each from the nearest one before it; of several that
    are equally near, from the one trained last.

    References
    ----------
    Coupe et al., NeuroImage 219 (2020) 117026, "nearest neighbour transfer learning". All
    weights are taken over: here every network has the same two classes.
    """
    if index == 0:
        return None
    place = _start(NETWORK_LOCATIONS[index])
    distances = [np.linalg.norm(_start(other) - place) for other in NETWORK_LOCATIONS[:index]]
    return index - 1 - int(np.argmin(distances[::-1]))


def neighbours_start(path: Path, index: int, neighbour: int) -> StartWeights:
    """Weights of a network's neighbour, mirrored where the two think in different hemispheres.

    Raises
    ------
    CheckpointCorrupt
        They cannot be read.
    """
    start = from_file(path)
    if NETWORK_LOCATIONS[index].mirrors_left == NETWORK_LOCATIONS[neighbour].mirrors_left:
        return start
    mirrored = {
        name: tensor.flip(_KERNEL_I).contiguous() if tensor.ndim == _KERNEL_DIMS else tensor
        for name, tensor in start.tensors.items()
    }
    return StartWeights(mirrored, start.sha256)


def restored_start(path: Path, recipe: Recipe) -> StartWeights:
    """Weights of a restoring network, with a new last convolution, for a recipe's network.

    Raises
    ------
    CheckpointCorrupt
        They cannot be read.
    """
    restored = from_file(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        fresh = UNet3d(recipe.architecture).state_dict()
    head = {name: tensor for name, tensor in fresh.items() if name.startswith(HEAD)}
    return StartWeights(dict(restored.tensors) | head, restored.sha256)


def _start(network: NetworkLocation) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(network.left.start)
