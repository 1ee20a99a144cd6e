"""The glass brain: all lesions seen through the brain from three sides, shaded by class.

Vector shapes only, on white: the brain's and the landmarks' outlines, and each class's lesions as
filled shapes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlb_core.location_atlas import location_atlas
from dlb_core.report.document import Lesion, Location
from dlb_core.report.language import say
from dlb_core.report.pictures import Polygon, outline, svg_path
from dlb_core.report.planes import VIEWS, Plane, Window, plane_name, sides, turn
from dlb_core.report.wording import SHORT_NAMES
from dlb_core.volume import Mask

TOLERANCE = 0.35
"""Voxels by which outlines are simplified."""

SHADES = {
    Location.PERIVENTRICULAR: "#14355c",
    Location.JUXTACORTICAL: "#b0442c",
    Location.DEEP_WHITE_MATTER: "#5b9e94",
    Location.INFRATENTORIAL: "#e8b23c",
}
"""Darker to lighter, so that they differ in grey too."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Filled polygons in one colour."""

    colour: str
    polygons: tuple[Polygon, ...]

    @property
    def path(self) -> str:
        """SVG path data."""
        return svg_path(self.polygons)


@dataclass(frozen=True, slots=True)
class GlassView:
    """The brain from one side."""

    width: int
    height: int
    """In voxels."""
    brain: tuple[Polygon, ...]
    landmarks: tuple[Polygon, ...]
    """Outlines of the lateral ventricles and of the infratentorial brain."""
    shapes: tuple[Shape, ...]
    left: str
    right: str
    caption: str
    alt: str

    @property
    def brain_path(self) -> str:
        """SVG path data."""
        return svg_path(self.brain)

    @property
    def landmark_path(self) -> str:
        """SVG path data."""
        return svg_path(self.landmarks)


def glass_brain(
    labels: NDArray[np.int32], lesions: tuple[Lesion, ...], brain_mask: Mask, window: Window
) -> tuple[GlassView, ...]:
    """The brain from above, from the front and from the side."""
    atlas = location_atlas()
    classes = _class_of_each_label(lesions)[labels]
    found = {lesion.location for lesion in lesions}
    masks = {place: classes == n for n, place in enumerate(Location, 1) if place in found}
    landmarks = (atlas.ventricles, atlas.infratentorial)
    return tuple(_view(plane, masks, brain_mask, landmarks, window) for plane in Plane)


def _class_of_each_label(lesions: tuple[Lesion, ...]) -> NDArray[np.uint8]:
    """Label -> 1 + index of its class; 0 for background."""
    order = list(Location)
    return np.array([0, *(1 + order.index(lesion.location) for lesion in lesions)], dtype=np.uint8)


def _view(
    plane: Plane,
    masks: dict[Location, Mask],
    brain_mask: Mask,
    landmarks: tuple[Mask, ...],
    window: Window,
) -> GlassView:
    def seen(mask: Mask) -> tuple[Polygon, ...]:
        return outline(turn(_seen_through(mask, plane), plane, window), TOLERANCE)

    left, right = sides(plane)
    height, width = turn(_seen_through(brain_mask, plane), plane, window).shape
    words = ", ".join(say(SHORT_NAMES[location]) for location in masks) or say("none")
    return GlassView(
        width=width,
        height=height,
        brain=seen(brain_mask),
        landmarks=tuple(polygon for mask in landmarks for polygon in seen(mask)),
        shapes=tuple(Shape(SHADES[location], seen(mask)) for location, mask in masks.items()),
        left=left,
        right=right,
        caption=plane_name(plane),
        alt=say(
            "Lesions seen through the brain, {plane} view, shaded by class: {words}.",
            plane=plane_name(plane),
            words=words,
        ),
    )


def _seen_through(mask: Mask, plane: Plane) -> Mask:
    return np.asarray(mask.any(axis=VIEWS[plane].axis), dtype=bool)
