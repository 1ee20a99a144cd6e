"""How a volume's slices lie on the page.

Radiological convention: axial and coronal slices show the patient's right side on the left, as
if one stood at the foot of the bed and looked at their face; sagittal slices show the front on
the left. Up is the patient's front in axial slices, the top of the head in the others.

Volumes are on the MNI grid, indexed (i, j, k), RAS. Pictures are indexed (row, column), row 0 on
top.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core.report.language import mark, say, written
from dlb_core.template import MNI_GRID
from dlb_core.volume import Mask, Shape


class Plane(StrEnum):
    """A direction of view."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


@dataclass(frozen=True, slots=True)
class View:
    """What one plane's pictures share."""

    axis: int
    """Array axis that the slices are stacked along."""
    coordinate: str
    """Name of the world coordinate along it."""
    left: str
    right: str
    """What the picture's sides are: R, L, A or P of the patient."""


VIEWS = {
    Plane.AXIAL: View(axis=2, coordinate="z", left=mark("R"), right=mark("L")),
    Plane.CORONAL: View(axis=1, coordinate="y", left=mark("R"), right=mark("L")),
    Plane.SAGITTAL: View(axis=0, coordinate="x", left=mark("A"), right=mark("P")),
}
_NAMES = {
    Plane.AXIAL: mark("axial"),
    Plane.CORONAL: mark("coronal"),
    Plane.SAGITTAL: mark("sagittal"),
}


def plane_name(plane: Plane) -> str:
    """What a plane is called."""
    return say(_NAMES[plane])


def sides(plane: Plane) -> tuple[str, str]:
    """What a picture's left and right side are called."""
    view = VIEWS[plane]
    return say(view.left), say(view.right)


def coordinate(plane: Plane, mm: int) -> str:
    """Where a slice lies, in print."""
    sign = "+" if mm > 0 else ""
    return f"{VIEWS[plane].coordinate} = {sign}{written(str(mm))} mm"


@dataclass(frozen=True, slots=True)
class Window:
    """The box of voxels that pictures show."""

    start: Shape
    stop: Shape


def brain_window(brain_mask: Mask, margin: int = 5) -> Window:
    """The brain's bounding box with a margin in voxels; the whole grid if there is no brain."""
    shape = brain_mask.shape
    if not brain_mask.any():
        return Window((0, 0, 0), (shape[0], shape[1], shape[2]))
    ends = []
    for axis, size in enumerate(shape):
        other = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(brain_mask.any(axis=other))
        ends.append((max(0, int(found[0]) - margin), min(size, int(found[-1]) + margin + 1)))
    (i0, i1), (j0, j1), (k0, k1) = ends
    return Window((i0, j0, k0), (i1, j1, k1))


def cut(volume: NDArray[Any], plane: Plane, index: int, window: Window) -> NDArray[Any]:
    """Slice `index` of a volume as a picture."""
    return turn(np.take(volume, index, axis=VIEWS[plane].axis), plane, window)


def turn(section: NDArray[Any], plane: Plane, window: Window) -> NDArray[Any]:
    """A 2D array over the plane's two axes (in array order) as a picture, cropped."""
    across, up = (axis for axis in range(3) if axis != VIEWS[plane].axis)
    cropped = section[
        window.start[across] : window.stop[across], window.start[up] : window.stop[up]
    ]
    # Row 0 is the top and left is R (or A): both run against their axis.
    return cropped[::-1, ::-1].T


def world_mm(plane: Plane, index: int) -> int:
    """World coordinate of a slice, mm."""
    axis = VIEWS[plane].axis
    return round(float(MNI_GRID.affine[axis, 3] + index))
