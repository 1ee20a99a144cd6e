"""The report's pictures: FLAIR slices with lesions, the largest lesion, all lesions projected.

Everything is on the MNI grid. Each function returns pictures in reading order.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from dlb_core.report.document import Lesion
from dlb_core.report.glass_brain import GlassView, glass_brain
from dlb_core.report.language import say, say_count
from dlb_core.report.pictures import Mark, Picture, Pixels, Polygon, encode, grey_levels, outline
from dlb_core.report.planes import (
    VIEWS,
    Plane,
    Window,
    brain_window,
    coordinate,
    cut,
    plane_name,
    sides,
    turn,
    world_mm,
)
from dlb_core.report.slices import choose_slices, lesion_areas
from dlb_core.report.tags import place_tags
from dlb_core.volume import Mask

PROJECTION_FLOOR = 0.1
"""Lesion probabilities below this are left out of the projections."""

FLAIR_WHITE = 1.6
"""FLAIR intensity shown as white, at least, so that a brain without lesions is still grey."""

COLOURS = "plasma"
_BRAIN_FILL = (30, 41, 54)
_BACKDROP = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class Material:
    """A case's volumes, (181, 217, 181) on the MNI grid."""

    t1w: NDArray[np.float32]
    flair: NDArray[np.float32]
    """White matter at 1, zero outside the brain."""
    mask: Mask
    labels: NDArray[np.int32]
    probability: NDArray[np.floating[Any]]
    agreement: NDArray[np.floating[Any]]
    """Share of the networks that voted for lesion."""
    brain_mask: Mask

    @cached_property
    def window(self) -> Window:
        """What the pictures show."""
        return brain_window(self.brain_mask)

    @cached_property
    def flair_white(self) -> float:
        """What FLAIR is shown as white."""
        return max(FLAIR_WHITE, _white_level(self.flair, self.brain_mask))


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that the page shows."""

    mosaic: tuple[Picture, ...]
    unseen: int
    """Lesions that no slice of the mosaic shows."""
    glass: tuple[GlassView, ...]
    largest: tuple[tuple[Picture, ...], ...]
    """Rows FLAIR, T1w and agreement; columns axial, coronal and sagittal. Empty without lesions."""
    projections: tuple[Picture, ...]
    scale: tuple[str, ...]
    """Colours of agreement and probability, from 0 to 1."""


def draw_figures(material: Material, lesions: tuple[Lesion, ...]) -> Figures:
    """Draw all figures of a case."""
    pictures = mosaic(material)
    seen = sum(len(picture.marks) for picture in pictures)
    return Figures(
        mosaic=pictures,
        unseen=len(lesions) - seen,
        glass=glass_brain(material.labels, lesions, material.brain_mask, material.window),
        largest=largest_lesion(material, lesions[0]) if lesions else (),
        projections=projections(material),
        scale=colour_scale(),
    )


def mosaic(material: Material) -> tuple[Picture, ...]:
    """Axial FLAIR slices from the top of the head down, through all lesions where they can be."""
    areas = lesion_areas(material.labels)
    shown = choose_slices(areas, material.brain_mask)
    home = _home_slices(areas, shown)
    white = material.flair_white
    return tuple(
        _slice_picture(material, material.flair, white, Plane.AXIAL, k, "FLAIR", home.get(k, ()))
        for k in shown
    )


def _home_slices(areas: NDArray[np.int64], shown: list[int]) -> dict[int, tuple[int, ...]]:
    """For each shown slice, the lesions of which it shows more than any other shown slice."""
    seen = areas[:, shown]
    best = seen.argmax(axis=1)
    return {
        k: tuple(n + 1 for n in range(len(seen)) if best[n] == column and seen[n, column])
        for column, k in enumerate(shown)
    }


def largest_lesion(material: Material, lesion: Lesion) -> tuple[tuple[Picture, ...], ...]:
    """Three planes through the lesion's fullest voxels, on FLAIR, on T1w, and as agreement."""
    where = _fullest_planes(material.labels == lesion.id)
    flair_white = material.flair_white
    t1w_white = _white_level(material.t1w, material.brain_mask)
    return (
        tuple(
            _slice_picture(material, material.flair, flair_white, plane, where[plane], "FLAIR", ())
            for plane in Plane
        ),
        tuple(
            _slice_picture(material, material.t1w, t1w_white, plane, where[plane], "T1w", ())
            for plane in Plane
        ),
        tuple(_agreement_picture(material, flair_white, plane, where[plane]) for plane in Plane),
    )


def _fullest_planes(lesion: Mask) -> dict[Plane, int]:
    """The slice of each plane that holds most of a lesion."""
    return {
        plane: int(lesion.sum(axis=tuple(a for a in range(3) if a != VIEWS[plane].axis)).argmax())
        for plane in Plane
    }


def _slice_picture(
    material: Material,
    volume: NDArray[np.float32],
    white: float,
    plane: Plane,
    index: int,
    name: str,
    numbered: tuple[int, ...],
) -> Picture:
    window = material.window
    lesions = cut(material.labels, plane, index, window)
    pixels = grey_levels(cut(volume, plane, index, window), white)
    place = coordinate(plane, world_mm(plane, index))
    count = len(np.unique(lesions[lesions > 0]))
    return _picture(
        pixels,
        plane,
        outlines=outline(lesions > 0),
        caption=place,
        alt=_slice_words(count, name=name, plane=plane_name(plane), place=place),
        marks=place_tags(lesions, numbered),
    )


def _agreement_picture(material: Material, white: float, plane: Plane, index: int) -> Picture:
    """Agreement in colour over the FLAIR slice in grey."""
    window = material.window
    grey = grey_levels(cut(material.flair, plane, index, window), white)
    agreement = cut(material.agreement, plane, index, window)
    colour = _coloured(agreement)
    opacity = np.clip((agreement - 0.02) / 0.15, 0, 0.85)[..., None]
    pixels = np.rint((1 - opacity) * (0.75 * grey[..., None]) + opacity * colour).astype(np.uint8)
    place = coordinate(plane, world_mm(plane, index))
    return _picture(
        pixels,
        plane,
        outlines=outline(cut(material.mask, plane, index, window)),
        caption=place,
        alt=say(
            "Agreement of the networks, {plane} slice at {place}, in colour over FLAIR.",
            plane=plane_name(plane),
            place=place,
        ),
    )


def projections(material: Material) -> tuple[Picture, ...]:
    """The highest lesion probability along each line of sight, in three directions."""
    return tuple(_projection(material, plane) for plane in Plane)


def _projection(material: Material, plane: Plane) -> Picture:
    window = material.window
    axis = VIEWS[plane].axis
    brain = turn(np.any(material.brain_mask, axis=(axis,)), plane, window)
    lesions = turn(np.any(material.mask, axis=(axis,)), plane, window)
    highest = turn(material.probability.max(axis=axis), plane, window)
    pixels = np.where(brain[..., None], _BRAIN_FILL, _BACKDROP).astype(np.uint8)
    visible = highest >= PROJECTION_FLOOR
    pixels[visible] = _coloured(highest[visible])
    return _picture(
        pixels,
        plane,
        outlines=outline(lesions),
        caption=plane_name(plane),
        alt=(
            say("All lesions of the brain, seen in {plane} projection.", plane=plane_name(plane))
            if lesions.any()
            else say(
                "All lesions of the brain, seen in {plane} projection: there are none.",
                plane=plane_name(plane),
            )
        ),
    )


def _picture(
    pixels: Pixels,
    plane: Plane,
    *,
    outlines: tuple[Polygon, ...],
    caption: str,
    alt: str,
    marks: tuple[Mark, ...] = (),
) -> Picture:
    left, right = sides(plane)
    return Picture(
        jpeg=encode(pixels),
        width=pixels.shape[1],
        height=pixels.shape[0],
        polygons=outlines,
        left=left,
        right=right,
        caption=caption,
        alt=alt,
        marks=marks,
    )


def colour_scale(steps: int = 9) -> tuple[str, ...]:
    """CSS colours of the scale from 0 to 1."""
    pixels = _coloured(np.linspace(0, 1, steps))
    return tuple("#" + bytes(colour).hex() for colour in pixels)


def _coloured(share: NDArray[np.floating[Any]]) -> Pixels:
    """(..., 3) colours of values in [0, 1]; the darkest tenth is left out, to show on black."""
    rgba = colormaps[COLOURS](0.12 + 0.88 * np.clip(share, 0, 1), bytes=True)
    return np.asarray(rgba[..., :3], dtype=np.uint8)


def _white_level(volume: NDArray[np.float32], brain_mask: Mask) -> float:
    """What is shown as white: nearly the brain's brightest."""
    brain = volume[brain_mask]
    return float(np.percentile(brain, 99.9)) * 1.02 if brain.size else 1.0


def _slice_words(count: int, *, name: str, plane: str, place: str) -> str:
    if count == 0:
        return say(
            "{name}, {plane} slice at {place}: no lesion outlined.",
            name=name,
            plane=plane,
            place=place,
        )
    return say_count(
        "{name}, {plane} slice at {place}: {count} lesion outlined.",
        "{name}, {plane} slice at {place}: {count} lesions outlined.",
        count,
        name=name,
        plane=plane,
        place=place,
    )
