"""From scores of single cases to statements about methods."""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.stats import PermutationMethod, rankdata, wilcoxon

from dlb_core.contracts import Message
from dlb_core.metrics import CASE_SHARE, volume_correlation

SIGNIFICANT = 0.05
"""As in the paper, section 2.5.3."""
FEWEST_FOR_TEST = 6
"""With five pairs the smallest two-sided p is 2 / 2^5 = 0.0625."""
FEWEST_FOR_CORRELATION = 3
"""Two points always lie on a line."""
_ENUMERABLE = 13
"""Up to this many pairs all signs are tried; scipy's exact table holds only without ties."""
_DIGITS = 9
"""Differences are rounded to these, so that rounding errors are neither ties nor their absence."""


class Spread(Message):
    """A measure over cases."""

    mean: float | None
    sd: Annotated[float | None, Field(description="of the sample, n - 1; null for one case")]
    num_cases: Annotated[int, Field(description="in which the measure is defined")]


class PairedTest(Message):
    """A two-sided Wilcoxon signed-rank test of A against B, case by case."""

    num_cases: int
    num_different: Annotated[int, Field(description="cases that do not score the same")]
    mean_difference: Annotated[float, Field(description="A - B")]
    rank_difference: Annotated[float, Field(description="sum of signed ranks: whom they favour")]
    statistic: Annotated[float | None, Field(description="the smaller sum of ranks")]
    p_value: Annotated[float | None, Field(description="null where it could not be below 0.05")]
    significant: bool


class Agreement(Message):
    """Bland and Altman's figures of predicted against reference volumes, ml."""

    bias_ml: float
    lower_ml: float
    upper_ml: Annotated[float, Field(description="limits of agreement: bias +- 1.96 sd")]


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and standard deviation of the values that are defined."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    return Spread(
        mean=float(known.mean()) if known.size else None,
        sd=float(known.std(ddof=1)) if known.size > 1 else None,
        num_cases=known.size,
    )


def correlation(predicted: Sequence[float], reference: Sequence[float]) -> float | None:
    """Pearson's correlation of volumes; None where it says nothing."""
    if len(predicted) < FEWEST_FOR_CORRELATION:
        return None
    value = volume_correlation(predicted, reference)
    return value if math.isfinite(value) else None


def data_set_score(case_scores: Sequence[float], correlated: float | None) -> float | None:
    """The hybrid score, equation 5, of a data set: its cases' mean and its correlation."""
    if correlated is None or not case_scores:
        return None
    return CASE_SHARE * float(np.mean(case_scores)) + (1 - CASE_SHARE) * correlated


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Whether one method scores better than another, case by case.

    Parameters
    ----------
    first, second : sequence of float
        Scores of A and of B, in the same order of cases.

    Returns
    -------
    PairedTest
        Without p-value where fewer than `FEWEST_FOR_TEST` cases differ: no outcome could then be
        significant, and a p of 0.06 would read like a hint.
    """
    differences = np.round(np.subtract(first, second), _DIGITS)
    different = differences[differences != 0]
    statistic = p_value = None
    if different.size >= FEWEST_FOR_TEST:
        ties = np.unique(np.abs(different)).size < different.size
        result = wilcoxon(different, method=_method(different.size, ties))
        statistic, p_value = float(result.statistic), float(result.pvalue)
    signed_ranks = np.sign(different) * rankdata(np.abs(different))
    return PairedTest(
        num_cases=differences.size,
        num_different=different.size,
        mean_difference=float(differences.mean()),
        rank_difference=float(signed_ranks.sum()),
        statistic=statistic,
        p_value=p_value,
        significant=p_value is not None and p_value < SIGNIFICANT,
    )


def _method(size: int, ties: bool) -> str | PermutationMethod:
    if not ties:
        return "auto"
    return PermutationMethod(n_resamples=2**_ENUMERABLE) if size <= _ENUMERABLE else "asymptotic"


def agreement(predicted_ml: Sequence[float], reference_ml: Sequence[float]) -> Agreement | None:
    """Bland and Altman's bias and limits of agreement; None with fewer than two cases.

    References
    ----------
    Bland and Altman, Lancet 327 (1986) 307-310.
    """
    differences = np.subtract(predicted_ml, reference_ml)
    if differences.size < 2:
        return None
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    return Agreement(bias_ml=bias, lower_ml=bias - 1.96 * sd, upper_ml=bias + 1.96 * sd)
