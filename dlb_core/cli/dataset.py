"""`dlb dataset`: fill a cache for training, from a table of cases or by simulation."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dlb_core.cli.display import progress_bar
from dlb_core.errors import BadOption
from dlb_core.synthesis.domains import DOMAINS

if TYPE_CHECKING:
    from dlb_core.training.prepare import Plan


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    dataset = subparsers.add_parser("dataset", help="prepare or simulate a data set for training")
    actions = dataset.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_prepare(actions)
    _add_simulate(actions)


def _add_prepare(actions: Any) -> None:
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


def _add_simulate(actions: Any) -> None:
    simulate = actions.add_parser(
        "simulate",
        help="make labelled subjects of a simulated domain",
        description="Draw brains, lesions and scans of one of three simulated domains and write "
        "them into a cache as preprocessing would leave them: nothing is registered or corrected. "
        "See docs/generalisation.md.",
    )
    simulate.add_argument("--domain", choices=sorted(DOMAINS), required=True)
    simulate.add_argument("--subjects", type=int, required=True, metavar="N", help="how many")
    simulate.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the first subject; the next has the next (default: 0)",
    )
    simulate.add_argument("--cache", type=Path, required=True, metavar="DIR", help="where to")
    simulate.set_defaults(run=run_simulate)


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


def run_simulate(args: argparse.Namespace) -> int:
    """Add the subjects that the cache lacks."""
    from dlb_core.training.simulated import simulate_dataset

    if args.subjects < 1 or args.seed < 0:
        raise BadOption("--subjects: at least 1; --seed: 0 or more")
    seeds = range(args.seed, args.seed + args.subjects)
    console = Console(highlight=False, soft_wrap=True)
    with progress_bar(console, "simulating") as (bar, task):
        added = simulate_dataset(
            DOMAINS[args.domain],
            seeds,
            args.cache,
            on_case=lambda name, n, total: bar.update(
                task, completed=n / total, description=f"{name} ({n + 1}/{total})"
            ),
        )
        bar.update(task, completed=1.0, description="done")
    console.print(f"{added} cases simulated in {args.cache}", markup=False)
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
