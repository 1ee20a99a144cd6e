"""`dlb batch`: many cases, one progress display, one table at the end."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID

from dlb_core.batch.cases import Found, case_name, find_cases
from dlb_core.batch.ledger import Ledger
from dlb_core.batch.run import COHORT, BatchRun, Outcome, Standing
from dlb_core.cli.case_options import add_processing_options, parse_case_options
from dlb_core.cli.display import progress_bar
from dlb_core.cli.submit import add_service_options, codes_of, open_client
from dlb_core.contracts import JobState, Priority
from dlb_core.errors import BadOption, InputError

DONE, FAILED, USER_CAN_FIX = 0, 1, 2
SENDING_SHARE = 0.1
"""Rough share of the bar that sending takes."""
FETCHED: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "reports": lambda name: not name.endswith((".nii.gz", ".txt")),
    "none": lambda name: False,
}


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "batch",
        help="send many cases to a running service",
        description="Send every case of a BIDS folder, or of a table with the columns subject, "
        "session, t1w and flair, to a running service; wait, fetch the results, and write "
        f"{COHORT} with a row a case. Stopped or killed, the same command goes on where it was. "
        "See docs/batch.md.",
    )
    parser.add_argument("source", type=Path, help="BIDS folder, or table (.csv, .tsv)")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="a folder a case, and the table"
    )
    parser.add_argument("--name", default="", help="the batch's name on the service")
    parser.add_argument(
        "--fetch",
        choices=list(FETCHED),
        default="all",
        help="which results: reports leaves out images and transforms (%(default)s)",
    )
    parser.add_argument(
        "--priority",
        choices=[priority.value for priority in Priority],
        default=Priority.RESEARCH.value,
        help="how soon its jobs are begun while others wait (%(default)s)",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="first let jobs of this batch that have failed be tried again",
    )
    add_processing_options(parser)
    add_service_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send a batch, or go on with it.

    Returns
    -------
    int
        0 when every case succeeded; 2 when those that did not can be mended by the user; else 1.

    Raises
    ------
    BadOption
        There are no cases, or the folder holds another batch.
    """
    if not args.source.exists():
        raise BadOption(f"{args.source}: no such folder or table")
    console = Console(highlight=False, soft_wrap=True)
    found = find_cases(args.source)
    for line in found.passed_over:
        console.print(f"passed over: {line}", markup=False)
    ledger = Ledger.open(args.output, url=args.url, options=parse_case_options(args))
    if ledger.jobs:
        console.print(f"going on: {len(ledger.jobs)} cases were accepted before")
    outcome = _run(args, found, ledger, console)
    return _tell(outcome, found, args.output, console)


def _run(args: argparse.Namespace, found: Found, ledger: Ledger, console: Console) -> Outcome:
    with open_client(args) as client, progress_bar(console, "batch") as (bar, task):
        batch = BatchRun(
            client=client,
            ledger=ledger,
            name=args.name,
            priority=Priority(args.priority),
            wanted=FETCHED[args.fetch],
            on_change=lambda standing: _show(standing, bar, task),
            retry_failed=args.retry_failed,
        )
        try:
            return batch.run(found.cases)
        except KeyboardInterrupt:
            bar.console.print("stopped; the same command goes on, and the service does meanwhile")
            raise


def _show(standing: Standing, bar: Progress, task: TaskID) -> None:
    sent = (standing.sent + standing.share * (standing.sent < standing.total)) / standing.total
    done = (standing.fetched + standing.failed) / standing.total
    words = f"{standing.now}, {standing.ended}/{standing.total} ended"
    bar.update(
        task,
        completed=SENDING_SHARE * sent + (1 - SENDING_SHARE) * done,
        description=words + (f", {standing.failed} without result" if standing.failed else ""),
    )


def _tell(outcome: Outcome, found: Found, folder: Path, console: Console) -> int:
    """Say what became of the cases; choose the exit code."""
    batch = outcome.batch
    codes = []
    for refused in outcome.refused:
        print(f"dlb: {refused.case.name}: {refused.code}: {refused.message}", file=sys.stderr)
        codes.append(refused.code)
    for case in batch.cases if batch else ():
        if case.state is not JobState.SUCCESSFUL:
            why = case.error.code if case.error else case.state or "deleted"
            print(f"dlb: {case_name(case.subject, case.session)}: {why}", file=sys.stderr)
            codes.append(case.error.code if case.error else "")
    if batch is not None:
        good = sum(case.state is JobState.SUCCESSFUL for case in batch.cases)
        console.print(f"{good} of {len(found.cases)} cases have results")
        console.print(f"table: {folder / COHORT}", markup=False)
    if not codes:
        return DONE
    return USER_CAN_FIX if set(codes) <= codes_of(InputError) else FAILED
