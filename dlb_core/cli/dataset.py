"""`dlb dataset prepare`: from a table of cases to a cache for training."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dlb_core.cli.display import progress_bar

if TYPE_CHECKING:
    from dlb_core.training.prepare import Plan


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    dataset = subparsers.add_parser("dataset", help="prepare a data set for training")
    actions = dataset.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser(
        "prepare",
        help="preprocess every case of a table into a cache",
        description="Bring every case of DATASET/participants.tsv into MNI space. Rows are "
        "checked first and bad ones reported together; cases whose files or settings have "
        "changed since are prepared again. See docs/training.md.",
    )
    prepare.add_argument("dataset", type=Path, help="folder with participants.tsv (or cases.tsv)")
    prepare.add_argument("--cache", type=Path, required=True, metavar="DIR", help="where to")
    prepare.add_argument(
        "--prune", action="store_true", help="remove cases from the cache that are not in the table"
    )
    prepare.set_defaults(run=run_prepare)


def run_prepare(args: argparse.Namespace) -> int:
    """Bring the cache up to the table."""
    from dlb_core.training.prepare import prepare_dataset

    console = Console(highlight=False, soft_wrap=True)
    with progress_bar(console, "checking the table") as (bar, task):
        plan = prepare_dataset(
            args.dataset,
            args.cache,
            prune=args.prune,
            on_plan=lambda plan: _show_plan(console, plan, args.prune),
            on_case=lambda name, n, total: bar.update(
                task, completed=n / total, description=f"{name} ({n + 1}/{total})"
            ),
        )
        bar.update(task, completed=1.0, description="done")
    console.print(f"{len(plan.tasks)} cases prepared in {args.cache}", markup=False)
    return 0


def _show_plan(console: Console, plan: "Plan", prune: bool) -> None:
    from dlb_core.training.prepare import NEW

    new = sum(task.reason == NEW for task in plan.tasks)
    lines = [f"{new} new, {len(plan.tasks) - new} to renew, {len(plan.unchanged)} unchanged"]
    lines += [f"{t.row.name} again, {t.reason}" for t in plan.tasks if t.reason != NEW]
    if plan.relabelled:
        lines.append(f"relabelled: {', '.join(entry.name for entry in plan.relabelled)}")
    if plan.unlisted:
        fate = "removed" if prune else "kept (--prune removes them)"
        lines.append(f"in the cache, not in the table, {fate}: {', '.join(plan.unlisted)}")
    if plan.ignored_columns:
        lines.append(f"columns without a meaning here: {', '.join(plan.ignored_columns)}")
    console.print("\n".join(lines), markup=False)
