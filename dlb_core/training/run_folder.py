"""One network's run folder: whose it is, what it was begun with, and that one process trains."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from dlb_core.artefacts import write_text
from dlb_core.errors import InputError, RunBusy
from dlb_core.tiling import NetworkLocation
from dlb_core.training.recipe import Recipe

WEIGHTS = "weights.safetensors"
"""Made last: a folder that holds it is finished."""
BEST = "best.safetensors"
RECIPE = "recipe.json"
CASES = "cases.json"
VALIDATION = "validation.json"
START = "start.json"
PLACE = "place.json"
METRICS = "metrics.jsonl"
LOCK = ".lock"
_TAKING_PART = ".taking-part.lock"
"""Not `LOCK`: the queue's folder, which has one, may be the run's."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold it for this process; the kernel lets go when the process ends.

    Raises
    ------
    RunBusy
        Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def taking_part(run: Path, *, alone: bool) -> Iterator[None]:
    """Be one of the processes that train in a run's folder.

    Parameters
    ----------
    alone : bool
        Begin only if no other process takes part; one may join later.

    Raises
    ------
    RunBusy
        Another process takes part.
    """
    run.mkdir(parents=True, exist_ok=True)
    how = fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH
    with held(run / _TAKING_PART, how) as handle:
        # Turned into a shared one, not given back: of two that begin alone, one is refused.
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def held(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[int]:
    """Hold a file's lock, waiting for it unless `how` says not to; gives the open file.

    Raises
    ------
    RunBusy
        Another process holds it, and we do not wait.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, how)
        except BlockingIOError as error:
            name = path.parent.name
            raise RunBusy(f"{name} is being trained by another process") from error
        yield handle
    finally:
        os.close(handle)


def claim_folder(
    folder: Path,
    recipe: Recipe,
    *,
    cases: list[str],
    validation: list[str],
    start_sha256: str | None,
) -> None:
    """Tie a folder to all that decides its weights: that is the weights' provenance.

    Raises
    ------
    InputError
        The folder was begun with something else.
    """
    require_recipe(folder, recipe)
    if not (folder / RECIPE).exists():
        write_text(folder / RECIPE, recipe.model_dump_json(indent=1))
    for name, value, what in (
        (CASES, cases, "other cases"),
        (VALIDATION, validation, "other validation cases"),
        (START, {"sha256": start_sha256}, "other weights to start from"),
    ):
        path = folder / name
        if not path.exists():
            write_text(path, json.dumps(value, indent=1))
        elif json.loads(path.read_text()) != value:
            raise begun_with(folder, what)


def require_recipe(folder: Path, recipe: Recipe) -> None:
    """Check that a folder's weights were trained by a recipe, where it says by which.

    Raises
    ------
    InputError
        It was another one.
    """
    if (folder / RECIPE).exists() and _read_recipe(folder) != recipe:
        raise begun_with(folder, "another recipe")


def claim_place(folder: Path, location: NetworkLocation) -> None:
    """Tie a network's folder to the subvolume in whose hemisphere it thinks.

    Raises
    ------
    InputError
        The folder was begun for the one on the other side.
    """
    require_place(folder, location)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / PLACE, json.dumps(location.primary.start))


def require_place(folder: Path, location: NetworkLocation) -> None:
    """Check that what a network's folder holds so far was trained for its subvolume.

    Raises
    ------
    InputError
        It was trained for the one on the other side.
    """
    if (folder / RECIPE).exists() and _place_of(folder, location) != location.primary.start:
        raise begun_with(folder, "the subvolume on the other side")


def _place_of(folder: Path, location: NetworkLocation) -> tuple[int, ...]:
    """Where the folder's network thinks; those that say nothing are of when all did on the left."""
    path = folder / PLACE
    return tuple(json.loads(path.read_text())) if path.exists() else location.left.start


def forget_metrics_after(folder: Path, step: int) -> None:
    """Drop what was noted after the checkpoint that a run resumes from: it comes again."""
    path = folder / METRICS
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    """The step of one line; beyond all steps for half a line, as a kill leaves it."""
    try:
        return float(json.loads(line)["step"])
    except json.JSONDecodeError:
        return float("inf")


def _read_recipe(folder: Path) -> Recipe | None:
    """The recipe, whatever fields later versions added; None for one we do not understand."""
    try:
        return Recipe.model_validate_json((folder / RECIPE).read_text())
    except ValidationError:
        return None


def begun_with(folder: Path, what: str) -> InputError:
    """The refusal to go on in a folder with something else."""
    return InputError(f"run folder {folder.name} was begun with {what}: use a new one")
