"""What a run's folder holds of the whole run: its settings, and what it was begun with.

`dlb train --resume` goes by them. The networks' own folders say what each was trained by; this
file says what is still to be done, and from which images.
"""

import hashlib
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dlb_core.artefacts import write_text
from dlb_core.checkpoints import MANIFEST, open_bundle
from dlb_core.contracts import Message
from dlb_core.errors import InputError
from dlb_core.training.cache import read_index
from dlb_core.training.plan import Plan
from dlb_core.training.run_folder import RECIPE, begun_with, held
from dlb_core.training.start import generic_start

SETTINGS = "settings.json"
_LOCK = ".settings.lock"


class StoredRun(Message):
    """A run that was begun."""

    plan: Plan
    networks: list[int]
    """All that any of its processes was told to train."""
    options: dict[str, Any]
    """As they were given, to compare with those of a later command."""
    not_stored: list[str]
    """Options that were given, but may hold a password."""
    images: dict[str, str]
    """Case -> what its images were made from."""
    start_sha256: str | None
    finished: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether its bundle was written and is still there."""
        return self.finished and (self.plan.bundle / MANIFEST).exists()


def describe_run(
    plan: Plan, networks: list[int], *, options: dict[str, Any], not_stored: list[str]
) -> StoredRun:
    """A run that begins now, with the images and weights that it begins from."""
    return StoredRun(
        plan=plan,
        networks=networks,
        options=options,
        not_stored=not_stored,
        images=_images(plan),
        start_sha256=_start_sha256(plan),
    )


def require_same_origin(run: StoredRun) -> StoredRun | None:
    """Check that a run begins from what its folder's networks were begun with.

    Returns
    -------
    StoredRun, optional
        What the folder holds, if a network was begun.

    Raises
    ------
    InputError
        They were begun with other cases, images or start weights.
    """
    folder = run.plan.run
    before = _read(folder)
    if before is None or not any(folder.glob(f"*/{RECIPE}")):
        return None
    changed = [name for name, made in run.images.items() if before.images.get(name, made) != made]
    if changed:
        raise begun_with(folder, f"other images of {', '.join(changed)}")
    if differing := sorted(before.images.keys() ^ run.images.keys()):
        raise begun_with(folder, f"other cases ({', '.join(differing)})")
    if before.plan.validation_subjects != run.plan.validation_subjects:
        raise begun_with(folder, "other validation subjects")
    if before.start_sha256 != run.start_sha256:
        raise begun_with(folder, "other weights to start from")
    return before


def store_run(run: StoredRun) -> None:
    """Write down what a run is, before it trains.

    Several processes may train in one folder: the last one's settings are kept, and the networks
    of all.

    Raises
    ------
    InputError
        The folder's networks were begun with other cases, images or start weights.
    """
    with _alone(run.plan.run):
        before = require_same_origin(run)
        if before is not None:
            both = sorted({*before.networks, *run.networks})
            run = run.model_copy(update={"networks": both})
        _write(run)


def mark_finished(folder: Path) -> None:
    """Note that a run's bundle was written."""
    with _alone(folder):
        run = _read(folder)
        if run is not None:
            _write(run.model_copy(update={"finished": True}))


def read_run(folder: Path) -> StoredRun:
    """The run that a folder holds, wherever the folder lies now.

    Raises
    ------
    InputError
        It holds none.
    """
    run = _read(folder)
    if run is None:
        raise InputError(
            f"run folder {folder.name} holds no run to resume: give the whole command, with "
            "--cache and --bundle"
        )
    moved = run.plan.model_copy(update={"run": folder.resolve()})
    return run.model_copy(update={"plan": moved})


def _read(folder: Path) -> StoredRun | None:
    """The stored run; None where there is none, or none that we understand."""
    try:
        return StoredRun.model_validate_json((folder / SETTINGS).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _write(run: StoredRun) -> None:
    write_text(run.plan.run / SETTINGS, run.model_dump_json(indent=1))


def _alone(folder: Path) -> AbstractContextManager[int]:
    folder.mkdir(parents=True, exist_ok=True)
    return held(folder / _LOCK)


def _images(plan: Plan) -> dict[str, str]:
    """By the cache's index: reading all arrays would take minutes."""
    return {
        entry.name: _digest([entry.arrays, entry.made_from or entry.folder])
        for entry in read_index(plan.cache)
        if entry.subject not in plan.left_out_subjects
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _start_sha256(plan: Plan) -> str | None:
    if plan.from_bundle:
        return open_bundle(plan.from_bundle).sha256
    return generic_start(plan.initialise_from).sha256 if plan.initialise_from else None
