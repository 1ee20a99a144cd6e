"""Celery tasks: unpack the message and call the worker."""

from uuid import UUID

from celery import shared_task

from dlb_core.jobs.celery_config import SEGMENT_TASK
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.tracing import flush_traces
from worker.attempt import run_job
from worker.task_process import own_engine, own_settings, set_up_tracing


@shared_task(name=SEGMENT_TASK, bind=True)  # type: ignore[untyped-decorator]
def segment(task: object, job_id: str) -> None:
    """Try the job whose turn it is, which this one may not be. Safe to run twice, or too late."""
    worker_id: str = task.request.hostname  # type: ignore[attr-defined]
    store = JobStore(own_engine())
    set_up_tracing()
    try:
        run_job(UUID(job_id), store=store, settings=own_settings(), worker_id=worker_id)
    finally:
        flush_traces()
