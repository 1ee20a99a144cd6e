"""The synthetic patient who comes twice is one head, and changes as told."""

import numpy as np
import pytest

from dlb_core.synthesis.follow_up import FATES, Fate, FollowUp, make_follow_up
from dlb_core.volume import Volume

COARSE = 3


@pytest.fixture(scope="module")
def changed() -> FollowUp:
    return make_follow_up(5, coarsening=COARSE)


@pytest.fixture(scope="module")
def same() -> FollowUp:
    return make_follow_up(5, changes=False, coarsening=COARSE)


def volume(mask: Volume) -> float:
    return float(mask.data.sum()) * mask.grid.voxel_mm3


def test_the_first_visit_is_the_same_with_and_without_changes(
    changed: FollowUp, same: FollowUp
) -> None:
    """Then one scan serves both comparisons."""
    np.testing.assert_array_equal(changed.visits[0].flair.data, same.visits[0].flair.data)
    assert not np.array_equal(changed.visits[1].flair.affine, changed.visits[0].flair.affine)


def test_without_changes_the_lesions_are_as_they_were(same: FollowUp) -> None:
    before, after = (volume(visit.lesions_flair) for visit in same.visits)

    assert after == pytest.approx(before, rel=0.1)
    assert set(np.unique(same.fates)) == {0, 1 + list(Fate).index(Fate.STABLE)}


def test_every_fate_is_drawn(changed: FollowUp) -> None:
    drawn = {list(Fate)[n - 1] for n in np.unique(changed.fates) if n}

    assert drawn == set(FATES) | {Fate.STABLE}
