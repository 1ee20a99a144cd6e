"""Write a case's report: lesions.csv, report.json, report.fhir.json, report.html, report.pdf."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core.artefacts import (
    LESION_TABLE,
    REPORT_FHIR,
    REPORT_HTML,
    REPORT_JSON,
    REPORT_PDF,
    whole_file,
    write_text,
)
from dlb_core.errors import GridMismatch
from dlb_core.report.document import Report
from dlb_core.report.fhir import fhir_bundle
from dlb_core.report.figures import Material, draw_figures
from dlb_core.report.language import ENGLISH, Language, speaking
from dlb_core.report.pdf import render_pdf
from dlb_core.report.render import render_html
from dlb_core.report.statements import write_content
from dlb_core.report.tables import lesion_csv
from dlb_core.template import MNI_GRID
from dlb_core.volume import Mask


def write_report(
    output: Path,
    report: Report,
    *,
    t1w: NDArray[np.float32],
    flair: NDArray[np.float32],
    mask: Mask,
    labels: NDArray[np.int32],
    probability: NDArray[np.floating[Any]],
    agreement: NDArray[np.floating[Any]],
    brain_mask: Mask,
    language: Language = ENGLISH,
) -> None:
    """Write the five files of a report, each whole or not at all.

    Parameters
    ----------
    output : Path
        The job's folder, which exists.
    report : Report
        What was measured.
    t1w, flair : (181, 217, 181) float32
        Preprocessed, on the MNI grid, zero outside the brain.
    mask, brain_mask : (181, 217, 181) bool
        Lesions and brain.
    labels : (181, 217, 181) int32
        Lesion numbers, those of `report.lesions`.
    probability, agreement : (181, 217, 181) float
        Mean lesion probability, and votes / coverage; in [0, 1].
    language : Language
        Of what people read; what programs read is English.

    Raises
    ------
    GridMismatch
        An array is not on the MNI grid.
    """
    arrays = (t1w, flair, mask, labels, probability, agreement, brain_mask)
    if any(array.shape != MNI_GRID.shape for array in arrays):
        raise GridMismatch(
            f"The report is drawn on the MNI grid of {MNI_GRID.shape} voxels, but was given "
            f"{sorted({array.shape for array in arrays})}: resample to that grid first."
        )
    material = Material(
        t1w=t1w,
        flair=flair,
        mask=mask,
        labels=labels,
        probability=probability,
        agreement=agreement,
        brain_mask=brain_mask,
    )
    with speaking(language):
        figures = draw_figures(material, report.lesions)
        content = write_content(report, figures.unseen)
        page = render_html(content, figures)
        document = render_pdf(content, figures)
    write_text(output / LESION_TABLE, lesion_csv(report.lesions))
    write_text(output / REPORT_JSON, report.model_dump_json(indent=2) + "\n")
    write_text(output / REPORT_FHIR, fhir_bundle(report))
    write_text(output / REPORT_HTML, page)
    with whole_file(output / REPORT_PDF) as file:
        file.write(document)
