"""A reader's edit becomes a new version; what was not touched stays, and so does the original."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dlb_core import artefacts
from dlb_core.cli.main import main
from dlb_core.correction import correct_case
from dlb_core.corrections import RECORD, Reader, corrections_of
from dlb_core.errors import CorrectionsExist, GridMismatch, InputError, NotAMask, ResultsUnusable
from dlb_core.report.document import Report
from dlb_core.versions import version_folder, versions_in
from tests.unit.finished_case import FLAIR_GRID, T1W_GRID, write_finished_case

READER = Reader(author="A. Reader", note="plexus taken out")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finished_case(tmp_path_factory.mktemp("results"))


def mask_of(folder: Path, space: str) -> np.ndarray:
    name = f"space-{space}_label-lesion_mask.nii.gz"
    return np.asarray(nib.load(folder / name).dataobj) > 0


def write_mask(path: Path, mask: np.ndarray, affine: np.ndarray, dtype: type = np.uint8) -> Path:
    nib.Nifti1Image(mask.astype(dtype), affine).to_filename(path)
    return path


def without_the_smaller_one(mask: np.ndarray) -> np.ndarray:
    """The left lesion lies at lower slices than the right one."""
    edited = mask.copy()
    edited[:, :, : mask.shape[2] // 2 - 2] = False
    return edited


@pytest.fixture(scope="module")
def corrected(original: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """The smaller lesion removed, and a new one drawn, on the FLAIR."""
    folder = tmp_path_factory.mktemp("work") / "results"
    shutil.copytree(original, folder)
    edited = without_the_smaller_one(mask_of(folder, "FLAIR"))
    edited[60:63, 40:43, 40:42] = True
    drawn = write_mask(folder.parent / "edited.nii.gz", edited, FLAIR_GRID.affine)
    return folder, correct_case(folder, drawn, READER)


def test_the_version_is_measured_from_the_readers_mask(corrected: tuple[Path, Report]) -> None:
    """27 mm3 go, 3 x 3 x 2 voxels of 12 mm3 come; the lesion nobody touched keeps every voxel."""
    folder, report = corrected
    before = Report.model_validate_json((folder / artefacts.REPORT_JSON).read_text())

    volumes = [lesion.volume_mm3 for lesion in report.lesions]
    correction = report.corrections[0]
    assert volumes == [pytest.approx(216), pytest.approx(216, rel=0.2)] or volumes == [
        pytest.approx(216, rel=0.2),
        pytest.approx(216),
    ]
    assert any(
        lesion.centroid_mni_mm == before.lesions[0].centroid_mni_mm for lesion in report.lesions
    )
    assert correction.removed_ml == pytest.approx(0.027)
    assert correction.added_ml == pytest.approx(0.216, rel=0.2)
    assert (correction.author, correction.space) == ("A. Reader", "FLAIR")
    assert correction.lesion_count_before == 2


def test_what_no_network_saw_has_their_agreement_of_none(corrected: tuple[Path, Report]) -> None:
    """The reader's lesion must not look as if the networks had found it."""
    _, report = corrected

    drawn = min(report.lesions, key=lambda lesion: lesion.agreement)
    assert drawn.agreement == 0
    assert drawn.confidence.value == "low"


def test_the_version_is_a_whole_folder_and_the_original_untouched(
    original: Path, corrected: tuple[Path, Report]
) -> None:
    folder, report = corrected
    version = version_folder(folder, 2)

    kept = [path.name for path in original.iterdir()]
    assert versions_in(folder) == [1, 2]
    assert report.version == 2
    assert {path.name for path in version.iterdir()} == {*kept, RECORD}
    (record,) = corrections_of(folder)
    assert record.correction == report.corrections[0]
    assert {entry.name for entry in record.artefacts} == set(kept)
    for name in kept:
        assert (folder / name).read_bytes() == (original / name).read_bytes()


def test_the_drawn_mask_is_kept_and_the_others_follow(corrected: tuple[Path, Report]) -> None:
    """The reader sees their own mask again; the other grids tell the same volume."""
    folder, report = corrected
    version = version_folder(folder, 2)
    drawn = np.asarray(nib.load(folder.parent / "edited.nii.gz").dataobj) > 0

    t1w_ml = mask_of(version, "T1w").sum() * T1W_GRID.voxel_mm3 / 1000
    assert np.array_equal(mask_of(version, "FLAIR"), drawn)
    assert t1w_ml == pytest.approx(report.totals.lesion_volume_ml, rel=0.15)
    labels = np.asarray(nib.load(version / artefacts.LESION_LABELS_MNI).dataobj)
    assert labels.max() == report.totals.lesion_count


def test_page_and_table_say_who_when_and_what(corrected: tuple[Path, Report]) -> None:
    folder, report = corrected
    page = (version_folder(folder, 2) / artefacts.REPORT_HTML).read_text(encoding="utf-8")

    assert "Version 2, corrected by hand by A. Reader" in page
    assert "plexus taken out" in page
    assert "version 1, had 2 lesions" in page
    assert len((version_folder(folder, 2) / artefacts.LESION_TABLE).read_text().split()) >= 3
    assert report.corrections[0].mask_sha256 in (
        version_folder(folder, 2) / artefacts.REPORT_JSON
    ).read_text(encoding="utf-8")


def test_a_second_edit_builds_on_the_first(corrected: tuple[Path, Report], tmp_path: Path) -> None:
    """Everything erased, drawn on the MNI grid with axes stored another way round."""
    folder, first = corrected
    nothing = write_mask(
        tmp_path / "none.nii.gz",
        np.zeros((181, 217, 181)),
        np.diag([-1.0, 1, 1, 1])
        + np.array([[0, 0, 0, 90], [0, 0, 0, -126], [0, 0, 0, -72], [0] * 4]),
    )
    copy = tmp_path / "results"
    shutil.copytree(folder, copy)

    report = correct_case(copy, nothing, Reader())

    assert [correction.version for correction in report.corrections] == [2, 3]
    assert report.corrections[1].space == "MNI152"
    assert report.corrections[1].lesion_count_before == first.totals.lesion_count
    assert report.lesions == ()
    page = (version_folder(copy, 3) / artefacts.REPORT_HTML).read_text(encoding="utf-8")
    assert "No lesion left" in page
    assert "majority of the networks" not in page.split("How this was made")[0]


def _moved(tmp_path: Path) -> Path:
    affine = FLAIR_GRID.affine.copy()
    affine[0, 3] += 7
    return write_mask(tmp_path / "m.nii.gz", np.zeros(FLAIR_GRID.shape), affine)


def _other_grid(tmp_path: Path) -> Path:
    affine = np.diag([3.0, 3, 3, 1])
    return write_mask(tmp_path / "m.nii.gz", np.zeros((70, 80, 60)), affine)


def _probabilities(tmp_path: Path) -> Path:
    values = np.full(FLAIR_GRID.shape, 0.3)
    return write_mask(tmp_path / "m.nii.gz", values, FLAIR_GRID.affine, np.float32)


def _inverted(tmp_path: Path) -> Path:
    return write_mask(tmp_path / "m.nii.gz", np.ones(FLAIR_GRID.shape), FLAIR_GRID.affine)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (_moved, GridMismatch, "the FLAIR's number of voxels, but lies elsewhere"),
        (_other_grid, GridMismatch, "none of the case's grids: it has 70 x 80 x 60"),
        (_probabilities, NotAMask, "apply a threshold first"),
        (_inverted, NotAMask, "marks 100% of the image"),
    ],
)
def test_a_mask_that_is_none_is_refused_with_advice(
    original: Path, tmp_path: Path, make: object, error: type[InputError], words: str
) -> None:
    """And leaves no trace."""
    with pytest.raises(error, match=words):
        correct_case(original, make(tmp_path), Reader())  # type: ignore[operator]

    assert versions_in(original) == [1]
    corrections = original / "corrections"
    assert not corrections.exists() or list(corrections.iterdir()) == []


def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / artefacts.REPORT_JSON).write_text("{}")

    with pytest.raises(ResultsUnusable, match=r"run\.json"):
        correct_case(tmp_path, tmp_path / "mask.nii.gz", Reader())


def test_the_command_makes_a_version_and_says_where(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Confirmed as it is: a version without changes, by name."""
    folder = tmp_path / "results"
    shutil.copytree(original, folder)

    code = main(["correct", str(folder), str(folder / artefacts.MASK_T1W), "--author", "B. Reader"])

    report = json.loads((folder / "corrections" / "2" / artefacts.REPORT_JSON).read_text())
    assert code == 0
    assert "version 2 of" in capsys.readouterr().out
    assert report["corrections"][0]["added_ml"] == report["corrections"][0]["removed_ml"] == 0
    assert report["corrections"][0]["author"] == "B. Reader"
    assert report["totals"]["lesion_count"] == 2


def test_new_results_do_not_wipe_out_a_readers_work(corrected: tuple[Path, Report]) -> None:
    """`dlb segment` into the same folder empties it of the case before."""
    folder, _ = corrected

    with pytest.raises(CorrectionsExist, match="another folder"):
        artefacts.clear_artefacts(folder)
