"""Run the service: `python -m service`, set up by environment variables (docs/deployment.md)."""

import os
import sys

import uvicorn

from dlb_core.errors import BadOption
from dlb_core.jobs.logs import configure_logging
from dlb_core.jobs.tracing import configure_tracing
from service.app import create_app
from service.connections import Connection
from service.settings import ServiceSettings

BAD_USAGE = 2
KEEP_ALIVE_S = 75
"""Clients that poll every few seconds keep their connections: one closed in the same moment as a
request comes is an error to its sender."""


def main() -> int:
    """Serve until told to stop."""
    configure_logging()
    try:
        settings = ServiceSettings.from_environment(os.environ)
        configure_tracing(settings.traces, "dlb-api")
    except BadOption as error:
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


if __name__ == "__main__":
    sys.exit(main())
