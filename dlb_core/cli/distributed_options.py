"""Options of `dlb train --distributed`."""

from pathlib import Path
from typing import Any

DEFAULT_WORKERS = 2


def add_distributed(group: Any) -> None:
    """Add the options."""
    group.add_argument(
        "--distributed", action="store_true", help="let workers train, each network by itself"
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"to start here (default: {DEFAULT_WORKERS}; with --redis-url 0)",
    )
    group.add_argument(
        "--redis-url", metavar="URL", help="use this broker, and the workers that listen to it"
    )
    group.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="data folder shared with the workers, their DLB_DATA (default: in the run's folder)",
    )
    group.add_argument(
        "--database-url", metavar="URL", help="the workers' DLB_DATABASE_URL, if they have one"
    )
    group.add_argument(
        "--cancel", action="store_true", help="end the distributed training of this run folder"
    )
