"""Where the lesions' numbers stand in a slice: beside their lesions, inside, not on each other.

All in a picture's voxels: x to the right and y down from its upper left corner.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.report.pictures import Mark

HEIGHT, DIGIT_WIDTH, SIDE = 8, 5.6, 2.0
"""Of a number as the PDF's narrowest pictures print it; the page prints it smaller."""
CLEARANCE = 1.5
"""Between a number and what it stands beside."""
LEADER_FROM = 3.5
"""A number further from its lesion than this gets a line to it."""
CORNER = (11, 10)
"""Width and height of the corners that hold the letters of the patient's sides."""
_COVERS_LESION, _INWARDS = 0.35, 1.5
"""What a candidate pays for each lesion voxel it covers, and for standing towards the midline."""
_TAKEN = 1e4


def place_tags(section: NDArray[np.integer[Any]], numbers: Sequence[int]) -> tuple[Mark, ...]:
    """Place the numbers of a slice's lesions.

    Parameters
    ----------
    section : (rows, columns) int
        The lesions' numbers, as the picture shows them.
    numbers : sequence of int
        Lesions to mark, each of them in the section; the first ones get the better places.

    Returns
    -------
    tuple of Mark
        In the order of `numbers`. Two overlap only where the picture has no room left.
    """
    taken = _corners(section.shape)
    return tuple(_place(section, number, taken) for number in numbers)


def _corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """What is taken before any number is placed."""
    taken = np.zeros(shape)
    width, height = CORNER
    taken[:height, :width] = taken[:height, -width:] = 1
    return taken


def _place(section: NDArray[np.integer[Any]], number: int, taken: NDArray[np.float64]) -> Mark:
    """Choose the best place left for one number, and take it."""
    text = str(number)
    size = HEIGHT, int(np.ceil(DIGIT_WIDTH * len(text) + SIDE))
    gap, nearest = ndimage.distance_transform_edt(section != number, return_indices=True)
    covered = _sum_in_box((section > 0).astype(float), size) * _COVERS_LESION
    cost = np.abs(_least_in_box(gap, size) - CLEARANCE) + covered + _inwards(section == number)
    cost = cost + _TAKEN * _sum_in_box(taken, size) + _outside(section.shape, size)
    row, column = (int(n) for n in np.unravel_index(int(cost.argmin()), cost.shape))
    # Small pictures have no place whose box lies inside.
    top, left = max(row - size[0] // 2, 0), max(column - size[1] // 2, 0)
    box = slice(top, top + size[0]), slice(left, left + size[1])
    taken[box] = 1
    x, y = left + size[1] / 2, top + size[0] / 2
    inner = np.unravel_index(int(gap[box].argmin()), gap[box].shape)
    closest = int(inner[0]) + top, int(inner[1]) + left
    to = None
    if gap[closest] > LEADER_FROM:
        to = float(nearest[1][closest]) + 0.5, float(nearest[0][closest]) + 0.5
    return Mark(x=round(float(x), 1), y=round(float(y), 1), text=text, to=to)


def _inwards(lesion: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A small price for places between the lesion and the picture's middle."""
    columns = np.arange(lesion.shape[1]) + 0.5
    middle = lesion.shape[1] / 2
    centre = float(np.nonzero(lesion)[1].mean()) + 0.5
    inwards = columns > centre if centre < middle else columns < centre
    return np.broadcast_to(np.where(inwards, _INWARDS, 0.0), lesion.shape)


def _outside(shape: tuple[int, ...], size: tuple[int, int]) -> NDArray[np.float64]:
    """No place whose box would leave the picture."""
    price = np.full(shape, np.inf)
    (up, down), (left, right) = ((s // 2, s - s // 2) for s in size)
    price[up : shape[0] - down + 1, left : shape[1] - right + 1] = 0
    return price


def _sum_in_box(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    mean = ndimage.uniform_filter(values, size, mode="constant")
    return np.asarray(np.rint(mean * size[0] * size[1]), dtype=np.float64)


def _least_in_box(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    return np.asarray(ndimage.minimum_filter(values, size, mode="nearest"), dtype=np.float64)
