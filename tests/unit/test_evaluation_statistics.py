"""Statements about methods equal what a hand computes, and are not made from too little."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata

from dlb_core.evaluation.statistics import (
    agreement,
    correlation,
    data_set_score,
    paired_test,
    spread,
)
from dlb_core.metrics import hybrid_score


def exact_p(differences: list[float]) -> float:
    """Two-sided p by trying all signs: how often the ranks lie at least as unevenly."""
    ranks = rankdata(np.abs(differences))
    half = ranks.sum() / 2
    seen = abs(ranks[np.array(differences) > 0].sum() - half)
    sums = [np.dot(ranks, signs) for signs in product((0, 1), repeat=len(differences))]
    return float(np.mean(np.abs(np.array(sums) - half) >= seen - 1e-9))


def test_a_spread_leaves_out_what_is_undefined_and_says_so() -> None:
    """A mean over fewer cases than the reader thinks would mislead."""
    result = spread([0.2, None, 0.6])

    assert result.mean == pytest.approx(0.4)
    assert result.sd == pytest.approx(0.4 / np.sqrt(2))
    assert result.num_cases == 2


def test_a_spread_of_little_says_little() -> None:
    """One case has no standard deviation, none no mean."""
    assert (spread([0.5]).mean, spread([0.5]).sd) == (0.5, None)
    assert (spread([None]).mean, spread([None]).num_cases) == (None, 0)


@pytest.mark.parametrize(
    "differences",
    [
        [0.01, 0.02, 0.03, 0.04, 0.05, 0.06],
        [0.01, -0.02, 0.03, 0.04, 0.05, 0.07, 0.11, -0.06],
        [0.01, 0.01, -0.01, 0.02, 0.02, 0.05, 0.05, 0.08],
    ],
    ids=["all one way", "mixed", "with ties"],
)
def test_p_is_the_share_of_signs_at_least_as_uneven(differences: list[float]) -> None:
    """Also with ties, for which the usual table does not hold."""
    second = [0.5] * len(differences)

    result = paired_test([0.5 + d for d in differences], second)

    assert result.p_value == pytest.approx(exact_p(differences))
    assert result.significant == (exact_p(differences) < 0.05)
    assert result.mean_difference == pytest.approx(np.mean(differences))


def test_six_cases_all_one_way_are_just_enough() -> None:
    """2 / 2^6."""
    result = paired_test([1.0] * 6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])

    assert result.statistic == 0
    assert result.p_value == pytest.approx(1 / 32)
    assert result.significant


def test_no_p_where_none_could_be_significant() -> None:
    """Five cases give 0.0625 at best, which would read like a hint."""
    five = paired_test([1.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5])
    equal = paired_test([0.3] * 8, [0.1 + 0.2] * 8)

    assert (five.num_different, five.p_value, five.significant) == (5, None, False)
    assert (equal.num_different, equal.p_value, equal.significant) == (0, None, False)


def test_many_cases_with_ties_are_tested_too() -> None:
    """Too many for all signs: the normal approximation takes over."""
    rng = np.random.default_rng(0)
    differences = np.round(rng.normal(0.03, 0.03, 40), 2)

    result = paired_test((0.5 + differences).tolist(), [0.5] * 40)

    assert result.p_value is not None
    assert result.p_value < 0.01
    assert result.num_different == np.count_nonzero(differences)


def test_agreement_of_a_worked_example() -> None:
    """Differences 1, 3 and 2: bias 2, sd 1."""
    found = agreement([2, 5, 8], [1, 2, 6])

    assert found is not None
    assert found.bias_ml == pytest.approx(2)
    assert (found.lower_ml, found.upper_ml) == pytest.approx((0.04, 3.96))
    assert agreement([2], [1]) is None


def test_two_cases_do_not_correlate() -> None:
    """Two points always lie on a line."""
    assert correlation([1, 2], [5, 6]) is None
    assert correlation([1, 1, 1], [1, 2, 3]) is None
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)


def test_a_data_sets_score_is_equation_5() -> None:
    """The cases' scores and the correlation put together again."""
    cases = [(0.8, 0.9, 0.1, 0.7), (0.5, 0.7, 0.4, 0.3)]
    names = ("dice", "ppv", "lesion_wise_fdr", "lesion_wise_tpr")
    alone = [
        hybrid_score(**dict(zip(names, case, strict=True)), correlation=0) / 0.75 for case in cases
    ]
    means = dict(zip(names, np.mean(cases, axis=0), strict=True))

    assert data_set_score(alone, 0.6) == pytest.approx(hybrid_score(**means, correlation=0.6))
    assert data_set_score(alone, None) is None
