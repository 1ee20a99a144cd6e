"""Results as DICOM objects: every voxel in its place, codes that others read, nobody's name."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_kit import (
    AXIAL,
    CORONAL,
    FRAME,
    OBLIQUE,
    PATIENT_ID,
    SAGITTAL,
    SHAPE,
    STUDY,
    flair,
    phantom,
    t1w,
    write,
)
from plain_report import plain_report
from pydicom.uid import EncapsulatedPDFStorage, generate_uid

from dlb_core import artefacts
from dlb_core.contracts import SegmentationOptions
from dlb_core.dicom.intake import Wishes, take_in
from dlb_core.dicom.results.maker import Maker
from dlb_core.dicom.results.write import write_dicom
from dlb_core.nifti import write_like
from dlb_core.report.document import Confidence, Correction, Lesion, Location, Report, Side

PDF = b"%PDF-1.4 of odd length."
LEVEL = 1700
"""The phantom's voxels above it are the lesions."""


@dataclass(frozen=True)
class Case:
    """A finished case."""

    images: list[pydicom.FileDataset]
    folder: Path

    def read(self, name: str) -> pydicom.FileDataset:
        """One of its objects."""
        return pydicom.dcmread(self.folder / name)

    def mask(self) -> np.ndarray:
        """(images, rows, columns), as any reader of the segmentation sees it, by UID."""
        segmented = highdicom.seg.segread(self.folder / artefacts.DICOM_SEG)
        uids = [image.SOPInstanceUID for image in self.images]
        return segmented.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)[
            ..., 0
        ]


def finished(
    root: Path,
    *,
    directions: tuple[tuple[float, ...], ...] = AXIAL,
    backwards: bool = False,
    level: float = LEVEL,
    keep_identity: bool = False,
    **headers: str,
) -> Case:
    """Take a study in, mark its bright voxels as the pipeline would, write the objects."""
    images = flair(data=phantom(), directions=directions, backwards=backwards, **headers)
    inputs, folder = root / "inputs", root / "results"
    inputs.mkdir(parents=True)
    folder.mkdir()
    files = write([*t1w(), *images[3:], *images[:3]], root / "study")
    taken = take_in({None: files}, inputs, Wishes(keep_identity=keep_identity))
    mask = nib.load(taken.flair).get_fdata() > level
    write_like(folder / artefacts.MASK_FLAIR, mask, taken.flair, dtype=np.uint8)
    report = plain_report(SegmentationOptions(), lesion_count=2, lesion_volume_ml=1.5)
    lesions = (
        lesion(1, volume_mm3=900.0, location=Location.PERIVENTRICULAR, side=Side.LEFT),
        lesion(2, volume_mm3=600.0, location=Location.DEEP_WHITE_MATTER, side=Side.MIDLINE),
    )
    report = report.model_copy(update={"lesions": lesions})
    (folder / artefacts.REPORT_JSON).write_text(report.model_dump_json())
    (folder / artefacts.REPORT_PDF).write_bytes(PDF)
    write_dicom(folder, taken.reference)
    return Case(images, folder)


def lesion(number: int, *, volume_mm3: float, location: Location, side: Side) -> Lesion:
    """A row of the report's table."""
    return Lesion(
        id=number,
        volume_mm3=volume_mm3,
        mni_volume_mm3=volume_mm3,
        largest_diameter_mm=12.0,
        centroid_mni_mm=(0.0, 0.0, 0.0),
        centroid_flair_voxel=(0.0, 0.0, 0.0),
        centroid_t1w_voxel=(0.0, 0.0, 0.0),
        location=location,
        side=side,
        ventricle_distance_mm=1.0,
        cortex_distance_mm=9.0,
        infratentorial_share=0.0,
        centres=1,
        mean_probability=0.9,
        agreement=0.9,
        confidence=Confidence.HIGH,
    )


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """One case for all tests that only read."""
    return finished(tmp_path_factory.mktemp("case"))


@pytest.mark.parametrize(
    ("directions", "backwards", "acquired"),
    [
        (AXIAL, False, "2D"),
        (AXIAL, True, "3D"),
        (CORONAL, True, "2D"),
        (SAGITTAL, False, "3D"),
        (SAGITTAL, True, "2D"),
        (OBLIQUE, False, "2D"),
        (OBLIQUE, True, "3D"),
    ],
)
def test_the_segmentation_is_voxel_for_voxel_where_the_lesions_are(
    tmp_path: Path, directions: tuple[tuple[float, ...], ...], backwards: bool, acquired: str
) -> None:
    """Flipped or shifted segmentations are the commonest fault of such tools."""
    made = finished(
        tmp_path, directions=directions, backwards=backwards, MRAcquisitionType=acquired
    )

    expected = np.stack([image.pixel_array > LEVEL for image in made.images])
    assert 100 < expected.sum() < expected.size / 2
    np.testing.assert_array_equal(made.mask(), expected)


def test_its_frames_say_themselves_where_they_lie(case: Case) -> None:
    """Viewers that do not follow references place the frames by these attributes."""
    segmented = case.read(artefacts.DICOM_SEG)
    by_place = {tuple(image.ImagePositionPatient): image for image in case.images}

    assert segmented.FrameOfReferenceUID == FRAME
    assert segmented.StudyInstanceUID == STUDY
    shared = segmented.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert list(orientation) == list(case.images[0].ImageOrientationPatient)
    for frame, pixels in zip(
        segmented.PerFrameFunctionalGroupsSequence, segmented.pixel_array, strict=True
    ):
        place = tuple(frame.PlanePositionSequence[0].ImagePositionPatient)
        np.testing.assert_array_equal(pixels == 1, by_place[place].pixel_array > LEVEL)


def test_a_case_without_lesions_has_an_empty_segmentation(tmp_path: Path) -> None:
    """No lesion is a result, and no object would look like a failure."""
    made = finished(tmp_path, level=1e6)

    assert made.mask().shape == SHAPE[::-1]
    assert not made.mask().any()


def test_codes_are_the_standards(case: Case) -> None:
    """A reader that knows SNOMED needs no words of ours."""
    segment = case.read(artefacts.DICOM_SEG).SegmentSequence[0]

    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("301766008", "SCT")
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert segment.AnatomicRegionSequence[0].CodeValue == "12738006"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"


def test_the_measurement_report_holds_the_reports_numbers(case: Case) -> None:
    """Numbers that can be taken over without typing, each lesion on its own."""
    report = highdicom.sr.srread(case.folder / artefacts.DICOM_SR)
    groups = report.content.get_volumetric_roi_measurement_groups()
    lesions = report.content.get_image_measurement_groups()

    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    totals = {one.name.value: (one.value, one.unit.value) for one in groups[0].get_measurements()}
    assert totals["246206008"] == (2, "1")
    assert totals["118565006"] == (1.5, "ml")
    segment = groups[0].referenced_segment
    assert segment.referenced_sop_instance_uid == case.read(artefacts.DICOM_SEG).SOPInstanceUID
    assert [group.tracking_identifier for group in lesions] == ["Lesion 1", "Lesion 2"]
    assert [group.get_measurements()[0].value for group in lesions] == [900.0, 600.0]
    assert lesions[0].finding_sites[0].laterality.value == "7771000"
    assert lesions[1].finding_sites[0].laterality is None
    told = {one.value.meaning for one in lesions[1].get_qualitative_evaluations()}
    assert "deep white matter" in told


def test_the_pdf_comes_out_as_it_went_in(case: Case) -> None:
    """The report for people, wherever the archive's viewer opens documents."""
    document = case.read(artefacts.DICOM_PDF)

    assert document.SOPClassUID == EncapsulatedPDFStorage
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == PDF
    assert len(document.EncapsulatedDocument) % 2 == 0
    assert len(document.SourceInstanceSequence) == SHAPE[2]
    assert document.StudyInstanceUID == STUDY


def test_nobody_is_named_unless_the_operator_wants_it(case: Case, tmp_path: Path) -> None:
    """What leaves the service names as little as what is kept in it."""
    named = finished(tmp_path, keep_identity=True)

    for name in (artefacts.DICOM_SEG, artefacts.DICOM_SR, artefacts.DICOM_PDF):
        text = str(case.read(name))
        assert not [word for word in ("Doe", PATIENT_ID, "19800102", "ACC1") if word in text]
        assert case.read(name).PatientIdentityRemoved == "YES"
        assert case.read(name).DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert named.read(name).PatientID == PATIENT_ID
        assert named.read(name).PatientName == "Doe^Jane"
        assert named.read(name).AccessionNumber == "ACC1"


def test_a_readers_version_is_another_object_and_says_that_a_hand_was_in_it(
    case: Case, tmp_path: Path
) -> None:
    """What a reader has edited must not pass for the networks' own, nor replace it."""
    edited = tmp_path / "edited"
    shutil.copytree(case.folder, edited)
    report = Report.model_validate_json((edited / artefacts.REPORT_JSON).read_text())
    report = report.model_copy(update={"corrections": (correction(2),)})
    (edited / artefacts.REPORT_JSON).write_text(report.model_dump_json())
    mask = nib.load(edited / artefacts.MASK_FLAIR)
    nib.save(nib.Nifti1Image(mask.get_fdata() * 0, mask.affine), edited / artefacts.MASK_FLAIR)

    write_dicom(edited, case.folder / artefacts.DICOM_KEPT)

    made = Case(case.images, edited)
    assert not made.mask().any()
    new, old = (one.read(artefacts.DICOM_SEG) for one in (made, case))
    assert new.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert new.SOPInstanceUID != old.SOPInstanceUID


def test_every_version_has_uids_of_its_own() -> None:
    """A correction that is taken back has an earlier version's mask, but not its report."""
    own = plain_report(SegmentationOptions())
    edits = [(), (correction(2),), (correction(2), correction(3)), (correction(2, note="again"),)]
    versions = [own.model_copy(update={"corrections": made}) for made in edits]

    uids = [Maker(version, "1.2.3", "0" * 64).uid("report") for version in versions]

    assert len(set(uids)) == len(edits)
    made_by = f"{own.software_version} {own.model.sha256}"
    before = ["1.2.3", "0" * 64, made_by, own.options.model_dump_json(), "report"]
    assert uids[0] == generate_uid(entropy_srcs=before)


def correction(version: int, *, note: str = "") -> Correction:
    """A reader's edit."""
    return Correction(
        version=version,
        created="2026-01-01T00:00:00Z",
        note=note,
        space="FLAIR",
        mask_sha256="0" * 64,
        added_ml=0.0,
        removed_ml=1.0,
        lesion_count_before=2,
        lesion_volume_before_ml=1.5,
    )


def test_the_same_case_gives_the_same_uids_and_another_gives_others(
    case: Case, tmp_path: Path
) -> None:
    """An archive that is sent results twice must not hold them twice."""
    again = finished(tmp_path / "again")
    other = finished(tmp_path / "other", level=1800)

    def uids(made: Case) -> list[str]:
        names = (artefacts.DICOM_SEG, artefacts.DICOM_SR, artefacts.DICOM_PDF)
        return [made.read(name).SOPInstanceUID for name in names]

    assert uids(again) == uids(case)
    assert not set(uids(other)) & set(uids(case))
    assert len(set(uids(case))) == 3
