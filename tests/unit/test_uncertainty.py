"""Certainty comes from the votes, and bounds the volume on both sides."""

import numpy as np
import pytest

from dlb_core.report.document import Confidence
from dlb_core.uncertainty import confidence, volume_bounds_mm3

BRAIN = np.ones((12, 12, 12), dtype=bool)
COVERAGE = np.full(BRAIN.shape, 20, np.uint8)


@pytest.mark.parametrize(
    ("agreement", "word"),
    [
        (1.0, Confidence.HIGH),
        (0.9, Confidence.HIGH),
        (0.89, Confidence.MODERATE),
        (0.75, Confidence.MODERATE),
        (0.74, Confidence.LOW),
    ],
)
def test_the_word_follows_the_agreement(agreement: float, word: Confidence) -> None:
    assert confidence(agreement) is word


def bounds(votes: np.ndarray, minimum_mm3: float = 0.0) -> tuple[float, float]:
    return volume_bounds_mm3(votes, COVERAGE, BRAIN, minimum_mm3=minimum_mm3, voxel_mm3=0.5)


def test_the_bounds_are_what_three_quarters_and_one_quarter_mark() -> None:
    votes = np.zeros(BRAIN.shape, np.uint8)
    votes[2, 2, :6] = (20, 15, 14, 10, 5, 4)  # Of 20: 1, 3/4, less, 1/2, 1/4, less.

    assert bounds(votes) == (1.0, 2.5)


def test_networks_that_agree_leave_no_room() -> None:
    votes = np.zeros(BRAIN.shape, np.uint8)
    votes[3:6, 3:6, 3:6] = 20

    assert bounds(votes) == (13.5, 13.5)


def test_the_smallest_lesions_are_left_out_of_the_bounds_as_of_the_mask() -> None:
    """A sprinkling of hesitant voxels, each too small to count, must not widen the interval."""
    votes = np.zeros(BRAIN.shape, np.uint8)
    votes[::3, ::3, ::3] = 6

    assert bounds(votes, minimum_mm3=3.0) == (0.0, 0.0)


def test_what_no_network_saw_is_no_lesion() -> None:
    low, high = volume_bounds_mm3(
        np.zeros(BRAIN.shape, np.uint8),
        np.zeros(BRAIN.shape, np.uint8),
        BRAIN,
        minimum_mm3=0.0,
        voxel_mm3=1.0,
    )

    assert low == high == 0


def test_a_lesion_that_convinces_nobody_fully_is_in_neither_bound() -> None:
    """Else the lower bound could exceed the mask, which leaves it out."""
    votes = np.zeros(BRAIN.shape, np.uint8)
    votes[3:6, 3:6, 3:6] = 15

    assert bounds(votes) == (0.0, 0.0)
