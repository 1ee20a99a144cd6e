"""A small real pipeline whose results a viewer can show: 3 mm images in MNI space, true measures.

The uploaded scans are `scan()`; native spaces differ from MNI152 by known shifts. It stops at the
37th of its 75 networks until the file named by DLB_TEST_GATE exists, so that a test can look.
"""

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlb_core import artefacts
from dlb_core.contracts import (
    NUM_NETWORKS,
    Device,
    Progress,
    ProgressCallback,
    SegmentationOptions,
    Stage,
    StopCallback,
)
from dlb_core.nifti import read_volume, write_like, write_volume
from dlb_core.report.document import Report
from dlb_core.report.tables import lesion_csv
from dlb_core.template import MNI_GRID
from dlb_core.volume import Affine, Volume
from tests.unit.reports import LEFT_LESION, RIGHT_LESION, material, report

BOXES = [RIGHT_LESION, LEFT_LESION]
COARSE = (slice(1, 180, 3), slice(1, 216, 3), slice(1, 180, 3))
"""Every third voxel of the MNI grid: the middle of each block of 3 x 3 x 3."""
GATE = "DLB_TEST_GATE"
PAUSE_AT = 37


def shift(x: float, y: float, z: float) -> Affine:
    """World mm to world mm."""
    transform = np.eye(4)
    transform[:3, 3] = (x, y, z)
    return transform


COARSE_AFFINE = MNI_GRID.affine @ shift(1, 1, 1) @ np.diag([3.0, 3.0, 3.0, 1.0])
FLAIR_TO_T1W = shift(0, 30, -15)
T1W_TO_MNI = shift(-12, 6, 9)
TO_MNI = {"T1w": T1W_TO_MNI, "FLAIR": T1W_TO_MNI @ FLAIR_TO_T1W}


def scan(role: str) -> Volume:
    """What a test uploads: white matter of 100 in the image's own space."""
    case = material(BOXES)
    data = (case.flair if role == "FLAIR" else case.t1w)[COARSE] * 100
    return Volume(data.astype(np.float32), np.linalg.inv(TO_MNI[role]) @ COARSE_AFFINE)


def segment_case(
    t1w: Path,
    flair: Path,
    output: Path,
    *,
    options: SegmentationOptions,
    bundle: Path,
    device: Device = Device.CPU,
    num_threads: int | None = None,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
    votes: Path | None = None,
) -> Report:
    """Mark what is brighter than white matter on FLAIR."""
    scans = {"T1w": t1w, "FLAIR": flair}
    images = {role: read_volume(path, role=role) for role, path in scans.items()}
    _walk(on_progress)
    mask = images["FLAIR"].data > 150
    for role, path in scans.items():
        name = f"space-{role}_desc-brain_{role}.nii.gz"
        write_like(output / name, images[role].data, path, dtype=np.float32)
        mask_name = f"space-{role}_label-lesion_mask.nii.gz"
        write_like(output / mask_name, mask, path, dtype=np.uint8)
        preprocessed = f"space-MNI152_desc-preproc_{role}.nii.gz"
        _write(output / preprocessed, images[role].data / 100, np.float32)
    _write_layers(output, mask)
    for name, transform in (
        (artefacts.T1W_TO_MNI, T1W_TO_MNI),
        (artefacts.FLAIR_TO_T1W, FLAIR_TO_T1W),
    ):
        rows = (" ".join(map(str, row)) for row in transform)
        artefacts.write_text(output / name, "\n".join(rows) + "\n")
    return _write_report(output, options)


def _walk(on_progress: ProgressCallback) -> None:
    for done in range(NUM_NETWORKS + 1):
        on_progress(Progress(stage=Stage.INFERENCE, done=done, total=NUM_NETWORKS))
        while done == PAUSE_AT and not Path(os.environ[GATE]).exists():
            time.sleep(0.05)


def _write_layers(output: Path, mask: NDArray[np.bool_]) -> None:
    """Half of the networks that see the left lesion vote for it."""
    labels = material(BOXES).labels[COARSE] * mask
    votes = np.select([labels == 1, labels == 2], [20, 10], 0)
    _write(output / artefacts.MASK_MNI, mask, np.uint8)
    _write(output / artefacts.LESION_LABELS_MNI, labels, np.int32)
    _write(output / artefacts.PROBABILITY_MNI, mask * 0.9, np.float32)
    _write(output / artefacts.VOTES_MNI, votes, np.uint8)
    _write(output / artefacts.COVERAGE_MNI, np.full(mask.shape, 20), np.uint8)


def _write(path: Path, data: NDArray, dtype: type) -> None:
    write_volume(path, Volume(data, COARSE_AFFINE), dtype=dtype)


def _write_report(output: Path, options: SegmentationOptions) -> Report:
    made = report(BOXES, options=options, label=options.label)
    artefacts.write_text(output / artefacts.REPORT_JSON, made.model_dump_json())
    artefacts.write_text(output / artefacts.LESION_TABLE, lesion_csv(made.lesions))
    artefacts.write_text(output / artefacts.REPORT_HTML, "<!doctype html><title>report</title>")
    return made
