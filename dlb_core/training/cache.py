"""Prepared training data on disk: arrays in MNI space, memory-mapped, shared by all runs.

A cache is a folder with `cases.json` and one folder a case. What a case holds decides what
it is good for: `image` + `lesions` for labelled samples, `image` alone for learning without
labels, `tissues` for synthesis, `lesions` alone as a donor of lesion shapes.

A case is in the cache when the index says so. Its folder is written under another name,
renamed, and only then entered, so whoever reads sees a case whole: the old one or the new.
"""

import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dlb_core.artefacts import sync_folder, whole_file, write_text
from dlb_core.contracts import Message
from dlb_core.errors import InputError, RunBusy
from dlb_core.training.run_folder import locked

INDEX = "cases.json"
NAME = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$"
"""What cases, subjects and sessions may be called; folders begin with the case's name."""
_FOLDER = re.compile(r"[A-Za-z0-9_.-]+@[0-9a-f]{8}")
_UNFINISHED = ".preparing-"
IMAGE, LESIONS, TISSUES = "image", "lesions", "tissues"


class CaseEntry(Message):
    """One line of a cache's index."""

    name: Annotated[str, Field(pattern=NAME)]
    subject: str
    session: str = ""
    domain: str = ""
    arrays: Annotated[list[str], Field(description="of image, lesions, tissues")]
    made_from: dict[str, str] = Field(
        default_factory=dict, description="the settings, and the sources' digests"
    )
    folder: Annotated[str, Field(description="where its arrays lie; empty: under its name")] = ""


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
    """Write a case's arrays, enter it into the index, and remove what it replaces.

    One process may write at a time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = entry.model_copy(update={"folder": f"{entry.name}@{secrets.token_hex(4)}"})
    unfinished = folder / f"{_UNFINISHED}{named.folder}"
    unfinished.mkdir()
    for name, array in arrays.items():
        with whole_file(unfinished / f"{name}.npy") as file:
            np.save(file, array)
    unfinished.rename(folder / named.folder)
    sync_folder(folder)
    entries = read_index(folder)
    _write_index(folder, [*(e for e in entries if e.name != entry.name), named])
    for old in entries:
        if old.name == entry.name:
            _discard(_folder_of(folder, old))


def remove_cases(folder: Path, names: Iterable[str]) -> None:
    """Take cases out of the index, then off the disk."""
    gone = set(names)
    entries = read_index(folder)
    _write_index(folder, [entry for entry in entries if entry.name not in gone])
    for entry in entries:
        if entry.name in gone:
            _discard(_folder_of(folder, entry))


def relabel_cases(folder: Path, changed: Iterable[CaseEntry]) -> None:
    """Replace entries of cases whose arrays stay as they are."""
    renewed = {entry.name: entry for entry in changed}
    _write_index(folder, [renewed.get(entry.name, entry) for entry in read_index(folder)])


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Hold a cache for writing; made if missing, rid of what a killed process left.

    Raises
    ------
    RunBusy
        Another process fills it.
    """
    try:
        with locked(folder):
            _remove_leftovers(folder)
            yield
    except RunBusy as error:
        raise RunBusy(f"the cache {folder.name} is in use by another process: wait") from error


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left: folders of ours that the index does not know."""
    known = {_folder_of(folder, entry).name for entry in read_index(folder)}
    for path in folder.iterdir():
        ours = path.name.startswith(_UNFINISHED) or _FOLDER.fullmatch(path.name)
        if ours and path.is_dir() and path.name not in known:
            shutil.rmtree(path)


def read_index(folder: Path) -> list[CaseEntry]:
    """Entries of a cache, by name; empty where there is none yet."""
    index = folder / INDEX
    if not index.exists():
        return []
    return [CaseEntry.model_validate(e) for e in json.loads(index.read_text())]


def _write_index(folder: Path, entries: list[CaseEntry]) -> None:
    ordered = sorted(entries, key=lambda entry: entry.name)
    write_text(folder / INDEX, json.dumps([e.model_dump() for e in ordered], indent=1))


def _discard(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _folder_of(cache: Path, entry: CaseEntry) -> Path:
    return cache / (entry.folder or entry.name)


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


def is_whole(folder: Path, entry: CaseEntry) -> bool:
    """Whether a case's arrays are there, each of the length that its header says."""
    try:
        _open_case(folder, entry)
    except InputError:
        return False
    return True


def _open_case(folder: Path, entry: CaseEntry) -> CachedCase:
    place = _folder_of(folder, entry)
    try:
        arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in entry.arrays}
    except (OSError, ValueError) as error:
        raise InputError(
            f"case {entry.name} of the training cache {folder.name} cannot be read: "
            "`dlb dataset prepare` makes it again"
        ) from error
    return CachedCase(entry, arrays.get(IMAGE), arrays.get(LESIONS), arrays.get(TISSUES))
