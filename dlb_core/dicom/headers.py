"""Read what is needed of DICOM headers: which series an image belongs to, and where it lies.

Pixels are left unread. Whatever cannot be parsed is skipped and counted, not guessed at.
"""

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

# Headers are a patient's: the library must not quote them in warnings and log entries, nor stop at
# values that break a rule. Set once and for all: to set it back is not safe between threads.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module="pydicom")

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"

STUDY_KEYWORDS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Whose study it is."""

DATE_KEYWORDS = ("AcquisitionDate", "SeriesDate")
"""When it was scanned, before the study's date; read, and kept only where identities are."""

NEEDED = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "ImageType",
    "SeriesNumber",
    "InstanceNumber",
    "SeriesDescription",
    "ProtocolName",
    "ScanningSequence",
    "MRAcquisitionType",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "ContrastBolusAgent",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    *DATE_KEYWORDS,
    *STUDY_KEYWORDS,
)
"""All that is read of a header: a study of thousands of images must not fill the memory."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One DICOM object, as far as it is needed here."""

    path: Path | None
    """None where only its header is at hand."""
    header: pydicom.Dataset
    """As it came, patient's name included: never to be logged or shown."""
    series_uid: str
    sop_uid: str
    sop_class: str
    number: int | None
    """Instance number: what a viewer shows beside the image."""
    frames: int
    position: Vector | None
    """(3,) centre of the first voxel, mm, LPS."""
    orientation: Vector | None
    """(6,) direction of a row, then of a column."""
    spacing: Vector | None
    """(2,) mm between rows, then between columns."""
    rows: int
    columns: int

    @property
    def name(self) -> str:
        """What to call it in messages: no identifier of anybody."""
        return "without number" if self.number is None else str(self.number)


@dataclass(frozen=True, slots=True)
class Headers:
    """What was read of a set of files."""

    instances: list[Instance] = field(default_factory=list)
    unreadable: int = 0
    """Files that say they are DICOM and cannot be parsed."""
    deflated: int = 0
    """Files whose header is compressed as a whole: they are not read."""


def read_headers(paths: Iterable[Path]) -> Headers:
    """Read headers; the same object sent twice counts once."""
    found: dict[str, Instance] = {}
    unreadable = deflated = 0
    for path in paths:
        if _is_deflated(path):
            deflated += 1
        elif (instance := _read(path)) is None:
            unreadable += 1
        else:
            found.setdefault(instance.sop_uid, instance)
    return Headers(list(found.values()), unreadable, deflated)


def instance_of(header: pydicom.Dataset, path: Path | None = None) -> Instance | None:
    """What is needed of one header; None where it names no object or series.

    Raises
    ------
    UNPARSABLE
        A value is not what its type says.
    """
    series, sop = _text(header, "SeriesInstanceUID"), _text(header, "SOPInstanceUID")
    if not series or not sop:
        return None
    return Instance(
        path=path,
        header=header,
        series_uid=series,
        sop_uid=sop,
        sop_class=_text(header, "SOPClassUID"),
        number=_whole(header, "InstanceNumber"),
        frames=_whole(header, "NumberOfFrames") or 1,
        position=vector(header, "ImagePositionPatient", 3),
        orientation=vector(header, "ImageOrientationPatient", 6),
        spacing=vector(header, "PixelSpacing", 2),
        rows=_whole(header, "Rows") or 0,
        columns=_whole(header, "Columns") or 0,
    )


UNPARSABLE = Exception
"""What the parser raises on headers that are none: anything, as fuzzing shows."""


def attribute(header: pydicom.Dataset, keyword: str) -> Any:
    """An attribute's value; None where it is absent or, once looked at, cannot be parsed."""
    try:
        return header.get(keyword)
    except UNPARSABLE:
        return None


def vector(header: pydicom.Dataset, keyword: str, length: int) -> Vector | None:
    """A list of numbers; None where it is absent, of another length or not finite."""
    value = attribute(header, keyword)
    if value is None or not hasattr(value, "__len__") or len(value) != length:
        return None
    try:
        numbers = np.array([float(part) for part in value])
    except (TypeError, ValueError):
        return None
    return numbers if np.isfinite(numbers).all() else None


def number(header: pydicom.Dataset, keyword: str) -> float | None:
    """A number; None where it is absent, or is none."""
    try:
        value = float(attribute(header, keyword))
    except (OverflowError, TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _is_deflated(path: Path) -> bool:
    """Whether the parser would inflate the file, whole and without bound, to read its header."""
    try:
        syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    except UNPARSABLE:
        return False
    return bool(syntax == DeflatedExplicitVRLittleEndian)


def _read(path: Path) -> Instance | None:
    try:
        return instance_of(
            pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(NEEDED)), path
        )
    except UNPARSABLE:
        return None


def _text(header: pydicom.Dataset, keyword: str) -> str:
    value = attribute(header, keyword)
    return "" if value is None else str(value).strip()


def _whole(header: pydicom.Dataset, keyword: str) -> int | None:
    found = number(header, keyword)
    return None if found is None else int(found)
