"""Run the ensemble: one network in memory at a time, each loaded once per case.

Axes in names: B batch, C channels, I J K voxels.

A network sees its subvolume and the mirror image of the one in the other hemisphere, one after
the other: a batch of two was slower on a CPU. For a median network the two overlap almost
wholly: their mean is its one vote. So mirroring a case mirrors its result, but for the
rounding of sums in another order.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, sections 2.3 and 3.2.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlb_core.checkpoints import Bundle, build_network, fill
from dlb_core.contracts import Device, StopCallback
from dlb_core.errors import Cancelled, StageFailed
from dlb_core.fast_forward import FastForward
from dlb_core.network import UNet3d, lesion_probability, place
from dlb_core.tiling import NETWORK_LOCATIONS, Location, NetworkLocation, cut, has_brain
from dlb_core.volume import Mask
from dlb_core.votes import VotesFile, identity_of
from dlb_core.voting import Ballot, Consensus

NetworkCallback = Callable[[int], None]
"""Told how many networks are done."""


@dataclass(frozen=True, slots=True, eq=False)
class EnsembleRun:
    """A finished run."""

    consensus: Consensus
    networks_run: int
    networks_skipped: int
    """No brain in their subvolumes."""


def run_ensemble(
    image: NDArray[np.float32],
    brain_mask: Mask,
    bundle: Bundle,
    *,
    device: Device = Device.CPU,
    on_network: NetworkCallback = lambda _: None,
    should_stop: StopCallback = lambda: False,
    votes: Path | None = None,
) -> EnsembleRun:
    """Segment one preprocessed case.

    Parameters
    ----------
    image : (2, I, J, K) float32
        T1w and FLAIR on the MNI grid, white matter at 1, 0 outside the brain.
    brain_mask : (I, J, K) bool
        Outside of it nothing is lesion.
    bundle : Bundle
    device : Device
        Mixed precision is used on CUDA.
    on_network : callable
        Called after each network with the number done, of 75.
    should_stop : callable
        Asked before each network.
    votes : Path, optional
        File that keeps the votes every few networks. Votes of this case that are in it already
        are taken up; the result is bit-identical to that of a run in one go.

    Raises
    ------
    CheckpointCorrupt
        A network's weights are not those of the manifest.
    StageFailed
        A network's answer is not finite.
    Cancelled
        `should_stop` said so.
    """
    network = place(build_network(bundle.manifest.architecture), torch.device(device.value))
    ballot = Ballot(brain_mask.shape, bundle.manifest.vote_threshold)
    kept = (
        None if votes is None else VotesFile(votes, identity_of(image, brain_mask, bundle, device))
    )
    done = 0 if kept is None else kept.restore(ballot)
    needed = [any(has_brain(brain_mask, p) for p in _places(n)) for n in NETWORK_LOCATIONS]
    for location, weights in _networks_with_weights(bundle, needed, done):
        if should_stop():
            raise Cancelled("the case was cancelled during inference")
        if weights is None:
            _cover(ballot, location)
        else:
            fill(network, weights, location.name)
            _predict(network, image, location, ballot, device)
        done += 1
        if kept is not None:
            kept.keep(ballot, done)
        on_network(done)
    consensus = _within_brain(ballot.count(), brain_mask)
    return EnsembleRun(consensus, needed.count(True), needed.count(False))


def _networks_with_weights(
    bundle: Bundle, needed: Sequence[bool], first: int
) -> Iterator[tuple[NetworkLocation, dict[str, Tensor] | None]]:
    """Networks from `first` on, the next one's weights read meanwhile; None: not needed."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="weights") as reader:
        waiting = [n for n, wanted in enumerate(needed) if wanted and n >= first]
        pending = reader.submit(bundle.load, waiting[0]) if waiting else None
        for index, location in enumerate(NETWORK_LOCATIONS[first:], start=first):
            if not needed[index] or pending is None:
                yield location, None
                continue
            weights = pending.result()
            following = waiting[waiting.index(index) + 1 :]
            pending = reader.submit(bundle.load, following[0]) if following else None
            yield location, weights


def _places(location: NetworkLocation) -> tuple[Location, Location]:
    """The network's subvolume, and the place that it sees mirrored."""
    return location.primary, location.twin or location.primary.mirrored()


def _votes_in(location: NetworkLocation) -> tuple[Location, ...]:
    """Where a network votes: its two subvolumes, or for a median network their union."""
    primary, mirrored = _places(location)
    if location.twin is not None:
        return primary, mirrored
    shift = mirrored.start[0] - primary.start[0]
    return (Location(primary.start, (primary.size[0] + shift, *primary.size[1:])),)


def _cover(ballot: Ballot, location: NetworkLocation) -> None:
    """A network without brain in sight says healthy everywhere."""
    for served in _votes_in(location):
        ballot.add(served, np.zeros(served.size, dtype=np.float32))


@torch.inference_mode()
def _predict(
    network: UNet3d,
    image: NDArray[np.float32],
    location: NetworkLocation,
    ballot: Ballot,
    device: Device,
) -> None:
    primary, mirrored = _places(location)
    look = FastForward(network) if device is Device.CPU else partial(_look, network, device)
    here, there = (
        look(torch.from_numpy(np.ascontiguousarray(view)[None]))[0].cpu().numpy()
        for view in (cut(image, primary), cut(image, mirrored, flipped=True))
    )
    if not (np.isfinite(here).all() and np.isfinite(there).all()):
        # Not a number is no vote: it would look like a healthy brain.
        raise StageFailed(f"{location.name} gave values that are no numbers on {device.value}")
    there = np.flip(there, axis=0)
    votes = (here, there) if location.twin else (_join_overlapping(here, there),)
    for served, probability in zip(_votes_in(location), votes, strict=True):
        ballot.add(served, probability)


def _look(network: UNet3d, device: Device, x_BCIJK: Tensor) -> Tensor:
    """Lesion probability (B, I, J, K) of images (B, 2, I, J, K), on an accelerator."""
    x_BCIJK = x_BCIJK.to(device.value).to(memory_format=torch.channels_last_3d)
    with torch.autocast(device.value):
        scores_BCIJK = network(x_BCIJK)
    return lesion_probability(scores_BCIJK.float())


def _join_overlapping(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """A median network's two views, one voxel apart: their mean where both see, else the one."""
    joined = np.concatenate([left, right[-1:]])
    joined[1 : len(left)] = (left[1:] + right[:-1]) / 2
    return joined


def _within_brain(consensus: Consensus, brain_mask: Mask) -> Consensus:
    return Consensus(
        mask=consensus.mask & brain_mask,
        probability=consensus.probability * brain_mask,
        votes=consensus.votes * brain_mask,
        coverage=consensus.coverage,
    )
