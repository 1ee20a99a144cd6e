"""`dlb view`: look at a folder of results in a browser."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from dlb_core import artefacts
from dlb_core.errors import BadOption


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "view",
        help="look at a folder of results in a browser",
        description="Show scans, overlays and lesions of a folder that `dlb segment` or "
        "`dlb submit` wrote, on a page that only this machine reaches, until Ctrl-C.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the results")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any)")
    parser.add_argument("--open", action="store_true", help="open a browser, too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> NoReturn:
    """Serve the viewer until Ctrl-C.

    Raises
    ------
    BadOption
        The folder holds no results, or the port is none.
    """
    folder: Path = args.folder
    if not (folder / artefacts.REPORT_JSON).is_file():
        raise BadOption(
            f"no {artefacts.REPORT_JSON} in {folder}: name a folder that `dlb segment` wrote"
        )
    if not 0 <= args.port <= 65535:
        raise BadOption("--port must lie between 0 and 65535")
    # By module name, as `dlb serve` starts it: this package knows nothing of the service. In this
    # process's place, so that what ends `dlb view` ends it; -P: no modules of the present folder.
    command = [sys.executable, "-P", "-m", "service.viewer", str(folder), "--port", str(args.port)]
    sys.stdout.flush()
    os.execv(command[0], [*command, *(["--open"] if args.open else [])])  # noqa: S606  # our own command
