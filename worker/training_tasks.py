"""Celery tasks of the training queue: unpack the message and call the worker."""

import os
from functools import cache
from uuid import UUID

from celery import shared_task
from celery.signals import setup_logging

from dlb_core.jobs.celery_config import TRAIN_TASK
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.logs import configure_logging
from dlb_core.jobs.training.store import TrainingStore
from worker.settings import WorkerSettings
from worker.training_attempt import run_task


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _configure_logging(**_: object) -> None:
    """Celery asks here, in every process it starts, instead of setting up logs its own way."""
    configure_logging()


@cache
def _settings() -> WorkerSettings:
    """This process's settings: a spawned child reads them once more."""
    return WorkerSettings.from_environment(os.environ)


@cache
def _store() -> TrainingStore:
    """This process's connections to the store; `python -m worker` made the schema."""
    return TrainingStore(open_engine(_settings().store_url))


@shared_task(name=TRAIN_TASK, bind=True)  # type: ignore[untyped-decorator]
def train(task: object, training_id: str, name: str) -> None:
    """Try one task of a training. Safe to run twice, or too late."""
    worker_id: str = task.request.hostname  # type: ignore[attr-defined]
    run_task(UUID(training_id), name, store=_store(), settings=_settings(), worker_id=worker_id)
