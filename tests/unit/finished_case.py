"""A whole folder of results: two lesions, seen by all networks, on coarse native grids."""

from pathlib import Path

import numpy as np

from dlb_core import artefacts
from dlb_core.nifti import write_volume
from dlb_core.report.document import InputRecord, RunRecord
from dlb_core.report.write import write_report
from dlb_core.resampling import to_native
from dlb_core.template import MNI_GRID
from dlb_core.volume import Affine, Grid, Mask, Volume
from tests.unit.images import rigid
from tests.unit.reports import LEFT_LESION, RIGHT_LESION, material, report

BOXES = [RIGHT_LESION, LEFT_LESION]
FLAIR_TO_T1W = rigid((0, 0, 0), (2, -3, 1))
T1W_GRID = Grid(
    (80, 96, 80), np.array([[2.2, 0, 0, -88], [0, 2.2, 0, -120], [0, 0, 2.2, -72], [0, 0, 0, 1.0]])
)
FLAIR_GRID = Grid(
    (90, 108, 60),
    np.array([[-2.0, 0, 0, 88], [0, -2.0, 0, 95], [0, 0, 3.0, -75], [0, 0, 0, 1.0]]),
)
"""Stored the other way round, with thick slices."""


def write_finished_case(folder: Path) -> Path:
    """Write what a worker would have left of a patient who is the template."""
    folder.mkdir(exist_ok=True)
    case, maps = report(BOXES), material(BOXES)
    votes = maps.mask.astype(np.uint8)
    natives = {"T1w": (T1W_GRID, np.eye(4)), "FLAIR": (FLAIR_GRID, FLAIR_TO_T1W)}
    for name, data, dtype in (
        (artefacts.MASK_MNI, maps.mask, np.uint8),
        (artefacts.PROBABILITY_MNI, maps.probability, np.float32),
        (artefacts.VOTES_MNI, votes, np.uint8),
        (artefacts.COVERAGE_MNI, np.ones(MNI_GRID.shape, np.uint8), np.uint8),
        (artefacts.LESION_LABELS_MNI, maps.labels, np.int32),
        (artefacts.PREPROCESSED_T1W, maps.t1w, np.float32),
        (artefacts.PREPROCESSED_FLAIR, maps.flair, np.float32),
        (artefacts.BRAIN_MASK_MNI, maps.brain_mask, np.uint8),
    ):
        write_volume(folder / name, Volume(data, MNI_GRID.affine), dtype=dtype)
    for space, (grid, to_mni) in natives.items():
        mask = native(maps.mask, grid, to_mni)
        name = f"space-{space}_label-lesion_mask.nii.gz"
        write_volume(folder / name, Volume(mask, grid.affine), dtype=np.uint8)
    write_report(
        folder,
        case,
        t1w=maps.t1w,
        flair=maps.flair,
        mask=maps.mask,
        labels=maps.labels,
        probability=maps.probability,
        agreement=maps.agreement,
        brain_mask=maps.brain_mask,
    )
    text = _run_record().model_dump_json()
    (folder / artefacts.RUN_JSON).write_text(text, encoding="utf-8")
    return folder


def native(mask: Mask, grid: Grid, to_mni: Affine) -> Mask:
    """A mask on a native grid, as the pipeline leaves it."""
    return np.asarray(to_native(mask.astype(np.float32), grid, to_mni) >= 0.5)


def _run_record() -> RunRecord:
    case = report(BOXES)

    def record(role: str, grid: Grid) -> InputRecord:
        return InputRecord.model_validate(
            {
                "role": role,
                "sha256": "0" * 64,
                "shape": grid.shape,
                "voxel_sizes_mm": grid.voxel_sizes,
                "orientation": "RAS",
            }
        )

    return RunRecord(
        created=case.created,
        software_version="0",
        inputs=(record("T1w", T1W_GRID), record("FLAIR", FLAIR_GRID)),
        model=case.model,
        options=case.options,
        vote_threshold=0.5,
        tie_rule="",
        device="cpu",
        num_threads=1,
        library_versions={},
        t1w_to_mni=np.eye(4).tolist(),
        flair_to_t1w=FLAIR_TO_T1W.tolist(),
        networks_run=75,
        networks_skipped=0,
        stage_wall_s={},
        stage_cpu_s={},
        peak_memory_mb=1.0,
    )
