"""Write a finished case's DICOM objects beside its other results.

Loads highdicom, which takes a second: for cases that came as DICOM, in the process of the case.
"""

import io
import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from dlb_core import artefacts
from dlb_core.artefacts import whole_file, write_text
from dlb_core.dicom.convert import find_turn
from dlb_core.dicom.reference import Reference, read_reference
from dlb_core.dicom.results.document import encapsulated_pdf
from dlb_core.dicom.results.maker import Maker, digest
from dlb_core.dicom.results.measurements import measurement_report
from dlb_core.dicom.results.segmentation import segmentation
from dlb_core.nifti import read_mask
from dlb_core.report.document import Report


def write_dicom(folder: Path, reference_path: Path) -> None:
    """Add DICOM objects to a finished case's folder.

    Parameters
    ----------
    folder : Path
        Holds the mask in FLAIR space, report.json and perhaps report.pdf.
    reference_path : Path
        What intake has kept of the FLAIR series.

    Raises
    ------
    SeriesDefective
        The mask does not lie on the series' voxels.
    """
    # highdicom logs and warns of what is unusual in a header, and quotes it.
    logging.getLogger("highdicom").setLevel(logging.CRITICAL)
    reference = read_reference(reference_path)
    report = Report.model_validate_json((folder / artefacts.REPORT_JSON).read_bytes())
    mask = _mask(folder / artefacts.MASK_FLAIR, reference)
    maker = Maker(
        report, str(reference.headers[0].SeriesInstanceUID), digest(np.packbits(mask).tobytes())
    )
    with warnings.catch_warnings():
        # A process of its own has no other threads that this could confuse.
        warnings.simplefilter("ignore")
        segmented = segmentation(mask, reference, maker)
        measured = measurement_report(segmented, reference, maker)
        for made, name in ((segmented, artefacts.DICOM_SEG), (measured, artefacts.DICOM_SR)):
            _say_how_deidentified(made, reference)
            _write(folder / name, made)
        pdf = folder / artefacts.REPORT_PDF
        if pdf.exists():
            document = encapsulated_pdf(pdf.read_bytes(), reference, maker)
            _write(folder / artefacts.DICOM_PDF, document)
    explanation = [asdict(entry) for entry in reference.explanation]
    write_text(folder / artefacts.DICOM_SERIES, json.dumps(explanation, indent=2) + "\n")
    write_text(folder / artefacts.DICOM_KEPT, reference_path.read_text(encoding="utf-8"))


def _mask(path: Path, reference: Reference) -> NDArray[np.bool_]:
    """The mask, on the series' own images."""
    volume = read_mask(path, role="lesion mask")
    turn = find_turn(volume.grid, reference.stack, role="FLAIR")
    turned: NDArray[np.bool_] = turn.apply(volume.data) > 0.5
    return turned


def _say_how_deidentified(made: pydicom.Dataset, reference: Reference) -> None:
    """The library takes over that a patient was removed, and not how."""
    keyword = "DeidentificationMethodCodeSequence"
    if keyword in reference.headers[0]:
        made[keyword] = reference.headers[0][keyword]


def _write(path: Path, made: pydicom.Dataset) -> None:
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    with whole_file(path) as file:
        file.write(buffer.getvalue())
