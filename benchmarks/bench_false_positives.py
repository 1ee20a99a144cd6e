"""Where a bundle marks lesions that experts did not: false-positive volume by place.

    dlb evaluate --cache CACHE --subjects NAMES --bundle BUNDLE --output EVALUATION
    python -m benchmarks.bench_false_positives --cache CACHE --evaluation EVALUATION

A predicted lesion counts as false if it touches no lesion of the reference; the places are the
usual culprits of FLAIR images. Volumes are the template's.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from dlb_core.lesions import label_lesions
from dlb_core.location_atlas import location_atlas
from dlb_core.nifti import read_mask
from dlb_core.template import MNI_GRID, load_template
from dlb_core.tissue import MM3_PER_ML
from dlb_core.training.cache import open_cache
from dlb_core.volume import Mask

RIM_MM = 3.0
PERIVENTRICULAR_MM = 4.0
CAPS_MM, CAPS_BEHIND_Y = 8.0, -40.0
ELSEWHERE = "other white matter and deep grey matter"


def places() -> dict[str, Mask]:
    """The places, each without those named before it; MNI grid."""
    atlas = location_atlas()
    x, y, z = (
        MNI_GRID.affine[axis, 3] + np.arange(MNI_GRID.shape[axis], dtype=np.float32).reshape(shape)
        for axis, shape in enumerate(((-1, 1, 1), (1, -1, 1), (1, 1, -1)))
    )
    rim = ndimage.distance_transform_edt(load_template().brain_mask) <= RIM_MM
    from_ventricles = ndimage.distance_transform_edt(~atlas.ventricles)
    ordered = {
        "ventricles (choroid plexus)": atlas.ventricles,
        "septum and fornix": (abs(x) <= 3) & (y > -35) & (y < 25) & (z > 0) & (z < 25),
        "infratentorial": atlas.infratentorial,
        "temporal poles": (abs(x) >= 20) & (y >= 0) & (z <= -14),
        "rim of the brain (pial veins)": rim,
        "cortex": atlas.possible_cortex,
        "posterior horns and caps": (from_ventricles <= CAPS_MM) & (y < CAPS_BEHIND_Y),
        "periventricular elsewhere": from_ventricles <= PERIVENTRICULAR_MM,
    }
    taken = np.zeros(MNI_GRID.shape, dtype=bool)
    exclusive = {}
    for name, mask in ordered.items():
        exclusive[name] = mask & ~taken
        taken |= mask
    return exclusive | {ELSEWHERE: ~taken}


def false_lesions(predicted: Mask, reference: Mask) -> Mask:
    """Predicted lesions that touch none of the reference."""
    labels = label_lesions(predicted)
    return predicted & ~np.isin(labels, labels[reference])


def count_by_place(false: Mask, where: dict[str, Mask]) -> dict[str, tuple[int, float]]:
    """Lesions (by their centre of mass) and ml in each place."""
    labels = label_lesions(false)
    numbers = range(1, int(labels.max()) + 1)
    centres = np.rint(ndimage.center_of_mass(false, labels, numbers)).astype(int)
    return {
        name: (_count(centres, mask), float((false & mask).sum()) / MM3_PER_ML)
        for name, mask in where.items()
    }


def _count(centres: NDArray[np.int_], mask: Mask) -> int:
    return sum(bool(mask[i, j, k]) for i, j, k in centres.reshape(-1, 3))


def main() -> None:
    """Print one table per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    args = parser.parse_args()
    where = places()
    cases = {case.entry.name: case.lesions for case in open_cache(args.cache)}
    for path in sorted((args.evaluation / "cases").glob("*/*_mask.nii.gz")):
        lesions = cases[path.parent.name]
        assert lesions is not None  # only labelled cases are evaluated
        predicted = read_mask(path, role="mask").data > 0
        found = count_by_place(false_lesions(predicted, lesions > 0), where)
        table = Table("place", "false lesions", "ml", title=f"{path.parent.name}, {path.name}")
        for name, (count, ml) in found.items():
            table.add_row(name, str(count), f"{ml:.2f}")
        Console().print(table)


if __name__ == "__main__":
    main()
