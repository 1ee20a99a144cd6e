"""All measures of one mask, and what each is called in a table."""

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from dlb_core import metrics
from dlb_core.contracts import Message
from dlb_core.lesions import label_lesions
from dlb_core.metrics import MEASURES
from dlb_core.preprocessing.denoise import bounding_box
from dlb_core.tissue import MM3_PER_ML
from dlb_core.volume import Mask

Value = float | None
"""None where the measure is undefined (docs/metrics.md)."""


class Scores(Message):
    """One mask against the reference."""

    dice: Value
    ppv: Value
    tpr: Value
    lesion_wise_fdr: Annotated[Value, Field(description="LFPR")]
    lesion_wise_tpr: Annotated[Value, Field(description="LTPR")]
    lesion_wise_f1: Value
    volume_difference: Annotated[Value, Field(description="(predicted - reference) / reference")]
    case_score: Annotated[float, Field(description="hybrid score without the correlation, / 0.75")]
    predicted_ml: float
    reference_ml: float
    predicted_lesions: int
    reference_lesions: int


def score(prediction: Mask, reference: Mask, *, voxel_mm3: float) -> Scores:
    """Measure everything.

    Parameters
    ----------
    prediction, reference : (I, J, K) bool
        On one grid.
    voxel_mm3 : float
        Volume of one of its voxels.

    Raises
    ------
    GridMismatch
        The masks differ in shape.
    """
    voxel_ml = voxel_mm3 / MM3_PER_ML
    predicted_ml, reference_ml = (
        float(np.count_nonzero(mask)) * voxel_ml for mask in (prediction, reference)
    )
    if prediction.shape == reference.shape:
        # What is empty in both changes no measure, but takes most of the time.
        box = bounding_box(prediction | reference)
        prediction, reference = prediction[box], reference[box]
    measured = {name: _defined(getattr(metrics, name)(prediction, reference)) for name in MEASURES}
    return Scores(
        **measured,
        predicted_ml=predicted_ml,
        reference_ml=reference_ml,
        predicted_lesions=int(label_lesions(prediction).max(initial=0)),
        reference_lesions=int(label_lesions(reference).max(initial=0)),
    )


def _defined(value: float) -> Any:
    """None instead of NaN and infinity, which JSON has not."""
    return float(value) if math.isfinite(value) else None
