"""Start a worker: `python -m worker`, with its settings in DLB_* variables."""

import os
import sys
from uuid import uuid4

from celery.signals import worker_ready, worker_shutting_down

from dlb_core.errors import DlbError
from dlb_core.jobs.celery_config import INFERENCE_QUEUE
from dlb_core.jobs.logs import configure_logging
from dlb_core.jobs.store import JobStore, open_store
from worker.celery_app import make_worker_app
from worker.liveness import Liveness, host_name
from worker.settings import WorkerSettings


def main() -> int:
    """Run until told to stop: 0, or 1 when the worker cannot start."""
    configure_logging()
    try:
        settings = WorkerSettings.from_environment(os.environ)
        settings.folder.create()
        store = open_store(settings.store_url)
    except DlbError as error:
        sys.stderr.write(f"worker: {error.code}: {error}\n")
        return 1
    with store:
        return _serve(settings, store)


def _serve(settings: WorkerSettings, store: JobStore) -> int:
    """Run Celery's worker; on SIGTERM the running attempt gives its job back."""
    worker_id = f"dlb-{uuid4().hex[:12]}@{host_name()}"
    liveness = Liveness(store, worker_id, interval_s=settings.heartbeat_s)

    def ready(**_: object) -> None:
        liveness.start()

    def stopping(**_: object) -> None:
        liveness.announce_stop()

    worker_ready.connect(ready)
    worker_shutting_down.connect(stopping)
    worker = make_worker_app(settings).Worker(
        hostname=worker_id,
        queues=[INFERENCE_QUEUE],
        loglevel="WARNING",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        redirect_stdouts=False,
    )
    try:
        worker.start()
    finally:
        liveness.end()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
