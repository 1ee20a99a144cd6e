"""Tell whether this host's worker lives: `python -m worker.health`, a container's health check."""

import os
import sys

from dlb_core.errors import DlbError
from dlb_core.jobs.store import JobStore
from worker.liveness import host_name
from worker.settings import WorkerSettings

MISSED_BEATS = 3


def main() -> int:
    """Look for a recent sign of life in the job store: 0 if there is one, else 1."""
    try:
        settings = WorkerSettings.from_environment(os.environ)
        with JobStore.open(settings.store_url) as store:
            within_s = MISSED_BEATS * settings.heartbeat_s
            return 0 if store.workers_alive(within_s, host=host_name()) else 1
    except DlbError as error:
        sys.stderr.write(f"worker: {error.code}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
