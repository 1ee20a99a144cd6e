"""Keep jobs moving: send hints for waiting jobs, take jobs back from dead workers.

Any number of dispatchers may run, and each may die at any point: all they decide is one
guarded change in SQL, and hints may be doubled.
"""

import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from dlb_core.errors import JobNotFound
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.leftovers import remove_leftovers, tidy_ended
from dlb_core.jobs.retention import Retention, purge
from dlb_core.jobs.rounds import Repeated
from dlb_core.jobs.store import MAX_ATTEMPTS, JobStore, utc_now

logger = logging.getLogger(__name__)


TIDY_EVERY = timedelta(hours=1)


class Hints(Protocol):
    """Where hints go: `JobQueue`, or a test's own."""

    def send(self, job_id: UUID) -> None:
        """Send one hint."""

    def length(self) -> int:
        """How many wait."""


class Dispatcher(Repeated):
    """Looks after waiting and running jobs, once or in a thread of its own.

    Parameters
    ----------
    store : JobStore
    queue : Hints
    folder : DataFolder
        Where the files of jobs that end here are removed.
    stale_after_s : float
        A job that still waits this long after its hint gets another one.
    interval_s : float
        Pause between rounds of the thread.
    max_attempts : int
        Attempts a job gets when its workers die.
    retention : Retention, optional
        How long what is kept; everything, if left out.
    """

    def __init__(
        self,
        store: JobStore,
        queue: Hints,
        folder: DataFolder,
        *,
        stale_after_s: float = 30.0,
        interval_s: float = 1.0,
        max_attempts: int = MAX_ATTEMPTS,
        retention: Retention | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(name="dispatch", interval_s=interval_s)
        self._store = store
        self._queue = queue
        self._folder = folder
        self._stale_after = timedelta(seconds=stale_after_s)
        self._max_attempts = max_attempts
        self._retention = retention
        self._clock = clock
        self._tidied: datetime | None = None

    def run_once(self) -> None:
        """Take jobs from dead workers, send the hints that are due, now and then tidy up.

        Raises
        ------
        StoreUnavailable
            The job store or the broker does not answer; nothing is lost, call again.
        """
        self._take_back()
        self._send_hints()
        self._tidy()

    def _take_back(self) -> None:
        """End the leases that ran out, and remove what is no longer needed."""
        expired = self._store.requeue_expired(self._clock(), self._max_attempts)
        for job_id in expired.requeued:
            logger.warning("job_requeued", extra={"job_id": job_id, "cause": "lease ended"})
        for job_id in expired.failed:
            logger.error("job_failed", extra={"job_id": job_id, "cause": "worker died"})
        for job_id in expired.dismissed:
            logger.info("job_dismissed", extra={"job_id": job_id})
        for job_id in expired.failed + expired.dismissed:
            self._tidy_one(job_id)

    def _tidy_one(self, job_id: UUID) -> None:
        """Delete what a job that ended here no longer needs."""
        with contextlib.suppress(JobNotFound):
            tidy_ended(self._store.get(job_id), self._folder)

    def _tidy(self) -> None:
        """Delete what is no longer kept, and what crashes left: at the start, then every hour."""
        now = self._clock()
        if self._tidied is None or now - self._tidied > TIDY_EVERY:
            if self._retention is not None:
                purge(self._store, self._folder, self._retention, now=now)
            remove_leftovers(self._store, self._folder)
            self._tidied = now

    def _send_hints(self) -> None:
        """Send new jobs' hints; stale ones' too, if some hint must have been lost."""
        now = self._clock()
        ready = self._store.count_ready(now)
        if ready == 0:
            return
        # While as many hints wait as jobs do, a job is only waiting its turn: sending more
        # would let the queue grow without end.
        lost = self._queue.length() < ready
        due = self._store.due_for_dispatch(now, self._stale_after if lost else None)
        sent: list[UUID] = []
        try:
            for job_id in due:
                self._queue.send(job_id)
                sent.append(job_id)
        finally:
            if sent:
                self._store.mark_sent(sent, now)
                logger.info("hints_sent", extra={"jobs": len(sent)})
