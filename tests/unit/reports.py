"""Small cases to report on: a box of a brain with the lesions a test asks for."""

from collections.abc import Sequence

import numpy as np

from dlb_core.contracts import InputState, SegmentationOptions
from dlb_core.lesions import label_lesions
from dlb_core.measurement import Evidence, Measures, measure_case
from dlb_core.report.document import CheckStatus, ModelIdentity, QualityCheck, Report
from dlb_core.report.figures import Material
from dlb_core.template import MNI_GRID
from dlb_core.tissue import brain_volume_ml, intracranial_volume
from dlb_core.volume import Mask

Box = tuple[slice, slice, slice]

RIGHT_LESION: Box = (slice(120, 126), slice(100, 106), slice(90, 96))
LEFT_LESION: Box = (slice(60, 63), slice(80, 83), slice(70, 73))
BRAIN: Box = (slice(20, 160), slice(20, 190), slice(10, 150))

IDENTITY = np.eye(4)


def lesion_mask(boxes: Sequence[Box]) -> Mask:
    mask = np.zeros(MNI_GRID.shape, dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def material(boxes: Sequence[Box]) -> Material:
    """White matter of 1, lesions of 1.8 that all networks agree on."""
    mask = lesion_mask(boxes)
    brain = lesion_mask([BRAIN])
    flair = np.where(mask, 1.8, brain).astype(np.float32)
    return Material(
        t1w=np.where(mask, 0.7, brain).astype(np.float32),
        flair=flair,
        mask=mask,
        labels=label_lesions(mask),
        probability=mask * np.float32(0.9),
        agreement=mask * np.float32(1),
        brain_mask=brain,
    )


def check(status: CheckStatus = CheckStatus.PASS, message: str = "") -> QualityCheck:
    return QualityCheck(
        name="flair_snr",
        title="FLAIR signal to noise",
        status=status,
        value=24.6,
        threshold=">= 10 (fail < 5)",
        message=message,
    )


def report(
    boxes: Sequence[Box],
    *,
    quality: tuple[QualityCheck, ...] = (check(),),
    label: str = "case 7",
    options: SegmentationOptions | None = None,
) -> Report:
    """The report of a patient whose native spaces are the MNI grid."""
    chosen = options or SegmentationOptions(label=label)
    measures = _measured(repr(boxes), boxes, chosen.minimum_lesion_mm3)
    return Report(
        label=label,
        created="2026-03-12T14:05:31+00:00",
        software_version="0.1.0",
        model=ModelIdentity(name="dlb", version="1", sha256="ab" * 32, description="A model."),
        options=chosen,
        totals=measures.totals,
        locations=measures.locations,
        location_rules=measures.rules,
        lesions=measures.lesions,
        quality=quality,
    )


_KNOWN: dict[str, Measures] = {}
"""Measuring takes a second, and tests ask for the same few cases."""


def _measured(key: str, boxes: Sequence[Box], minimum_mm3: float) -> Measures:
    key = f"{key} {minimum_mm3}"
    if key not in _KNOWN:
        case = material(boxes)
        evidence = Evidence(
            t1w=case.t1w,
            flair=case.flair,
            brain_mask=case.brain_mask,
            probability=case.probability,
            votes=case.mask.astype(np.uint8),
            coverage=np.ones(MNI_GRID.shape, np.uint8),
            t1w_to_mni=IDENTITY,
            flair_to_mni=IDENTITY,
            native_t1w=MNI_GRID,
            native_flair=MNI_GRID,
            brain_volume_ml=brain_volume_ml(case.brain_mask, MNI_GRID),
            intracranial=intracranial_volume(case.brain_mask, MNI_GRID, input_state=InputState.RAW),
        )
        _KNOWN[key] = measure_case(case.labels, evidence, minimum_mm3=minimum_mm3)
    return _KNOWN[key]
