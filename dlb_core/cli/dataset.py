"""`dlb dataset prepare`: from a table of cases to a cache for training."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from dlb_core.cli.display import progress_bar


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    dataset = subparsers.add_parser("dataset", help="prepare a data set for training")
    actions = dataset.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser(
        "prepare",
        help="preprocess every case of a table into a cache",
        description="Bring every case of DATASET/cases.tsv into MNI space; see docs/training.md.",
    )
    prepare.add_argument("dataset", type=Path, help="folder with cases.tsv")
    prepare.add_argument("--cache", type=Path, required=True, metavar="DIR", help="where to")
    prepare.set_defaults(run=run_prepare)


def run_prepare(args: argparse.Namespace) -> int:
    """Fill the cache."""
    from dlb_core.training.prepare import prepare_dataset

    console = Console()
    with progress_bar(console, "preparing") as (bar, task):
        added = prepare_dataset(
            args.dataset,
            args.cache,
            on_case=lambda name, n, total: bar.update(
                task, completed=n / total, description=f"{name} ({n + 1}/{total})"
            ),
        )
    console.print(f"{added} cases prepared in {args.cache}", highlight=False)
    return 0
