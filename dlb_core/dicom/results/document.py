"""The report's pages as a DICOM Encapsulated PDF.

Source: DICOM PS3.3, A.45.1.
"""

from datetime import UTC, datetime

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dlb_core.dicom.reference import Reference
from dlb_core.dicom.results.maker import MANUFACTURER, MODEL_NAME, PDF_SERIES, Maker

TITLE = "MS lesion report"
_INHERITED = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientIdentityRemoved",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def encapsulated_pdf(pdf: bytes, reference: Reference, maker: Maker) -> pydicom.FileDataset:
    """Make the object.

    Parameters
    ----------
    pdf : bytes
        The report as written for people.
    reference : Reference
    maker : Maker
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    meta.MediaStorageSOPInstanceUID = UID(maker.uid("pdf"))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = pydicom.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    source = reference.headers[0]
    for keyword in _INHERITED:
        if keyword in source:
            made[keyword] = source[keyword]
    _describe(made, maker)
    made.EncapsulatedDocument = pdf + bytes(len(pdf) % 2)
    made.EncapsulatedDocumentLength = len(pdf)
    made.SourceInstanceSequence = Sequence([_reference_to(one) for one in reference.headers])
    return made


def _describe(made: pydicom.FileDataset, maker: Maker) -> None:
    """Fill in what is not inherited."""
    now = datetime.now(UTC)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = EncapsulatedPDFStorage
    made.SOPInstanceUID = maker.uid("pdf")
    made.SeriesInstanceUID = maker.uid("pdf series")
    made.SeriesNumber = PDF_SERIES
    made.InstanceNumber = 1
    made.Modality = "DOC"
    made.ConversionType = "WSD"
    made.SeriesDescription = f"{TITLE} (DeepLesionBrain, research use only)"
    made.Manufacturer = MANUFACTURER
    made.ManufacturerModelName = MODEL_NAME
    made.SoftwareVersions = maker.version
    made.DeviceSerialNumber = maker.serial
    made.ContentDate = made.SeriesDate = now.strftime("%Y%m%d")
    made.ContentTime = made.SeriesTime = now.strftime("%H%M%S")
    made.AcquisitionDateTime = ""
    # It holds whatever label the caller had printed on it.
    made.BurnedInAnnotation = "YES"
    made.DocumentTitle = TITLE
    made.ConceptNameCodeSequence = Sequence([_title_code()])
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"


def _title_code() -> Dataset:
    code = Dataset()
    code.CodeValue = "126000"
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = "Imaging Measurement Report"
    return code


def _reference_to(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item
