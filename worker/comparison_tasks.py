"""The Celery task of comparisons: unpack the message and call the worker."""

from uuid import UUID

from celery import shared_task

from dlb_core.jobs.celery_config import COMPARE_TASK
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.store import JobStore
from worker.comparison import run_comparison
from worker.task_process import own_engine, own_settings


@shared_task(name=COMPARE_TASK)  # type: ignore[untyped-decorator]
def compare(comparison_id: str) -> None:
    """Try one comparison. Safe to run twice, or too late."""
    engine = own_engine()
    run_comparison(
        UUID(comparison_id),
        store=ComparisonStore(engine),
        jobs=JobStore(engine),
        settings=own_settings(),
    )
