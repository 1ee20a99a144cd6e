"""The geometry of the 75 networks."""

import numpy as np
import pytest

from dlb_core.template import load_template
from dlb_core.tiling import (
    GRID_SHAPE,
    NETWORK_LOCATIONS,
    SUBVOLUME_SIZE,
    NetworkLocation,
    all_locations,
    cut,
    has_brain,
)

LATERAL = [n for n in NETWORK_LOCATIONS if n.twin is not None]
MEDIAN = [n for n in NETWORK_LOCATIONS if n.twin is None]


def _coverage() -> np.ndarray:
    coverage = np.zeros(GRID_SHAPE, dtype=np.int16)
    for location in all_locations():
        coverage[location.slices] += 1
    return coverage


def test_seventy_five_networks_serve_125_subvolumes() -> None:
    """The paper's numbers."""
    assert len(NETWORK_LOCATIONS) == 75
    assert len(all_locations()) == 125
    assert len(set(all_locations())) == 125


def test_every_subvolume_lies_inside_the_grid() -> None:
    """A slice beyond the edge would be cut short without a word."""
    for location in all_locations():
        assert np.zeros(GRID_SHAPE, dtype=bool)[location.slices].shape == SUBVOLUME_SIZE


@pytest.mark.parametrize("network", LATERAL, ids=lambda n: n.name)
def test_lateral_twins_are_exact_mirror_images(network: NetworkLocation) -> None:
    """One network serves both sides: voxel i of one must be voxel 180 - i of the other."""
    i = np.broadcast_to(np.arange(GRID_SHAPE[0])[:, None, None], GRID_SHAPE)
    assert network.twin is not None

    here = cut(i, network.primary)
    there = cut(i, network.twin, flipped=True)

    assert np.array_equal(here, 180 - there)


def test_networks_think_in_one_hemisphere_or_the_other_by_turns() -> None:
    """Each brain voxel is judged about as often as it lies and mirrored."""
    brain = load_template().brain_mask
    as_it_lies, mirrored = np.zeros(GRID_SHAPE), np.zeros(GRID_SHAPE)
    for network in LATERAL:
        assert network.twin is not None
        as_it_lies[network.primary.slices] += 1
        mirrored[network.twin.slices] += 1
    seen = as_it_lies[brain] + mirrored[brain]
    share = as_it_lies[brain] / seen

    assert seen.min() >= 4
    assert (np.abs(share - 0.5) <= 0.06).all()


def test_left_is_the_side_of_low_i() -> None:
    """Whichever of the two is a network's own."""
    assert {n.primary.start[0] for n in LATERAL} == {2, 22, 63, 83}
    assert {n.left.start[0] for n in LATERAL} == {2, 22}
    assert all(n.left == n.primary for n in MEDIAN)


@pytest.mark.parametrize("network", MEDIAN, ids=lambda n: n.name)
def test_a_median_subvolume_is_its_own_twin_one_voxel_off(network: NetworkLocation) -> None:
    """96 is even and the mid-sagittal plane is a voxel: exact symmetry is impossible."""
    assert network.primary.start[0] == 42
    assert network.primary.mirrored().start[0] == 43
    assert network.primary.mirrored().mirrored() == network.primary


def test_every_brain_voxel_of_the_template_has_at_least_six_votes() -> None:
    """A voxel that no network sees would silently be healthy."""
    brain = load_template().brain_mask
    coverage = _coverage()[brain]

    assert coverage.min() >= 6
    assert coverage.max() == 100
    assert np.median(coverage) == 32


def test_only_a_rim_is_uncovered() -> None:
    """At most five voxels deep."""
    assert (_coverage()[5:-5, 5:-5, :-5] > 0).all()


def test_every_subvolume_holds_some_of_the_templates_brain() -> None:
    """Each of the 75 has something to learn."""
    brain = load_template().brain_mask

    assert all(has_brain(brain, location) for location in all_locations())
