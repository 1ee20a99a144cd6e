"""One mask's measures as the tables hold them."""

import numpy as np
import pytest

from dlb_core import metrics
from dlb_core.errors import GridMismatch
from dlb_core.evaluation.scores import score
from dlb_core.metrics import MEASURES

SHAPE = (20, 22, 24)
EMPTY = np.zeros(SHAPE, dtype=bool)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_the_metrics(seed: int) -> None:
    """Cutting away what is empty must change nothing, lesions at the rim included."""
    rng = np.random.default_rng(seed)
    prediction, reference = np.zeros((2, *SHAPE), dtype=bool)
    prediction[:5, 8:, 3:9] = rng.random((5, 14, 6)) < 0.1
    reference[:5, 10:, 3:9] = rng.random((5, 12, 6)) < 0.1

    scores = score(prediction, reference, voxel_mm3=3.0)

    for name in MEASURES:
        expected = getattr(metrics, name)(prediction, reference)
        assert getattr(scores, name) == pytest.approx(expected), name
    assert scores.predicted_ml == pytest.approx(prediction.sum() * 0.003)
    assert scores.reference_ml == pytest.approx(reference.sum() * 0.003)
    assert scores.predicted_lesions > scores.reference_lesions / 2 > 0


def test_what_is_undefined_is_none() -> None:
    """JSON has neither NaN nor infinity."""
    reference = EMPTY.copy()
    reference[3, 3, 3] = True

    silent, alarmed = (
        score(EMPTY, reference, voxel_mm3=1.0),
        score(reference, EMPTY, voxel_mm3=1.0),
    )

    assert (silent.ppv, silent.lesion_wise_fdr, silent.tpr) == (None, None, 0)
    assert (alarmed.tpr, alarmed.lesion_wise_tpr, alarmed.volume_difference) == (None, None, None)
    assert silent.case_score == alarmed.case_score == 0
    assert score(EMPTY, EMPTY, voxel_mm3=1.0).case_score == 1


def test_masks_on_two_grids_are_refused() -> None:
    """Here too, where masks are cut before they are measured."""
    with pytest.raises(GridMismatch):
        score(EMPTY, EMPTY[:, :, 1:], voxel_mm3=1.0)
