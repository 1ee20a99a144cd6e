"""`dlb train --resume`: go on with the run that a folder holds, by its own settings."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dlb_core.cli.train_options import (
    COMPACT,
    DEFAULTS,
    FINE_TUNING,
    RECIPE_NAMES,
    completed,
    flag,
    given,
)
from dlb_core.errors import BadOption

if TYPE_CHECKING:
    from dlb_core.training.plan import Plan
    from dlb_core.training.stored_run import StoredRun

PATHS = ("cache", "bundle", "initialise_from", "from_bundle", "data")
URLS = ("redis_url", "database_url")
"""Not stored: they may hold a password."""
OF_THE_MACHINE = ("device", "threads", "checkpoint_every", "workers")
"""How it is computed here: may be another way each time."""


def describe(plan: "Plan", args: argparse.Namespace) -> "StoredRun":
    """A run as its folder will hold it."""
    from dlb_core.training.stored_run import describe_run

    options = {name: getattr(args, name) for name in DEFAULTS if name not in (*URLS, "networks")}
    options["recipe"] = args.recipe or (FINE_TUNING if args.from_bundle else COMPACT)
    return describe_run(
        plan,
        [] if plan.generic_only else args.networks,
        options=_as_stored(options),
        not_stored=[name for name in URLS if getattr(args, name) is not None],
    )


def resumed(args: argparse.Namespace, console: Console, *, go_on: Callable[..., int]) -> int:
    """Go on with a run, or say that it is finished.

    Raises
    ------
    InputError
        The folder holds no run, or an option contradicts it.
    RunBusy
        Another process trains in the folder.
    """
    from dlb_core.cli.train import check_options
    from dlb_core.training.stored_run import read_run

    run = read_run(args.folder)
    _require_agreement(args, run)
    if run.is_finished:
        bundle = run.plan.identity
        console.print(
            f"finished already: bundle {bundle.name} {bundle.version} in {run.plan.bundle}",
            soft_wrap=True,
        )
        return 0
    networks = {"networks": run.networks} if run.networks else {}
    merged = completed(args, run.options | networks)
    for name in PATHS:
        value = getattr(merged, name)
        setattr(merged, name, value and Path(value))
    check_options(merged)
    plan = run.plan.model_copy(update={"checkpoint_every_s": merged.checkpoint_every})
    return go_on(plan, merged, console, alone=True)


def _require_agreement(args: argparse.Namespace, run: "StoredRun") -> None:
    options = given(args)
    stranger = set(options.pop("networks", [])) - set(run.networks)
    if stranger:
        listed = ", ".join(map(str, sorted(stranger)))
        raise BadOption(f"--networks: the run was not begun with {listed}; leave these out")
    for name in run.not_stored:
        if name not in options:
            raise BadOption(
                f"{flag(name)}: give it again, as it is not stored: it may hold a password"
            )
    for name, value in _as_stored(options).items():
        if name not in (*OF_THE_MACHINE, *run.not_stored) and value != run.options.get(name):
            begun = f"with {flag(name)} {run.options[name]}" if run.options.get(name) else "without"
            raise BadOption(
                f"{flag(name)}: the run was begun {begun}; leave it out to resume, or use a new "
                "run folder"
            )
    if "recipe" in options:
        _require_same_recipe(completed(args, run.options), run.plan)


def _require_same_recipe(args: argparse.Namespace, plan: "Plan") -> None:
    from dlb_core.cli.train import make_recipe

    if make_recipe(args) != plan.recipe:
        raise BadOption(
            "--recipe: it is not what it was when the run began; leave it out to go on by the "
            "old one, or use a new run folder"
        )


def _as_stored(options: dict[str, Any]) -> dict[str, Any]:
    """Options that mean the same wherever we stand."""
    return {name: _absolute(name, value) for name, value in options.items()}


def _absolute(name: str, value: Any) -> Any:
    own_recipe = name == "recipe" and value not in RECIPE_NAMES
    return str(Path(value).resolve()) if value and (name in PATHS or own_recipe) else value
