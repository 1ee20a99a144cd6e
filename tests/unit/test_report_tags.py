"""Numbers in a slice can be read: inside it, apart from each other, tied to their lesions."""

import numpy as np
import pytest

from dlb_core.report.pictures import Mark
from dlb_core.report.tags import CORNER, DIGIT_WIDTH, HEIGHT, LEADER_FROM, SIDE, place_tags

SHAPE = (190, 150)


def box(mark: Mark) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a number as printed."""
    width = DIGIT_WIDTH * len(mark.text) + SIDE
    return mark.x - width / 2, mark.y - HEIGHT / 2, mark.x + width / 2, mark.y + HEIGHT / 2


def overlap(first: Mark, second: Mark) -> bool:
    """Whether two numbers share more than the rounding of a voxel."""
    (a, b, c, d), (e, f, g, h) = box(first), box(second)
    return min(c, g) - max(a, e) > 1 and min(d, h) - max(b, f) > 1


def crowd(step: int, size: int = 2) -> np.ndarray:
    """Many small lesions close to one another."""
    section = np.zeros(SHAPE, dtype=np.int32)
    corners = [(60 + step * n, 60 + step * m) for n in range(4) for m in range(5)]
    for number, (row, column) in enumerate(corners, 1):
        section[row : row + size, column : column + size] = number
    return section


def test_numbers_of_a_crowd_do_not_overlap() -> None:
    """Twenty lesions within two centimetres: numbers on each other cannot be read."""
    marks = place_tags(crowd(4), range(1, 21))

    pairs = [(a, b) for n, a in enumerate(marks) for b in marks[:n] if overlap(a, b)]
    assert [mark.text for mark in marks] == [str(n) for n in range(1, 21)]
    assert pairs == []


@pytest.mark.parametrize("where", [(0, 0), (0, 147), (187, 0), (187, 147)])
def test_a_number_stays_inside_and_off_the_sides_letters(where: tuple[int, int]) -> None:
    section = np.zeros(SHAPE, dtype=np.int32)
    section[where[0] : where[0] + 3, where[1] : where[1] + 3] = 117

    left, top, right, bottom = box(place_tags(section, [117])[0])

    width, height = CORNER
    assert left >= 0
    assert top >= 0
    assert right <= SHAPE[1]
    assert bottom <= SHAPE[0]
    assert not (top < height and (left < width or right > SHAPE[1] - width))


def test_a_number_stands_beside_its_lesion_away_from_the_midline() -> None:
    """Inwards are the ventricles and more lesions."""
    section = np.zeros(SHAPE, dtype=np.int32)
    section[90:96, 30:36] = 1
    section[90:96, 110:116] = 2

    left, right = place_tags(section, [1, 2])

    assert left.x < 30
    assert right.x > 116
    assert left.to is None
    assert right.to is None


def test_a_number_that_had_to_move_has_a_line_to_its_own_lesion() -> None:
    section = crowd(4)

    moved = [mark for mark in place_tags(section, range(1, 21)) if mark.to is not None]

    assert moved
    for mark in moved:
        assert mark.to is not None
        column, row = (int(value) for value in mark.to)
        assert section[row, column] == int(mark.text)
        left, top, right, bottom = box(mark)
        apart = max(left - column, column - right, top - row, row - bottom)
        assert apart > LEADER_FROM / 2
