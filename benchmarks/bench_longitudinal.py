"""Compare visits whose changes are known: synthetic pairs, and the real patient where they are.

    python -m benchmarks.bench_longitudinal --work DIR [--seeds 1 2] [--real DATA]

For each seed a synthetic patient is scanned at a first visit, once more with known changes, and
once more with none; each scan is segmented (minutes), and compared with the first. What is in DIR
from an earlier run is used again. DATA is the folder that holds raw/sub-L01 with its two visits and
the expert's mask of what changed. Prints Markdown.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from dlb_core.bundled import default_bundle
from dlb_core.contracts import SegmentationOptions
from dlb_core.lesions import NEIGHBOURS_26, label_lesions
from dlb_core.longitudinal.compare import Compared, compare_visits
from dlb_core.longitudinal.document import ChangeStatus
from dlb_core.longitudinal.space import HALF_WAY_GRID
from dlb_core.longitudinal.write import change_mask, write_comparison
from dlb_core.metrics import dice
from dlb_core.nifti import read_mask, read_values, write_volume
from dlb_core.pipeline import segment_case
from dlb_core.resampling import resample
from dlb_core.synthesis.follow_up import Fate, make_follow_up
from dlb_core.synthesis.patient import SyntheticPatient
from dlb_core.volume import Affine, Grid, Mask, Volume

CHANGES = (Fate.NEW, Fate.ENLARGING, Fate.SHRINKING, Fate.RESOLVED)
NEAR = 2
"""Voxels by which a change may miss the true lesion and still be its."""


@dataclass(frozen=True)
class Truth:
    """A synthetic visit's scans and what is true of them."""

    folder: Path
    name: str

    @property
    def scans(self) -> tuple[Path, Path]:
        """T1w and FLAIR."""
        return self.folder / f"{self.name}_T1w.nii.gz", self.folder / f"{self.name}_FLAIR.nii.gz"

    @property
    def to_mni(self) -> Affine:
        """FLAIR world mm -> head world mm."""
        return np.loadtxt(self.folder / f"{self.name}_to_mni.txt")

    @property
    def lesions(self) -> Volume:
        """On the FLAIR's grid."""
        return read_mask(self.folder / f"{self.name}_lesions.nii.gz", role="lesions")

    def write(self, patient: SyntheticPatient) -> None:
        """Keep it."""
        for path, volume in zip(self.scans, (patient.t1w, patient.flair), strict=True):
            write_volume(path, volume, dtype=np.int16)
        path = self.folder / f"{self.name}_lesions.nii.gz"
        write_volume(path, patient.lesions_flair, dtype=np.uint8)
        np.savetxt(self.folder / f"{self.name}_to_mni.txt", patient.flair_to_mni)


def synthetic(work: Path, seed: int) -> dict[str, Truth]:
    """The scans of one patient: first, changed, same."""
    folder = work / "scans"
    truths = {name: Truth(folder, name) for name in ("first", "changed", "same")}
    if not (folder / "fates.nii.gz").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        changed, same = (make_follow_up(seed, changes=changes) for changes in (True, False))
        truths["first"].write(changed.visits[0])
        truths["changed"].write(changed.visits[1])
        truths["same"].write(same.visits[1])
        fates = Volume(changed.fates, changed.grid.affine)
        write_volume(folder / "fates.nii.gz", fates, dtype=np.uint8)
    return truths


def segmented(scans: tuple[Path, Path], output: Path) -> Path:
    """Results of a case, made if they are not there."""
    if not (output / "run.json").is_file():
        options = SegmentationOptions(label=output.name)
        segment_case(*scans, output, options=options, bundle=default_bundle())
    return output


def on_halfway(volume: Volume, to_half: Affine) -> Mask:
    """A mask on the half-way grid."""
    return resample(volume, HALF_WAY_GRID, to_half) >= 0.5


def score_synthetic(work: Path, seed: int) -> None:
    """Both pairs of one patient."""
    truths = synthetic(work, seed)
    folders = {name: segmented(truth.scans, work / name) for name, truth in truths.items()}
    for name in ("changed", "same"):
        compared = compare_visits(folders["first"], folders[name], label=f"{seed} {name}")
        write_comparison(work / f"comparison-{name}", compared)
        print(f"\n### Synthetic patient {seed}, {name}\n")
        describe(compared)
        if name == "changed":
            score_changes(compared, truths["first"], truths["changed"])


def describe(compared: Compared) -> None:
    """Counts, volumes, and how far unchanged lesions moved."""
    comparison = compared.comparison
    totals = comparison.totals
    counts = ", ".join(f"{getattr(totals, status.value)} {status.value}" for status in ChangeStatus)
    print(f"- {counts}")
    print(
        f"- single visits: {comparison.first.lesion_count} and {comparison.second.lesion_count} "
        f"lesions, {comparison.first.lesion_volume_ml:.2f} and "
        f"{comparison.second.lesion_volume_ml:.2f} ml; seen once only: "
        f"{comparison.first.seen_once_count} and {comparison.second.seen_once_count}"
    )
    print(
        f"- together: {comparison.first.joint_lesion_volume_ml:.2f} and "
        f"{comparison.second.joint_lesion_volume_ml:.2f} ml, gained {totals.gained_ml:.3f}, "
        f"lost {totals.lost_ml:.3f}, smallest told {totals.smallest_detectable_ml:.3f} ml"
    )
    print(f"- noise of the difference {comparison.flair_noise:.3f}")
    moved = sorted(
        (max(row.gained_mm3, row.lost_mm3), row.volume_first_mm3, row.volume_second_mm3)
        for row in comparison.lesions
    )
    shown = "; ".join(
        f"{moved:.0f} of {one:.0f} to {other:.0f}" for moved, one, other in moved[-8:]
    )
    print(f"- largest gains or losses, mm3: {shown}")


def score_changes(compared: Compared, first: Truth, second: Truth) -> None:
    """Against what was drawn."""
    halfway = compared.halfway
    before = on_halfway(first.lesions, halfway.first)
    after = on_halfway(second.lesions, halfway.second)
    fates = true_fates(first, halfway.first)
    found = change_mask(compared) > 0
    changing = np.isin(fates, [1 + list(Fate).index(fate) for fate in CHANGES])
    truth = (before ^ after) & ndimage.binary_dilation(changing)
    print(f"- Dice of the change mask with the true change: {dice(found, truth):.2f}")
    for fate in CHANGES:
        report_fate(compared, fates == 1 + list(Fate).index(fate), fate, found)
    lesions, count = ndimage.label(found, NEIGHBOURS_26)
    near = np.unique(lesions[ndimage.binary_dilation(changing, iterations=NEAR)])
    false = sorted(set(range(1, count + 1)) - set(near.tolist()))
    sizes = [int((lesions == n).sum()) for n in false]
    print(f"- false changes: {len(sizes)}, {sum(sizes)} mm3 in all")


def true_fates(first: Truth, to_half: Affine) -> NDArray[np.int64]:
    """The drawn map on the half-way grid."""
    drawn = read_values(first.folder / "fates.nii.gz", role="fates")
    head_to_half = to_half @ np.linalg.inv(first.to_mni)
    return np.rint(resample(drawn, HALF_WAY_GRID, head_to_half, order=0)).astype(np.int64)


def report_fate(compared: Compared, where: Mask, fate: Fate, found: Mask) -> None:
    """Of the lesions with one fate: how many were found, and as what."""
    labels = label_lesions(where)
    words = []
    for number in range(1, int(labels.max()) + 1):
        lesion = labels == number
        rows = compared.groups[lesion & found]
        size = int(lesion.sum())
        if not rows.any():
            words.append(f"missed ({size} mm3)")
            continue
        row = compared.comparison.lesions[int(np.bincount(rows[rows > 0]).argmax()) - 1]
        words.append(f"{row.status.value} ({size} mm3)")
    print(f"- truly {fate.value}: {', '.join(words)}")


def score_real(data: Path, work: Path) -> None:
    """The patient with two visits and an expert's mask of what changed."""
    raw = data / "raw" / "sub-L01"
    folders = [
        segmented(
            (raw / visit / "T1w.nii.gz", raw / visit / "FLAIR.nii.gz"), work / f"sub-L01_{visit}"
        )
        for visit in ("ses-1", "ses-2")
    ]
    compared = compare_visits(*folders, label="sub-L01")
    write_comparison(work / "comparison-sub-L01", compared)
    print("\n### Real patient, sub-L01\n")
    describe(compared)
    expert = expert_changes(raw, compared)
    score_expert("joint change mask", change_mask(compared) > 0, expert)
    masks = [label_masks(folder, compared, n) for n, folder in enumerate(folders)]
    score_expert("difference of the single masks", masks[0] ^ masks[1], expert)


def label_masks(folder: Path, compared: Compared, number: int) -> Mask:
    """A visit's own mask on the half-way grid: what one would compare by hand."""
    visit = compared.visits[number]
    to_half = (compared.halfway.first, compared.halfway.second)[number]
    mask = read_mask(folder / "space-MNI152_label-lesion_mask.nii.gz", role="mask")
    return on_halfway(mask, to_half @ np.linalg.inv(visit.flair_to_mni))


def score_expert(name: str, found: Mask, expert: Mask) -> None:
    """Overlap, and lesions found."""
    truth, count = ndimage.label(expert, NEIGHBOURS_26)
    sizes = np.bincount(truth.ravel())[1:]
    hit = [n for n in range(1, count + 1) if found[truth == n].any()]
    lesions, number = ndimage.label(found, NEIGHBOURS_26)
    false = number - len(set(np.unique(lesions[expert & found]).tolist()))
    volume = int(sum(sizes[n - 1] for n in hit))
    print(
        f"- {name}: Dice {dice(found, expert):.3f}; {len(hit)} of {count} expert components "
        f"({volume} of {int(sizes.sum())} mm3) found; {number} components of its own, {false} "
        "outside the expert's"
    )


def expert_changes(raw: Path, compared: Compared) -> Mask:
    """The expert's mask, moved to the half-way grid by its own brain mask."""
    brain = read_mask(raw / "brain_mask_of_lesion_changes.nii.gz", role="brain mask")
    changes = read_mask(raw / "lesion_changes.nii.gz", role="expert mask")
    moved = align(brain, compared.pair.brain)
    inside = resample(brain, HALF_WAY_GRID, moved) >= 0.5
    print(f"- expert's brain mask on ours: Dice {dice(inside, compared.pair.brain):.3f}")
    return on_halfway(changes, moved)


def align(moving: Volume, target: Mask) -> Affine:
    """Rigid transform of a mask's world onto the half-way world, by distances from the surface."""
    theirs = signed_distance(moving.data > 0, moving.grid)
    ours = signed_distance(target, HALF_WAY_GRID)
    voxels = np.argwhere(np.abs(theirs) < 8)[::29]
    points = voxels @ moving.affine[:3, :3].T + moving.affine[:3, 3]
    known = theirs[tuple(voxels.T)]
    centre = points.mean(axis=0)
    aim = HALF_WAY_GRID.affine[:3, :3] @ np.argwhere(target).mean(axis=0)
    shift = aim + HALF_WAY_GRID.affine[:3, 3] - centre
    to_voxel = np.linalg.inv(HALF_WAY_GRID.affine)

    def transform(parameters: NDArray[np.float64]) -> Affine:
        rigid = np.eye(4)
        rigid[:3, :3] = Rotation.from_euler("xyz", parameters[3:], degrees=True).as_matrix()
        rigid[:3, 3] = centre + shift + parameters[:3] - rigid[:3, :3] @ centre
        return rigid

    def misfit(parameters: NDArray[np.float64]) -> float:
        matrix = to_voxel @ transform(parameters)
        where = points @ matrix[:3, :3].T + matrix[:3, 3]
        found = ndimage.map_coordinates(ours, where.T, order=1, mode="nearest")
        return float(np.clip(np.abs(found - known), 0, 4).mean())

    best = optimize.minimize(misfit, np.zeros(6), method="Powell", options={"xtol": 1e-3})
    return transform(best.x)


def signed_distance(mask: Mask, grid: Grid) -> NDArray[np.float32]:
    """mm from the surface, negative within; 20 at most."""
    sizes = grid.voxel_sizes
    outside = ndimage.distance_transform_edt(~mask, sampling=sizes)
    inside = ndimage.distance_transform_edt(mask, sampling=sizes)
    return np.clip(outside - inside, -20, 20).astype(np.float32)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where scans and results go")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--real", type=Path, help="folder that holds raw/sub-L01")
    args = parser.parse_args()
    if args.real is not None:
        score_real(args.real, args.work)
    for seed in args.seeds:
        score_synthetic(args.work / f"synthetic-{seed}", seed)


if __name__ == "__main__":
    main()
