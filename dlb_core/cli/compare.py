"""`dlb compare`: two visits of one person, from two folders of results to one comparison."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from dlb_core.contracts import SegmentationOptions
from dlb_core.errors import BadOption


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "compare",
        help="compare two visits of one person",
        description="Compare two folders that `dlb segment` wrote, the earlier visit first: new, "
        "enlarging, stable, shrinking, resolved, merged and split lesions, with pictures of both "
        "visits. Exit code 0: done; 2: the two cannot be compared; 1: anything else.",
    )
    parser.add_argument("first", type=Path, metavar="FIRST", help="results of the earlier visit")
    parser.add_argument("second", type=Path, metavar="SECOND", help="results of the later visit")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where the comparison goes"
    )
    parser.add_argument("--label", default="", help="printed on the report; no patient identifiers")
    parser.add_argument(
        "--ignore-differences",
        action="store_true",
        help="go on where a check says that the visits cannot be compared",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, write, and say what came out."""
    label = _label(args.label)
    # Loading the image libraries takes seconds; `dlb --help` need not wait for it.
    from dlb_core.longitudinal import files
    from dlb_core.longitudinal.compare import compare_visits
    from dlb_core.longitudinal.statements import headline
    from dlb_core.longitudinal.write import write_comparison

    console = Console()
    with console.status("reading") as status:
        compared = compare_visits(
            args.first,
            args.second,
            label=label,
            ignore_differences=args.ignore_differences,
            on_step=status.update,
        )
        status.update("writing")
        write_comparison(args.output, compared)
    comparison = compared.comparison
    console.print(f"\n[bold]{headline(comparison)}[/bold]", highlight=False)
    for check in comparison.quality:
        if check.message:
            console.print(
                f"  {check.status.value:>4}  {check.title}: {check.message}", markup=False
            )
    for name in (files.COMPARISON_HTML, files.COMPARISON_PDF):
        console.print(f"report: {args.output / name}", markup=False, soft_wrap=True)
    console.print(comparison.research_use, style="dim")
    return 0


def _label(label: str) -> str:
    """A label like that of a single case, or an error."""
    try:
        return SegmentationOptions(label=label).label
    except ValueError as error:
        raise BadOption("--label: up to 64 letters, digits, spaces and ._-") from error
