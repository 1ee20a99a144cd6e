"""Celery tasks of the training queue: unpack the message and call the worker."""

from uuid import UUID

from celery import shared_task

from dlb_core.jobs.celery_config import TRAIN_TASK
from dlb_core.jobs.training.store import TrainingStore
from worker.task_process import own_engine, own_settings
from worker.training_attempt import run_task


@shared_task(name=TRAIN_TASK, bind=True)  # type: ignore[untyped-decorator]
def train(task: object, training_id: str, name: str) -> None:
    """Try one task of a training. Safe to run twice, or too late."""
    worker_id: str = task.request.hostname  # type: ignore[attr-defined]
    store = TrainingStore(own_engine())
    run_task(UUID(training_id), name, store=store, settings=own_settings(), worker_id=worker_id)
