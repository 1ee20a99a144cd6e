"""One picture of the report: a raster image with outlines and marks drawn over it.

The outlines are polygons in voxels, so they stay sharp at any size, in the page as in the PDF, and
the page can hide them without a script.
"""

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from dlb_core.volume import Mask

ENLARGEMENT = 2
JPEG_QUALITY = 86

Pixels = NDArray[np.uint8]
Polygon = tuple[tuple[float, float], ...]
"""Corners (x, y), in voxels from a picture's upper left corner; closed."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A lesion's number, written beside it."""

    x: float
    y: float
    """Its middle, in voxels from the picture's upper left corner."""
    text: str
    to: tuple[float, float] | None = None
    """A point of the lesion, where the number stands apart from it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What it takes to show one picture."""

    jpeg: bytes
    width: int
    height: int
    """In voxels: the coordinates of outlines and marks."""
    polygons: tuple[Polygon, ...]
    left: str
    right: str
    """Which side of the patient is which."""
    caption: str
    alt: str
    """Says in words what the picture shows."""
    marks: tuple[Mark, ...] = ()

    @property
    def source(self) -> str:
        """The raster as a data URI."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")

    @property
    def outlines(self) -> str:
        """SVG path data."""
        return svg_path(self.polygons)


def grey_levels(section: NDArray[np.floating[Any]], white: float) -> Pixels:
    """8-bit grey: 0 is black, `white` and more is white."""
    scaled = np.clip(section / max(white, 1e-6), 0, 1) * 255
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def encode(pixels: Pixels) -> bytes:
    """An enlarged JPEG of (rows, columns) grey or (rows, columns, 3) colour pixels."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    size = (image.width * ENLARGEMENT, image.height * ENLARGEMENT)
    file = BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=JPEG_QUALITY, optimize=True
    )
    return file.getvalue()


def outline(section: Mask, tolerance: float = 0.0) -> tuple[Polygon, ...]:
    """Polygons round the true pixels of a picture, half way between voxel centres.

    Parameters
    ----------
    section : (rows, columns) bool
    tolerance : float
        How far, in voxels, a simpler line may leave the exact one.
    """
    padded = np.pad(section.astype(np.float32), 1)
    # Padding moves indices by one, and a voxel's centre lies half a voxel into it.
    return tuple(_polygon(contour - 0.5, tolerance) for contour in find_contours(padded, 0.5))


def svg_path(polygons: tuple[Polygon, ...]) -> str:
    """SVG path data of closed polygons."""
    return "".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in one) + "Z" for one in polygons)


def _polygon(contour: NDArray[np.float64], tolerance: float) -> Polygon:
    simple = approximate_polygon(contour, tolerance) if tolerance else contour
    return tuple((float(column), float(row)) for row, column in simple[:-1])
