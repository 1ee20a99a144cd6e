"""A job's folder of results: fixed names, and a file lands whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dlb_core.contracts import ArtefactEntry
from dlb_core.errors import CorrectionsExist
from dlb_core.versions import versions_in

MASK_FLAIR = "space-FLAIR_label-lesion_mask.nii.gz"
MASK_T1W = "space-T1w_label-lesion_mask.nii.gz"
MASK_MNI = "space-MNI152_label-lesion_mask.nii.gz"
PROBABILITY_MNI = "space-MNI152_label-lesion_probseg.nii.gz"
VOTES_MNI = "space-MNI152_desc-votes_dseg.nii.gz"
COVERAGE_MNI = "space-MNI152_desc-coverage_dseg.nii.gz"
LESION_LABELS_MNI = "space-MNI152_desc-lesions_dseg.nii.gz"
BRAIN_T1W = "space-T1w_desc-brain_T1w.nii.gz"
BRAIN_FLAIR = "space-FLAIR_desc-brain_FLAIR.nii.gz"
PREPROCESSED_T1W = "space-MNI152_desc-preproc_T1w.nii.gz"
PREPROCESSED_FLAIR = "space-MNI152_desc-preproc_FLAIR.nii.gz"
BRAIN_MASK_MNI = "space-MNI152_desc-brain_mask.nii.gz"
T1W_TO_MNI = "from-T1w_to-MNI152_xfm.txt"
FLAIR_TO_T1W = "from-FLAIR_to-T1w_xfm.txt"
LESION_TABLE = "lesions.csv"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
REPORT_PDF = "report.pdf"
REPORT_FHIR = "report.fhir.json"
RUN_JSON = "run.json"
DICOM_SEG = "lesions.seg.dcm"
DICOM_SR = "measurements.sr.dcm"
DICOM_PDF = "report.pdf.dcm"
DICOM_SERIES = "dicom-series.json"
DICOM_KEPT = ".dicom.json"
"""What is kept of the FLAIR series: for versions that readers make; no result itself."""

MEDIA_TYPES = {
    ".nii.gz": "application/gzip",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".fhir.json": "application/fhir+json",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".pdf": "application/pdf",
    ".dcm": "application/dicom",
}


ALL = (
    RUN_JSON,
    REPORT_JSON,
    REPORT_HTML,
    REPORT_PDF,
    REPORT_FHIR,
    LESION_TABLE,
    MASK_FLAIR,
    MASK_T1W,
    MASK_MNI,
    PROBABILITY_MNI,
    VOTES_MNI,
    COVERAGE_MNI,
    LESION_LABELS_MNI,
    BRAIN_T1W,
    BRAIN_FLAIR,
    PREPROCESSED_T1W,
    PREPROCESSED_FLAIR,
    BRAIN_MASK_MNI,
    T1W_TO_MNI,
    FLAIR_TO_T1W,
)
"""What a finished case has; the record of the run first."""


NEEDED = (
    RUN_JSON,
    REPORT_JSON,
    MASK_FLAIR,
    MASK_T1W,
    MASK_MNI,
    PROBABILITY_MNI,
    VOTES_MNI,
    COVERAGE_MNI,
    PREPROCESSED_T1W,
    PREPROCESSED_FLAIR,
    BRAIN_MASK_MNI,
)
"""What a case can be measured and reported from anew."""


DICOM = (DICOM_SEG, DICOM_SR, DICOM_PDF, DICOM_SERIES)
"""What a case that came as DICOM has besides."""


def clear_artefacts(folder: Path) -> None:
    """Make the folder, or empty it of an earlier case's artefacts, so that two never mix.

    Raises
    ------
    CorrectionsExist
        A reader has corrected the earlier case: that is not to be lost by accident.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if len(versions_in(folder)) > 1:
        raise CorrectionsExist(
            "the folder holds a reader's corrections of an earlier case: choose another folder"
        )
    for name in (*ALL, *DICOM, DICOM_KEPT):
        (folder / name).unlink(missing_ok=True)


def media_type(name: str) -> str:
    """Media type of an artefact, by the end of its name."""
    return next(kind for end, kind in MEDIA_TYPES.items() if name.endswith(end))


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; it takes its place, fsynced, only on success."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole."""
    with whole_file(path) as file:
        file.write(text.encode())


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_artefacts(folder: Path) -> list[ArtefactEntry]:
    """Every finished file of a folder, by name, with size and digest."""
    return [
        ArtefactEntry(
            name=path.name,
            media_type=media_type(path.name),
            size_bytes=path.stat().st_size,
            sha256=sha256_of(path),
        )
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
