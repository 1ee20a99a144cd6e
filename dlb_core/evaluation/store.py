"""Finished results on disk, so that an evaluation goes on where it was interrupted.

Each case has a folder; in it each method has a mask on the grid of the comparison and, written
after it, a record. A record is good for one key only: the digest of the case's input, the
method's digest and the software's version.
"""

from pathlib import Path

import numpy as np
from pydantic import ValidationError

from dlb_core.artefacts import write_text
from dlb_core.contracts import Message
from dlb_core.evaluation.scores import Scores
from dlb_core.nifti import read_mask, write_volume
from dlb_core.volume import Grid, Mask, Volume


class CaseResult(Message):
    """One case scored with one method."""

    case: str
    subject: str
    session: str
    domain: str
    method: str
    key: str
    scores: Scores
    cpu_s: float
    remark: str = ""


class ResultStore:
    """Results below one folder.

    Parameters
    ----------
    folder : Path
        Made when the first result is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, case: str, method: str, key: str) -> CaseResult | None:
        """A finished result, if there is one with this key."""
        try:
            found = CaseResult.model_validate_json(self._record(case, method).read_bytes())
        except (OSError, ValidationError):
            return None
        complete = found.key == key and self.mask_path(case, method).exists()
        return found if complete else None

    def save(self, result: CaseResult, mask: Mask, grid: Grid) -> None:
        """Write a mask, then its record."""
        path = self.mask_path(result.case, result.method)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._record(result.case, result.method).unlink(missing_ok=True)
        write_volume(path, Volume(mask, grid.affine), dtype=np.uint8)
        write_text(
            self._record(result.case, result.method), result.model_dump_json(indent=1) + "\n"
        )

    def mask(self, case: str, method: str) -> Mask:
        """The mask of a finished result."""
        return np.asarray(read_mask(self.mask_path(case, method), role="saved mask").data > 0)

    def mask_path(self, case: str, method: str) -> Path:
        """Where a mask lies."""
        return self._folder / case / f"{method}_mask.nii.gz"

    def _record(self, case: str, method: str) -> Path:
        return self._folder / case / f"{method}.json"
