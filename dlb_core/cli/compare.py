"""`dlb compare`: two visits of one person, from results or from scans to one comparison."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from dlb_core.cli.case_inputs import has_inputs
from dlb_core.cli.visit_scans import add_scan_options, segment_visits
from dlb_core.contracts import SegmentationOptions
from dlb_core.errors import BadOption
from dlb_core.longitudinal.naming import VISITS


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "compare",
        help="compare two visits of one person",
        usage="%(prog)s FIRST SECOND --output DIR [options]\n       %(prog)s --first-t1w PATH "
        "--first-flair PATH --second-t1w PATH --second-flair PATH\n                   --output DIR "
        "[options]",
        description="Compare two visits, the earlier one first: new, enlarging, stable, shrinking, "
        "resolved, merged and split lesions, with pictures of both visits. Each visit is a folder "
        "that `dlb segment` wrote, or its scans: these are segmented first, into DIR/first and "
        "DIR/second, and what is done is not done again when the command is run again. Exit code "
        "0: done; 2: the input is at fault, or the two cannot be compared; 1: anything else.",
    )
    parser.add_argument(
        "results",
        type=Path,
        nargs="*",
        metavar="RESULTS",
        help="folder of results of a visit whose scans are not given, the earlier visit first",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where the comparison goes"
    )
    parser.add_argument("--label", default="", help="printed on the report; no patient identifiers")
    parser.add_argument(
        "--ignore-differences",
        action="store_true",
        help="go on where a check says that the visits cannot be compared",
    )
    add_scan_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Segment what is to be, compare, write, and say what came out."""
    label = _label(args.label)
    console = Console()
    first, second = _visits(args, console)
    # Loading the image libraries takes seconds; `dlb --help` need not wait for it.
    from dlb_core.longitudinal import files
    from dlb_core.longitudinal.compare import compare_visits
    from dlb_core.longitudinal.statements import headline
    from dlb_core.longitudinal.write import write_comparison

    with console.status("reading") as status:
        compared = compare_visits(
            first,
            second,
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


def _visits(args: argparse.Namespace, console: Console) -> list[Path]:
    """Both visits' folders of results.

    Raises
    ------
    BadOption
        A visit has neither results nor scans, or both.
    """
    scanned = [visit for visit in VISITS if has_inputs(args, visit)]
    given: list[Path] = args.results
    if len(given) + len(scanned) != len(VISITS):
        raise BadOption(
            "name two folders of results, or in place of one or both a visit's scans: --first-t1w "
            "and --first-flair (or --first-study), --second-t1w and --second-flair (or "
            "--second-study)"
        )
    made = dict(zip(scanned, segment_visits(scanned, args, console, results=given), strict=True))
    results = iter(given)
    return [made[visit] if visit in made else next(results) for visit in VISITS]


def _label(label: str) -> str:
    """A label like that of a single case, or an error."""
    try:
        return SegmentationOptions(label=label).label
    except ValueError as error:
        raise BadOption("--label: up to 64 letters, digits, spaces and ._-") from error
