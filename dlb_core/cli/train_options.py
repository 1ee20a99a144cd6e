"""Options of `dlb train`: what was given, and what stands where nothing was."""

import argparse
from pathlib import Path
from typing import Any

from dlb_core.cli.distributed_options import add_distributed
from dlb_core.cli.lists import parse_networks
from dlb_core.contracts import NUM_NETWORKS

COMPACT, FINE_TUNING = "compact", "fine-tuning"
INITIALISATIONS = ("hsl", "none", "neighbour", "restoration")
RECIPE_NAMES = ("paper", COMPACT, "synthetic", "tiny", FINE_TUNING)

DEFAULTS: dict[str, Any] = {
    "cache": None,
    "bundle": None,
    "device": "cpu",
    "threads": 1,
    "checkpoint_every": 120.0,
    "recipe": None,
    "steps": None,
    "specialise_steps": None,
    "no_quality_augmentation": False,
    "seed": None,
    "without": "",
    "validate": "",
    "validate_share": None,
    "initialisation": None,
    "initialise_from": None,
    "from_bundle": None,
    "generic_only": False,
    "networks": list(range(NUM_NETWORKS)),
    "name": "custom",
    "version": "1",
    "description": None,
    "vote_threshold": 0.5,
    "new_card": False,
    "distributed": False,
    "workers": None,
    "redis_url": None,
    "data": None,
    "database_url": None,
    "cancel": False,
}
"""Filled in after parsing, so that it is known which options were given."""


def given(args: argparse.Namespace) -> dict[str, Any]:
    """Those options that the command line names."""
    return {name: value for name, value in vars(args).items() if name in DEFAULTS}


def completed(args: argparse.Namespace, stored: dict[str, Any] | None = None) -> argparse.Namespace:
    """The command line's options; for those it does not name, a run's own, or the defaults."""
    return argparse.Namespace(**DEFAULTS | (stored or {}) | vars(args))


def flag(name: str) -> str:
    """How an option is written."""
    return f"--{name.replace('_', '-')}"


def add_options(train: argparse.ArgumentParser) -> None:
    """Add them; the parser must leave out what is not given (`argparse.SUPPRESS`)."""
    train.add_argument("--cache", type=Path, metavar="DIR", help="prepared cases")
    train.add_argument("--run", dest="folder", type=Path, required=True, metavar="DIR", help="run")
    train.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to write")
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run that --run holds, with its own settings",
    )
    train.add_argument("--device", choices=["cpu", "cuda"], help="default: cpu")
    train.add_argument("--threads", type=int, help="CPU threads (default: 1)")
    train.add_argument(
        "--checkpoint-every",
        type=float,
        metavar="SECONDS",
        help="what a kill may cost (default: 120)",
    )
    _add_recipe(train.add_argument_group("recipe"))
    _add_cases(train.add_argument_group("cases"))
    _add_stages(train.add_argument_group("stages"))
    _add_identity(train.add_argument_group("bundle"))
    add_distributed(train.add_argument_group("workers"))


def _add_recipe(group: Any) -> None:
    group.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        help=f"{', '.join(RECIPE_NAMES)}, or a JSON file of your own (default: {COMPACT}; with "
        f"--from-bundle {FINE_TUNING})",
    )
    group.add_argument("--steps", type=int, help="of the generic network, instead")
    group.add_argument("--specialise-steps", type=int, help="of each specialised network, instead")
    group.add_argument(
        "--no-quality-augmentation",
        action="store_true",
        help="without blur, sharpening and thick slices: to see what they bring",
    )
    group.add_argument("--seed", type=int, help="instead of the recipe's own")


def _add_cases(group: Any) -> None:
    group.add_argument(
        "--without", metavar="SUBJECTS", help="leave out, comma-separated (to test on)"
    )
    validation = group.add_mutually_exclusive_group()
    validation.add_argument(
        "--validate",
        metavar="SUBJECTS",
        help="keep the weights with the lowest loss on these, and stop early",
    )
    validation.add_argument(
        "--validate-share",
        type=float,
        metavar="SHARE",
        help="the same on a random share of the labelled subjects, e.g. 0.2",
    )


def _add_stages(group: Any) -> None:
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--initialisation",
        choices=INITIALISATIONS,
        help="what specialised networks start from: the generic network (default), random "
        "weights, the neighbour trained before, or a network that learned to restore images",
    )
    start.add_argument(
        "--initialise-from",
        type=Path,
        metavar="WEIGHTS",
        help="start the generic network from a weights file or a bundle of one network",
    )
    start.add_argument(
        "--from-bundle",
        type=Path,
        metavar="DIR",
        help="fine-tune: no generic network, each network starts from this bundle's",
    )
    group.add_argument(
        "--generic-only", action="store_true", help="the generic network in all 75 places"
    )
    group.add_argument(
        "--networks",
        type=parse_networks,
        metavar="LIST",
        help="train only these, e.g. 0-37,40; the bundle is written once all 75 are there",
    )


def _add_identity(group: Any) -> None:
    group.add_argument("--name", help="default: custom")
    group.add_argument("--version", help="default: 1")
    group.add_argument("--description")
    group.add_argument("--vote-threshold", type=float, help="default: 0.5")
    group.add_argument(
        "--new-card", action="store_true", help="replace a model card that someone has written"
    )
