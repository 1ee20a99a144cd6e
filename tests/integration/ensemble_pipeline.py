"""The real ensemble on a slab of the template, for tests of what happens when it is cut short.

It has the signature of the real pipeline. The options' label `killed-30` makes it kill its own
process after 30 networks, unless votes were taken up.
"""

import hashlib
import os
import signal
from pathlib import Path

import numpy as np
import torch

from dlb_core.artefacts import REPORT_JSON, whole_file, write_text
from dlb_core.checkpoints import open_bundle
from dlb_core.contracts import (
    NUM_NETWORKS,
    Device,
    Progress,
    ProgressCallback,
    SegmentationOptions,
    Stage,
    StopCallback,
)
from dlb_core.ensemble import EnsembleRun, run_ensemble
from dlb_core.report.document import Report
from dlb_core.template import load_template
from tests.unit.plain_report import plain_report

VOTES_FILE = "space-MNI152_desc-votes_dseg.nii.gz"
FIRST_FILE = "first.txt"
"""Number of networks that were done when this attempt's first one was."""


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
    """Run the ensemble, and write what it says as raw bytes."""
    torch.set_num_threads(num_threads or 1)
    first: list[int] = []

    def advance(done: int) -> None:
        first.append(done)
        on_progress(Progress(stage=Stage.INFERENCE, done=done, total=NUM_NETWORKS))
        if options.label == f"killed-{done}" and first[0] == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    image, brain = slab()
    run = run_ensemble(
        image,
        brain,
        open_bundle(bundle),
        on_network=advance,
        should_stop=should_stop,
        votes=votes,
    )
    with whole_file(output / VOTES_FILE) as file:
        file.write(bytes_of(run))
    write_text(output / FIRST_FILE, str(first[0]))
    report = plain_report(options)
    write_text(output / REPORT_JSON, report.model_dump_json())
    return report


def slab() -> tuple[np.ndarray, np.ndarray]:
    """The occipital pole, which 15 networks reach, with noise."""
    template = load_template()
    brain = template.brain_mask.copy()
    brain[:, 31:] = False
    noise = np.random.default_rng(0).normal(1, 0.1, (2, *template.t1w.shape))
    scaled = template.t1w / template.t1w.max()
    image = noise * np.stack([scaled, 1 - scaled / 2]) * brain
    return image.astype(np.float32), brain


def bytes_of(run: EnsembleRun) -> bytes:
    """Digest of every bit that the ensemble says, and what it ran."""
    digest = hashlib.sha256()
    consensus = run.consensus
    for array in (consensus.mask, consensus.probability, consensus.votes, consensus.coverage):
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"{digest.hexdigest()} {run.networks_run} {run.networks_skipped}".encode()
