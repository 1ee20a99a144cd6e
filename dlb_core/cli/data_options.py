"""Which service's data a command works on, where that is no service's own setting."""

import argparse
import os
from pathlib import Path

from dlb_core.jobs.layout import DataFolder


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the data folder and the database."""
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("DLB_DATA") or "dlb-data"),
        metavar="DIR",
        help="the service's data folder (default: DLB_DATA, or ./dlb-data)",
    )
    parser.add_argument(
        "--database-url",
        default=os.environ.get("DLB_DATABASE_URL") or None,
        metavar="URL",
        help="the service's database, where it is not in its data folder "
        "(default: DLB_DATABASE_URL)",
    )


def database_of(data: Path, database_url: str | None) -> str:
    """The database of a service with this data folder."""
    return database_url or DataFolder(data.resolve()).database_url
