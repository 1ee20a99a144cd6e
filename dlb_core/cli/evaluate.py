"""`dlb evaluate`: score a bundle on labelled cases, alone or against another."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlb_core.bundled import default_bundle
from dlb_core.cli.display import progress_bar
from dlb_core.cli.lists import parse_subjects
from dlb_core.contracts import Device
from dlb_core.errors import BadOption
from dlb_core.report.document import RESEARCH_USE

if TYPE_CHECKING:
    from dlb_core.evaluation.cases import CaseList
    from dlb_core.evaluation.document import Evaluation

SOME_FAILED = 1


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score a bundle on labelled cases, alone or against another",
        description="Segment every labelled case of a data set with one or two bundles, compare "
        "with the references, and write tables and a page. Interrupted, it goes on where it was. "
        "Exit code 0: done; 1: some cases failed, the rest was scored; see docs/evaluation.md.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--dataset", type=Path, metavar="DIR", help="folder with cases.tsv; preprocesses each case"
    )
    source.add_argument(
        "--cache", type=Path, metavar="DIR", help="prepared cases; measures on the MNI grid"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where the results go"
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="DIR", help="bundle A (default: the shipped one)"
    )
    parser.add_argument("--compare", type=Path, metavar="DIR", help="bundle B")
    parser.add_argument(
        "--subjects", default="", metavar="NAMES", help="only these, comma-separated"
    )
    parser.add_argument(
        "--minimum-lesion-mm3",
        type=float,
        default=3.0,
        metavar="MM3",
        help="drop smaller predicted lesions (default: 3)",
    )
    parser.add_argument(
        "--ignore-quality-failures", action="store_true", help="score a case whose checks fail too"
    )
    parser.add_argument("--device", choices=[d.value for d in Device], default=Device.CPU.value)
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate under a progress bar, then print the summary."""
    threads = _check_options(args)
    # Loading PyTorch takes seconds; `dlb --help` need not wait for it.
    import torch
    from threadpoolctl import threadpool_limits

    from dlb_core.accelerator import require_device
    from dlb_core.checkpoints import open_bundle
    from dlb_core.evaluation.evaluate import PAGE, evaluate

    device = Device(args.device)
    require_device(device)
    bundle = open_bundle(args.bundle or default_bundle())
    other = open_bundle(args.compare) if args.compare else None
    cases = _cases(args)
    console = Console(highlight=False)
    torch.set_num_threads(threads)
    with threadpool_limits(limits=threads), progress_bar(console, "reading") as (bar, task):
        finished = evaluate(
            cases,
            bundle,
            args.output,
            other=other,
            minimum_lesion_mm3=args.minimum_lesion_mm3,
            device=device,
            on_step=lambda text, share: bar.update(task, completed=share, description=text),
        )
        bar.update(task, completed=1.0, description="done")
    _show(finished.evaluation, finished.reused, console)
    console.print(f"\npage: {args.output / PAGE}", markup=False, soft_wrap=True)
    console.print(RESEARCH_USE, style="dim")
    return SOME_FAILED if finished.evaluation.failed else 0


def _check_options(args: argparse.Namespace) -> int:
    """Refuse what cannot be meant; the number of threads."""
    if args.threads is not None and args.threads < 1:
        raise BadOption("--threads: at least 1")
    if not 0 <= args.minimum_lesion_mm3 <= 1000:
        raise BadOption("--minimum-lesion-mm3: from 0 to 1000")
    return args.threads or len(os.sched_getaffinity(0))


def _cases(args: argparse.Namespace) -> "CaseList":
    from dlb_core.evaluation.cases import from_cache, from_dataset

    subjects = parse_subjects(args.subjects)
    if args.cache:
        return from_cache(args.cache, subjects=subjects)
    return from_dataset(
        args.dataset,
        subjects=subjects,
        ignore_quality_failures=args.ignore_quality_failures,
    )


def _show(evaluation: "Evaluation", reused: int, console: Console) -> None:
    from dlb_core.evaluation.page import groups, mean_and_sd, value, verdict
    from dlb_core.metrics import MEASURES

    overall = next(iter(groups(evaluation).values()))
    title = f"{_counted(evaluation.num_cases, 'case')}, mean ± sd"
    table = Table(title=title, title_justify="left")
    table.add_column("measure")
    for method in evaluation.methods:
        table.add_column(method.label, justify="right")
    table.add_row("Hybrid score (Eq. 5)", *(value(group.hybrid_score) for group in overall))
    for name, title in MEASURES.items():
        table.add_row(title, *(mean_and_sd(g.measures[name], g.num_cases) for g in overall))
    table.add_row("CORR", *(value(group.correlation) for group in overall))
    console.print(table)
    if evaluation.comparison:
        consistency = mean_and_sd(evaluation.comparison.consistency, evaluation.num_cases)
        console.print(verdict(evaluation.comparison))
        console.print(f"Consistency (Dice between A and B): {consistency}")
    _show_remarks(evaluation, reused, console)


def _show_remarks(evaluation: "Evaluation", reused: int, console: Console) -> None:
    if evaluation.space == "mni":
        console.print("Compared on the MNI grid; volumes are the template's.")
    for method in evaluation.methods:
        if method.trained_on:
            names = escape(", ".join(method.trained_on))
            console.print(f"[yellow]Bundle {method.label} was trained on {names}.[/yellow]")
    if reused:
        console.print(f"{_counted(reused, 'result')} of an earlier run used again.")
    for case, reason in evaluation.skipped.items():
        console.print(f"skipped {escape(case)}: {escape(reason)}")
    for case, reason in evaluation.failed.items():
        console.print(f"[red]failed[/red] {escape(case)}: {escape(reason)}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
