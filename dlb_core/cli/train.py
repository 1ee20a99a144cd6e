"""`dlb train`: from prepared cases to a bundle of weights."""

import argparse
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from dlb_core.errors import BadOption


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    train = subparsers.add_parser(
        "train",
        help="train the generic network and write a bundle of it",
        description="Train the generic network on a prepared cache, or go on with a run that was "
        "interrupted, and write a bundle in which all 75 networks are copies of it.",
    )
    train.add_argument("--cache", type=Path, required=True, metavar="DIR", help="prepared cases")
    train.add_argument("--run", dest="folder", type=Path, required=True, metavar="DIR", help="run")
    train.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="bundle to write")
    train.add_argument("--recipe", choices=["paper", "compact", "synthetic"], default="compact")
    train.add_argument("--steps", type=int, default=None, help="instead of the recipe's own number")
    train.add_argument(
        "--without", default="", metavar="SUBJECTS", help="leave out, comma-separated (to test on)"
    )
    train.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    train.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    train.add_argument("--vote-threshold", type=float, default=0.5, help="default: 0.5")
    train.add_argument("--name", default="custom-generic")
    train.add_argument("--version", default="1")
    train.add_argument("--description", default="One generic network, copied to all 75 places.")
    train.set_defaults(run=run_train)


def run_train(args: argparse.Namespace) -> int:
    """Train and write the bundle."""
    import torch
    from safetensors.torch import load_file

    from dlb_core.checkpoints import write_bundle
    from dlb_core.training.cache import open_cache
    from dlb_core.training.curves import write_curves
    from dlb_core.training.recipe import RECIPES
    from dlb_core.training.samples import SampleMaker
    from dlb_core.training.trainer import EpochResult, train

    _check_options(args)
    torch.set_num_threads(args.threads)
    recipe = RECIPES[args.recipe]
    if args.steps is not None:
        recipe = recipe.model_copy(update={"num_steps": args.steps})
    left_out = frozenset(filter(None, args.without.split(",")))
    cases = open_cache(args.cache, without_subjects=left_out)
    console = Console(highlight=False)

    def show(result: EpochResult) -> None:
        left = (recipe.num_steps - result.step) / result.steps_per_s
        console.print(
            f"{time.strftime('%H:%M:%S')}  step {result.step}/{recipe.num_steps}  "
            f"loss {result.training_loss:.4f}  {result.steps_per_s:.2f} steps/s  "
            f"{left / 60:.0f} min left"
        )
        write_curves(args.folder, at_most_every_s=60)

    weights = load_file(
        train(args.folder, recipe, SampleMaker(cases, recipe), device=args.device, on_epoch=show)
    )
    write_curves(args.folder)
    bundle = write_bundle(
        args.bundle,
        lambda _: weights,
        name=args.name,
        version=args.version,
        description=args.description,
        architecture=recipe.architecture,
        vote_threshold=args.vote_threshold,
        training={
            "recipe": recipe.model_dump(mode="json"),
            "cases": [case.entry.name for case in cases],
            "left_out_subjects": sorted(left_out),
        },
        shared_file="generic.safetensors",
    )
    console.print(f"bundle {bundle.manifest.name} {bundle.manifest.version} in {args.bundle}")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    if not 0 < args.vote_threshold < 1:
        raise BadOption("--vote-threshold: between 0 and 1")
    if args.threads < 1 or (args.steps is not None and args.steps < 1):
        raise BadOption("--steps and --threads: at least 1")
