"""How well a bundle finds lesions that experts drew, against the best fixed FLAIR threshold.

    python -m benchmarks.bench_accuracy --case NAME T1W FLAIR LESIONS [--case ...]

Masks are compared on the grid of the reference mask, which must be the FLAIR's. The baseline
marks as lesion what, in the template's white matter, is brighter in FLAIR than the mode of the
grey matter by k standard deviations; k is the one of a fixed list that suits the case best, so
the baseline is better than anyone could do without knowing the answer. `dice_at` tells how the
ensemble's mean probability alone would do at other thresholds than the bundle's own.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlb_core import artefacts
from dlb_core.bundled import default_bundle
from dlb_core.contracts import InputState, SegmentationOptions
from dlb_core.metrics import dice, lesion_wise_f1, lesion_wise_fdr, lesion_wise_tpr, ppv, tpr
from dlb_core.nifti import read_mask, read_volume
from dlb_core.pipeline import segment_case
from dlb_core.preprocessing.normalise import white_matter_mode
from dlb_core.resampling import to_native
from dlb_core.template import load_template
from dlb_core.volume import Affine, Grid, Mask

SPREADS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def scores(prediction: Mask, reference: Mask, voxel_ml: float) -> dict[str, float]:
    """Every measure of one mask."""
    measured = {
        "dice": dice(prediction, reference),
        "ppv": ppv(prediction, reference),
        "tpr": tpr(prediction, reference),
        "lesion_tpr": lesion_wise_tpr(prediction, reference),
        "lesion_fdr": lesion_wise_fdr(prediction, reference),
        "lesion_f1": lesion_wise_f1(prediction, reference),
        "volume_ml": float(prediction.sum()) * voxel_ml,
    }
    return {name: round(value, 3) for name, value in measured.items()}


def bright_white_matter(flair: NDArray[np.float32], spread: float) -> Mask:
    """The baseline, on the MNI grid."""
    template = load_template()
    grey = flair[(template.grey_matter > 0.8) & (flair > 0)]
    limit = white_matter_mode(grey).value + spread * grey.std()
    return (flair > limit) & (template.white_matter > 0.5)


def measure(
    t1w: Path, flair: Path, lesions: Path, *, state: InputState, bundle: Path, folder: Path
) -> dict[str, object]:
    """Run one case and score ensemble and baseline."""
    options = SegmentationOptions(input_state=state)
    report = segment_case(t1w, flair, folder, options=options, bundle=bundle)
    reference = read_mask(lesions, role="reference")
    grid = reference.grid
    truth = reference.data > 0
    found = read_mask(folder / artefacts.MASK_FLAIR, role="mask").data > 0
    voxel_ml = grid.voxel_mm3 / 1000
    to_mni = np.loadtxt(folder / artefacts.T1W_TO_MNI) @ np.loadtxt(folder / artefacts.FLAIR_TO_T1W)
    return {
        "reference_ml": round(float(truth.sum()) * voxel_ml, 2),
        "reported_ml": round(report.totals.lesion_volume_ml, 2),
        "ensemble": scores(found, truth, voxel_ml),
        "baseline": _best_baseline(folder, truth, grid, to_mni, voxel_ml),
        "dice_at": _dice_at(folder, truth, grid, to_mni),
    }


def _best_baseline(
    folder: Path, truth: Mask, grid: Grid, to_mni: Affine, voxel_ml: float
) -> dict[str, float]:
    flair = read_volume(folder / artefacts.PREPROCESSED_FLAIR, role="FLAIR").data
    rows = []
    for spread in SPREADS:
        mask = bright_white_matter(flair, spread).astype(np.float32)
        native = to_native(mask, grid, to_mni) >= 0.5
        rows.append(scores(native, truth, voxel_ml) | {"spread": spread})
    return max(rows, key=lambda row: row["dice"])


def _dice_at(folder: Path, truth: Mask, grid: Grid, to_mni: Affine) -> dict[str, float]:
    probability = read_volume(folder / artefacts.PROBABILITY_MNI, role="probability").data
    native = to_native(probability, grid, to_mni)
    return {f"{t:g}": round(dice(native >= t, truth), 3) for t in THRESHOLDS}


def main() -> None:
    """Run and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--case", nargs=4, action="append", required=True, metavar=("NAME", "T1W", "FLAIR", "MASK")
    )
    parser.add_argument("--input-state", choices=list(InputState), default="raw")
    parser.add_argument("--weights", type=Path, default=default_bundle())
    args = parser.parse_args()
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


if __name__ == "__main__":
    main()
