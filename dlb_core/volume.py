"""Images as we compute with them: an array and where it lies.

Arrays are indexed (i, j, k); affines map voxel indices to world mm, RAS+.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Affine = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A lattice of voxels in world space."""

    shape: Shape
    affine: Affine
    """(4, 4), voxel index -> world mm, RAS+."""

    @property
    def voxel_sizes(self) -> tuple[float, float, float]:
        """Length in mm of one step along each array axis."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(sizes[0]), float(sizes[1]), float(sizes[2])

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An array on a grid."""

    data: NDArray[Any]
    """(I, J, K)."""
    affine: Affine
    """(4, 4), voxel index -> world mm, RAS+."""

    @property
    def grid(self) -> Grid:
        """Where the array lies."""
        i, j, k = self.data.shape
        return Grid((i, j, k), self.affine)
