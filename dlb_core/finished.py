"""Read a finished case back from its folder of results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import ValidationError

from dlb_core import artefacts
from dlb_core.errors import ResultsUnusable
from dlb_core.measurement import Evidence
from dlb_core.nifti import read_values
from dlb_core.report.document import Report, RunRecord
from dlb_core.template import MNI_GRID
from dlb_core.tissue import Intracranial
from dlb_core.validation import check_header
from dlb_core.volume import Grid

Document = TypeVar("Document", Report, RunRecord)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedCase:
    """What a folder of results says, and the maps on the MNI grid that it was measured from."""

    folder: Path
    report: Report
    run: RunRecord
    evidence: Evidence


def read_case(folder: Path) -> FinishedCase:
    """Read a folder that `dlb segment` or a worker wrote.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ResultsUnusable
        A file is missing, or another version wrote it in another form; the file is named.
    """
    missing = [name for name in artefacts.NEEDED if not (folder / name).is_file()]
    if missing:
        raise ResultsUnusable(
            f"the results lack {missing[0]}: name a whole folder of results, or segment again"
        )
    report = _document(folder / artefacts.REPORT_JSON, Report)
    run = _document(folder / artefacts.RUN_JSON, RunRecord)
    return FinishedCase(folder, report, run, _evidence(folder, report, run))


def read_map(folder: Path, name: str, dtype: DTypeLike) -> NDArray[Any]:
    """One of the maps on the MNI grid.

    Raises
    ------
    ResultsUnusable
        It lies on another grid.
    """
    data = read_values(folder / name, role=name).data
    if data.shape != MNI_GRID.shape:
        raise ResultsUnusable(f"{name} is not on the MNI grid of {MNI_GRID.shape} voxels")
    return np.asarray(data > 0.5 if np.dtype(dtype) == bool else data, dtype=dtype)


def _evidence(folder: Path, report: Report, run: RunRecord) -> Evidence:
    t1w_to_mni = np.array(run.t1w_to_mni)
    return Evidence(
        t1w=read_map(folder, artefacts.PREPROCESSED_T1W, np.float32),
        flair=read_map(folder, artefacts.PREPROCESSED_FLAIR, np.float32),
        brain_mask=read_map(folder, artefacts.BRAIN_MASK_MNI, bool),
        probability=read_map(folder, artefacts.PROBABILITY_MNI, np.float32),
        votes=read_map(folder, artefacts.VOTES_MNI, np.uint8),
        coverage=read_map(folder, artefacts.COVERAGE_MNI, np.uint8),
        t1w_to_mni=t1w_to_mni,
        flair_to_mni=t1w_to_mni @ np.array(run.flair_to_t1w),
        native_t1w=_grid(folder / artefacts.MASK_T1W),
        native_flair=_grid(folder / artefacts.MASK_FLAIR),
        brain_volume_ml=report.totals.brain_volume_ml,
        intracranial=Intracranial(
            report.totals.intracranial_volume_ml, report.totals.intracranial_gap
        ),
    )


def _grid(path: Path) -> Grid:
    facts = check_header(path, role=path.name)
    return Grid(facts.shape, facts.affine)


def _document(path: Path, kind: type[Document]) -> Document:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ResultsUnusable(
            f"{path.name} was written by another version in another form: segment again"
        ) from error
