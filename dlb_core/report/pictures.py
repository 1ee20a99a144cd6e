"""One picture of the report: a raster image with outlines and marks drawn over it.

The raster is a data URI; the outlines are an SVG path in voxels, so they stay sharp at any size
and the page can hide them without a script.
"""

import base64
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import find_contours

from dlb_core.volume import Mask

ENLARGEMENT = 2
JPEG_QUALITY = 86

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Mark:
    """A lesion's number, written beside it."""

    x: float
    y: float
    """In voxels from the picture's upper left corner."""
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What the page needs to show one picture."""

    source: str
    """The raster as a data URI."""
    width: int
    height: int
    """In voxels: the coordinates of outlines and marks."""
    outlines: str
    """SVG path data."""
    left: str
    right: str
    """Which side of the patient is which."""
    caption: str
    alt: str
    """Says in words what the picture shows."""
    marks: tuple[Mark, ...] = ()


def grey_levels(section: NDArray[np.floating[Any]], white: float) -> Pixels:
    """8-bit grey: 0 is black, `white` and more is white."""
    scaled = np.clip(section / max(white, 1e-6), 0, 1) * 255
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def data_uri(pixels: Pixels) -> str:
    """An enlarged JPEG of (rows, columns) grey or (rows, columns, 3) colour pixels."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    size = (image.width * ENLARGEMENT, image.height * ENLARGEMENT)
    file = BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=JPEG_QUALITY, optimize=True
    )
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def outline(section: Mask) -> str:
    """SVG path round the true pixels of a picture, half way between voxel centres."""
    padded = np.pad(section.astype(np.float32), 1)
    # Padding moves indices by one, and a voxel's centre lies half a voxel into it.
    return "".join(_path(contour - 0.5) for contour in find_contours(padded, 0.5))


def _path(contour: NDArray[np.float64]) -> str:
    points = " ".join(f"{column:.1f},{row:.1f}" for row, column in contour[:-1])
    return f"M{points}Z"
