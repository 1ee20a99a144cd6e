"""What every process that runs Celery tasks has: its settings, its logs, its connections."""

import os
from functools import cache

from celery.signals import setup_logging
from sqlalchemy import Engine

from dlb_core.jobs.database import open_engine
from dlb_core.jobs.logs import configure_logging
from dlb_core.jobs.tracing import configure_tracing
from worker.settings import WorkerSettings


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _configure_logging(**_: object) -> None:
    """Celery asks here, in every process it starts, instead of setting up logs its own way."""
    configure_logging()


@cache
def own_settings() -> WorkerSettings:
    """This process's settings: a spawned child reads them once more."""
    return WorkerSettings.from_environment(os.environ)


@cache
def set_up_tracing() -> None:
    """Say where this process's spans go."""
    configure_tracing(own_settings().traces, "dlb-worker")


@cache
def own_engine() -> Engine:
    """This process's connections to the store; `python -m worker` made the schema."""
    return open_engine(own_settings().store_url)
