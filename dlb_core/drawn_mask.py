"""Read a lesion mask that a person drew, and find out on whose grid it lies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np

from dlb_core.errors import GridMismatch, NotAMask
from dlb_core.measurement import Evidence
from dlb_core.nifti import read_values
from dlb_core.template import MNI_GRID
from dlb_core.volume import Grid, Mask, Volume

Space = Literal["T1w", "FLAIR", "MNI152"]

TOLERANCE_MM = 0.1
"""Corners of one grid as two programs write it may lie this far apart."""
MOST_OF_THE_IMAGE = 0.25
"""A mask that marks more than this share of its voxels is none of lesions: it is inverted, or a
brain mask, or a scan."""
_WHOLE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class DrawnMask:
    """A reader's mask on one of a case's grids."""

    space: Space
    mask: Mask


def read_drawn_mask(path: Path, evidence: Evidence) -> DrawnMask:
    """Read a mask; any whole number above zero is lesion.

    Parameters
    ----------
    path : Path
        NIfTI, on the grid of the case's FLAIR, T1w or of MNI152; its axes may be stored in
        another order or direction.
    evidence : Evidence
        Of the case.

    Raises
    ------
    UnreadableImage, GeometryAmbiguous, ImplausibleImage
        See `dlb_core.validation.check_header`.
    GridMismatch
        It lies on none of the three grids; the message names them, and its own.
    NotAMask
        Its values are not whole numbers, or mark too much.
    """
    volume = read_values(path, role="mask")
    # A lesion is drawn on the FLAIR most often: it comes first where grids are the same.
    grids: dict[Space, Grid] = {
        "FLAIR": evidence.native_flair,
        "T1w": evidence.native_t1w,
        "MNI152": MNI_GRID,
    }
    for space, grid in grids.items():
        turned = _turned_onto(volume, grid)
        if turned is not None:
            return DrawnMask(space, _marked(turned))
    raise GridMismatch(_where_it_should_lie(volume.grid, grids))


def _turned_onto(volume: Volume, grid: Grid) -> Volume | None:
    """The volume with its axes stored as the grid's; none where it lies elsewhere."""
    own, wanted = (nib.io_orientation(affine) for affine in (volume.affine, grid.affine))
    turn = nib.orientations.ornt_transform(own, wanted)
    data = nib.apply_orientation(volume.data, turn)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.data.shape)
    if data.shape != grid.shape or _apart_mm(affine, grid) > TOLERANCE_MM:
        return None
    return Volume(data, affine)


def _apart_mm(affine: np.ndarray, grid: Grid) -> float:
    """How far a corner of the grid lies from where another affine puts it."""
    ends = np.array(grid.shape) - 1
    corners = np.array([[*(ends * bits), 1] for bits in np.ndindex(2, 2, 2)])
    return float(np.linalg.norm((corners @ (affine - grid.affine).T)[:, :3], axis=1).max())


def _marked(volume: Volume) -> Mask:
    data = volume.data
    if data.min() < 0 or np.abs(data - np.rint(data)).max() > _WHOLE:
        raise NotAMask(
            "The mask holds values that are no labels (negative, or fractions): save 0 for "
            "healthy and 1 for lesion; of a probability map, apply a threshold first."
        )
    mask: Mask = data > 0.5
    share = float(mask.mean())
    if share > MOST_OF_THE_IMAGE:
        raise NotAMask(
            f"The mask marks {share:.0%} of the image: it must mark the lesions, and be 0 "
            "elsewhere (is it inverted, or a brain mask?)."
        )
    return mask


def _where_it_should_lie(own: Grid, grids: dict[Space, Grid]) -> str:
    text = "; ".join(f"{space}: {_described(grid)}" for space, grid in grids.items())
    alike = [space for space, grid in grids.items() if grid.shape == own.shape]
    moved = f" It has the {alike[0]}'s number of voxels, but lies elsewhere." if alike else ""
    return (
        f"The mask lies on none of the case's grids: it has {_described(own)}.{moved} Draw on one "
        f"of the results' masks or brains and keep its grid when saving ({text})."
    )


def _described(grid: Grid) -> str:
    shape = " x ".join(str(n) for n in grid.shape)
    sizes = " x ".join(f"{size:.3g}" for size in grid.voxel_sizes)
    axes = "".join(str(code) for code in nib.aff2axcodes(grid.affine))
    return f"{shape} voxels of {sizes} mm, {axes}"
