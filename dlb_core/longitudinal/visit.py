"""One visit, as `dlb segment` or the service left it in a folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage

from dlb_core import artefacts
from dlb_core.errors import BadOption
from dlb_core.lesions import Labels
from dlb_core.longitudinal.rules import days_between
from dlb_core.nifti import read_values
from dlb_core.report.document import InputRecord, Report, RunRecord
from dlb_core.volume import Affine, Grid, Mask, Volume

_HALF = 0.5
_JUST_BELOW = 1e-3
_HOLE = 2
"""Voxels: zeros within the brain are no background."""

NEEDED = (
    artefacts.REPORT_JSON,
    artefacts.RUN_JSON,
    artefacts.BRAIN_FLAIR,
    artefacts.PREPROCESSED_FLAIR,
    artefacts.VOTES_MNI,
    artefacts.COVERAGE_MNI,
    artefacts.MASK_MNI,
    artefacts.LESION_LABELS_MNI,
)
"""What a folder must hold to be compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """What was found at one visit; `mni` arrays are (181, 217, 181)."""

    report: Report
    run: RunRecord
    flair: Volume
    """As the scanner sent it, zero outside the brain."""
    flair_brain: Mask
    preprocessed: NDArray[np.float32]
    """FLAIR on the MNI grid, free of bias, white matter at 1."""
    agreement: NDArray[np.float32]
    """Share of the networks for lesion; above a half in the mask, and only there."""
    labels: Labels
    """Numbers of `report.lesions`, on the MNI grid."""

    @property
    def flair_to_mni(self) -> Affine:
        """FLAIR world mm -> MNI world mm."""
        return np.asarray(np.array(self.run.t1w_to_mni) @ np.array(self.run.flair_to_t1w))

    @property
    def flair_grid(self) -> Grid:
        """The FLAIR's own."""
        return self.flair.grid

    def input(self, role: str) -> InputRecord:
        """What is on record of an input."""
        return next(record for record in self.run.inputs if record.role == role)


def interval_days(first: Visit, second: Visit) -> int | None:
    """Days from the first scan to the second; None where a date was not given."""
    return days_between(first.report.scan_date, second.report.scan_date)


def read_visit(folder: Path, *, name: str) -> Visit:
    """Read what comparing needs.

    Parameters
    ----------
    folder : Path
        Results of one case.
    name : str
        "first" or "second", for messages.

    Raises
    ------
    BadOption
        The folder does not hold a whole result.
    """
    missing = [file for file in NEEDED if not (folder / file).is_file()]
    if missing:
        raise BadOption(
            f"The {name} folder has no {missing[0]}: name a folder that `dlb segment` wrote."
        )
    try:
        report = Report.model_validate_json((folder / artefacts.REPORT_JSON).read_text())
        run = RunRecord.model_validate_json((folder / artefacts.RUN_JSON).read_text())
    except ValidationError as error:
        raise BadOption(
            f"The {name} folder's reports are of another version: segment its scans again."
        ) from error
    flair = read_values(folder / artefacts.BRAIN_FLAIR, role="FLAIR")
    filled = ndimage.binary_closing(flair.data > 0, iterations=_HOLE)
    return Visit(
        report=report,
        run=run,
        flair=flair,
        flair_brain=np.asarray(ndimage.binary_fill_holes(filled), dtype=bool),
        preprocessed=_read(folder, artefacts.PREPROCESSED_FLAIR),
        agreement=_agreement(folder),
        labels=_read(folder, artefacts.LESION_LABELS_MNI).astype(np.int32),
    )


def _agreement(folder: Path) -> NDArray[np.float32]:
    """Votes over coverage, held to what the mask says: small lesions and readers' edits count."""
    votes, coverage = _read(folder, artefacts.VOTES_MNI), _read(folder, artefacts.COVERAGE_MNI)
    mask = _read(folder, artefacts.MASK_MNI) > _HALF
    share = np.divide(votes, coverage, out=np.zeros_like(votes), where=coverage > 0)
    held = np.where(mask, np.maximum(share, _HALF), np.minimum(share, _HALF - _JUST_BELOW))
    return held.astype(np.float32)


def _read(folder: Path, name: str) -> NDArray[np.float32]:
    data: NDArray[np.float32] = read_values(folder / name, role="result").data
    return data
