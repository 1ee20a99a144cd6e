"""The comparison's pictures: both visits and their difference, slice by slice through the changes.

Everything is on the half-way grid. Outlined in every picture: what was gained or lost.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core.lesions import Labels
from dlb_core.longitudinal.changes import CHANGED
from dlb_core.longitudinal.compare import Compared
from dlb_core.longitudinal.space import HALF_WAY_GRID
from dlb_core.report.figures import FLAIR_WHITE
from dlb_core.report.language import say, say_count
from dlb_core.report.pictures import Picture, Pixels, encode, grey_levels, outline
from dlb_core.report.planes import (
    VIEWS,
    Plane,
    Window,
    brain_window,
    coordinate,
    cut,
    plane_name,
    sides,
)
from dlb_core.report.slices import choose_slices, lesion_areas
from dlb_core.report.tags import place_tags
from dlb_core.volume import Mask

MOST_ROWS = 12
ROWS_WITHOUT_CHANGE = 6
FULL_COLOUR = 0.4
"""Difference that is shown in full colour, white matter = 1."""
NEAR_MM = 34
"""From the middle of a change to the edge of the pictures taken from nearby."""
BRIGHTER, DARKER = (255, 138, 36), (92, 172, 255)

Triple = tuple[Picture, Picture, Picture]
"""The first visit, the second, and the difference."""


@dataclass(frozen=True, slots=True)
class ChangeFigures:
    """Everything that the page shows."""

    slices: tuple[Triple, ...]
    """From the top of the head down."""
    unseen: int
    """Changes that no slice passes through."""
    largest: tuple[Triple, ...]
    """The largest change from nearby, in three planes; empty where nothing changed."""


def draw_changes(compared: Compared) -> ChangeFigures:
    """Draw all figures of a comparison."""
    scene = _Scene(compared)
    shown = _shown(scene)
    seen = np.unique(scene.changed[:, :, shown])
    slices = tuple(scene.triple(Plane.AXIAL, k) for k in shown)
    return ChangeFigures(
        slices=slices,
        unseen=len(scene.numbers) - int((seen > 0).sum()),
        largest=_largest(scene),
    )


class _Scene:
    """What the pictures are cut from."""

    def __init__(self, compared: Compared) -> None:
        self._compared = compared
        self.brain: Mask = compared.pair.brain
        lesions = compared.comparison.lesions
        self.numbers = [lesion.id for lesion in lesions if lesion.status in CHANGED]
        joint = compared.joint
        moved = (joint.first_labels > 0) != (joint.second_labels > 0)
        counted = np.isin(compared.groups, self.numbers)
        self.changed: Labels = np.where(moved & counted, compared.groups, 0)
        """Number of the row, where it was gained or lost."""

    @cached_property
    def window(self) -> Window:
        return brain_window(self.brain)

    @cached_property
    def white(self) -> float:
        """What FLAIR is shown as white, at both visits."""
        pair = self._compared.pair
        levels = [image[self.brain] for image in (pair.first, pair.second)]
        if not levels[0].size:
            return FLAIR_WHITE
        return max(FLAIR_WHITE, *(float(np.percentile(level, 99.9)) for level in levels))

    def triple(self, plane: Plane, index: int, *, near: Window | None = None) -> Triple:
        """Both visits and their difference in one slice, whole or near a place."""
        pair, window = self._compared.pair, near or self.window
        section = cut(self.changed, plane, index, window)
        numbers = tuple(int(number) for number in np.unique(section[section > 0]))
        marks = place_tags(section, numbers)
        greys = [
            grey_levels(cut(image, plane, index, window), self.white)
            for image in (pair.first, pair.second, pair.mean)
        ]
        difference = cut(self._compared.evidence.difference, plane, index, window)
        place = coordinate(plane, _world_mm(plane, index))
        shown = (
            (say("first visit"), say("{place}, first", place=place), greys[0]),
            (say("second visit"), say("{place}, second", place=place), greys[1]),
            (
                say("difference in colour"),
                say("{place}, difference", place=place),
                coloured(greys[2], difference),
            ),
        )
        left, right = sides(plane)
        first, second, third = (
            Picture(
                jpeg=encode(pixels),
                width=pixels.shape[1],
                height=pixels.shape[0],
                polygons=outline(section > 0),
                left=left,
                right=right,
                caption=caption,
                alt=_slice_words(len(numbers), name=name, plane=plane_name(plane), place=place),
                marks=marks if n == 1 else (),
            )
            for n, (name, caption, pixels) in enumerate(shown)
        )
        return first, second, third


def coloured(grey: Pixels, difference: NDArray[np.floating[Any]]) -> Pixels:
    """(..., 3): what grew brighter and darker, in colour over a dimmed picture.

    Parameters
    ----------
    grey : (rows, columns) uint8
    difference : (rows, columns) float
        White matter = 1.
    """
    strength = np.clip((np.abs(difference) - 0.06) / (FULL_COLOUR - 0.06), 0, 1)[..., None]
    hue = np.where(difference[..., None] > 0, BRIGHTER, DARKER)
    mixed = (1 - strength) * (0.6 * grey[..., None].astype(float)) + strength * hue
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def _slice_words(count: int, *, name: str, plane: str, place: str) -> str:
    if count == 0:
        return say(
            "FLAIR, {name}, {plane} slice at {place}: no change outlined.",
            name=name,
            plane=plane,
            place=place,
        )
    return say_count(
        "FLAIR, {name}, {plane} slice at {place}: {count} change outlined.",
        "FLAIR, {name}, {plane} slice at {place}: {count} changes outlined.",
        count,
        name=name,
        plane=plane,
        place=place,
    )


def _world_mm(plane: Plane, index: int) -> int:
    """Where a slice lies in the half-way space."""
    return round(float(HALF_WAY_GRID.affine[VIEWS[plane].axis, 3] + index))


def _shown(scene: _Scene) -> list[int]:
    """Slices through as many changes as there is room for, the top one first."""
    if not scene.numbers:
        return choose_slices(np.zeros((0, scene.brain.shape[2]), np.int64), scene.brain)[
            :: 12 // ROWS_WITHOUT_CHANGE
        ]
    areas = lesion_areas(scene.changed)
    areas = areas[areas.any(axis=1)]
    chosen = [k for k in choose_slices(areas, scene.brain) if areas[:, k].any()]
    if len(chosen) > MOST_ROWS:
        fullest = sorted(chosen, key=lambda k: -int(areas[:, k].sum()))[:MOST_ROWS]
        chosen = sorted(fullest, reverse=True)
    return chosen


def _largest(scene: _Scene) -> tuple[Triple, ...]:
    if not scene.numbers:
        return ()
    spot = scene.changed == scene.numbers[0]
    fullest = [
        int(spot.sum(axis=tuple(a for a in range(3) if a != axis)).argmax()) for axis in range(3)
    ]
    near = _near(np.argwhere(spot).mean(axis=0), spot.shape)
    return tuple(scene.triple(plane, fullest[VIEWS[plane].axis], near=near) for plane in Plane)


def _near(centre: NDArray[np.float64], shape: tuple[int, ...]) -> Window:
    """A cube round a place, pushed back into the grid where it stands out."""
    size = 2 * NEAR_MM
    starts = [
        min(max(0, round(float(c)) - NEAR_MM), extent - size)
        for c, extent in zip(centre, shape, strict=True)
    ]
    i, j, k = starts
    return Window((i, j, k), (i + size, j + size, k + size))
