"""Start a worker: `python -m worker [--queue training]`, its settings in DLB_* variables."""

import argparse
import logging
import os
import sys
from uuid import uuid4

from celery import Celery
from celery.signals import worker_ready, worker_shutting_down

from dlb_core.errors import BucketRefused, BucketUnavailable, DlbError
from dlb_core.jobs.celery_config import INFERENCE_QUEUE, TRAINING_QUEUE
from dlb_core.jobs.logs import configure_logging
from dlb_core.jobs.queue import TrainingQueue
from dlb_core.jobs.rounds import Rounds
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.training.dispatcher import TrainingDispatcher
from dlb_core.jobs.training.store import TrainingStore
from worker.celery_app import make_training_app, make_worker_app
from worker.liveness import Liveness, SignsOfLife, host_name
from worker.settings import WorkerSettings

logger = logging.getLogger("worker")


def main() -> int:
    """Run until told to stop: 0, or 1 when the worker cannot start."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    queues = [INFERENCE_QUEUE, TRAINING_QUEUE]
    parser.add_argument("--queue", choices=queues, default=INFERENCE_QUEUE)
    queue: str = parser.parse_args().queue
    configure_logging()
    try:
        settings = WorkerSettings.from_environment(os.environ)
        settings.folder.create()
        return _train(settings) if queue == TRAINING_QUEUE else _segment(settings)
    except DlbError as error:
        sys.stderr.write(f"worker: {error.code}: {error}\n")
        return 1


def _segment(settings: WorkerSettings) -> int:
    """Work on jobs."""
    _require_bucket(settings)
    with JobStore.open(settings.store_url) as store:
        return _serve(settings, make_worker_app(settings), store, INFERENCE_QUEUE)


def _require_bucket(settings: WorkerSettings) -> None:
    """Refuse to start with a bucket that no waiting will mend; one that is away may come back.

    Raises
    ------
    BucketRefused
    """
    try:
        settings.folder.check(by_writing=True)
    except BucketRefused:
        raise
    except BucketUnavailable as error:
        logger.warning("started_without_bucket", extra={"cause": str(error)})


def _train(settings: WorkerSettings) -> int:
    """Work on trainings, and keep them moving: any worker's dispatcher will do."""
    with TrainingStore.open(settings.store_url) as store:
        hints = TrainingQueue(settings.redis_url)
        rounds = _dispatching(settings, store, hints)
        rounds.start()
        try:
            return _serve(settings, make_training_app(settings), store, TRAINING_QUEUE)
        finally:
            rounds.stop()
            hints.close()


def _dispatching(settings: WorkerSettings, store: TrainingStore, hints: TrainingQueue) -> Rounds:
    dispatcher = TrainingDispatcher(store, hints, max_attempts=settings.max_attempts)
    return Rounds(dispatcher.run_once, name="training_dispatch", interval_s=settings.poll_s)


def _serve(settings: WorkerSettings, app: Celery, store: SignsOfLife, queue: str) -> int:
    """Run Celery's worker; on SIGTERM the running attempt gives its job back."""
    worker_id = f"dlb-{uuid4().hex[:12]}@{host_name()}"
    liveness = Liveness(store, worker_id, interval_s=settings.heartbeat_s)

    def ready(**_: object) -> None:
        liveness.start()

    def stopping(**_: object) -> None:
        liveness.announce_stop()

    worker_ready.connect(ready)
    worker_shutting_down.connect(stopping)
    worker = app.Worker(
        hostname=worker_id,
        queues=[queue],
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
