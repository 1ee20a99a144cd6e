"""The labelled cases of an evaluation: from a data set's files, or from a prepared cache.

From files a case is preprocessed here, and masks are compared on the reference's own grid, in
the patient's own mm. From a cache nothing is preprocessed again, and masks are compared on the
MNI grid, in the template's mm: a prepared case no longer knows its way back.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dlb_core.contracts import Progress, ProgressCallback, Stage
from dlb_core.errors import BadOption, InputError
from dlb_core.lesions import patient_voxel_mm3
from dlb_core.nifti import read_volume
from dlb_core.preprocessing.steps import preprocess_case
from dlb_core.quality import assess, require_passed
from dlb_core.template import MNI_GRID
from dlb_core.training.cache import CachedCase, open_cache
from dlb_core.training.participants import Row, read_table, refuse
from dlb_core.training.sources import check_sources, describe_sources, read_lesions, same_grid
from dlb_core.volume import Affine, Grid, Mask


class Space(StrEnum):
    """Where masks are compared and volumes measured."""

    NATIVE = "native"
    """The reference mask's own grid; the patient's mm."""
    MNI = "mni"
    """The MNI grid; the template's mm, in which every brain is about as large as the template."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadyCase:
    """A case as the networks see it, with the expert's mask."""

    image: NDArray[np.float32]
    """(2, I, J, K) on `MNI_GRID`: T1w and FLAIR, white matter at 1, 0 outside the brain."""
    brain_mask: Mask
    """On `MNI_GRID`."""
    reference: Mask
    """On `grid`."""
    grid: Grid
    """Where masks are compared."""
    to_mni: Affine | None
    """World mm of `grid` -> MNI world mm; None where `grid` is `MNI_GRID` itself."""
    mni_voxel_mm3: float
    """What a voxel of the MNI grid measures in the space of `grid`."""


class Case(Protocol):
    """A labelled case that can be made ready when it is its turn."""

    @property
    def name(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def session(self) -> str: ...
    @property
    def domain(self) -> str: ...

    def digest(self) -> str:
        """SHA-256 of all that goes in: another digest, another result."""
        ...

    def ready(self, on_progress: ProgressCallback) -> ReadyCase:
        """Read, and preprocess where that was not done yet."""
        ...


@dataclass(frozen=True, slots=True)
class CaseList:
    """What there is to evaluate on."""

    source: str
    """Name of the folder it comes from."""
    space: Space
    cases: tuple[Case, ...]
    """At least one, each with a name of its own."""
    skipped: dict[str, str]
    """Cases that cannot be scored -> why."""


def from_dataset(
    dataset: Path,
    *,
    subjects: frozenset[str] = frozenset(),
    ignore_quality_failures: bool = False,
) -> CaseList:
    """Labelled cases of a data set, to be compared on their references' grids.

    Parameters
    ----------
    dataset : Path
        Folder with the table that `dlb dataset prepare` reads; several raters' masks are fused as
        it says.
    subjects : frozenset of str
        Only these persons' cases; all where empty.
    ignore_quality_failures : bool
        Go on with a case whose images fail a quality check.

    Raises
    ------
    InputError
        Lists every bad row with its reason; or no row is a labelled case.
    BadOption
        A subject is not in it.
    """
    table = read_table(dataset)
    rows = [row for row in table.rows if not subjects or row.subject in subjects]
    labelled = [row for row in rows if row.t1w and row.flair and row.lesions]
    refuse(table.file, [*table.faults, *(f for row in labelled for f in check_sources(row))])
    _require_known(subjects, {row.subject for row in rows})
    cases = tuple(_RowCase(row, ignore_quality_failures) for row in labelled)
    skipped = {row.name: _NO_LABEL for row in rows if row not in labelled}
    return _require_some(CaseList(dataset.resolve().name, Space.NATIVE, cases, skipped))


def from_cache(cache: Path, *, subjects: frozenset[str] = frozenset()) -> CaseList:
    """Labelled cases of a prepared cache, to be compared on the MNI grid.

    Raises
    ------
    InputError
        The folder is no cache, or holds no labelled case.
    BadOption
        A subject is not in it.
    """
    everyone = open_cache(cache)
    found = [case for case in everyone if not subjects or case.entry.subject in subjects]
    _require_known(subjects, {case.entry.subject for case in found})
    skipped = {case.entry.name: _NO_LABEL for case in found if not case.is_labelled}
    cases = tuple(_PreparedCase(case) for case in found if case.is_labelled)
    return _require_some(CaseList(cache.resolve().name, Space.MNI, cases, skipped))


_NO_LABEL = "no T1w and FLAIR with a lesion mask"


@dataclass(frozen=True, slots=True)
class _RowCase:
    """A row of the table."""

    row: Row
    ignore_quality_failures: bool

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def subject(self) -> str:
        return self.row.subject

    @property
    def session(self) -> str:
        return self.row.session

    @property
    def domain(self) -> str:
        return self.row.domain

    def digest(self) -> str:
        sources = describe_sources(self.row)
        checks = f"quality failures ignored: {self.ignore_quality_failures}"
        described = (f"{what} {sources[what]}" for what in sorted(sources))
        return _digest_of([Space.NATIVE, checks, *described])

    def ready(self, on_progress: ProgressCallback) -> ReadyCase:
        assert self.row.t1w is not None
        assert self.row.flair is not None
        flair = read_volume(self.row.flair, role="FLAIR")
        case = preprocess_case(
            read_volume(self.row.t1w, role="T1w"),
            flair,
            input_state=self.row.input_state,
            on_progress=on_progress,
        )
        on_progress(Progress(stage=Stage.QUALITY_CONTROL))
        if not self.ignore_quality_failures:
            require_passed(assess(case))
        lesions = read_lesions(self.row)
        grid = lesions.grid
        return ReadyCase(
            image=np.stack([case.t1w, case.flair]),
            brain_mask=case.brain_mask,
            reference=lesions.data > 0,
            grid=grid,
            to_mni=case.flair_to_mni if same_grid(grid, flair.grid) else case.t1w_to_mni,
            mni_voxel_mm3=patient_voxel_mm3(case.t1w_to_mni),
        )


@dataclass(frozen=True, slots=True)
class _PreparedCase:
    """A case of a cache."""

    case: CachedCase

    @property
    def name(self) -> str:
        return self.case.entry.name

    @property
    def subject(self) -> str:
        return self.case.entry.subject

    @property
    def session(self) -> str:
        return self.case.entry.session

    @property
    def domain(self) -> str:
        return self.case.entry.domain

    def digest(self) -> str:
        contents = (hashlib.sha256(array.tobytes()).hexdigest() for array in self._arrays())
        return _digest_of([Space.MNI, *contents])

    def ready(self, on_progress: ProgressCallback) -> ReadyCase:
        on_progress(Progress(stage=Stage.READING))
        image, lesions = self._arrays()
        image = np.asarray(image, dtype=np.float32)
        return ReadyCase(
            image=image,
            brain_mask=image[0] > 0,
            reference=np.asarray(lesions > 0),
            grid=MNI_GRID,
            to_mni=None,
            mni_voxel_mm3=MNI_GRID.voxel_mm3,
        )

    def _arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        assert self.case.image is not None
        assert self.case.lesions is not None
        return self.case.image, self.case.lesions


def _require_known(wanted: frozenset[str], found: set[str]) -> None:
    unknown = sorted(wanted - found)
    if unknown:
        raise BadOption(f"there is no case of subject {', '.join(unknown)}")


def _require_some(found: CaseList) -> CaseList:
    if not found.cases:
        raise InputError(
            f"{found.source} holds no labelled case: a case is scored only if its row gives t1w, "
            "flair and lesions"
        )
    return found


def _digest_of(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
