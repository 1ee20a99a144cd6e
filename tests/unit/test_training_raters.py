"""Several raters, one mask."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.training.raters import Fusion, fuse
from dlb_core.volume import Mask

SHAPE = (24, 22, 20)


def _block(start: int, size: int = 6) -> Mask:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[start : start + size, 5 : 5 + size, 5 : 5 + size] = True
    return mask


@pytest.mark.parametrize(("num_raters", "needed"), [(2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_majority_is_more_than_half(num_raters: int, needed: int) -> None:
    """Two of four is no majority: a tie stays healthy."""
    for votes in range(num_raters + 1):
        masks = [np.full((2, 2, 2), n < votes) for n in range(num_raters)]
        assert fuse(masks, Fusion.MAJORITY).all() == (votes >= needed)


def test_staple_is_warfields_algorithm() -> None:
    """The library's answer is that of the published iteration, written out here."""
    rng = np.random.default_rng(3)
    truth = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2) > 0
    masks = [
        truth & (rng.random(SHAPE) < sensitivity) | ~truth & (rng.random(SHAPE) < 0.05)
        for sensitivity in (0.95, 0.9, 0.55, 0.5, 0.45)
    ]

    fused = fuse(masks, Fusion.STAPLE)

    region = ndimage.binary_dilation(np.any(masks, axis=0), iterations=2)
    expected = _warfield(np.array([mask[region] for mask in masks])) >= 0.5
    assert np.array_equal(fused[region], expected)
    # Two good raters outvote three poor ones.
    assert (fused ^ truth).sum() < 0.5 * (fuse(masks, Fusion.MAJORITY) ^ truth).sum()


def _warfield(decisions_RN: NDArray[np.bool_]) -> NDArray[np.float64]:
    prior = decisions_RN.mean()
    p = q = np.full((len(decisions_RN), 1), 0.99999)
    for _ in range(200):
        lesion = prior * np.where(decisions_RN, p, 1 - p).prod(0)
        healthy = (1 - prior) * np.where(decisions_RN, 1 - q, q).prod(0)
        weight = lesion / (lesion + healthy)
        p = ((decisions_RN * weight).sum(1) / weight.sum())[:, None]
        q = ((~decisions_RN * (1 - weight)).sum(1) / (1 - weight).sum())[:, None]
    return np.asarray(weight)


@pytest.mark.parametrize(("rule", "num_raters"), list(product(Fusion, (1, 2, 3))))
def test_raters_who_agree_are_believed(rule: Fusion, num_raters: int) -> None:
    """Nothing to weigh."""
    assert np.array_equal(fuse([_block(4)] * num_raters, rule), _block(4))


@pytest.mark.parametrize("rule", Fusion)
def test_no_lesion_to_anybody_is_no_lesion(rule: Fusion) -> None:
    """A healthy control is a case too; STAPLE by itself answers with no numbers."""
    assert not fuse([np.zeros(SHAPE, dtype=bool)] * 3, rule).any()


def test_one_who_marked_nothing_does_not_stop_the_others() -> None:
    """One of three raters forgot the case."""
    masks = [_block(4), _block(4), np.zeros(SHAPE, dtype=bool)]

    for rule in Fusion:
        assert np.array_equal(fuse(masks, rule), _block(4))
