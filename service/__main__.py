"""Run the service: `python -m service`, set up by environment variables (docs/deployment.md)."""

import logging
import os
import sys

import uvicorn

from dlb_core.errors import BadOption, BucketRefused, BucketUnavailable
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.logs import configure_logging
from dlb_core.jobs.tracing import configure_tracing
from service.app import create_app
from service.connections import Connection
from service.settings import ServiceSettings

BAD_USAGE = 2
KEEP_ALIVE_S = 75
"""Clients that poll every few seconds keep their connections: one closed in the same moment as a
request comes is an error to its sender."""


logger = logging.getLogger("service")


def main() -> int:
    """Serve until told to stop."""
    configure_logging()
    try:
        settings = ServiceSettings.from_environment(os.environ)
        configure_tracing(settings.traces, "dlb-api")
        if settings.database_url is not None:
            open_engine(settings.database_url).dispose()
        _require_bucket(settings)
    except (BadOption, BucketRefused) as error:
        sys.stderr.write(f"service: {error}\n")
        return BAD_USAGE
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        # Our own logging is in place; the access log would name every poll.
        log_config=None,
        access_log=False,
        server_header=False,
        http=Connection,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    return 0


def _require_bucket(settings: ServiceSettings) -> None:
    """Refuse to start with a bucket that no waiting will mend.

    Raises
    ------
    BucketRefused
    """
    try:
        settings.open_folder().check(by_writing=True)
    except BucketRefused:
        raise
    except BucketUnavailable as error:
        # It may come back: until then uploads are refused, and `/health/ready` says why.
        logger.warning("started_without_bucket", extra={"cause": str(error)})


if __name__ == "__main__":
    sys.exit(main())
