"""Confluent lesions are counted by their centres."""

import numpy as np
import pytest
from scipy import ndimage

from dlb_core.lesion_centres import count_centres
from dlb_core.lesions import label_lesions

GRID = np.indices((48, 32, 32)).astype(float)


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    return sum((GRID[a] - centre[a]) ** 2 for a in range(3)) <= radius**2


def centres(lesion: np.ndarray) -> int:
    """With a probability that is high inside and falls off at the rim, as an ensemble's is."""
    assert label_lesions(lesion).max() == 1
    return count_centres(lesion, ndimage.gaussian_filter(lesion.astype(np.float32), 0.7))


@pytest.mark.parametrize("radius", [2, 4, 9])
def test_a_ball_has_one_centre(radius: float) -> None:
    """However large: size alone does not make a lesion confluent."""
    assert centres(ball((20, 16, 16), radius)) == 1


def test_two_balls_that_touch_have_two_centres() -> None:
    assert centres(ball((15, 16, 16), 5) | ball((25, 16, 16), 5)) == 2


def test_three_balls_in_a_row_have_three_centres() -> None:
    row = ball((10, 16, 16), 4) | ball((19, 16, 16), 5) | ball((29, 16, 16), 5)

    assert centres(row) == 3


def test_a_long_finger_has_one_centre() -> None:
    """Dawson's fingers are long, and each is one lesion."""
    finger = ((GRID[1] - 16) ** 2 + (GRID[2] - 16) ** 2 <= 9) & (abs(GRID[0] - 22) <= 7)

    assert centres(finger) == 1


def test_a_lesion_of_a_few_voxels_has_one_centre() -> None:
    """No lesion may count as none."""
    few = np.zeros((9, 9, 9), dtype=bool)
    few[4, 4, 3:6] = True

    assert centres(few) == 1


def test_the_crop_does_not_change_the_count() -> None:
    pair = ball((15, 16, 16), 5) | ball((25, 16, 16), 5)
    (box,) = ndimage.find_objects(pair.astype(int))

    assert count_centres(pair[box], pair[box].astype(float)) == count_centres(
        pair, pair.astype(float)
    )
