"""`dlb compare` with scans: what is asked for is understood, and mistakes are told at once."""

from datetime import date
from pathlib import Path

import pytest
from service_kit import nifti

from dlb_core import __version__, artefacts
from dlb_core.checkpoints import Bundle
from dlb_core.cli.main import main
from dlb_core.contracts import SegmentationOptions
from dlb_core.provenance import input_record, is_result_of, model_identity
from dlb_core.voting import CONVINCING_SHARE, TIE_RULE
from tests.unit.bundles import write_tiny_bundle
from tests.unit.longitudinal_kit import run_record


@pytest.fixture
def scan(tmp_path: Path) -> str:
    """An image whose header is good."""
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(nifti())
    return str(path)


def refusal(capsys: pytest.CaptureFixture[str], output: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and message of a command that makes nothing."""
    code = main(["compare", *arguments, "--output", str(output)])
    assert not output.exists()
    return code, capsys.readouterr().err


@pytest.mark.parametrize("given", [[], ["a"], ["a", "b", "c"]])
def test_each_visit_is_either_results_or_scans(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = refusal(capsys, tmp_path / "out", *given)

    assert code == 2
    assert "two folders of results" in said
    assert "--second-flair" in said


def test_results_beside_both_visits_scans_are_one_visit_too_many(
    scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which of the three would be left out?"""
    scans = ["--first-t1w", scan, "--second-study", scan]

    assert refusal(capsys, tmp_path / "out", "a", *scans)[0] == 2


def test_half_a_pair_is_told_with_the_options_own_names(
    scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ["--first-t1w", scan, "--first-flair", scan]

    code, said = refusal(capsys, tmp_path / "out", *first, "--second-t1w", scan)

    assert code == 2
    assert "give --second-t1w and --second-flair, or --second-study" in said


def test_a_bad_scan_of_the_later_visit_is_told_before_the_earlier_is_segmented(
    scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half an hour later nobody sits there any more."""
    rubbish = tmp_path / "rubbish.nii.gz"
    rubbish.write_bytes(b"no image")
    first = ["--first-t1w", scan, "--first-flair", scan]
    second = ["--second-t1w", scan, "--second-flair", str(rubbish)]

    code, said = refusal(capsys, tmp_path / "out", *first, *second)

    assert code == 2
    assert "unreadable-image: Of the second visit: The FLAIR is" in said


@pytest.mark.parametrize("scans_of", ["both", "second"])
def test_unlike_voxels_are_refused_before_anything_is_segmented(
    scans_of: str, scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The comparison would refuse them in the end, an hour later."""
    fine, results = tmp_path / "fine.nii.gz", tmp_path / "results"
    fine.write_bytes(nifti((50, 58, 58), voxel_mm=2.4))
    results.mkdir()
    (results / artefacts.RUN_JSON).write_text(run_record(voxel=(5, 5, 5)).model_dump_json())
    first = [str(results)] if scans_of == "second" else ["--first-t1w", scan, "--first-flair", scan]
    second = ["--second-t1w", scan, "--second-flair", str(fine)]

    code, said = refusal(capsys, tmp_path / "out", *first, *second)

    assert code == 2
    assert "quality-failed: These visits cannot be compared. FLAIR voxel sizes" in said


@pytest.mark.parametrize("scans_of", ["both", "second"])
def test_a_wrong_order_is_refused_before_anything_is_segmented(
    scans_of: str, scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both days are known before the first of two hours has begun."""
    results = tmp_path / "results"
    results.mkdir()
    dated = run_record(voxel=(5, 5, 5)).model_copy(
        update={"options": SegmentationOptions(scan_date=date(2025, 4, 1))}
    )
    (results / artefacts.RUN_JSON).write_text(dated.model_dump_json())
    scans = ["--first-t1w", scan, "--first-flair", scan, "--first-scan-date", "2025-04-01"]
    first = [str(results)] if scans_of == "second" else scans
    second = ["--second-t1w", scan, "--second-flair", scan, "--second-scan-date", "2024-03-31"]

    code, said = refusal(capsys, tmp_path / "out", *first, *second)

    assert code == 2
    assert "give them the other way round" in " ".join(said.split())


def test_scans_may_stand_in_for_one_visit_only(
    scan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The earlier visit was segmented last year: its results are a folder."""
    second = ["--second-t1w", scan, "--second-flair", str(tmp_path / "missing.nii.gz")]

    code, said = refusal(capsys, tmp_path / "out", "a", *second)

    assert code == 2
    assert "missing.nii.gz: No such file" in said


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Weights."""
    return write_tiny_bundle(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize(
    ("change", "is_it"),
    [
        (None, True),
        ("other scans", False),
        ("other options", False),
        ("other weights", False),
        ("another version", False),
        ("another rule", False),
        ("a file is missing", False),
        ("a record cut short", False),
    ],
)
def test_results_are_taken_for_done_only_if_they_would_be_made_so_again(
    change: str | None, *, is_it: bool, bundle: Bundle, scan: str, tmp_path: Path
) -> None:
    """Another patient's results in the folder must not be compared in this one's place."""
    folder, path, other = tmp_path / "first", Path(scan), tmp_path / "other.nii.gz"
    folder.mkdir()
    other.write_bytes(nifti((24, 28, 29)))
    for name in artefacts.ALL:
        (folder / name).touch()
    record = run_record().model_copy(
        update={
            "inputs": (input_record(path, "T1w"), input_record(path, "FLAIR")),
            "software_version": "0" if change == "another version" else __version__,
            "tie_rule": TIE_RULE,
            "convincing_share": None if change == "another rule" else float(CONVINCING_SHARE),
        }
    )
    if change != "other weights":
        record = record.model_copy(update={"model": model_identity(bundle)})
    text = record.model_dump_json()
    cut = len(text) // 2 if change == "a record cut short" else len(text)
    (folder / artefacts.RUN_JSON).write_text(text[:cut])
    if change == "a file is missing":
        (folder / artefacts.MASK_FLAIR).unlink()

    found = is_result_of(
        folder,
        path,
        other if change == "other scans" else path,
        options=SegmentationOptions(robustness=change == "other options"),
        bundle=bundle,
    )

    assert found == is_it
