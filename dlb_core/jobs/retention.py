"""How long what is kept: results, images of jobs that can be tried again, rows of old jobs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.store import JobStore

logger = logging.getLogger(__name__)

FOR_EVER = 0.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that things are kept after a job's end; `FOR_EVER` keeps them."""

    results_days: float = 90.0
    """Results of successful jobs; then a tombstone tells that they were there."""
    inputs_days: float = 7.0
    """Images of jobs that failed or were cancelled, for a retry."""
    rows_days: float = 365.0
    """Rows of jobs without any files: tombstones, failed and cancelled jobs."""


@dataclass(frozen=True, slots=True)
class Purged:
    """How many jobs lost what."""

    results: int
    inputs: int
    rows: int


def purge(store: JobStore, folder: DataFolder, retention: Retention, *, now: datetime) -> Purged:
    """Remove whatever has been kept for long enough.

    Any number of processes may do this at once, and each may die at any point: rows change
    first, and files without a promise are deleted by the next clean-up.

    Raises
    ------
    StoreUnavailable
        The job store does not answer.
    """

    def remove(expire: Callable[[datetime], list[UUID]], days: float) -> int:
        return 0 if days == FOR_EVER else _in_batches(expire, now - timedelta(days=days), folder)

    purged = Purged(
        results=remove(store.expire_results, retention.results_days),
        inputs=remove(store.expire_inputs, retention.inputs_days),
        rows=remove(store.forget, retention.rows_days),
    )
    if purged != Purged(0, 0, 0):
        counts = {"results": purged.results, "inputs": purged.inputs, "rows": purged.rows}
        logger.info("purged", extra=counts)
    return purged


def _in_batches(
    expire: Callable[[datetime], list[UUID]], before: datetime, folder: DataFolder
) -> int:
    """Expire some jobs at a time until none is left, and delete their files."""
    count = 0
    while gone := expire(before):
        for job_id in gone:
            folder.remove_job(job_id)
        count += len(gone)
    return count
