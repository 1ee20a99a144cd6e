"""`dlb evaluate` on a prepared cache: real networks, untrained, on brains of a few voxels."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dlb_core.cli.main import main
from dlb_core.errors import BadOption, InputError
from dlb_core.evaluation.cases import from_cache, from_dataset
from dlb_core.evaluation.document import Evaluation
from dlb_core.evaluation.methods import BestThreshold, bright
from dlb_core.evaluation.run import run_all
from dlb_core.evaluation.store import ResultStore
from dlb_core.model_facts import read_facts
from dlb_core.nifti import write_volume
from dlb_core.template import MNI_GRID, load_template
from dlb_core.training.cache import IMAGE, LESIONS, CaseEntry, write_case
from dlb_core.volume import Volume
from tests.unit.bundles import write_tiny_bundle

BRAIN = (slice(3, 20), slice(3, 30), slice(1, 19))
"""In a corner that a single network sees."""
COLUMNS = ("subject", "name", "input_state", "t1w", "flair", "lesions", "tissues")


def _write_case(cache: Path, name: str, *, size: int, broken: bool = False) -> None:
    """A labelled case with a cube of lesion."""
    image = np.zeros((2, *MNI_GRID.shape), dtype=np.float16)
    lesions = np.zeros(MNI_GRID.shape, dtype=np.uint8)
    rng = np.random.default_rng(size)
    image[(slice(None), *BRAIN)] = rng.uniform(0.8, 1.2, image[(slice(None), *BRAIN)].shape)
    lesions[5 : 5 + size, 6 : 6 + size, 4 : 4 + size] = 1
    if broken:
        image[1, 8, 8, 8] = np.nan
    entry = CaseEntry(name=name, subject=f"sub-{name}", arrays=[IMAGE, LESIONS])
    write_case(cache, entry, {IMAGE: image, LESIONS: lesions})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Two labelled cases and a donor of lesion shapes."""
    folder = tmp_path / "prepared"
    for name, size in (("one", 6), ("two", 9)):
        _write_case(folder, name, size=size)
    lesions = np.zeros(MNI_GRID.shape, dtype=np.uint8)
    write_case(
        folder, CaseEntry(name="donor", subject="sub-x", arrays=[LESIONS]), {LESIONS: lesions}
    )
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """B votes lesion only where it is surer than A; A was trained on the case `one`, B grew from
    a bundle that was."""
    folder = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(folder / "a")
    shutil.copytree(folder / "a", folder / "b")
    for name, threshold, kind in (("a", 0.6, "cases"), ("b", 0.9, "start_cases")):
        path = folder / name / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest |= {"vote_threshold": threshold, "training": {kind: ["one", "elsewhere"]}}
        path.write_text(json.dumps(manifest))
    return {name: str(folder / name) for name in "ab"}


def _evaluate(cache: Path, output: Path, *options: str) -> int:
    return main(
        ["evaluate", "--cache", str(cache), "--output", str(output), "--threads", "1", *options]
    )


def _masks(output: Path, case: str) -> dict[str, np.ndarray]:
    """The masks of a case by method, as another reader sees them."""
    return {
        path.name.removesuffix("_mask.nii.gz"): np.asarray(nib.load(path).dataobj) > 0
        for path in (output / "cases" / case).glob("*_mask.nii.gz")
    }


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def test_two_bundles_are_scored_compared_and_laid_out(
    cache: Path, bundles: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command to the page; the figures are those of the masks that lie beside them."""
    output = tmp_path / "out"

    code = _evaluate(cache, output, "--bundle", bundles["a"], "--compare", bundles["b"])

    said = capsys.readouterr().out
    found = Evaluation.model_validate_json((output / "evaluation.json").read_text())
    masks = _masks(output, "two")
    truth = np.zeros(MNI_GRID.shape, dtype=bool)
    truth[5:14, 6:15, 4:13] = True
    a, b = (masks[method.id] for method in found.methods[:2])
    assert code == 0
    assert b.sum() < a.sum()
    assert found.of(found.methods[0].id)[1].scores.dice == pytest.approx(_overlap(truth, a))
    assert found.comparison is not None
    assert found.comparison.pairs[1].consistency == pytest.approx(_overlap(a, b))
    assert found.of(found.methods[0].id)[1].scores.reference_ml == pytest.approx(0.729)
    assert found.skipped == {"donor": "no T1w and FLAIR with a lesion mask"}
    assert {path.name for path in output.iterdir()} == {
        "cases",
        "cases.csv",
        "comparison.csv",
        "evaluation.html",
        "evaluation.json",
        "figures.json",
        "summary.csv",
    }
    unseen, seen = read_facts([output / "figures.json"]).evaluation
    assert (set(unseen.cases), set(seen.cases)) == ({"two"}, {"one"})
    assert seen.seen_in_training
    assert "skipped donor" in said
    assert "Bundle A was trained on one." in said
    assert "no result could be significant" in " ".join(said.split())
    assert "MNI grid" in said


def test_what_is_finished_is_not_run_again(
    cache: Path, bundles: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hours of inference; but another bundle, or another image, is another result."""
    output = tmp_path / "out"
    _evaluate(cache, output, "--bundle", bundles["a"])
    records = {p: p.stat().st_mtime_ns for p in output.glob("cases/*/*.json")}
    _write_case(cache, "one", size=5)
    capsys.readouterr()

    _evaluate(cache, output, "--bundle", bundles["a"], "--compare", bundles["b"])

    kept = {p.parent.name for p, time in records.items() if p.stat().st_mtime_ns == time}
    assert len(records) == 4
    assert kept == {"two"}
    assert "2 results of an earlier run used again" in capsys.readouterr().out
    with (output / "cases.csv").open(newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["A", "B", "threshold"] * 2


def test_a_record_without_its_mask_is_no_result(
    cache: Path, bundles: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Someone tidied up: the comparison would lack it."""
    output, options = tmp_path / "out", ("--bundle", bundles["a"], "--subjects", "sub-one")
    _evaluate(cache, output, *options)
    for mask in output.glob("cases/one/bundle-*_mask.nii.gz"):
        mask.unlink()
    (output / "cases" / "one" / "threshold.json").write_text("{cut sho")
    capsys.readouterr()

    assert _evaluate(cache, output, *options) == 0

    assert "used again" not in capsys.readouterr().out
    assert len(_masks(output, "one")) == 2


def test_a_case_that_fails_is_named_and_the_others_are_scored(
    cache: Path, bundles: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad scan must neither end a night's run nor vanish from the figures."""
    _write_case(cache, "bad", size=4, broken=True)
    output = tmp_path / "out"

    code = _evaluate(cache, output, "--bundle", bundles["a"], "--subjects", "sub-bad,sub-one")

    document = json.loads((output / "evaluation.json").read_text())
    assert code == 1
    assert "no numbers" in document["failed"]["bad"]
    assert {result["case"] for result in document["results"]} == {"one"}
    assert "failed bad" in capsys.readouterr().out
    assert "missing" in (output / "evaluation.html").read_text()


def test_progress_names_the_case_and_goes_forward(cache: Path, tmp_path: Path) -> None:
    """Of both cases, of which each is prepared and then run."""
    steps: list[tuple[str, float]] = []

    run_all(
        from_cache(cache).cases,
        [BestThreshold()],
        ResultStore(tmp_path / "out"),
        on_step=lambda text, share: steps.append((text, share)),
    )

    assert [text for text, _ in steps] == ["one (1/2) reading", "two (2/2) reading"]
    shares = [share for _, share in steps]
    assert 0 <= shares[0] < 0.5 <= shares[1] < 1


def test_what_cannot_be_meant_is_refused_before_the_work(
    cache: Path, bundles: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that says what to do, exit code 2."""
    same = ("--bundle", bundles["a"], "--compare", bundles["a"])
    for options, reason in (
        (same, "the same"),
        (("--subjects", "nobody"), "nobody"),
        (("--minimum-lesion-mm3", "nan"), "--minimum-lesion-mm3"),
    ):
        assert _evaluate(cache, tmp_path / "out", *options) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cache_without_labels_is_refused(tmp_path: Path) -> None:
    """Nothing to compare with."""
    lesions = np.zeros(MNI_GRID.shape, dtype=np.uint8)
    entry = CaseEntry(name="donor", subject="x", arrays=[LESIONS])
    write_case(tmp_path, entry, {LESIONS: lesions})

    with pytest.raises(InputError, match="no labelled case"):
        from_cache(tmp_path)


def _dataset(folder: Path, *rows: dict[str, str]) -> Path:
    """A data set whose images are all the same small one."""
    affine = np.diag([9.0, 9, 9, 1])
    data = np.arange(20 * 24 * 20, dtype=np.int16).reshape(20, 24, 20)
    write_volume(folder / "x.nii.gz", Volume(data, affine), dtype=np.int16)
    write_volume(folder / "m.nii.gz", Volume(data > 9000, affine), dtype=np.uint8)
    lines = ["\t".join(COLUMNS), *("\t".join(r.get(c, "") for c in COLUMNS) for r in rows)]
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_rows_without_a_label_are_skipped_by_name(tmp_path: Path) -> None:
    """Half of a hospital's scans have none, and the reader must know which."""
    pair = {"t1w": "x.nii.gz", "flair": "x.nii.gz"}
    dataset = _dataset(
        tmp_path,
        {"subject": "s1", "name": "full", **pair, "lesions": "m.nii.gz"},
        {"subject": "s2", "name": "bare", **pair},
        {"subject": "s3", "name": "donor", "lesions": "m.nii.gz"},
    )

    found = from_dataset(dataset)

    assert [case.name for case in found.cases] == ["full"]
    assert set(found.skipped) == {"bare", "donor"}
    assert found.source == tmp_path.name
    assert [case.name for case in from_dataset(dataset, subjects=frozenset({"s1"})).cases] == [
        "full"
    ]
    with pytest.raises(BadOption, match="s9"):
        from_dataset(dataset, subjects=frozenset({"s1", "s9"}))


def test_bad_rows_are_listed_together(tmp_path: Path) -> None:
    """Before anything is run; files are looked into as well."""
    pair = {"t1w": "x.nii.gz", "flair": "x.nii.gz"}
    (tmp_path / "rubbish.nii.gz").write_bytes(b"rubbish")
    dataset = _dataset(
        tmp_path,
        {"subject": "s1", **pair, "lesions": "absent.nii.gz"},
        {"subject": "s2", **pair, "lesions": "rubbish.nii.gz"},
    )

    with pytest.raises(InputError) as caught:
        from_dataset(dataset)

    assert "absent.nii.gz" in str(caught.value)
    assert "rubbish.nii.gz" in str(caught.value)


def test_a_changed_file_is_another_case(tmp_path: Path) -> None:
    """A corrected mask must not be scored with the old one's figures."""
    row = {"subject": "s1", "t1w": "x.nii.gz", "flair": "x.nii.gz", "lesions": "m.nii.gz"}
    (before,) = from_dataset(_dataset(tmp_path, row)).cases
    first = before.digest()
    affine = np.diag([9.0, 9, 9, 1])
    corrected = Volume(np.eye(20, 24)[..., None].repeat(20, 2) > 0, affine)
    write_volume(tmp_path / "m.nii.gz", corrected, dtype=np.uint8)

    (after,) = from_dataset(tmp_path).cases

    assert after.digest() != first
    assert from_dataset(tmp_path).cases[0].digest() == after.digest()


def test_the_baseline_marks_bright_white_matter_only() -> None:
    """Bright cortex is no lesion to it, and a higher threshold marks less."""
    template = load_template()
    rng = np.random.default_rng(0)
    flair = (1 + 0.15 * (template.grey_matter > 0.5) + rng.normal(0, 0.08, MNI_GRID.shape)).astype(
        np.float32
    )
    flair[~template.brain_mask] = 0
    lesion = np.zeros(MNI_GRID.shape, dtype=bool)
    lesion[60:70, 100:110, 90:100] = True
    flair[lesion] = 1.8

    low, high = bright(flair, (1.0, 4.0)).values()

    assert not (low & (template.white_matter <= 0.5)).any()
    assert high.sum() < low.sum()
    marked = high[lesion & (template.white_matter > 0.5)]
    assert marked.mean() > 0.9
    assert not bright(np.zeros_like(flair), (1.0,))[1.0].any()
