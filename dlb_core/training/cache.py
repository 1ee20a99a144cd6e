"""Prepared training data on disk: arrays in MNI space, memory-mapped, shared by all runs.

A cache is a folder with `cases.json` and one folder a case. What a case holds decides what
it is good for: `image` + `lesions` for labelled samples, `tissues` for synthesis, `lesions`
alone as a donor of lesion shapes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dlb_core.artefacts import whole_file, write_text
from dlb_core.contracts import Message
from dlb_core.errors import InputError

INDEX = "cases.json"
NAME = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
"""A case's name is also its folder's."""
IMAGE, LESIONS, TISSUES = "image", "lesions", "tissues"


class CaseEntry(Message):
    """One line of a cache's index."""

    name: Annotated[str, Field(pattern=NAME)]
    subject: str
    domain: str = ""
    arrays: Annotated[list[str], Field(description="of image, lesions, tissues")]


@dataclass(frozen=True, slots=True, eq=False)
class CachedCase:
    """A case's arrays on the MNI grid; None where it has none."""

    entry: CaseEntry
    image: NDArray[np.float16] | None
    """(2, I, J, K): T1w, FLAIR; white-matter mode = 1, 0 outside the brain."""
    lesions: NDArray[np.uint8] | None
    """(I, J, K): 0 or 1."""
    tissues: NDArray[np.uint8] | None
    """(3, I, J, K): shares of CSF, grey and white matter in 255ths, lesions as white."""

    @property
    def is_labelled(self) -> bool:
        """Whether it has images and the lesions in them."""
        return self.image is not None and self.lesions is not None


def write_case(folder: Path, entry: CaseEntry, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write a case's arrays, then enter it into the index."""
    case_folder = folder / entry.name
    case_folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        with whole_file(case_folder / f"{name}.npy") as file:
            np.save(file, array)
    others = [e for e in read_index(folder) if e.name != entry.name]
    entries = sorted([*others, entry], key=lambda e: e.name)
    write_text(folder / INDEX, json.dumps([e.model_dump() for e in entries], indent=1))


def read_index(folder: Path) -> list[CaseEntry]:
    """Entries of a cache; empty where there is none yet."""
    index = folder / INDEX
    if not index.exists():
        return []
    return [CaseEntry.model_validate(e) for e in json.loads(index.read_text())]


def open_cache(folder: Path, *, without_subjects: frozenset[str] = frozenset()) -> list[CachedCase]:
    """Map a cache's cases into memory, leaving out every trace of some subjects.

    Raises
    ------
    InputError
        The folder is no cache, or nothing is left in it.
    """
    entries = [e for e in read_index(folder) if e.subject not in without_subjects]
    if not entries:
        raise InputError(f"no cases in the training cache {folder.name}: run `dlb dataset prepare`")
    return [_open_case(folder, entry) for entry in entries]


def _open_case(folder: Path, entry: CaseEntry) -> CachedCase:
    arrays = {
        name: np.load(folder / entry.name / f"{name}.npy", mmap_mode="r") for name in entry.arrays
    }
    return CachedCase(entry, arrays.get(IMAGE), arrays.get(LESIONS), arrays.get(TISSUES))
