"""`dlb segment` and `dlb submit` with folders and archives of DICOM files."""

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_kit import archive, flair, t1w, write
from service_kit import Running, nifti

from dlb_core.cli.case_inputs import add_case_inputs, case_files
from dlb_core.cli.main import main
from dlb_core.contracts import JobState
from dlb_core.dicom.reference import read_reference
from dlb_core.errors import BadOption
from dlb_core.jobs.layout import DICOM_REFERENCE


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests here."""
    running = Running(tmp_path_factory.mktemp("service"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a scanner exports it."""
    folder = tmp_path_factory.mktemp("study")
    write(t1w(), folder / "series2")
    write(flair(), folder / "series3")
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NIfTI file."""
    path = tmp_path_factory.mktemp("image") / "image.nii.gz"
    path.write_bytes(nifti())
    return path


def opened(*arguments: str) -> object:
    """Parse a case's images and open them."""
    parser = ArgumentParser()
    add_case_inputs(parser)
    return case_files(parser.parse_args(arguments), keep_identity=True)


def test_segment_takes_folders_and_archives_and_says_what_it_took(
    study: Path, tmp_path: Path
) -> None:
    """Nobody should have to convert by hand, nor to guess which series was used."""
    zipped = archive([*t1w(), *flair()], tmp_path / "study.zip")
    two = ("--t1w", str(study / "series2"), "--flair", str(study / "series3"))
    for arguments in (("--study", str(study)), ("--study", str(zipped)), two):
        with opened(*arguments) as case:  # type: ignore[attr-defined]
            assert case.reference is not None
            assert read_reference(case.reference).headers[0].PatientName == "Doe^Jane"
            assert [line.split(" (")[0] for line in case.explanation] == [
                "T1w: series 2",
                "FLAIR: series 3",
            ]
        assert not case.t1w.exists()


def test_nifti_files_are_taken_as_they_are(image: Path) -> None:
    """The usual case must cost nothing."""
    with opened("--t1w", str(image), "--flair", str(image)) as case:  # type: ignore[attr-defined]
        assert (case.t1w, case.flair, case.reference) == (image, image, None)


def test_half_a_case_and_a_case_twice_are_refused(study: Path, image: Path) -> None:
    """The message names the options, for the parser cannot say it of alternatives."""
    for arguments in (
        ("--t1w", str(image)),
        ("--study", str(study), "--t1w", str(image)),
        (),
        ("--study", str(image)),
        ("--study", str(study), "--t1w-series", "-1"),
    ):
        with pytest.raises(BadOption, match="--"), opened(*arguments):  # type: ignore[attr-defined]
            pass


def test_what_is_wrong_with_a_folder_ends_segment_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found before a network is loaded."""
    write([*t1w(), *flair(3), *flair(4)], tmp_path / "study")
    asked = ["segment", "--study", str(tmp_path / "study"), "--output", str(tmp_path / "out")]

    assert main(asked) == 2
    assert "dlb: series-ambiguous: 2 series could be the FLAIR" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_submit_sends_a_folder_as_an_archive(
    running: Running, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service takes no folders; its answer is that of any archive."""
    asked = ["submit", "--study", str(study), "--url", running.url]

    assert main([*asked, "--flair-series", "3"]) == 0
    assert main([*asked, "--flair-series", "4"]) == 2

    assert "no series 4" in capsys.readouterr().err
    jobs, _ = running.services.store.list_jobs(state=JobState.ACCEPTED, limit=9)
    assert [list(job.inputs) for job in jobs] == [["study"]]
    assert (running.services.data.inputs(jobs[0].id) / DICOM_REFERENCE).exists()
