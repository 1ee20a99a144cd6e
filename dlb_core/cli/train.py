"""`dlb train`: from a cache of prepared cases to a bundle of weights."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dlb_core.cli.distributed_options import add_distributed
from dlb_core.cli.lists import parse_networks, parse_subjects
from dlb_core.cli.stop_signals import INTERRUPTED, StopSignals
from dlb_core.contracts import NUM_NETWORKS, Device
from dlb_core.errors import BadOption, Cancelled

if TYPE_CHECKING:
    from dlb_core.training.hierarchy import BundleIdentity
    from dlb_core.training.plan import Plan
    from dlb_core.training.recipe import Recipe
    from dlb_core.training.serial import Progress

COMPACT, FINE_TUNING = "compact", "fine-tuning"
INITIALISATIONS = ("hsl", "none", "neighbour", "restoration")
RECIPE_NAMES = ("paper", COMPACT, "synthetic", "tiny", FINE_TUNING)


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    train = subparsers.add_parser(
        "train",
        help="train the generic network, then 75 specialised ones, and write a bundle",
        description="Train the generic network on a prepared cache, specialise it for each of "
        "the 75 places and write a bundle. The same command goes on where it was interrupted; "
        "given several times at once, the processes share the networks. See docs/training.md.",
    )
    train.add_argument("--cache", type=Path, required=True, metavar="DIR", help="prepared cases")
    train.add_argument("--run", dest="folder", type=Path, required=True, metavar="DIR", help="run")
    train.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="bundle to write")
    train.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    train.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    train.add_argument(
        "--checkpoint-every",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="what a kill may cost (default: 120)",
    )
    _add_recipe(train.add_argument_group("recipe"))
    _add_cases(train.add_argument_group("cases"))
    _add_stages(train.add_argument_group("stages"))
    _add_identity(train.add_argument_group("bundle"))
    add_distributed(train.add_argument_group("workers"))
    train.set_defaults(run=run_train)


def _add_recipe(group: Any) -> None:
    group.add_argument(
        "--recipe",
        default=None,
        metavar="NAME|FILE",
        help=f"{', '.join(RECIPE_NAMES)}, or a JSON file of your own (default: {COMPACT}; with "
        f"--from-bundle {FINE_TUNING})",
    )
    group.add_argument("--steps", type=int, default=None, help="of the generic network, instead")
    group.add_argument(
        "--specialise-steps", type=int, default=None, help="of each specialised network, instead"
    )
    group.add_argument(
        "--no-quality-augmentation",
        action="store_true",
        help="without blur, sharpening and thick slices: to see what they bring",
    )
    group.add_argument("--seed", type=int, default=None, help="instead of the recipe's own")


def _add_cases(group: Any) -> None:
    group.add_argument(
        "--without", default="", metavar="SUBJECTS", help="leave out, comma-separated (to test on)"
    )
    validation = group.add_mutually_exclusive_group()
    validation.add_argument(
        "--validate",
        default="",
        metavar="SUBJECTS",
        help="keep the weights with the lowest loss on these, and stop early",
    )
    validation.add_argument(
        "--validate-share",
        type=float,
        default=None,
        metavar="SHARE",
        help="the same on a random share of the labelled subjects, e.g. 0.2",
    )


def _add_stages(group: Any) -> None:
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--initialisation",
        choices=INITIALISATIONS,
        default=None,
        help="what specialised networks start from: the generic network (default), random "
        "weights, the neighbour trained before, or a network that learned to restore images",
    )
    start.add_argument(
        "--initialise-from",
        type=Path,
        default=None,
        metavar="WEIGHTS",
        help="start the generic network from a weights file or a bundle of one network",
    )
    start.add_argument(
        "--from-bundle",
        type=Path,
        default=None,
        metavar="DIR",
        help="fine-tune: no generic network, each network starts from this bundle's",
    )
    group.add_argument(
        "--generic-only", action="store_true", help="the generic network in all 75 places"
    )
    group.add_argument(
        "--networks",
        type=parse_networks,
        default=list(range(NUM_NETWORKS)),
        metavar="LIST",
        help="train only these, e.g. 0-37,40; the bundle is written once all 75 are there",
    )


def _add_identity(group: Any) -> None:
    group.add_argument("--name", default="custom")
    group.add_argument("--version", default="1")
    group.add_argument("--description", default=None)
    group.add_argument("--vote-threshold", type=float, default=0.5, help="default: 0.5")
    group.add_argument(
        "--new-card", action="store_true", help="replace a model card that someone has written"
    )


def run_train(args: argparse.Namespace) -> int:
    """Train what is not trained yet and write the bundle."""
    _check_options(args)
    console = Console(highlight=False)
    if args.cancel:
        from dlb_core.cli.train_distributed import cancel

        return cancel(args, console)
    plan = _plan(args, console)
    if args.distributed:
        from dlb_core.cli.train_distributed import run_distributed

        return run_distributed(plan, args, console)
    return _train_here(plan, args, console)


def _train_here(plan: "Plan", args: argparse.Namespace, console: Console) -> int:
    """Train in this process."""
    import torch

    from dlb_core.accelerator import require_device
    from dlb_core.training.serial import train_serially

    require_device(Device(args.device))
    torch.set_num_threads(args.threads)
    hierarchy = plan.open(device=args.device)
    try:
        train_serially(
            hierarchy,
            [] if plan.generic_only else args.networks,
            on_progress=lambda progress: _show(console, progress),
            should_stop=StopSignals(),
        )
    except Cancelled:
        console.print("stopped; the same command goes on from here")
        return INTERRUPTED
    missing = [] if plan.generic_only else hierarchy.missing()
    if missing:
        console.print(f"{len(missing)} of {NUM_NETWORKS} networks to go: no bundle yet")
        return 0
    bundle = plan.write_bundle(hierarchy)
    console.print(f"bundle {bundle.manifest.name} {bundle.manifest.version} in {args.bundle}")
    return 0


def _plan(args: argparse.Namespace, console: Console) -> "Plan":
    from dlb_core.training.plan import Plan

    recipe = _recipe(args)
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


def _recipe(args: argparse.Namespace) -> "Recipe":
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


def _check_options(args: argparse.Namespace) -> None:
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
