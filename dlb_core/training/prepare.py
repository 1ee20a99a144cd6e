"""Fill a training cache: from files on disk to arrays in MNI space.

A data set is a folder with `cases.tsv`, a table with one row a case. Paths are relative to the
table. What a row gives decides what it is good for:

====================  =====================================================================
column                meaning
====================  =====================================================================
name, subject         letters, digits, `.`, `_`, `-`; `subject` ties all of a person's rows
domain                free label, may be empty
input_state           `raw` or `skull_stripped`
t1w, flair, lesions   a labelled case; the mask lies on the FLAIR's grid, or in T1w space
tissues               instead: a label map (1 CSF, 2 grey, 3 white matter, 4 lesion)
lesions alone         a donor of lesion shapes: a mask in MNI world space, at native size
====================  =====================================================================
"""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.contracts import InputState
from dlb_core.errors import DlbError, InputError
from dlb_core.nifti import read_mask, read_volume
from dlb_core.preprocessing.registration import register_affine
from dlb_core.preprocessing.steps import preprocess_case
from dlb_core.resampling import resample
from dlb_core.template import MNI_GRID
from dlb_core.training.cache import IMAGE, LESIONS, NAME, TISSUES, CaseEntry, read_index, write_case
from dlb_core.volume import Grid, Volume

TABLE = "cases.tsv"
REQUIRED = ("name", "subject", "domain", "input_state", "t1w", "flair", "lesions", "tissues")
PSEUDO_T1W = np.array([0, 0.3, 0.68, 1.0, 0.9], dtype=np.float32)
"""Intensity per tissue label: enough of a T1w to register a label map by."""
NATIVE_TO_TEMPLATE = np.diag([1.15, 1.15, 1.26, 1.0])
"""Rigidly aligned brains are smaller than the template; the average affine of real cases."""
NATIVE_TO_TEMPLATE[:3, 3] = (0.0, 5.0, -9.0)

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    name: str
    subject: str
    domain: str
    input_state: InputState
    t1w: Path | None
    flair: Path | None
    lesions: Path | None
    tissues: Path | None

    @property
    def arrays(self) -> list[str]:
        """What the cache will hold for it."""
        if self.tissues:
            return [TISSUES]
        return [IMAGE, LESIONS] if self.t1w else [LESIONS]


def prepare_dataset(
    dataset: Path, cache: Path, *, on_case: Callable[[str, int, int], None] = lambda *_: None
) -> int:
    """Prepare every case of a data set; cases that the cache already has are left.

    Parameters
    ----------
    dataset : Path
        Folder with `cases.tsv`.
    cache : Path
        Made if missing; see `dlb_core.training.cache`.
    on_case : callable
        Told the case's name, how many are done, and of how many.

    Returns
    -------
    int
        How many cases the cache gained.

    Raises
    ------
    InputError
        Lists every bad row with its reason; nothing was prepared.
    """
    rows = read_table(dataset)
    cache.mkdir(parents=True, exist_ok=True)
    present = {entry.name for entry in read_index(cache)}
    missing = [row for row in rows if row.name not in present]
    for n, row in enumerate(missing):
        on_case(row.name, n, len(missing))
        entry = CaseEntry(name=row.name, subject=row.subject, domain=row.domain, arrays=row.arrays)
        write_case(cache, entry, _prepare(row))
    return len(missing)


def read_table(dataset: Path) -> list[Row]:
    """Read and check the table.

    Raises
    ------
    InputError
        Lists every bad row with its reason.
    """
    path = dataset / TABLE
    if not path.exists():
        raise InputError(f"no {TABLE} in {dataset.name}: see docs/training.md for its columns")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t")
        absent = [c for c in REQUIRED if c not in (reader.fieldnames or ())]
        if absent:
            raise InputError(f"{TABLE} lacks the columns {', '.join(absent)}")
        read = [_read_row(dataset, n, fields) for n, fields in enumerate(reader, start=2)]
    faults = [row for row in read if isinstance(row, str)] + _repeated(read)
    if faults:
        raise InputError(f"{TABLE} has {len(faults)} bad rows:\n" + "\n".join(faults))
    return [row for row in read if isinstance(row, Row)]


def _repeated(rows: list["Row | str"]) -> list[str]:
    names = [row.name if isinstance(row, Row) else None for row in rows]
    return [
        f"line {n + 2}: the name {name} stands twice"
        for n, name in enumerate(names)
        if name is not None and name in names[:n]
    ]


def _read_row(dataset: Path, line: int, fields: dict[str, str]) -> Row | str:
    """A row, or what is wrong with it."""
    paths = {
        column: dataset / fields[column] if fields[column] else None
        for column in ("t1w", "flair", "lesions", "tissues")
    }
    absent = [column for column, path in paths.items() if path and not path.is_file()]
    if absent:
        return f"line {line}: no file for {', '.join(absent)}"
    if bool(paths["t1w"]) != bool(paths["flair"]):
        return f"line {line}: t1w and flair come together"
    if not paths["lesions"] and not paths["tissues"]:
        return f"line {line}: neither lesions nor tissues"
    if not re.fullmatch(NAME, fields["name"]):
        return f"line {line}: name holds more than letters, digits, `.`, `_` and `-`"
    if fields["input_state"] not in set(InputState):
        return f"line {line}: input_state is raw or skull_stripped"
    state = InputState(fields["input_state"])
    return Row(fields["name"], fields["subject"], fields["domain"], state, **paths)


def _prepare(row: Row) -> Arrays:
    try:
        if row.tissues:
            return _prepare_tissues(row.tissues)
        if row.t1w and row.flair and row.lesions:
            return _prepare_labelled(row, row.t1w, row.flair, row.lesions)
        assert row.lesions is not None
        return _prepare_donor(row.lesions)
    except DlbError as error:
        raise InputError(f"case {row.name}: {error}") from error


def _prepare_labelled(row: Row, t1w: Path, flair: Path, lesions: Path) -> Arrays:
    images = read_volume(t1w, role="T1w"), read_volume(flair, role="FLAIR")
    case = preprocess_case(*images, input_state=row.input_state)
    reference = read_mask(lesions, role="lesion mask")
    on_flair = _same_grid(reference.grid, images[1].grid)
    to_mni = case.flair_to_mni if on_flair else case.t1w_to_mni
    mask = resample(reference, MNI_GRID, to_mni, order=1) >= 0.5
    image = np.stack([case.t1w, case.flair]).astype(np.float16)
    return {IMAGE: image, LESIONS: mask.astype(np.uint8)}


def _prepare_donor(lesions: Path) -> Arrays:
    reference = read_mask(lesions, role="lesion mask")
    mask = resample(reference, MNI_GRID, NATIVE_TO_TEMPLATE, order=1) >= 0.5
    return {LESIONS: mask.astype(np.uint8)}


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


def _same_grid(one: Grid, other: Grid) -> bool:
    return one.shape == other.shape and np.allclose(one.affine, other.affine, atol=1e-3)
