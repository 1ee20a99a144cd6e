"""The majority vote."""

import numpy as np
import pytest

from dlb_core.tiling import Location
from dlb_core.voting import Ballot, Consensus

SHAPE = (2, 1, 1)
HERE = Location((0, 0, 0), (1, 1, 1))


def _vote(*probabilities: float, threshold: float = 0.5) -> Consensus:
    ballot = Ballot(SHAPE, threshold)
    for p in probabilities:
        ballot.add(HERE, np.full((1, 1, 1), p, dtype=np.float32))
    return ballot.count()


@pytest.mark.parametrize(
    ("probabilities", "lesion"),
    [
        ((0.9, 0.9, 0.1), True),
        ((0.51, 0.51, 0.0), True),
        ((0.49, 0.49, 1.0), False),
        ((0.9, 0.2), True),
        ((0.6, 0.1), False),
        ((0.5, 0.5), True),
        ((0.8, 0.2), True),
    ],
    ids=["majority", "weak majority", "minority", "tie high", "tie low", "at it", "tie at it"],
)
def test_majority_decides_and_the_mean_breaks_ties(
    probabilities: tuple[float, ...], lesion: bool
) -> None:
    """Most voxels are covered by an even number of networks."""
    assert _vote(*probabilities).mask[0, 0, 0] == lesion


def test_the_threshold_is_the_bundles() -> None:
    """A calibrated bundle votes at its own threshold."""
    assert _vote(0.4, 0.4, 0.1, threshold=0.3).mask[0, 0, 0]
    assert not _vote(0.4, 0.4, 0.1).mask[0, 0, 0]


def test_uncovered_is_background() -> None:
    """No network, no lesion, and it shows."""
    consensus = _vote(1.0)

    assert consensus.coverage.ravel().tolist() == [1, 0]
    assert not consensus.mask[1, 0, 0]
    assert consensus.probability[1, 0, 0] == 0
    assert consensus.agreement.ravel().tolist() == [1.0, 0.0]


def test_agreement_is_votes_over_coverage() -> None:
    """Worked by hand."""
    consensus = _vote(0.9, 0.8, 0.7, 0.1)

    assert consensus.votes[0, 0, 0] == 3
    assert consensus.agreement[0, 0, 0] == pytest.approx(0.75)
    assert consensus.probability[0, 0, 0] == pytest.approx(0.625)


def test_a_hundred_votes_do_not_overflow() -> None:
    """A voxel may be covered by 100 networks."""
    consensus = _vote(*[1.0] * 100)

    assert consensus.votes[0, 0, 0] == consensus.coverage[0, 0, 0] == 100
    assert consensus.mask[0, 0, 0]
