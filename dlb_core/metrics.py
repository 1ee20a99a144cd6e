"""Score a lesion mask against an expert's.

Voxel-wise: `dice`, `ppv`, `tpr`. Lesion-wise, over 26-connected lesions: `lesion_wise_tpr`,
`lesion_wise_fdr`, `lesion_wise_f1`. Over many cases: `volume_correlation`. All in one: the
`hybrid_score` of a data set, and a case's share of it, the `case_score`.

Every measure of two masks takes them as (I, J, K) bool on one grid, the prediction first, and
raises `GridMismatch` where their shapes differ. Two lesions meet when they share at least one
voxel, as in the ISBI 2015 challenge. docs/metrics.md gives the formulas and says what an empty
mask means.

Sources: Carass et al., NeuroImage 148 (2017) 77-102; Kamraoui et al., Medical Image Analysis 76
(2022) 102312, section 2.5.
"""

from collections.abc import Sequence

import numpy as np

from dlb_core.errors import GridMismatch
from dlb_core.lesions import label_lesions
from dlb_core.volume import Mask

MEASURES = {
    "case_score": "Hybrid score of a case, without CORR",
    "dice": "Dice",
    "ppv": "PPV",
    "tpr": "TPR",
    "lesion_wise_fdr": "LFPR",
    "lesion_wise_tpr": "LTPR",
    "lesion_wise_f1": "Lesion-wise F1",
    "volume_difference": "Volume difference",
}
"""Functions of two masks below -> their names in tables, in their order."""


def dice(prediction: Mask, reference: Mask) -> float:
    """Overlap of two masks: 2 TP / (2 TP + FP + FN).

    Returns
    -------
    float
        In [0, 1]; 1 where both are empty, since they agree; 0 where only one is.
    """
    prediction, reference = _on_one_grid(prediction, reference)
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    if total == 0:
        return 1.0
    return 2 * np.count_nonzero(prediction & reference) / total


def ppv(prediction: Mask, reference: Mask) -> float:
    """Share of the predicted voxels that are lesion (precision).

    Returns
    -------
    float
        In [0, 1]; NaN where nothing is predicted.
    """
    prediction, reference = _on_one_grid(prediction, reference)
    return _share(int(np.count_nonzero(prediction & reference)), int(np.count_nonzero(prediction)))


def tpr(prediction: Mask, reference: Mask) -> float:
    """Share of the reference's voxels that are predicted (sensitivity, recall).

    Returns
    -------
    float
        In [0, 1]; NaN where the reference is empty.
    """
    return ppv(reference, prediction)


def lesion_wise_tpr(prediction: Mask, reference: Mask) -> float:
    """Share of the reference's lesions that the prediction touches ("LTPR").

    Returns
    -------
    float
        In [0, 1]; NaN where the reference has no lesion.
    """
    prediction, reference = _on_one_grid(prediction, reference)
    touched, count = _touched_lesions(reference, prediction)
    return _share(touched, count)


def lesion_wise_fdr(prediction: Mask, reference: Mask) -> float:
    """Share of the predicted lesions that touch no lesion of the reference ("LFPR").

    This is what the ISBI challenge reports as LFPR. The paper's equation 4 divides by lesion-wise
    true negatives, which nobody can count; its tables agree with the definition used here.

    Returns
    -------
    float
        In [0, 1]; NaN where no lesion is predicted.
    """
    return 1 - lesion_wise_tpr(reference, prediction)


def lesion_wise_f1(prediction: Mask, reference: Mask) -> float:
    """Harmonic mean of lesion-wise sensitivity and precision.

    Returns
    -------
    float
        In [0, 1]; 1 where neither has a lesion, 0 where only one has.

    References
    ----------
    Commowick et al., Scientific Reports 8 (2018) 13650.
    """
    sensitivity = lesion_wise_tpr(prediction, reference)
    precision = 1 - lesion_wise_fdr(prediction, reference)
    if np.isnan(sensitivity) and np.isnan(precision):
        return 1.0
    if np.isnan(sensitivity) or np.isnan(precision) or sensitivity + precision == 0:
        return 0.0
    return 2 * sensitivity * precision / (sensitivity + precision)


def volume_difference(prediction: Mask, reference: Mask) -> float:
    """Relative difference of the lesion volumes, signed: (predicted - reference) / reference.

    Returns
    -------
    float
        At least -1: negative where lesion volume is missed. 0 where both are empty, infinite where
        only the reference is.
    """
    prediction, reference = _on_one_grid(prediction, reference)
    predicted, expected = np.count_nonzero(prediction), np.count_nonzero(reference)
    if expected == 0:
        return np.inf if predicted else 0.0
    return (predicted - expected) / expected


def volume_correlation(predicted: Sequence[float], reference: Sequence[float]) -> float:
    """Pearson's correlation of lesion volumes over a set of cases ("CORR").

    Parameters
    ----------
    predicted, reference : sequence of float
        One volume a case, in the same unit and order.

    Returns
    -------
    float
        In [-1, 1]; NaN with fewer than two cases or where either side does not vary.

    Raises
    ------
    GridMismatch
        The sequences differ in length.
    """
    if len(predicted) != len(reference):
        raise GridMismatch(
            f"{len(predicted)} predicted volumes cannot be paired with {len(reference)} reference "
            "volumes: give one of each for every case."
        )
    ours = np.asarray(predicted, dtype=np.float64)
    theirs = np.asarray(reference, dtype=np.float64)
    if len(ours) < 2 or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return np.nan
    return float(np.clip(np.corrcoef(ours, theirs)[0, 1], -1, 1))


def hybrid_score(
    *,
    dice: float,
    ppv: float,
    lesion_wise_fdr: float,
    lesion_wise_tpr: float,
    correlation: float,
) -> float:
    """Weigh voxels, lesions and volumes into one score.

    Dice / 8 + PPV / 8 + (1 - LFPR) / 4 + LTPR / 4 + CORR / 4.

    Parameters
    ----------
    dice, ppv, lesion_wise_fdr, lesion_wise_tpr : float
        Averages over a data set.
    correlation : float
        `volume_correlation` over the data set.

    Returns
    -------
    float
        At most 1; NaN where a part is undefined.

    References
    ----------
    Kamraoui et al. (2022), equation 5; Carass et al. (2017).
    """
    voxels = (dice + ppv) / 8
    lesions = (1 - lesion_wise_fdr + lesion_wise_tpr) / 4
    return voxels + lesions + correlation / 4


CASE_SHARE = 0.75
"""Weight of what a single case can tell in `hybrid_score`; the rest is the correlation's."""


def case_score(prediction: Mask, reference: Mask) -> float:
    """What one case contributes to the hybrid score, scaled so that a perfect mask has 1.

    (Dice / 8 + PPV / 8 + (1 - LFPR) / 4 + LTPR / 4) / 0.75. One case has no correlation of
    volumes. The data set's own cannot stand in for it: as one constant for all cases it would
    move all differences between two methods the same way, and a rank test on them would then
    judge that one number instead of the cases.

    Returns
    -------
    float
        In [0, 1]; as with Dice, 1 where both are empty and 0 where only one is: otherwise an
        empty mask would be excused from PPV and LFPR.
    """
    prediction, reference = _on_one_grid(prediction, reference)
    if not prediction.any() or not reference.any():
        return dice(prediction, reference)
    parts = hybrid_score(
        dice=dice(prediction, reference),
        ppv=ppv(prediction, reference),
        lesion_wise_fdr=lesion_wise_fdr(prediction, reference),
        lesion_wise_tpr=lesion_wise_tpr(prediction, reference),
        correlation=0.0,
    )
    return parts / CASE_SHARE


def _on_one_grid(prediction: Mask, reference: Mask) -> tuple[Mask, Mask]:
    if prediction.shape != reference.shape:
        raise GridMismatch(
            f"The predicted mask has shape {prediction.shape} and the reference mask "
            f"{reference.shape}: resample one onto the other's grid first."
        )
    return np.asarray(prediction, dtype=bool), np.asarray(reference, dtype=bool)


def _touched_lesions(mask: Mask, by: Mask) -> tuple[int, int]:
    """How many lesions of `mask` share a voxel with `by`, and how many there are."""
    labels = label_lesions(mask)
    touched = np.unique(labels[by])
    return int(np.count_nonzero(touched)), int(labels.max(initial=0))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan
