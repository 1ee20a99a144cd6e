"""The worker's Celery app: the shared settings, its tasks, and its limits."""

from celery import Celery

from dlb_core.jobs.celery_config import COMPARE_TASK, SEGMENT_TASK, make_app
from worker.settings import WorkerSettings

BACKSTOP_S = 120
"""An attempt ends a case at the time limit by itself; Celery kills it this much later."""


def make_worker_app(settings: WorkerSettings) -> Celery:
    """Make the app that `python -m worker` runs."""
    app = make_app(settings.redis_url, transport_options={"socket_keepalive": True})
    limit_s = settings.time_limit_s + BACKSTOP_S
    app.conf.update(
        include=["worker.tasks", "worker.comparison_tasks"],
        task_annotations={
            task: {"soft_time_limit": limit_s, "time_limit": limit_s + BACKSTOP_S}
            for task in (SEGMENT_TASK, COMPARE_TASK)
        },
    )
    return app


def make_training_app(settings: WorkerSettings) -> Celery:
    """Make the app that `python -m worker --queue training` runs: nothing limits its time."""
    app = make_app(settings.redis_url, transport_options={"socket_keepalive": True})
    app.conf.update(include=["worker.training_tasks"])
    return app
