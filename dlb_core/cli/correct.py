"""`dlb correct`: make a new version of a finished case from an edited mask."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from dlb_core.cli.display import summarise
from dlb_core.corrections import Reader
from dlb_core.errors import BadOption
from dlb_core.versions import version_folder


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "correct",
        help="measure and report a finished case anew from an edited mask",
        description="Make a new version of the results in FOLDER from MASK, the lesion mask as a "
        "reader edited it: NIfTI on the grid of the FLAIR, the T1w or of MNI152. It lies in "
        "FOLDER/corrections; what was there stays as it is.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the results")
    parser.add_argument("mask", type=Path, metavar="MASK", help="the edited mask")
    parser.add_argument("--author", default="", help="who edited it; printed on the report")
    parser.add_argument("--note", default="", help="what was changed; printed on the report")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the version and say what it came to.

    Raises
    ------
    BadOption
        Author or note is too long, or holds what is no text.
    InputError
        See `dlb_core.correction.correct_case`.
    """
    reader = _reader(args.author, args.note)
    # Loading what measures takes a second; `dlb --help` need not wait for it.
    from dlb_core.correction import correct_case

    report = correct_case(args.folder, args.mask, reader)
    folder = version_folder(args.folder, report.version)
    console = Console()
    console.print(f"version {report.version} of {args.folder}", markup=False, highlight=False)
    summarise(report, folder, console)
    return 0


def _reader(author: str, note: str) -> Reader:
    try:
        return Reader(author=author, note=note)
    except ValidationError as error:
        faults = "; ".join(f"--{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise BadOption(faults) from error
