"""Write a comparison: numbers, pages and images, each file whole or not at all."""

from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlb_core.artefacts import whole_file, write_text
from dlb_core.longitudinal import files
from dlb_core.longitudinal.changes import CHANGED
from dlb_core.longitudinal.compare import Compared
from dlb_core.longitudinal.content import ChangeContent
from dlb_core.longitudinal.document import ChangeStatus
from dlb_core.longitudinal.figures import ChangeFigures, draw_changes
from dlb_core.longitudinal.pdf import render_change_pdf
from dlb_core.longitudinal.space import HALF_WAY_GRID
from dlb_core.longitudinal.statements import write_change_content
from dlb_core.longitudinal.tables import change_csv
from dlb_core.nifti import write_volume
from dlb_core.report.language import ENGLISH, Language, speaking
from dlb_core.report.render import page_environment
from dlb_core.resampling import resample
from dlb_core.volume import Volume


class ChangeLabel(IntEnum):
    """Values of the change mask."""

    NEW = 1
    GAINED = 2
    """By a lesion that was there before."""
    LOST = 3
    """By a lesion that is still there."""
    RESOLVED = 4


def write_comparison(output: Path, compared: Compared, language: Language = ENGLISH) -> None:
    """Write all files of a comparison.

    Parameters
    ----------
    output : Path
        Made if missing; an earlier comparison in it is replaced.
    compared : Compared
    language : Language
        Of what people read; what programs read is English.
    """
    files.clear_comparison(output)
    with speaking(language):
        figures = draw_changes(compared)
        content = write_change_content(compared.comparison, figures.unseen)
        page = render_change_html(content, figures)
        printed = render_change_pdf(content, figures)
    _write_images(output, compared)
    write_text(output / files.CHANGE_TABLE, change_csv(compared.comparison.lesions))
    write_text(output / files.COMPARISON_HTML, page)
    with whole_file(output / files.COMPARISON_PDF) as file:
        file.write(printed)
    document = compared.comparison.model_dump_json(indent=2) + "\n"
    write_text(output / files.COMPARISON_JSON, document)


def render_change_html(content: ChangeContent, figures: ChangeFigures) -> str:
    """Lay the comparison out as one page that needs nothing else."""
    environment = page_environment("dlb_core.longitudinal", "dlb_core.report")
    template = environment.get_template("comparison.html.j2")
    return template.render(content=content, figures=figures)


def change_mask(compared: Compared) -> NDArray[np.uint8]:
    """A `ChangeLabel` at every voxel that changed, on the half-way grid; else 0."""
    joint, lesions = compared.joint, compared.comparison.lesions
    first, second = joint.first_labels > 0, joint.second_labels > 0
    gained, lost = (np.zeros(len(lesions) + 1, dtype=np.uint8) for _ in range(2))
    for lesion in lesions:
        if lesion.status in CHANGED:
            new = lesion.status is ChangeStatus.NEW
            gone = lesion.status is ChangeStatus.RESOLVED
            gained[lesion.id] = ChangeLabel.NEW if new else ChangeLabel.GAINED
            lost[lesion.id] = ChangeLabel.RESOLVED if gone else ChangeLabel.LOST
    grown = np.where(second & ~first, gained[compared.groups], 0)
    mask: NDArray[np.uint8] = np.where(first & ~second, lost[compared.groups], grown)
    return mask


def _write_images(output: Path, compared: Compared) -> None:
    mask = change_mask(compared)
    pair, affine = compared.pair, HALF_WAY_GRID.affine
    write_volume(output / files.CHANGE_MASK, Volume(mask, affine), dtype=np.uint8)
    write_volume(output / files.GROUPS, Volume(compared.groups, affine), dtype=np.int32)
    for name, image in zip(files.FLAIRS, (pair.first, pair.second), strict=True):
        write_volume(output / name, Volume(image, affine), dtype=np.float32)
    difference = Volume(compared.evidence.difference, affine)
    write_volume(output / files.DIFFERENCE, difference, dtype=np.float32)
    ways = zip(
        files.CHANGE_MASKS_NATIVE,
        compared.visits,
        (compared.halfway.first, compared.halfway.second),
        strict=True,
    )
    for name, visit, to_half in ways:
        native = resample(Volume(mask, affine), visit.flair_grid, np.linalg.inv(to_half), order=0)
        write_volume(output / name, Volume(native, visit.flair.affine), dtype=np.uint8)
