"""Celery tasks: unpack the message and call the worker."""

import os
from functools import cache
from uuid import UUID

from celery import shared_task
from celery.signals import setup_logging

from dlb_core.jobs.celery_config import SEGMENT_TASK
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.logs import configure_logging
from dlb_core.jobs.store import JobStore
from worker.attempt import run_job
from worker.settings import WorkerSettings


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _configure_logging(**_: object) -> None:
    """Celery asks here, in every process it starts, instead of setting up logs its own way."""
    configure_logging()


@cache
def _settings() -> WorkerSettings:
    """This process's settings: a spawned child reads them once more."""
    return WorkerSettings.from_environment(os.environ)


@cache
def _store() -> JobStore:
    """This process's connections to the job store; `python -m worker` made the schema."""
    return JobStore(open_engine(_settings().store_url))


@shared_task(name=SEGMENT_TASK, bind=True)  # type: ignore[untyped-decorator]
def segment(task: object, job_id: str) -> None:
    """Try the job whose turn it is, which this one may not be. Safe to run twice, or too late."""
    worker_id: str = task.request.hostname  # type: ignore[attr-defined]
    run_job(UUID(job_id), store=_store(), settings=_settings(), worker_id=worker_id)
