"""How well a bundle finds lesions that experts drew, against the best fixed FLAIR threshold.

    python -m benchmarks.bench_accuracy --case NAME T1W FLAIR LESIONS [--case ...]
    python -m benchmarks.bench_accuracy ... --figures FILE --unseen --reference "two raters"
    python -m benchmarks.bench_accuracy --case NAME ... --leave-one-out --weights WITHOUT-NAME ...

For a data set with a table use `dlb evaluate`, which measures the same; this tells more of single
cases: the volume that the report states, what share of the reference's lesions of each size is
found, lesion-wise measures without the smallest, and, in `dice_at`, how the ensemble's mean
probability alone would do at other thresholds than the bundle's own. Masks are compared on the grid
of the reference mask, which must be the FLAIR's. With `--figures` the same goes into a file that
`dlb bundle describe` takes into the bundle's manifest and model card.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dlb_core import artefacts
from dlb_core.artefacts import write_text
from dlb_core.bundled import default_bundle
from dlb_core.checkpoints import open_bundle
from dlb_core.contracts import InputState, SegmentationOptions
from dlb_core.evaluation.cases import ReadyCase
from dlb_core.evaluation.methods import BestThreshold
from dlb_core.evaluation.scores import score
from dlb_core.lesions import keep_lesions, label_lesions, linear_scale
from dlb_core.metrics import MEASURES, dice
from dlb_core.model_facts import BUNDLE, LESION_COUNTS, Facts, Measured, Result
from dlb_core.nifti import read_mask, read_volume
from dlb_core.pipeline import segment_case
from dlb_core.resampling import to_native
from dlb_core.template import MNI_GRID
from dlb_core.volume import Mask

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SIZES_MM3 = (3, 10, 30, 100)
"""Where the classes of lesions end that are looked for one by one."""
_SIZE_CLASSES = (
    f"under {SIZES_MM3[0]} mm³",
    *(f"{least} to {most} mm³" for least, most in pairwise(SIZES_MM3)),
    f"{SIZES_MM3[-1]} mm³ and more",
)
LEAST_MM3 = 3.0
"""Lesions below it are left out of both masks in the second count."""


def measure(
    t1w: Path, flair: Path, lesions: Path, *, state: InputState, bundle: Path, folder: Path
) -> dict[str, object]:
    """Run one case and score ensemble and baseline."""
    options = SegmentationOptions(input_state=state)
    report = segment_case(t1w, flair, folder, options=options, bundle=bundle)
    case = _read_back(folder, lesions)
    found = read_mask(folder / artefacts.MASK_FLAIR, role="mask").data > 0
    threshold, remark = BestThreshold().segment(case, lambda _: None)
    return {
        "reported_ml": round(report.totals.lesion_volume_ml, 2),
        "ensemble": _scores(found, case),
        "baseline": _scores(threshold, case) | {"threshold": remark},
        "dice_at": _dice_at(folder, case),
        "found_by_size": found_by_size(found, case),
        "without_the_smallest": without_the_smallest(found, case),
    }


def _read_back(folder: Path, lesions: Path) -> ReadyCase:
    """A finished case as the baseline needs it."""
    t1w_to_mni = np.loadtxt(folder / artefacts.T1W_TO_MNI)
    reference = read_mask(lesions, role="reference")
    names = (artefacts.PREPROCESSED_T1W, artefacts.PREPROCESSED_FLAIR)
    return ReadyCase(
        image=np.stack([read_volume(folder / name, role="image").data for name in names]),
        brain_mask=read_mask(folder / artefacts.BRAIN_MASK_MNI, role="brain").data > 0,
        reference=reference.data > 0,
        grid=reference.grid,
        to_mni=t1w_to_mni @ np.loadtxt(folder / artefacts.FLAIR_TO_T1W),
        mni_voxel_mm3=MNI_GRID.voxel_mm3 / linear_scale(t1w_to_mni),
    )


def _scores(mask: Mask, case: ReadyCase) -> dict[str, object]:
    scores = score(mask, case.reference, voxel_mm3=case.grid.voxel_mm3).model_dump()
    shown = (*MEASURES, "predicted_ml", "reference_ml")
    return {name: scores[name] and round(scores[name], 3) for name in shown}


def _dice_at(folder: Path, case: ReadyCase) -> dict[str, float]:
    assert case.to_mni is not None
    probability = read_volume(folder / artefacts.PROBABILITY_MNI, role="probability").data
    native = to_native(probability, case.grid, case.to_mni)
    return {f"{t:g}": round(dice(native >= t, case.reference), 3) for t in THRESHOLDS}


def found_by_size(found: Mask, case: ReadyCase) -> dict[str, dict[str, float]]:
    """Of the reference's lesions of each size, how many there are and what share is touched."""
    labels = label_lesions(case.reference)
    sizes_mm3 = np.bincount(labels.ravel())[1:] * case.grid.voxel_mm3
    touched = np.isin(np.arange(1, len(sizes_mm3) + 1), labels[found])
    size_class = np.digitize(sizes_mm3, SIZES_MM3)
    among = {name: touched[size_class == n] for n, name in enumerate(_SIZE_CLASSES)}
    return {
        name: {"lesions": len(these), "share": round(float(these.mean()), 3)}
        for name, these in among.items()
        if len(these)
    }


def without_the_smallest(found: Mask, case: ReadyCase) -> dict[str, float]:
    """Lesion-wise measures where lesions below `LEAST_MM3` count on neither side."""
    kept, reference = (
        keep_lesions(mask, mask, minimum_mm3=LEAST_MM3, voxel_mm3=case.grid.voxel_mm3)
        for mask in (found, case.reference)
    )
    scores = _numbers(score(kept, reference, voxel_mm3=case.grid.voxel_mm3).model_dump())
    shown = (*LESION_COUNTS, "lesion_wise_fdr", "lesion_wise_tpr", "lesion_wise_f1")
    return {name: round(scores[name], 3) for name in shown if name in scores}


def figures(results: Mapping[str, Mapping[str, Any]], args: argparse.Namespace) -> Facts:
    """The results of all cases as `dlb bundle describe` reads them."""
    state = InputState(args.input_state)
    weights = " --leave-one-out --weights …" if args.leave_one_out else ""
    common = {
        "command": f"python -m benchmarks.bench_accuracy --input-state {state}{weights} --case …",
        "seen_in_training": args.seen,
        "leave_one_out": args.leave_one_out,
        # Each case has weights of its own there, and none of them are those described.
        "weights_sha256": "" if args.leave_one_out else open_bundle(args.weights).weights_sha256,
    }
    masks = [
        Result(cases=(case,), method=method, values=_numbers(result[key]))
        for key, method in (("ensemble", BUNDLE), ("baseline", "best fixed threshold"))
        for case, result in results.items()
    ]
    thresholds = [
        Result(cases=(case,), method=f"at {threshold}", values={"dice": value})
        for case, result in results.items()
        for threshold, value in result["dice_at"].items()
    ]
    sizes = [
        Result(cases=(case,), method=f"of {size}", values={"lesion_wise_tpr": found["share"]})
        for size in _SIZE_CLASSES
        for case, result in results.items()
        if (found := result["found_by_size"].get(size))
    ]
    larger = [
        Result(cases=(case,), values=result["without_the_smallest"])
        for case, result in results.items()
    ]
    protocol = (
        f"Reference: {args.reference}. Compared on the FLAIR's grid, volumes in the patient's ml, "
        f"lesions by 26-connectivity; input state {state}."
    )
    tables = (
        (
            "Masks",
            f"{protocol} The fixed threshold marks white matter that is brighter in FLAIR than the "
            "grey matter's mode by k standard deviations, with the k that suits the case best. "
            "LTPR: share of the reference's lesions touched; LFPR: share of the marked lesions "
            "that touch none; score: hybrid score of one case, without CORR.",
            masks,
        ),
        ("The mean probability alone, at other thresholds", protocol, thresholds),
        (
            f"Without lesions under {LEAST_MM3:g} mm³",
            f"{protocol} Smaller ones were left out of the reference and of the mask; a mark that "
            "touches none but these counts as false.",
            larger,
        ),
        (
            "Lesions found, by their size",
            f"{protocol} Share of the reference's lesions of each size that the mask touches; "
            "sizes on the reference's grid.",
            sizes,
        ),
    )
    return Facts(
        evaluation=tuple(
            Measured(title=title, protocol=how, results=tuple(found), **common)
            for title, how, found in tables
            if found
        )
    )


def _numbers(scores: Mapping[str, object]) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items() if isinstance(value, (int, float))}


def main() -> None:
    """Run and print one JSON document."""
    args = _arguments()
    results = {}
    for name, t1w, flair, lesions in args.case:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = measure(
                Path(t1w),
                Path(flair),
                Path(lesions),
                state=InputState(args.input_state),
                bundle=args.weights,
                folder=Path(folder),
            )
    print(json.dumps(results, indent=1))
    if args.figures:
        facts = figures(results, args)
        write_text(args.figures, facts.model_dump_json(indent=1, exclude_defaults=True) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--case", nargs=4, action="append", required=True, metavar=("NAME", "T1W", "FLAIR", "MASK")
    )
    parser.add_argument("--input-state", choices=list(InputState), default="raw")
    parser.add_argument("--weights", type=Path, help="bundle (default: the shipped one)")
    group = parser.add_argument_group("figures for the bundle's manifest")
    group.add_argument("--figures", type=Path, metavar="FILE", help="write them here, too")
    group.add_argument("--reference", metavar="TEXT", help="who drew the reference masks")
    seen = group.add_mutually_exclusive_group()
    seen.add_argument("--seen", action="store_true", help="cases were trained on")
    seen.add_argument("--unseen", action="store_true", help="no case was")
    seen.add_argument(
        "--leave-one-out",
        action="store_true",
        help="--weights left this case out; the bundle to describe, made in the same way, did not",
    )
    args = parser.parse_args()
    if args.figures and not (args.reference and (args.seen or args.unseen or args.leave_one_out)):
        parser.error("--figures: say --reference, and one of --seen, --unseen, --leave-one-out")
    if args.leave_one_out and (len(args.case) > 1 or not args.weights):
        parser.error("--leave-one-out: one case at a time, and --weights that left it out")
    args.weights = args.weights or default_bundle()
    if args.unseen or args.leave_one_out:
        _refuse_seen(parser, args)
    return args


def _refuse_seen(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    seen = {name for name, *_ in args.case} & open_bundle(args.weights).manifest.seen_cases
    if seen:
        parser.error(f"these weights were trained on {', '.join(sorted(seen))}")


if __name__ == "__main__":
    main()
