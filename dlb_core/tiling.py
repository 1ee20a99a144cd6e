"""Lay the ensemble's 125 subvolumes over the ICBM152 grid and share them among 75 networks.

Arrays are indexed (i, j, k), RAS; sizes are in voxels of 1 mm. Network n is the one of
`NETWORK_LOCATIONS[n]`, so this order is part of the weights bundle's format.

The mid-sagittal plane is i = 90: flipping maps i to 180 - i, under which the first and last,
and the second and fourth column of subvolumes are exact mirror images. The median column
[42, 138) mirrors to [43, 139) and is therefore its own twin, one voxel off.

A lateral network thinks in the frame of one hemisphere and sees the other mirrored. Which one
alternates like the fields of a chessboard, so that each voxel is judged about as often as it
lies and mirrored: what is lesion stays so in the mirror, many a false one does not
(docs/decisions/chessboard.md).

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, sections 2.3 and 2.3.1; the
paper's "strides" 76, 76, 67 are overlaps, see docs/decisions/geometry.md.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core.volume import Mask, Shape

GRID_SHAPE: Shape = (181, 217, 181)
"""ICBM152 at 1 mm."""
SUBVOLUME_SIZE: Shape = (96, 96, 96)
STARTS_I = (2, 22, 42, 63, 83)
STARTS_J = (2, 31, 60, 89, 118)
STARTS_K = (0, 20, 40, 60, 80)
NUM_LATERAL_COLUMNS = 2
"""Columns (along i) that have a mirror image on the other side; the next one is the median."""


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """Where a subvolume lies in its volume."""

    start: Shape
    """First voxel (i, j, k)."""
    size: Shape = SUBVOLUME_SIZE
    """Extent in voxels."""

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the subvolume in an array."""
        i, j, k = (slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))
        return i, j, k

    def mirrored(self, shape: Shape = GRID_SHAPE) -> "Location":
        """The same place in the volume flipped along i."""
        return Location((shape[0] - self.start[0] - self.size[0], *self.start[1:]), self.size)


@dataclass(frozen=True, slots=True)
class NetworkLocation:
    """The subvolume(s) that one network serves."""

    index: int
    """Place in the ensemble, 0 to 74."""
    column: int
    """0 and 1 are lateral, 2 is median."""
    primary: Location
    """The subvolume in whose hemisphere the network thinks; a median network's only one."""
    twin: Location | None
    """The one on the other side, which the network sees flipped; None for a median network."""

    @property
    def name(self) -> str:
        """Stable name, e.g. `network-07`."""
        return f"network-{self.index:02d}"

    @property
    def left(self) -> Location:
        """The subvolume on the left; a median network's only one."""
        return self.primary if self.twin is None else min(self.primary, self.twin)

    @property
    def mirrors_left(self) -> bool:
        """Whether the network thinks in the right hemisphere and sees the left one mirrored."""
        return self.primary != self.left


def _network_locations() -> tuple[NetworkLocation, ...]:
    fields = product(range(NUM_LATERAL_COLUMNS + 1), range(len(STARTS_J)), range(len(STARTS_K)))
    return tuple(_network_location(n, *field) for n, field in enumerate(fields))


def _network_location(index: int, column: int, row: int, layer: int) -> NetworkLocation:
    left = Location((STARTS_I[column], STARTS_J[row], STARTS_K[layer]))
    if column == NUM_LATERAL_COLUMNS:
        return NetworkLocation(index, column, primary=left, twin=None)
    on_the_right = (column + row + layer) % 2
    sides = (left.mirrored(), left) if on_the_right else (left, left.mirrored())
    return NetworkLocation(index, column, *sides)


NETWORK_LOCATIONS = _network_locations()
"""The 75 networks, in bundle order."""


def all_locations() -> list[Location]:
    """The 125 subvolumes, each network's twin after its primary."""
    return [
        location
        for network in NETWORK_LOCATIONS
        for location in (network.primary, network.twin)
        if location is not None
    ]


def cut(volume: NDArray[Any], location: Location, *, flipped: bool = False) -> NDArray[Any]:
    """Cut one subvolume from the last three axes, mirrored along i if `flipped`."""
    subvolume = volume[(..., *location.slices)]
    return np.flip(subvolume, axis=-3) if flipped else subvolume


def has_brain(brain_mask: Mask, location: Location) -> bool:
    """Whether any brain voxel lies in the subvolume."""
    return bool(brain_mask[location.slices].any())
