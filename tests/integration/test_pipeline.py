"""The whole pipeline on a synthetic patient, stripped by the known brain mask, with tiny weights.

`make demo` covers the shipped weights and brain extraction; here every output is looked at.
"""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dlb_core import artefacts
from dlb_core.cli.main import main
from dlb_core.contracts import InputState, Progress, SegmentationOptions, Stage
from dlb_core.errors import Cancelled, CheckpointCorrupt, QualityFailed
from dlb_core.lesions import label_lesions
from dlb_core.nifti import write_volume
from dlb_core.pipeline import segment_case
from dlb_core.report.document import Report, RunRecord
from dlb_core.synthesis.patient import make_patient
from dlb_core.template import MNI_GRID
from dlb_core.volume import Volume
from tests.unit.bundles import write_tiny_bundle

STRIPPED = SegmentationOptions(input_state=InputState.SKULL_STRIPPED, label="case 1")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """T1w and FLAIR at half resolution, the FLAIR stored the other way round."""
    folder = tmp_path_factory.mktemp("scans")
    patient = make_patient(3, coarsening=2)
    for name, image, brain in (
        ("T1w", patient.t1w, patient.brain_t1w),
        ("FLAIR", patient.flair, patient.brain_flair),
    ):
        stripped = np.where(brain.data > 0, np.maximum(image.data, 1), 0)
        affine = image.affine
        if name == "FLAIR":
            turn = np.diag([-1.0, 1, 1, 1])
            turn[0, 3] = stripped.shape[0] - 1
            stripped, affine = stripped[::-1], affine @ turn
        write_volume(folder / f"{name}.nii.gz", Volume(stripped, affine), dtype=np.int16)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights: the masks are nonsense, everything around them is not."""
    return write_tiny_bundle(tmp_path_factory.mktemp("weights")).folder


@pytest.fixture(scope="module")
def reports() -> list[Progress]:
    """What the run reported."""
    return []


@pytest.fixture(scope="module")
def results(
    scans: Path, bundle: Path, reports: list[Progress], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """One finished case."""
    output = tmp_path_factory.mktemp("results")
    _segment(scans, bundle, output, on_progress=reports.append)
    return output


def _segment(scans: Path, bundle: Path, output: Path, **more: object) -> Report:
    return segment_case(
        scans / "T1w.nii.gz",
        scans / "FLAIR.nii.gz",
        output,
        **{"options": STRIPPED, "bundle": bundle, "num_threads": 1} | more,  # type: ignore[arg-type]
    )


def _data(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_every_artefact_is_there_and_nothing_else(results: Path) -> None:
    """Names are an interface."""
    assert {path.name for path in results.iterdir()} == set(artefacts.ALL)


@pytest.mark.parametrize("role", ["T1w", "FLAIR"])
def test_native_masks_lie_exactly_on_the_inputs_grid(scans: Path, results: Path, role: str) -> None:
    """Masks in the wrong place are what users of other tools complain of first."""
    given = nib.load(scans / f"{role}.nii.gz")
    mask = nib.load(results / f"space-{role}_label-lesion_mask.nii.gz")

    assert mask.shape == given.shape
    assert np.array_equal(mask.affine, given.affine)
    for code in ("qform_code", "sform_code"):
        assert mask.header[code] == given.header[code]
    assert set(np.unique(mask.dataobj)) <= {0, 1}


@pytest.mark.parametrize("role", ["T1w", "FLAIR"])
def test_native_images_are_the_inputs_brains(scans: Path, results: Path, role: str) -> None:
    """A reader judges a mask on the scan itself; the inputs, stripped here, are not kept."""
    given = nib.load(scans / f"{role}.nii.gz")
    brain = nib.load(results / f"space-{role}_desc-brain_{role}.nii.gz")

    assert np.array_equal(brain.affine, given.affine)
    assert np.array_equal(brain.get_fdata(), given.get_fdata())


@pytest.mark.parametrize("role", ["T1w", "FLAIR"])
def test_native_masks_hold_the_volume_that_the_report_states(results: Path, role: str) -> None:
    """Volumes in the report are the patient's, not the template's."""
    mask = nib.load(results / f"space-{role}_label-lesion_mask.nii.gz")
    voxel_ml = abs(np.linalg.det(mask.affine[:3, :3])) / 1000
    report = Report.model_validate_json((results / artefacts.REPORT_JSON).read_text())

    measured = float(np.asarray(mask.dataobj).sum()) * voxel_ml

    assert measured == pytest.approx(report.totals.lesion_volume_ml, rel=0.1)


def test_report_table_and_masks_agree(results: Path) -> None:
    """One connectivity everywhere, or counts disagree."""
    report = Report.model_validate_json((results / artefacts.REPORT_JSON).read_text())
    mask = _data(results / artefacts.MASK_MNI) > 0
    labels = _data(results / artefacts.LESION_LABELS_MNI)
    rows = (results / artefacts.LESION_TABLE).read_text().strip().splitlines()

    assert report.label == "case 1"
    assert mask.shape == MNI_GRID.shape
    assert np.array_equal(labels, label_lesions(mask))
    assert labels.max() == len(report.lesions) == report.totals.lesion_count == len(rows) - 1 > 0
    for lesion in report.lesions[:5]:
        assert (labels == lesion.id).sum() == pytest.approx(lesion.mni_volume_mm3)


def test_the_input_is_judged_beside_the_checks(results: Path) -> None:
    """The light and its traits are in the report, and among the checks."""
    report = Report.model_validate_json((results / artefacts.REPORT_JSON).read_text())

    assert report.input_trust is not None
    assert len(report.input_trust.traits) == 13
    assert report.robustness is None
    assert report.quality[-1].name == "input_trust"
    assert report.quality[-1].value == report.input_trust.deviation


def test_the_mask_is_the_majority(results: Path) -> None:
    """Votes, coverage and probability explain every voxel, and every lesion that is left out."""
    votes = _data(results / artefacts.VOTES_MNI).astype(int)
    coverage = _data(results / artefacts.COVERAGE_MNI).astype(int)
    probability = _data(results / artefacts.PROBABILITY_MNI)
    brain = _data(results / artefacts.BRAIN_MASK_MNI) > 0
    tie = (2 * votes == coverage) & (coverage > 0)
    majority = brain & ((2 * votes > coverage) | (tie & (probability >= 0.5)))
    mask = _data(results / artefacts.MASK_MNI) > 0

    assert (votes <= coverage).all()
    # Only lesions below the minimum volume may be missing, and those that convince too few.
    assert not (mask & ~majority).any()
    missing = label_lesions(majority & ~mask)
    scale = abs(np.linalg.det(np.loadtxt(results / artefacts.T1W_TO_MNI)[:3, :3]))
    large = np.flatnonzero(np.bincount(missing.ravel()) / scale >= 3.0)
    convinced = missing[(5 * votes >= 4 * coverage) & (coverage > 0)]
    assert set(large) & set(convinced) <= {0}
    assert (convinced == 0).any()


def test_the_run_can_be_explained(scans: Path, results: Path) -> None:
    """Digests, versions, parameters, times; no file names, which may tell who it is."""
    text = (results / artefacts.RUN_JSON).read_text()
    record = RunRecord.model_validate_json(text)

    assert record.inputs[0].sha256 == artefacts.sha256_of(scans / "T1w.nii.gz")
    assert record.networks_run + record.networks_skipped == 75
    assert record.num_threads == 1
    assert set(record.stage_wall_s) == {s.value for s in Stage} - {"queued", "done"}
    assert str(scans) not in text
    assert "nii" not in text


def test_progress_goes_forward_and_counts_75_networks(
    results: Path, reports: list[Progress]
) -> None:
    """Stages in order, k of 75."""
    assert results.is_dir()
    stages = [list(Stage).index(p.stage) for p in reports]
    networks = [p.done for p in reports if p.stage is Stage.INFERENCE]

    assert stages == sorted(stages)
    assert reports[-1].stage is Stage.DONE
    assert networks == list(range(76))


def test_the_same_input_gives_the_same_bits(
    scans: Path, bundle: Path, results: Path, tmp_path: Path
) -> None:
    """From registration to report: only times may differ, with the altered runs or without."""
    networks: list[int] = []
    options = STRIPPED.model_copy(update={"robustness": True})
    again = _segment(
        scans, bundle, tmp_path, options=options, on_progress=lambda p: networks.append(p.total)
    )

    assert again.robustness is not None
    own_ml, found = again.totals.lesion_volume_ml, again.robustness
    assert [run.name for run in found.runs] == ["blur", "slices", "contrast"]
    volumes = [pytest.approx(own_ml), *(run.lesion_volume_ml for run in found.runs)]
    assert found.lesion_volume_low_ml in volumes
    assert found.lesion_volume_high_ml in volumes
    assert found.lesion_volume_low_ml < found.lesion_volume_high_ml
    assert max(networks) == 300

    for path in sorted(results.glob("*.nii.gz")) + sorted(results.glob("*.txt")):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    assert (results / "lesions.csv").read_bytes() == (tmp_path / "lesions.csv").read_bytes()


def test_cancelling_leaves_no_report(scans: Path, bundle: Path, tmp_path: Path) -> None:
    """A stopped case must not look like a finished one."""
    with pytest.raises(Cancelled):
        _segment(scans, bundle, tmp_path, should_stop=lambda: True)

    assert not list(tmp_path.iterdir())


def test_a_failed_quality_check_stops_before_the_networks(
    scans: Path, bundle: Path, tmp_path: Path
) -> None:
    """Swapped images would be segmented happily, and wrongly; nor may old results stay."""
    (tmp_path / artefacts.REPORT_HTML).write_text("of an earlier case")
    stages: list[Stage] = []
    swapped = {"on_progress": lambda p: stages.append(p.stage)}

    with pytest.raises(QualityFailed, match="swapped"):
        segment_case(
            scans / "FLAIR.nii.gz",
            scans / "T1w.nii.gz",
            tmp_path,
            options=STRIPPED,
            bundle=bundle,
            num_threads=1,
            **swapped,  # type: ignore[arg-type]
        )

    assert Stage.INFERENCE not in stages
    assert not list(tmp_path.iterdir())


def test_missing_weights_stop_before_the_work(scans: Path, tmp_path: Path) -> None:
    """Not after two minutes of preprocessing."""
    stages: list[Stage] = []

    with pytest.raises(CheckpointCorrupt, match="--weights"):
        _segment(scans, tmp_path, tmp_path / "out", on_progress=lambda p: stages.append(p.stage))

    assert stages == []


def test_the_command_tells_whose_fault_it_is(
    scans: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2: the user can fix it; 1: the installation."""
    rubbish = tmp_path / "rubbish.nii.gz"
    rubbish.write_bytes(b"not an image")
    images = ["--flair", str(scans / "FLAIR.nii.gz"), "--output", str(tmp_path / "out")]

    code = main(["segment", "--t1w", str(rubbish), "--weights", str(bundle), *images])
    assert code == 2
    assert "unreadable-image: The T1w" in capsys.readouterr().err

    t1w = ["--t1w", str(scans / "T1w.nii.gz")]
    code = main(["segment", *t1w, "--weights", str(tmp_path), *images])
    assert code == 1
    assert "checkpoint-corrupt" in capsys.readouterr().err

    code = main(["segment", *t1w, "--minimum-lesion-mm3", "-1", *images])
    assert code == 2
    assert "--minimum-lesion-mm3" in capsys.readouterr().err


def test_bundle_verify_says_what_is_wrong(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator's first question."""
    assert main(["bundle", "verify", str(bundle)]) == 0
    assert "75 networks good" in capsys.readouterr().out
    manifest = json.loads((bundle / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    assert main(["bundle", "verify", str(tmp_path)]) == 1
    assert "canary" in capsys.readouterr().err
