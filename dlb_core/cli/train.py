"""`dlb train`: from a cache of prepared cases to a bundle of weights."""

import argparse
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dlb_core.cli.lists import parse_subjects
from dlb_core.cli.stop_signals import INTERRUPTED, StopSignals
from dlb_core.cli.train_options import COMPACT, FINE_TUNING, add_options, completed
from dlb_core.contracts import NUM_NETWORKS, Device
from dlb_core.errors import BadOption, Cancelled

if TYPE_CHECKING:
    from dlb_core.training.hierarchy import BundleIdentity
    from dlb_core.training.plan import Plan
    from dlb_core.training.recipe import Recipe
    from dlb_core.training.serial import Progress


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    train = subparsers.add_parser(
        "train",
        help="train the generic network, then 75 specialised ones, and write a bundle",
        description="Train the generic network on a prepared cache, specialise it for each of "
        "the 75 places and write a bundle. Interrupted, `dlb train --run DIR --resume` goes on; "
        "the same command given several times at once shares the networks among the processes. "
        "See docs/training.md.",
        argument_default=argparse.SUPPRESS,
    )
    add_options(train)
    train.set_defaults(run=run_train)


def run_train(args: argparse.Namespace) -> int:
    """Train what is not trained yet and write the bundle."""
    console = Console(highlight=False)
    if "resume" in args:
        from dlb_core.cli.train_resume import resumed

        return resumed(args, console, go_on=_go)
    args = completed(args)
    if args.cancel:
        from dlb_core.cli.train_distributed import cancel

        return cancel(args, console)
    if args.cache is None or args.bundle is None:
        raise BadOption("--cache, --bundle: needed, unless --resume finds them in the run folder")
    check_options(args)
    return _go(_plan(args, console), args, console)


def _go(plan: "Plan", args: argparse.Namespace, console: Console, *, alone: bool = False) -> int:
    """Carry a plan out; `alone`: only if no other process is at it."""
    from dlb_core.training.run_folder import taking_part

    watches_only = args.distributed and args.redis_url is not None
    with nullcontext() if watches_only else taking_part(plan.run, alone=alone):
        if args.distributed:
            from dlb_core.cli.train_distributed import run_distributed

            return run_distributed(plan, args, console)
        return _train_here(plan, args, console)


def _train_here(plan: "Plan", args: argparse.Namespace, console: Console) -> int:
    """Train in this process."""
    import torch

    from dlb_core.accelerator import require_device
    from dlb_core.cli.train_resume import describe
    from dlb_core.training.serial import train_serially
    from dlb_core.training.stored_run import mark_finished, store_run

    require_device(Device(args.device))
    torch.set_num_threads(args.threads)
    hierarchy = plan.open(device=args.device)
    hierarchy.require_recipe(generic_only=plan.generic_only)
    store_run(describe(plan, args))
    try:
        train_serially(
            hierarchy,
            [] if plan.generic_only else args.networks,
            on_progress=lambda progress: _show(console, progress),
            should_stop=StopSignals(),
        )
    except Cancelled:
        console.print(f"stopped; `dlb train --run {args.folder} --resume` goes on from here")
        return INTERRUPTED
    missing = [] if plan.generic_only else hierarchy.missing()
    if missing:
        console.print(f"{len(missing)} of {NUM_NETWORKS} networks to go: no bundle yet")
        return 0
    bundle = plan.write_bundle(hierarchy)
    mark_finished(plan.run)
    console.print(f"bundle {bundle.manifest.name} {bundle.manifest.version} in {plan.bundle}")
    return 0


def _plan(args: argparse.Namespace, console: Console) -> "Plan":
    from dlb_core.training.plan import Plan

    recipe = make_recipe(args)
    left_out = parse_subjects(args.without)
    validation = parse_subjects(args.validate)
    if args.validate_share is not None:
        validation = _draw_validation(args, recipe, left_out, console)
    return Plan(
        cache=args.cache.resolve(),
        run=args.folder.resolve(),
        bundle=args.bundle.resolve(),
        recipe=recipe,
        left_out_subjects=sorted(left_out),
        validation_subjects=sorted(validation),
        initialise_from=args.initialise_from and args.initialise_from.resolve(),
        from_bundle=args.from_bundle and args.from_bundle.resolve(),
        generic_only=args.generic_only,
        identity=_identity(args),
        new_card=args.new_card,
        checkpoint_every_s=args.checkpoint_every,
    )


def make_recipe(args: argparse.Namespace) -> "Recipe":
    """The recipe that was named, with what was given instead of its own."""
    from dlb_core.training.recipe import Initialisation, find_recipe

    recipe = find_recipe(args.recipe or (FINE_TUNING if args.from_bundle else COMPACT))
    own = recipe.specialisation and recipe.specialisation.model_copy(
        update=_given(
            num_steps=args.specialise_steps,
            initialisation=args.initialisation and Initialisation(args.initialisation),
        )
    )
    given = _given(num_steps=args.steps, seed=args.seed, specialisation=own)
    if args.no_quality_augmentation:
        given["quality_augmentation"] = False
    return recipe.model_copy(update=given)


def _given(**options: object) -> dict[str, object]:
    """Those options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _draw_validation(
    args: argparse.Namespace, recipe: "Recipe", left_out: frozenset[str], console: Console
) -> frozenset[str]:
    from dlb_core.training.cache import open_cache
    from dlb_core.training.hierarchy import draw_validation_subjects

    drawn = draw_validation_subjects(
        open_cache(args.cache), args.validate_share, left_out=left_out, seed=recipe.seed
    )
    console.print(f"validation subjects: {', '.join(sorted(drawn))}")
    return drawn


def _identity(args: argparse.Namespace) -> "BundleIdentity":
    from dlb_core.training.hierarchy import BundleIdentity

    what = (
        "One generic network, copied to all 75 places."
        if args.generic_only
        else "75 networks, each specialised for its own place."
    )
    return BundleIdentity(
        name=args.name,
        version=args.version,
        description=args.description or what,
        vote_threshold=args.vote_threshold,
    )


def _show(console: Console, progress: "Progress") -> None:
    result = progress.result
    validation = (
        "" if result.validation_loss is None else f"  validation {result.validation_loss:.4f}"
    )
    networks = f"  {progress.done}/{progress.total} networks" if progress.total else ""
    console.print(
        f"{time.strftime('%H:%M:%S')}  {progress.network}  "
        f"step {result.step}/{progress.num_steps}  loss {result.training_loss:.4f}{validation}  "
        f"{result.steps_per_s:.2f} steps/s{networks}  {progress.left_s / 60:.0f} min left",
        soft_wrap=True,
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse values that no training can use.

    Raises
    ------
    BadOption
    """
    if not 0 < args.vote_threshold < 1:
        raise BadOption("--vote-threshold: between 0 and 1")
    if args.validate_share is not None and not 0 < args.validate_share < 1:
        raise BadOption("--validate-share: between 0 and 1")
    counts = (args.threads, args.steps, args.specialise_steps)
    if any(count is not None and count < 1 for count in counts):
        raise BadOption("--steps, --specialise-steps and --threads: at least 1")
    if args.seed is not None and args.seed < 0:
        raise BadOption("--seed: 0 or more")
    if args.generic_only and args.from_bundle:
        raise BadOption("--generic-only: fine-tuning with --from-bundle has no generic network")
    if args.distributed and len(args.networks) < NUM_NETWORKS:
        raise BadOption("--networks: with --distributed the workers share all networks")
