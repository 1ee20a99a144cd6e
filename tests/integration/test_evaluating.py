"""A data set's case on its way to evaluation: real preprocessing, on a synthetic patient."""

from pathlib import Path

import numpy as np

from dlb_core.contracts import Progress, Stage
from dlb_core.evaluation.cases import from_dataset
from dlb_core.evaluation.methods import BestThreshold
from dlb_core.evaluation.scores import score
from dlb_core.nifti import write_volume
from dlb_core.synthesis.patient import make_patient
from dlb_core.volume import Volume


def _write_dataset(folder: Path) -> Volume:
    """One stripped patient, seen by two raters who agree and one who saw nothing."""
    patient = make_patient(3, coarsening=2)
    for name, image, brain in (
        ("t1w", patient.t1w, patient.brain_t1w),
        ("flair", patient.flair, patient.brain_flair),
    ):
        stripped = np.where(brain.data > 0, np.maximum(image.data, 1), 0)
        write_volume(folder / f"{name}.nii.gz", Volume(stripped, image.affine), dtype=np.int16)
    lesions = patient.lesions_flair
    nothing = Volume(np.zeros_like(lesions.data), lesions.affine)
    for name, mask in (("r1", lesions), ("r2", lesions), ("r3", nothing)):
        write_volume(folder / f"{name}.nii.gz", mask, dtype=np.uint8)
    (folder / "participants.tsv").write_text(
        "participant_id\tsession\tinput_state\tt1w\tflair\tlesions\n"
        "s1\tv1\tskull_stripped\tt1w.nii.gz\tflair.nii.gz\tr1.nii.gz;r2.nii.gz;r3.nii.gz\n"
    )
    return lesions


def test_a_row_is_made_ready_on_the_references_grid(tmp_path: Path) -> None:
    """Were a transform turned round, even lesions found by a threshold would lie elsewhere."""
    lesions = _write_dataset(tmp_path)
    (case,) = from_dataset(tmp_path).cases
    stages: list[Progress] = []

    ready = case.ready(stages.append)

    mask, remark = BestThreshold().segment(ready, lambda _: None)
    scores = score(mask, ready.reference, voxel_mm3=ready.grid.voxel_mm3)
    assert case.name == "s1_v1"
    assert stages[-1].stage is Stage.QUALITY_CONTROL
    assert np.array_equal(ready.reference, lesions.data > 0)
    assert np.allclose(ready.grid.affine, lesions.affine, atol=1e-3)
    # The patient's head is smaller than the template's.
    assert 0.6 < ready.mni_voxel_mm3 < 0.95
    assert scores.dice is not None
    assert scores.dice > 0.4
    assert "grey-matter mode" in remark
