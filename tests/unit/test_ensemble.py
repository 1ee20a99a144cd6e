"""Inference with the 75 networks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dlb_core.checkpoints import Bundle, build_network, fill, write_bundle
from dlb_core.contracts import Device
from dlb_core.ensemble import EnsembleRun, run_ensemble
from dlb_core.errors import Cancelled, CheckpointCorrupt, StageFailed
from dlb_core.fast_forward import FastForward
from dlb_core.network import UNet3d
from dlb_core.template import load_template
from dlb_core.tiling import NETWORK_LOCATIONS, cut, has_brain
from dlb_core.volume import Mask
from tests.unit.bundles import TINY, write_tiny_bundle

Image = NDArray[np.float32]
NUM_NEAR = 15
"""Networks that reach the slab of brain that most tests use."""


def _slab(brain_mask: Mask) -> Mask:
    """The occipital pole alone: in reach of the first row of subvolumes only, for speed."""
    slab = brain_mask.copy()
    slab[:, 31:] = False
    return slab


BRAIN = _slab(load_template().brain_mask)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Untrained networks whose probabilities lie on both sides of the threshold."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def image() -> Image:
    """The template with noise, so that it is not symmetric."""
    template = load_template()
    noise = np.random.default_rng(0).normal(1, 0.1, (2, *template.t1w.shape))
    scaled = template.t1w / template.t1w.max()
    return (noise * np.stack([scaled, 1 - scaled / 2]) * BRAIN).astype(np.float32)


@pytest.fixture(scope="module")
def run(image: Image, bundle: Bundle) -> EnsembleRun:
    """One finished run."""
    torch.set_num_threads(1)
    return run_ensemble(image, BRAIN, bundle)


def test_same_input_gives_the_same_bits(image: Image, bundle: Bundle, run: EnsembleRun) -> None:
    """Users of comparable tools see 45 lesions, then 49."""
    again = run_ensemble(image, BRAIN, bundle)

    assert np.array_equal(again.consensus.mask, run.consensus.mask)
    assert np.array_equal(again.consensus.probability, run.consensus.probability)
    assert 0 < run.consensus.mask.sum() < BRAIN.sum()


def test_two_threads_too_give_the_same_bits(image: Image, bundle: Bundle) -> None:
    """All cores are the default; the order of their sums must not change."""
    torch.set_num_threads(2)
    try:
        first, second = (run_ensemble(image, BRAIN, bundle).consensus for _ in range(2))
    finally:
        torch.set_num_threads(1)

    assert np.array_equal(first.mask, second.mask)
    assert np.array_equal(first.probability, second.probability)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_says_what_the_cpu_says(image: Image, bundle: Bundle, run: EnsembleRun) -> None:
    """Mixed precision moves probabilities a little, masks hardly."""
    on_gpu = run_ensemble(image, BRAIN, bundle, device=Device.CUDA).consensus

    assert np.abs(on_gpu.probability - run.consensus.probability).max() < 0.02
    assert (on_gpu.mask != run.consensus.mask).mean() < 1e-3


def test_mirroring_the_case_mirrors_the_result(
    image: Image, bundle: Bundle, run: EnsembleRun
) -> None:
    """Holds for every voxel: the median networks too see both orientations."""
    mirrored = run_ensemble(np.flip(image, 1).copy(), np.flip(BRAIN, 0).copy(), bundle)

    assert np.array_equal(np.flip(mirrored.consensus.coverage, 0), run.consensus.coverage)
    assert np.allclose(np.flip(mirrored.consensus.probability, 0), run.consensus.probability)
    differing = np.flip(mirrored.consensus.mask, 0) != run.consensus.mask
    # Sums in another order may round a voxel across the threshold.
    assert differing.mean() < 1e-5


def test_each_network_sees_its_own_hemisphere_as_it_lies(
    image: Image, bundle: Bundle, run: EnsembleRun
) -> None:
    """And the other one mirrored; the median networks see their place both ways round."""
    network = build_network(bundle.manifest.architecture).eval()
    total = np.zeros(BRAIN.shape)
    for place in NETWORK_LOCATIONS:
        other_side = place.twin or place.primary.mirrored()
        if not has_brain(BRAIN, place.primary):
            continue
        fill(network, bundle.load(place.index), place.name)
        here = _look(network, cut(image, place.primary))
        there = np.flip(_look(network, cut(image, other_side, flipped=True)), 0)
        if place.twin is None:
            # One voxel apart: a mean where both see.
            here[1:] /= 2
            there[:-1] /= 2
        total[place.primary.slices] += here
        total[other_side.slices] += there

    consensus = run.consensus
    expected = total / np.maximum(consensus.coverage, 1)
    assert np.allclose(consensus.probability[BRAIN], expected[BRAIN], atol=1e-4)


def _look(network: UNet3d, view: Image) -> Image:
    with torch.inference_mode():
        return FastForward(network)(torch.from_numpy(np.ascontiguousarray(view)[None]))[0].numpy()


def test_nothing_outside_the_brain_is_lesion(run: EnsembleRun) -> None:
    """Skull and air are not the networks' business."""
    outside = ~BRAIN

    assert not run.consensus.mask[outside].any()
    assert not run.consensus.votes[outside].any()


def test_every_network_counts_but_those_without_brain_are_not_run(
    image: Image, bundle: Bundle
) -> None:
    """k of 75, skipped ones included; who sees no brain says healthy and does not abstain."""
    done: list[int] = []

    result = run_ensemble(image, BRAIN, bundle, on_network=done.append)

    assert done == list(range(1, 76))
    assert (result.networks_run, result.networks_skipped) == (NUM_NEAR, 75 - NUM_NEAR)
    assert result.consensus.coverage.max() == 100


def test_stop_is_heard_between_networks(image: Image, bundle: Bundle) -> None:
    """Cancel must act within seconds."""
    done: list[int] = []

    with pytest.raises(Cancelled):
        run_ensemble(
            image,
            BRAIN,
            bundle,
            on_network=done.append,
            should_stop=lambda: len(done) >= 2,
        )

    assert done == [1, 2]


def test_a_spoiled_network_ends_the_run(image: Image, tmp_path: Path) -> None:
    """A result from 74 networks would look like any other."""
    spoiled = write_tiny_bundle(tmp_path)
    (tmp_path / "network-02.safetensors").write_bytes(b"rubbish")

    with pytest.raises(CheckpointCorrupt, match="network-02"):
        run_ensemble(image, BRAIN, spoiled)


def test_a_network_that_overflows_ends_the_run(image: Image, tmp_path: Path) -> None:
    """Not a number is no vote: it would pass as a healthy brain."""
    weights = {n: torch.full_like(t, 6e4) for n, t in build_network(TINY).state_dict().items()}
    broken = write_bundle(
        tmp_path,
        lambda _: weights,
        name="broken",
        version="1",
        description="Overflows.",
        architecture=TINY,
        vote_threshold=0.5,
        training={},
        shared_file="all.safetensors",
    )

    with pytest.raises(StageFailed, match="network-00"):
        run_ensemble(image * np.float32(1e30), BRAIN, broken)
