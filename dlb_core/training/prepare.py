"""Fill a training cache: from files on disk to arrays in MNI space.

`dlb_core.training.participants` says what a data set's table holds. Nothing is prepared before
every new or changed row has been checked. A cache entry keeps the digests of what it was made
from: a case whose files or settings have changed since is prepared again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.errors import InputError, StageFailed
from dlb_core.nifti import read_volume
from dlb_core.preprocessing.registration import register_affine
from dlb_core.preprocessing.steps import PreprocessedCase, preprocess_case
from dlb_core.resampling import resample
from dlb_core.template import MNI_GRID
from dlb_core.training.cache import (
    IMAGE,
    LESIONS,
    TISSUES,
    CaseEntry,
    filling,
    is_whole,
    read_index,
    relabel_cases,
    remove_cases,
    write_case,
)
from dlb_core.training.participants import Row, read_table, refuse
from dlb_core.training.sources import check_sources, describe_sources, read_lesions, same_grid
from dlb_core.volume import Affine, Volume

PSEUDO_T1W = np.array([0, 0.3, 0.68, 1.0, 0.9], dtype=np.float32)
"""Intensity per tissue label: enough of a T1w to register a label map by."""
NATIVE_TO_TEMPLATE = np.diag([1.15, 1.15, 1.26, 1.0])
"""Rigidly aligned brains are smaller than the template; the average affine of real cases."""
NATIVE_TO_TEMPLATE[:3, 3] = (0.0, 5.0, -9.0)

NEW = "new"

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Task:
    """One case to prepare."""

    row: Row
    entry: CaseEntry
    reason: str
    """`NEW`, or what has changed since it was prepared."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a table asks of a cache."""

    tasks: list[Task] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    relabelled: list[CaseEntry] = field(default_factory=list)
    """Another subject, session or domain; the arrays stay."""
    unlisted: list[str] = field(default_factory=list)
    """In the cache, not in the table."""
    ignored_columns: list[str] = field(default_factory=list)


def prepare_dataset(
    dataset: Path,
    cache: Path,
    *,
    prune: bool = False,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_case: Callable[[str, int, int], None] = lambda *_: None,
) -> Plan:
    """Bring a cache up to a data set's table.

    Cases that failed do not stop the others: they are reported at the end.

    Parameters
    ----------
    dataset : Path
        Folder with the table, see `dlb_core.training.participants`.
    cache : Path
        Made if missing; see `dlb_core.training.cache`.
    prune : bool
        Remove cases that are not in the table. Otherwise they stay: they may be another
        data set's.
    on_plan : callable
        Told what will be done, before it is.
    on_case : callable
        Told the case's name, how many are done, and of how many.

    Returns
    -------
    Plan
        What was done.

    Raises
    ------
    InputError
        Lists every bad row with its reason, and nothing was changed; or lists the cases whose
        images could not be preprocessed, and all others are in the cache.
    RunBusy
        Another process fills this cache.
    """
    with filling(cache):
        plan = _plan(dataset, cache)
        on_plan(plan)
        _follow(plan, cache, prune, on_case)
    return plan


def _plan(dataset: Path, cache: Path) -> Plan:
    table = read_table(dataset)
    present = {entry.name: entry for entry in read_index(cache)}
    listed = {row.name for row in table.rows}
    plan = Plan(
        unlisted=[name for name in present if name not in listed], ignored_columns=table.ignored
    )
    for row in table.rows:
        _decide(plan, cache, row, present.get(row.name))
    broken = (fault for task in plan.tasks for fault in check_sources(task.row))
    refuse(table.file, [*table.faults, *broken])
    return plan


def _decide(plan: Plan, cache: Path, row: Row, present: CaseEntry | None) -> None:
    entry = CaseEntry(
        name=row.name,
        subject=row.subject,
        session=row.session,
        domain=row.domain,
        arrays=row.arrays,
        made_from=describe_sources(row),
    )
    reason = _reason(cache, entry, present)
    if present is None or reason:
        plan.tasks.append(Task(row, entry, reason or NEW))
    elif (labelled := entry.model_copy(update={"folder": present.folder})) != present:
        plan.relabelled.append(labelled)
    else:
        plan.unchanged.append(row.name)


def _reason(cache: Path, wanted: CaseEntry, present: CaseEntry | None) -> str:
    """Why a case that is there must be prepared again; empty if it need not be."""
    if present is None:
        return ""
    if not present.made_from:
        return "it is not known from what it was made"
    if wanted.made_from != present.made_from:
        keys = sorted(wanted.made_from.keys() | present.made_from.keys())
        changed = [k for k in keys if wanted.made_from.get(k) != present.made_from.get(k)]
        return f"changed: {', '.join(changed)}"
    return "" if is_whole(cache, present) else "its arrays are damaged"


def _follow(plan: Plan, cache: Path, prune: bool, on_case: Callable[[str, int, int], None]) -> None:
    if plan.relabelled:
        relabel_cases(cache, plan.relabelled)
    # Gone before the work begins: if it is interrupted, nothing out of date is trained on.
    gone = [task.row.name for task in plan.tasks if task.reason != NEW]
    gone += plan.unlisted if prune else []
    if gone:
        remove_cases(cache, gone)
    failed: list[str] = []
    for n, task in enumerate(plan.tasks):
        on_case(task.row.name, n, len(plan.tasks))
        try:
            write_case(cache, task.entry, _prepare(task.row))
        except (InputError, StageFailed) as error:
            failed.append(f"line {task.row.line}, {task.row.name}: {error}")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(plan.tasks)} cases could not be prepared, the others are in "
            "the cache:\n" + "\n".join(failed)
        )


def _prepare(row: Row) -> Arrays:
    if row.tissues:
        return _prepare_tissues(row.tissues)
    if row.t1w and row.flair:
        return _prepare_images(row, row.t1w, row.flair)
    return {LESIONS: _to_mni(read_lesions(row), NATIVE_TO_TEMPLATE)}


def _prepare_images(row: Row, t1w: Path, flair: Path) -> Arrays:
    images = read_volume(t1w, role="T1w"), read_volume(flair, role="FLAIR")
    case = preprocess_case(*images, input_state=row.input_state)
    return case_arrays(case, read_lesions(row) if row.lesions else None)


def case_arrays(case: PreprocessedCase, lesions: Volume | None) -> Arrays:
    """What the cache holds of a preprocessed case.

    Parameters
    ----------
    lesions : Volume, optional
        Its mask, on the grid of the native FLAIR, or else in the native T1w's space.
    """
    arrays: Arrays = {IMAGE: np.stack([case.t1w, case.flair]).astype(np.float16)}
    if lesions is not None:
        on_flair = same_grid(lesions.grid, case.native_flair.grid)
        arrays[LESIONS] = _to_mni(lesions, case.flair_to_mni if on_flair else case.t1w_to_mni)
    return arrays


def _to_mni(mask: Volume, to_mni: Affine) -> NDArray[np.uint8]:
    return (resample(mask, MNI_GRID, to_mni, order=1) >= 0.5).astype(np.uint8)


def _prepare_tissues(path: Path) -> Arrays:
    labels = read_volume(path, role="tissue labels")
    data = np.rint(labels.data).astype(np.uint8)
    sigmas = 0.4 / np.asarray(labels.grid.voxel_sizes)
    pseudo = ndimage.gaussian_filter(PSEUDO_T1W[np.clip(data, 0, 4)], sigmas)
    to_mni = register_affine(Volume(pseudo * 100, labels.affine), data > 0)
    shares = [
        resample(
            Volume(ndimage.gaussian_filter(member.astype(np.float32), sigmas), labels.affine),
            MNI_GRID,
            to_mni,
            order=1,
        )
        for member in (data == 1, data == 2, data >= 3)
    ]
    return {TISSUES: np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)}
