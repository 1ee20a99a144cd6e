"""The files behind a row of the table: whether they can be used, and which they are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlb_core import preprocessing
from dlb_core.artefacts import sha256_of
from dlb_core.errors import DlbError
from dlb_core.nifti import read_mask, read_values
from dlb_core.training.participants import Fault, Row
from dlb_core.training.raters import fuse
from dlb_core.validation import ImageFacts, check_header, check_pair
from dlb_core.volume import Grid, Volume

PREPARATION = 1
"""Raise it when preparing (not preprocessing) gives other arrays: all is then prepared again."""
NUM_TISSUES = 4
_MAX_LISTED = 5
_SAME_GRID_MM = 1e-3


def describe_sources(row: Row) -> dict[str, str]:
    """What decides a row's arrays: its files by SHA-256, and the settings."""
    settings = {"preprocessing": f"{preprocessing.VERSION}.{PREPARATION}"}
    if row.t1w:
        settings["input_state"] = row.input_state
    if len(row.lesions) > 1:
        settings["fusion"] = row.fusion
    return settings | {column: sha256_of(path) for column, path in row.files.items()}


def check_sources(row: Row) -> list[Fault]:
    """Everything that is wrong with a row's files, found without preprocessing them."""
    faults = [Fault(row.line, "tissues", r) for r in _tissue_faults(row.tissues)]
    images = {}
    for column, role, path in (("t1w", "T1w", row.t1w), ("flair", "FLAIR", row.flair)):
        if path:
            try:
                images[column] = check_header(path, role=role)
            except DlbError as error:
                faults.append(Fault(row.line, column, str(error)))
    if len(images) == 2:
        try:
            check_pair(images["t1w"], images["flair"])
        except DlbError as error:
            faults.append(Fault(row.line, "flair", str(error)))
    return [*faults, *(Fault(row.line, "lesions", r) for r in _mask_faults(row, images))]


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether voxels of one lie on voxels of the other."""
    return one.shape == other.shape and np.allclose(one.affine, other.affine, atol=_SAME_GRID_MM)


def _mask_faults(row: Row, images: dict[str, ImageFacts]) -> Iterator[str]:
    grids: dict[str, Grid] = {}
    for rater, path in enumerate(row.lesions, start=1):
        who = f"rater {rater} ({path.name})" if len(row.lesions) > 1 else path.name
        try:
            mask = read_values(path, role="lesion mask")
        except DlbError as error:
            yield f"{who}: {error}"
            continue
        grids[who] = mask.grid
        yield from (f"{who} {reason}" for reason in _not_binary(mask.data))
    first = next(iter(grids.values()), None)
    if first is None:
        return
    if not all(same_grid(grid, first) for grid in grids.values()):
        listed = ", ".join(f"{name} {_size(grid)}" for name, grid in grids.items())
        yield f"the raters' masks lie on different grids ({listed}): resample them onto one"
    elif len(images) == 2 and not any(same_grid(first, _grid(i)) for i in images.values()):
        yield (
            f"the mask {_size(first)} lies neither on the FLAIR's grid "
            f"{_size(_grid(images['flair']))} nor on the T1w's {_size(_grid(images['t1w']))}: "
            "resample it onto one of them"
        )


def _not_binary(data: NDArray[np.float32]) -> Iterator[str]:
    """Masks hold 0 and one other value; 0 alone is a case without lesions."""
    highest = data.max()
    if ((data == 0) | (data == highest)).all() and (highest > 0.5 or not data.any()):
        return
    values = np.unique(data)
    listed = ", ".join(f"{value:g}" for value in values[:_MAX_LISTED])
    more = ", ..." if len(values) > _MAX_LISTED else ""
    yield (
        f"is no mask but holds the values {listed}{more}: give a mask of 0 and 1, with one label "
        "or what lies above a threshold"
    )


def _tissue_faults(path: Path | None) -> Iterator[str]:
    if path is None:
        return
    try:
        data = read_values(path, role="tissue labels").data
    except DlbError as error:
        yield str(error)
        return
    labels = np.rint(data)
    if np.abs(labels - data).max() > 1e-3 or labels.min() < 0 or labels.max() > NUM_TISSUES:
        yield (
            f"holds values from {data.min():g} to {data.max():g}, the labels are "
            "0 background, 1 CSF, 2 grey matter, 3 white matter, 4 lesion"
        )
    elif not all((labels == label).any() for label in (1, 2, 3)):
        yield "lacks CSF (1), grey matter (2) or white matter (3)"


def _grid(facts: ImageFacts) -> Grid:
    return Grid(facts.shape, facts.affine)


def _size(grid: Grid) -> str:
    shape = " x ".join(str(n) for n in grid.shape)
    i, j, k = grid.affine[:3, 3]
    return f"[{shape} from {i:.1f}, {j:.1f}, {k:.1f} mm]"


def read_lesions(row: Row) -> Volume:
    """The raters' masks fused to one of 0 and 1, on their own grid."""
    masks = [read_mask(path, role="lesion mask") for path in row.lesions]
    fused = fuse([mask.data > 0 for mask in masks], row.fusion)
    return Volume(fused.astype(np.float32), masks[0].affine)
