"""What one case costs, stage by stage, and what the inference engine gains over a plain loop.

    python -m benchmarks.bench_pipeline [--t1w FILE --flair FILE --input-state raw] [--threads 2]

Without files the synthetic patient is used. The baseline is what the paper describes, done
plainly: for each of the 125 subvolumes load its network's weights and run one forward pass of
one subvolume, in PyTorch's default memory layout, skipping nothing. Both are timed in turns in
this one process, since the machine may be shared: read the ratios, not the seconds. With
`--results` only the engines are compared, on the images of a finished case.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dlb_core import artefacts
from dlb_core.bundled import default_bundle
from dlb_core.checkpoints import Bundle, build_network, fill, open_bundle
from dlb_core.contracts import InputState, SegmentationOptions
from dlb_core.ensemble import run_ensemble
from dlb_core.network import lesion_probability
from dlb_core.nifti import read_volume
from dlb_core.pipeline import segment_case
from dlb_core.report.document import RunRecord
from dlb_core.synthesis.patient import FLAIR_FILE, T1W_FILE, write_patient
from dlb_core.tiling import GRID_SHAPE, NETWORK_LOCATIONS, cut
from dlb_core.volume import Mask
from dlb_core.voting import Ballot, Consensus


@torch.inference_mode()
def plain_loop(image: NDArray[np.float32], brain_mask: Mask, bundle: Bundle) -> Consensus:
    """The baseline: 125 loads, 125 forward passes of one subvolume."""
    ballot = Ballot(GRID_SHAPE, bundle.manifest.vote_threshold)
    for location in NETWORK_LOCATIONS:
        for place, flipped in ((location.primary, False), (location.twin, True)):
            if place is None:
                continue
            network = build_network(bundle.manifest.architecture)
            fill(network, bundle.load(location.index), location.name)
            subvolume = np.ascontiguousarray(cut(image, place, flipped=flipped)[None])
            probability = lesion_probability(network(torch.from_numpy(subvolume)))[0].numpy()
            ballot.add(place, np.flip(probability, 0) if flipped else probability)
    consensus = ballot.count()
    return Consensus(
        consensus.mask & brain_mask, consensus.probability, consensus.votes, consensus.coverage
    )


def timed(run: Callable[[], Consensus]) -> tuple[float, float, Consensus]:
    """Wall and CPU seconds of one call, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def compare_engines(folder: Path, bundle: Bundle, rounds: int) -> dict[str, object]:
    """Time engine and baseline in turns on a case that was preprocessed."""
    images = (artefacts.PREPROCESSED_T1W, artefacts.PREPROCESSED_FLAIR)
    image = np.stack([read_volume(folder / name, role=name).data for name in images])
    brain_mask = read_volume(folder / artefacts.BRAIN_MASK_MNI, role="brain mask").data > 0
    engine_s, engine_cpu_s, loop_s, loop_cpu_s = [], [], [], []
    for _ in range(rounds):
        wall, cpu, engine = timed(lambda: run_ensemble(image, brain_mask, bundle).consensus)
        engine_s.append(round(wall, 1))
        engine_cpu_s.append(round(cpu, 1))
        wall, cpu, loop = timed(lambda: plain_loop(image, brain_mask, bundle))
        loop_s.append(round(wall, 1))
        loop_cpu_s.append(round(cpu, 1))
    overlap = 2 * (engine.mask & loop.mask).sum() / max(1, engine.mask.sum() + loop.mask.sum())
    return {
        "engine_s": engine_s,
        "plain_loop_s": loop_s,
        "ratio": round(statistics.median(loop_s) / statistics.median(engine_s), 2),
        "engine_cpu_s": engine_cpu_s,
        "plain_loop_cpu_s": loop_cpu_s,
        "cpu_ratio": round(statistics.median(loop_cpu_s) / statistics.median(engine_cpu_s), 2),
        "dice_between_their_masks": round(float(overlap), 4),
    }


def main() -> None:
    """Run and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--t1w", type=Path)
    parser.add_argument("--flair", type=Path)
    parser.add_argument("--input-state", choices=list(InputState), default="raw")
    parser.add_argument("--weights", type=Path, default=default_bundle())
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--results", type=Path, help="folder of a finished case")
    args = parser.parse_args()
    if args.results is not None:
        torch.set_num_threads(args.threads)
        print(json.dumps(compare_engines(args.results, open_bundle(args.weights), args.rounds)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        t1w, flair = args.t1w, args.flair
        if t1w is None:
            write_patient(folder / "sample")
            t1w, flair = folder / "sample" / T1W_FILE, folder / "sample" / FLAIR_FILE
        options = SegmentationOptions(input_state=InputState(args.input_state))
        output = folder / "results"
        segment_case(
            t1w, flair, output, options=options, bundle=args.weights, num_threads=args.threads
        )
        record = RunRecord.model_validate_json((output / artefacts.RUN_JSON).read_text())
        torch.set_num_threads(args.threads)
        engines = compare_engines(output, open_bundle(args.weights), args.rounds)
    document = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "threads": args.threads,
        "stage_wall_s": record.stage_wall_s,
        "stage_cpu_s": record.stage_cpu_s,
        "total_wall_s": round(sum(record.stage_wall_s.values()), 1),
        "total_cpu_s": round(sum(record.stage_cpu_s.values()), 1),
        "peak_memory_mb": record.peak_memory_mb,
        "inference": engines,
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
