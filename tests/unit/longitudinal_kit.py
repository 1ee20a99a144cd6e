"""Two visits of a patient who is the template, as `dlb segment` would leave them, without networks.

Votes are what the kit says, so that the comparison's own part is tested and nothing else.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlb_core import artefacts
from dlb_core.contracts import SegmentationOptions
from dlb_core.lesions import label_lesions
from dlb_core.nifti import write_volume
from dlb_core.report.document import InputRecord, RunRecord
from dlb_core.resampling import resample
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Affine, Grid, Mask, Volume
from tests.unit.images import flair_contrast
from tests.unit.plain_report import MODEL, plain_report

Ball = tuple[int, int, int, float]
"""Centre, MNI voxel, and radius in mm."""

FLAIR_SHAPE = (76, 94, 76)
VOXEL_MM = 2.5


def run_record(
    *,
    voxel: tuple[float, float, float] = (VOXEL_MM, VOXEL_MM, VOXEL_MM),
    flair_sha256: str = "a" * 64,
    to_mni: Affine | None = None,
) -> RunRecord:
    """A record of a run on scans of these voxels."""
    inputs = [
        InputRecord(
            role=role,
            sha256=sha256,
            shape=FLAIR_SHAPE,
            voxel_sizes_mm=voxel,
            orientation="RAS",
        )
        for role, sha256 in (("T1w", "c" * 64), ("FLAIR", flair_sha256))
    ]
    return RunRecord(
        created="2026-01-01T00:00:00+00:00",
        software_version="0",
        inputs=(inputs[0], inputs[1]),
        model=MODEL,
        options=SegmentationOptions(),
        vote_threshold=0.5,
        tie_rule="none",
        device="cpu",
        num_threads=1,
        library_versions={},
        t1w_to_mni=(np.eye(4) if to_mni is None else to_mni).tolist(),
        flair_to_t1w=np.eye(4).tolist(),
        networks_run=75,
        networks_skipped=0,
        stage_wall_s={},
        stage_cpu_s={},
        peak_memory_mb=1,
    )


def balls(*spots: Ball) -> Mask:
    """Round lesions on the MNI grid."""
    mask = np.zeros(MNI_GRID.shape, dtype=bool)
    for i, j, k, radius in spots:
        reach = int(radius) + 1
        box = tuple(slice(c - reach, c + reach + 1) for c in (i, j, k))
        grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"))
        mask[box] |= np.linalg.norm(grid, axis=0) <= radius
    return mask


def write_visit(
    folder: Path,
    lesions: Mask,
    *,
    to_mni: Affine,
    seed: int,
    mistakes: Sequence[Ball] = (),
    label: str = "",
) -> None:
    """A visit whose networks find all lesions, and mistake some healthy places for lesions."""
    folder.mkdir(parents=True)
    flair = np.where(lesions, np.float32(1.7), flair_contrast())
    found = lesions | balls(*mistakes)
    labels = label_lesions(found)
    options = SegmentationOptions(label=label)
    report = plain_report(
        options,
        lesion_count=int(labels.max()),
        lesion_volume_ml=float(found.sum()) / 1000,
        brain_volume_ml=1800,
    )
    (folder / artefacts.REPORT_JSON).write_text(report.model_dump_json())
    run = run_record(flair_sha256=f"{seed:064d}", to_mni=to_mni)
    (folder / artefacts.RUN_JSON).write_text(run.model_dump_json())
    images: tuple[tuple[str, NDArray[np.generic], type], ...] = (
        (artefacts.PREPROCESSED_FLAIR, flair, np.float32),
        (artefacts.VOTES_MNI, np.where(found, 18, 1), np.uint8),
        (artefacts.COVERAGE_MNI, np.full(MNI_GRID.shape, 20), np.uint8),
        (artefacts.MASK_MNI, found, np.uint8),
        (artefacts.LESION_LABELS_MNI, labels, np.int32),
    )
    for name, data, dtype in images:
        write_volume(folder / name, Volume(data, MNI_GRID.affine), dtype=dtype)
    native = _scan(flair, to_mni, np.random.default_rng(seed))
    write_volume(folder / artefacts.BRAIN_FLAIR, native, dtype=np.float32)


def _scan(flair: NDArray[np.float32], to_mni: Affine, rng: np.random.Generator) -> Volume:
    """The FLAIR on the patient's own grid, noisy, zero outside the brain."""
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    centre = (np.linalg.inv(to_mni) @ (0, -18, 8, 1))[:3]
    affine[:3, 3] = centre - VOXEL_MM * (np.array(FLAIR_SHAPE) - 1) / 2
    grid = Grid(FLAIR_SHAPE, affine)
    back = np.linalg.inv(to_mni)
    brain = Volume(load_template().brain_mask.astype(np.float32), MNI_GRID.affine)
    inside = resample(brain, grid, back) >= 0.5
    image = resample(Volume(flair, MNI_GRID.affine), grid, back)
    image += rng.normal(0, 0.03, FLAIR_SHAPE).astype(np.float32)
    return Volume(np.where(inside, np.maximum(400 * image, 1), 0).astype(np.float32), affine)
