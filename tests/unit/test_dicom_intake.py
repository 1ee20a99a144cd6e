"""DICOM series become NIfTI files: the same voxels in the same place, and nobody's name."""

import tracemalloc
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_kit import (
    AXIAL,
    OBLIQUE,
    PATIENT_ID,
    SAGITTAL,
    flair,
    phantom,
    t1w,
    write,
)
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from dlb_core.dicom.convert import convert
from dlb_core.dicom.geometry import stack
from dlb_core.dicom.headers import read_headers
from dlb_core.dicom.identity import without_patient
from dlb_core.dicom.intake import TakenIn, Wishes, take_in
from dlb_core.dicom.reference import read_reference
from dlb_core.errors import GridMismatch, SeriesDefective, SeriesMissing

SECRETS = ("doe", "jane", PATIENT_ID.lower(), "19800102", "house", "acc1", "20240506")


def taken(folder: Path, images: list[pydicom.Dataset], wishes: Wishes | None = None) -> TakenIn:
    """Take in a study."""
    output = folder / "out"
    output.mkdir()
    return take_in({None: write(images, folder / "in")}, output, wishes or Wishes())


@pytest.mark.parametrize(
    ("directions", "backwards"),
    [(AXIAL, False), (AXIAL, True), (SAGITTAL, False), (OBLIQUE, True)],
)
def test_voxels_and_their_places_are_those_of_the_series(
    tmp_path: Path, directions: tuple[tuple[float, ...], ...], backwards: bool
) -> None:
    """What is segmented must be what was scanned, not its mirror image."""
    data = phantom(seed=7)
    images = flair(data=data, directions=directions, backwards=backwards)

    result = taken(tmp_path, [*t1w(), *images])

    image = nib.load(result.flair)
    values = image.get_fdata()
    for at in (0, 6, 13):
        row, column = np.split(np.array(images[at].ImageOrientationPatient, dtype=float), 2)
        for c, r in ((0, 0), (5, 9), (23, 19)):
            lps = np.array(images[at].ImagePositionPatient, dtype=float)
            lps += row * 6.0 * c + column * 7.0 * r
            index = np.linalg.solve(image.affine, [-lps[0], -lps[1], lps[2], 1])[:3]
            np.testing.assert_allclose(index, np.rint(index), atol=0.01)
            assert values[tuple(np.rint(index).astype(int))] == data[c, r, at]


def test_nothing_that_is_kept_names_the_patient(tmp_path: Path) -> None:
    """The standard's profile decides what identifies; UIDs alone stay, to refer to the series."""
    images = [*t1w(ImageComments="Jane Doe"), *flair(ImageComments="Jane Doe")]

    result = taken(tmp_path, images)

    kept = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(kept) == ["FLAIR.nii", "T1w.nii", "dicom.json"]
    header = kept["FLAIR.nii"][:348] + kept["T1w.nii"][:348] + kept["dicom.json"]
    assert not [secret for secret in SECRETS if secret.encode() in header.lower()]
    first = read_reference(result.reference).headers[0]
    assert first.PatientIdentityRemoved == "YES"
    assert first.StudyInstanceUID == images[0].StudyInstanceUID


def test_patient_and_study_are_kept_where_the_operator_wants_them(tmp_path: Path) -> None:
    """Results for a PACS must say whose they are, if nobody adds it on the way out."""
    result = taken(tmp_path, [*t1w(), *flair()], Wishes(keep_identity=True))

    first = read_reference(result.reference).headers[0]
    assert (first.PatientID, first.AccessionNumber) == (PATIENT_ID, "ACC1")
    assert "PatientIdentityRemoved" not in first


def test_the_profile_reaches_what_is_nested_and_private() -> None:
    """Names hide in sequences and in makers' own attributes."""
    header = flair()[0]
    header.OperatorsName = "Smith^John"
    header.InstitutionName = "St. Elsewhere"
    header.RequestAttributesSequence = [pydicom.Dataset()]
    header.RequestAttributesSequence[0].RequestedProcedureDescription = "for Jane Doe"
    header.private_block(0x0029, "MAKER", create=True).add_new(0x10, "LO", "Doe")

    text = str(without_patient(header)).lower()

    assert not [word for word in (*SECRETS, "smith", "elsewhere", "maker") if word in text]


def test_two_patients_are_not_made_one_case(tmp_path: Path) -> None:
    """Two archives picked by hand may hold two people."""
    with pytest.raises(GridMismatch, match="two patients") as caught:
        taken(tmp_path, [*t1w(), *flair(PatientID="MRN-9")])
    assert "MRN" not in str(caught.value)


def test_a_file_that_cannot_be_parsed_is_not_passed_over(tmp_path: Path) -> None:
    """It may be the one slice with the lesion."""
    files = write([*t1w(), *flair()], tmp_path / "in")
    damaged = tmp_path / "in" / "damaged"
    damaged.write_bytes(files[0].read_bytes()[:150])

    with pytest.raises(SeriesMissing, match="1 of the DICOM files"):
        take_in({None: [*files, damaged]}, tmp_path, Wishes())


def test_a_deflated_file_is_refused_without_being_inflated(tmp_path: Path) -> None:
    """A small file would inflate to gigabytes before its header is read."""
    bomb = flair()[0]
    bomb.PixelData = bytes(20_000_000)
    bomb.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb.set_original_encoding(False, True)
    files = write([bomb], tmp_path / "in")
    assert files[0].stat().st_size < 100_000

    tracemalloc.start()
    try:
        with pytest.raises(SeriesMissing, match="1 of the DICOM files are in the deflated"):
            take_in({None: files}, tmp_path, Wishes())
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_what_the_converter_prints_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile file can make it complain without end."""
    loud = tmp_path / "loud"
    loud.write_text("#!/bin/sh\nhead -c 20000000 /dev/zero\nhead -c 20000000 /dev/zero >&2\n")
    loud.chmod(0o755)
    monkeypatch.setattr(dcm2niix, "bin_path", loud)
    images = stack(read_headers(write(flair(), tmp_path / "in")).instances, role="FLAIR")

    tracemalloc.start()
    try:
        with pytest.raises(SeriesDefective, match="0 volumes"):
            convert(images, tmp_path / "out.nii", scratch=tmp_path, role="FLAIR")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_pixels_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    """The converter would fill in what is missing, or crash."""
    images = flair()
    for image in images:
        image.PixelData = image.PixelData[:40]

    with pytest.raises(SeriesDefective):
        taken(tmp_path, [*t1w(), *images])


def test_compressed_pixels_are_read(tmp_path: Path) -> None:
    """Archives store losslessly compressed images."""
    images = flair()
    for image in images:
        image.compress(RLELossless)

    result = taken(tmp_path, [*t1w(), *images])

    assert int(nib.load(result.flair).get_fdata().sum()) == int(phantom().sum())
