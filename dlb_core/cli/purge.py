"""`dlb purge`: remove old results now, on the machine where the service's data lies."""

import argparse
import os
from typing import Any

from dlb_core.cli.data_options import add_data_options, database_of
from dlb_core.errors import BadOption


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "purge",
        help="remove old results, images and rows of a service now",
        description="Remove what jobs left that ended long enough ago. The service may be "
        "running; it does the same every hour, with the times in its settings. 0 keeps for ever. "
        "DLB_BUCKET names the service's bucket, if it has one.",
    )
    add_data_options(parser)
    for name, what in (
        ("results", "results of successful jobs"),
        ("inputs", "images of failed and cancelled jobs"),
        ("rows", "rows of jobs that have no files"),
    ):
        parser.add_argument(
            f"--{name}-days",
            type=float,
            default=0.0,
            metavar="N",
            help=f"remove {what} after N days (default: keep them)",
        )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Purge once, and say what went.

    Raises
    ------
    BadOption
        Not a service's data folder, or a negative number of days.
    StoreUnavailable
    """
    # The database's library takes long to load; `dlb --help` need not wait for it.
    from dlb_core.jobs.bucket import check_endpoint
    from dlb_core.jobs.bucket_folder import open_folder
    from dlb_core.jobs.retention import Retention, purge
    from dlb_core.jobs.store import JobStore, utc_now

    days = (args.results_days, args.inputs_days, args.rows_days)
    if min(days) < 0:
        raise BadOption("days must not be negative")
    if not any(days):
        raise BadOption("say what to remove: --results-days, --inputs-days or --rows-days")
    bucket = os.environ.get("DLB_BUCKET") or None
    if bucket is not None:
        check_endpoint(os.environ)
    folder = open_folder(args.data, bucket)
    if not folder.jobs.is_dir():
        raise BadOption("--data: that folder holds no service's data")
    with JobStore.open(database_of(args.data, args.database_url)) as store:
        purged = purge(store, folder, Retention(*days), now=utc_now())
    print(
        f"removed the results of {purged.results} jobs, the images of {purged.inputs}, "
        f"and {purged.rows} rows"
    )
    return 0
