"""Scores equal what a hand, or another library, computes."""

from collections.abc import Callable

import cc3d
import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import f1_score, precision_score, recall_score

from dlb_core.errors import GridMismatch
from dlb_core.metrics import (
    case_score,
    dice,
    hybrid_score,
    lesion_wise_f1,
    lesion_wise_fdr,
    lesion_wise_tpr,
    ppv,
    tpr,
    volume_correlation,
    volume_difference,
)
from dlb_core.volume import Mask

SHAPE = (12, 12, 12)
EMPTY = np.zeros(SHAPE, dtype=bool)
Metric = Callable[[Mask, Mask], float]


def mask(*boxes: tuple[slice | int, slice | int, slice | int]) -> Mask:
    """A mask that is true in the given boxes."""
    result = np.zeros(SHAPE, dtype=bool)
    for box in boxes:
        result[box] = True
    return result


REFERENCE = mask((0, 0, slice(0, 4)), (6, 6, 6), (10, 10, slice(8, 10)))
"""Three lesions of 4, 1 and 2 voxels."""
PREDICTION = mask((0, 0, slice(2, 8)), (3, 3, 3), (10, 10, slice(9, 10)), (10, 0, 0))
"""Four lesions: two touch the reference (2 of 6 and 1 of 1 voxels right), two do not."""


def test_voxel_wise_scores_of_a_worked_example() -> None:
    """TP 3, FP 6, FN 4."""
    assert dice(PREDICTION, REFERENCE) == pytest.approx(6 / 16)
    assert ppv(PREDICTION, REFERENCE) == pytest.approx(3 / 9)
    assert tpr(PREDICTION, REFERENCE) == pytest.approx(3 / 7)
    assert volume_difference(PREDICTION, REFERENCE) == pytest.approx(2 / 7)


def test_lesion_wise_scores_of_a_worked_example() -> None:
    """Two of three lesions found; two of four predicted ones are not there."""
    assert lesion_wise_tpr(PREDICTION, REFERENCE) == pytest.approx(2 / 3)
    assert lesion_wise_fdr(PREDICTION, REFERENCE) == pytest.approx(2 / 4)
    assert lesion_wise_f1(PREDICTION, REFERENCE) == pytest.approx(4 / 7)


def test_case_score_of_a_worked_example() -> None:
    """Equation 5 without its correlation, over the 0.75 that then remain."""
    parts = (6 / 16) / 8 + (3 / 9) / 8 + (1 - 2 / 4) / 4 + (2 / 3) / 4

    assert case_score(PREDICTION, REFERENCE) == pytest.approx(parts / 0.75)
    assert case_score(REFERENCE, REFERENCE) == pytest.approx(1)


def test_an_empty_mask_scores_no_better_than_a_wrong_one() -> None:
    """Without a predicted lesion there is no false one: silence must not pay."""
    assert case_score(EMPTY, REFERENCE) == case_score(mask((5, 0, 0)), REFERENCE) == 0


@pytest.mark.parametrize("seed", range(3))
def test_lesion_wise_scores_equal_a_count_by_cc3d(seed: int) -> None:
    """Another library's components, matched pair by pair."""
    rng = np.random.default_rng(seed)
    prediction, reference = rng.random((2, *SHAPE)) < 0.03
    ours, theirs = (cc3d.connected_components(m, connectivity=26) for m in (prediction, reference))
    pairs = {(p, r) for p, r in zip(ours.ravel(), theirs.ravel(), strict=True) if p and r}

    found, right = len({r for _, r in pairs}), len({p for p, _ in pairs})

    assert 0 < found < theirs.max()
    assert lesion_wise_tpr(prediction, reference) == pytest.approx(found / theirs.max())
    assert lesion_wise_fdr(prediction, reference) == pytest.approx(1 - right / ours.max())


@pytest.mark.parametrize("seed", range(5))
def test_voxel_wise_scores_equal_scikit_learns(seed: int) -> None:
    """An independent implementation guards against a swapped argument."""
    rng = np.random.default_rng(seed)
    prediction, reference = rng.random((2, *SHAPE)) < (0.2, 0.1)[seed % 2]
    truth, ours = reference.ravel(), prediction.ravel()

    assert dice(prediction, reference) == pytest.approx(f1_score(truth, ours))
    assert ppv(prediction, reference) == pytest.approx(precision_score(truth, ours))
    assert tpr(prediction, reference) == pytest.approx(recall_score(truth, ours))


def test_a_perfect_prediction_scores_one() -> None:
    assert dice(REFERENCE, REFERENCE) == 1
    assert ppv(REFERENCE, REFERENCE) == 1
    assert tpr(REFERENCE, REFERENCE) == 1
    assert lesion_wise_tpr(REFERENCE, REFERENCE) == 1
    assert lesion_wise_fdr(REFERENCE, REFERENCE) == 0
    assert lesion_wise_f1(REFERENCE, REFERENCE) == 1
    assert volume_difference(REFERENCE, REFERENCE) == 0


def test_a_prediction_elsewhere_scores_zero() -> None:
    elsewhere = mask((5, 0, 0))

    assert dice(elsewhere, REFERENCE) == 0
    assert lesion_wise_tpr(elsewhere, REFERENCE) == 0
    assert lesion_wise_fdr(elsewhere, REFERENCE) == 1
    assert lesion_wise_f1(elsewhere, REFERENCE) == 0


@pytest.mark.parametrize(
    ("metric", "both", "no_prediction", "no_reference"),
    [
        (dice, 1, 0, 0),
        (ppv, np.nan, np.nan, 0),
        (tpr, np.nan, 0, np.nan),
        (lesion_wise_tpr, np.nan, 0, np.nan),
        (lesion_wise_fdr, np.nan, np.nan, 1),
        (lesion_wise_f1, 1, 0, 0),
        (case_score, 1, 0, 0),
        (volume_difference, 0, -1, np.inf),
    ],
)
def test_empty_masks_score_as_documented(
    metric: Metric, both: float, no_prediction: float, no_reference: float
) -> None:
    """A lesion-free patient is a real case; what it scores must be a decision, not an accident."""
    assert metric(EMPTY, EMPTY) == pytest.approx(both, nan_ok=True)
    assert metric(EMPTY, REFERENCE) == pytest.approx(no_prediction, nan_ok=True)
    assert metric(PREDICTION, EMPTY) == pytest.approx(no_reference, nan_ok=True)


@pytest.mark.parametrize(
    "metric",
    [
        dice,
        ppv,
        tpr,
        lesion_wise_tpr,
        lesion_wise_fdr,
        lesion_wise_f1,
        volume_difference,
        case_score,
    ],
)
def test_masks_on_two_grids_are_refused(metric: Metric) -> None:
    """numpy would broadcast (12, 12, 1) silently."""
    with pytest.raises(GridMismatch, match="resample"):
        metric(EMPTY, EMPTY[:, :, :1])


def test_lesions_that_only_neighbour_do_not_meet() -> None:
    """Detection needs a shared voxel; touching corners is not finding."""
    assert lesion_wise_tpr(mask((1, 1, 1)), mask((2, 2, 2))) == 0


def test_volume_correlation_of_a_worked_example() -> None:
    """Deviations (-1, 0, 1) and (-1, -1, 2): 3 / sqrt(2 * 6)."""
    assert volume_correlation([1, 2, 3], [2, 2, 5]) == pytest.approx(3 / np.sqrt(12))


def test_volume_correlation_equals_scipys() -> None:
    """An independent implementation."""
    ours, theirs = np.random.default_rng(0).lognormal(size=(2, 9))

    assert volume_correlation(ours, theirs) == pytest.approx(pearsonr(ours, theirs).statistic)


def test_volumes_in_proportion_correlate_fully() -> None:
    assert volume_correlation([1, 2, 5], [10, 20, 50]) == pytest.approx(1)
    assert volume_correlation([1, 2, 5], [-1, -2, -5]) == pytest.approx(-1)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1], [2]), ([1, 1], [1, 2])])
def test_correlation_is_undefined_without_spread(ours: list[float], theirs: list[float]) -> None:
    assert np.isnan(volume_correlation(ours, theirs))


def test_volumes_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(GridMismatch, match="every case"):
        volume_correlation([1, 2], [1, 2, 3])


def test_hybrid_score_weighs_as_equation_5_does() -> None:
    score = hybrid_score(
        dice=0.8, ppv=0.4, lesion_wise_fdr=0.2, lesion_wise_tpr=0.6, correlation=0.9
    )

    assert score == pytest.approx(0.1 + 0.05 + 0.2 + 0.15 + 0.225)


@pytest.mark.parametrize(
    ("scores", "hybrid"),
    [
        ((0.365, 0.695, 0.362, 0.338, 0.595), 0.526),
        ((0.483, 0.725, 0.556, 0.520, 0.649), 0.554),
        ((0.601, 0.775, 0.299, 0.484, 0.780), 0.663),
    ],
    ids=["nicMSlesions", "DeepMedic", "DeepLesionBrain"],
)
def test_hybrid_score_reproduces_the_papers_table_7(
    scores: tuple[float, float, float, float, float], hybrid: float
) -> None:
    """LFPR enters as a false discovery rate: that reading alone fits the printed scores."""
    names = ("dice", "ppv", "lesion_wise_fdr", "lesion_wise_tpr", "correlation")

    score = hybrid_score(**dict(zip(names, scores, strict=True)))

    assert score == pytest.approx(hybrid, abs=0.001)
