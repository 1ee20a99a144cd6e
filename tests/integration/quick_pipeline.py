"""A small real pipeline for tests of the job machinery: reads the pair, thresholds FLAIR.

It has the signature, the progress and the artefacts' manners of the real one, without its
minutes. The options' label asks for more: `pace-0.05` sleeps between its 75 steps, `crash`
kills its own process in the middle and leaves a temporary file, `segv` crashes it, `leak` fails
with a path in its message, `full` finds the disk full, `quota` its share of it, `greedy` asks for
more memory than there is, `deaf` hangs in a stage and hears nothing, `late` hangs until it is told
to stop.
"""

import errno
import gzip
import os
import signal
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from dlb_core.artefacts import MASK_FLAIR, REPORT_JSON, whole_file, write_text
from dlb_core.contracts import (
    NUM_NETWORKS,
    Device,
    Progress,
    ProgressCallback,
    SegmentationOptions,
    Stage,
    StopCallback,
)
from dlb_core.errors import Cancelled, GridMismatch
from dlb_core.report.document import Report
from tests.unit.plain_report import plain_report

LITTER = "dlb-test-litter-"
"""Start of the temporary file's name."""


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
    """Mark FLAIR's brightest voxels inside T1w's head."""
    on_progress(Progress(stage=Stage.READING))
    head, image = nib.load(t1w), nib.load(flair)
    if head.shape != image.shape:
        raise GridMismatch("T1w and FLAIR differ in shape: send two images of one grid")
    _walk(options.label, on_progress, should_stop)
    mask = (image.get_fdata() > 2.0) & (head.get_fdata() > 0.0)
    report = plain_report(options, lesion_count=1, lesion_volume_ml=float(mask.sum()) / 1000)
    _write(output, mask, image.affine, report)
    return report


def _walk(label: str, on_progress: ProgressCallback, should_stop: StopCallback) -> None:
    pace_s = float(label.removeprefix("pace-")) if label.startswith("pace-") else 0.0
    while label == "late" and not should_stop():
        time.sleep(0.02)
    for done in range(NUM_NETWORKS + 1):
        if should_stop():
            raise Cancelled("told to stop")
        on_progress(Progress(stage=Stage.INFERENCE, done=done, total=NUM_NETWORKS))
        time.sleep(pace_s)
        if done == 30:
            _misbehave(label)


def _misbehave(label: str) -> None:
    if label == "crash":
        tempfile.mkstemp(prefix=LITTER)
        os.kill(os.getpid(), signal.SIGKILL)
    if label == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    if label == "greedy":
        np.ones(2**40, dtype=np.uint8)
    if label == "deaf":
        time.sleep(600)
    if label == "leak":
        raise RuntimeError("cannot open /home/secret/patient.nii")
    if label == "quota":
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    if label == "full":
        raise OSError(errno.ENOSPC, "No space left on device")


def _write(output: Path, mask: np.ndarray, affine: np.ndarray, report: Report) -> None:
    """Land both artefacts whole."""
    image = nib.Nifti1Image(mask.astype(np.uint8), affine)
    with whole_file(output / MASK_FLAIR) as file:
        file.write(gzip.compress(image.to_bytes()))
    write_text(output / REPORT_JSON, report.model_dump_json())
