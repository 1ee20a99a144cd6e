"""Keep comparisons moving: send hints, take them back from dead workers, drop the outlived."""

import logging
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.queue import ComparisonQueue
from dlb_core.jobs.retention import FOR_EVER
from dlb_core.jobs.store import MAX_ATTEMPTS
from dlb_core.jobs.store.sessions import utc_now

logger = logging.getLogger(__name__)

STALE_AFTER_S = 30.0
OVERDUE_AFTER_S = 300.0
"""The queue is the jobs' too, and may never be empty; by then a hint counts as lost."""


class ComparisonDispatcher:
    """Looks after waiting and running comparisons; call `run_once` again and again.

    Parameters
    ----------
    store : ComparisonStore
    queue : ComparisonQueue
    folder : DataFolder
    keep_days : float
        How long results are kept after their end; `FOR_EVER` keeps them.
    """

    def __init__(
        self,
        store: ComparisonStore,
        queue: ComparisonQueue,
        folder: DataFolder,
        *,
        keep_days: float = FOR_EVER,
    ) -> None:
        self._store, self._queue, self._folder = store, queue, folder
        self._keep_days = keep_days

    def run_once(self) -> None:
        """One round.

        Raises
        ------
        StoreUnavailable
            The store or the broker does not answer; nothing is lost, call again.
        """
        for comparison_id in self._store.requeue_expired(MAX_ATTEMPTS):
            logger.warning("comparison_taken_back", extra={"comparison_id": comparison_id})
        self._drop_outlived()
        for comparison_id, state in self._store.settle_waiting().items():
            logger.info("comparison_settled", extra={"comparison_id": comparison_id, "to": state})
        self._send_hints()

    def _drop_outlived(self) -> None:
        """A deleted job takes its comparisons with it: they hold the same person's images."""
        before = None
        if self._keep_days != FOR_EVER:
            before = utc_now() - timedelta(days=self._keep_days)
        for comparison_id in self._store.drop_outlived(before):
            remove_comparison(self._folder, comparison_id)

    def _send_hints(self) -> None:
        due = self._store.due_for_dispatch(stale_after_s=OVERDUE_AFTER_S)
        stale = self._store.due_for_dispatch(stale_after_s=STALE_AFTER_S)
        # While any hint waits in the queue, one that seems stale may only be waiting its turn.
        if len(stale) > len(due) and self._queue.length() == 0:
            due = stale
        sent: list[UUID] = []
        try:
            for comparison_id in due:
                self._queue.send(comparison_id)
                sent.append(comparison_id)
        finally:
            if sent:
                self._store.mark_sent(sent)


def comparisons_folder(folder: DataFolder) -> Path:
    """A folder for every comparison; made with the first one."""
    return folder.root / "comparisons"


def comparison_folder(folder: DataFolder, comparison_id: UUID) -> Path:
    """Everything of one comparison."""
    return comparisons_folder(folder) / str(comparison_id)


def attempt_folder(folder: DataFolder, comparison_id: UUID, fence: int) -> Path:
    """What the attempt of this fence writes; no other attempt writes there."""
    return comparison_folder(folder, comparison_id) / str(fence)


def remove_comparison(folder: DataFolder, comparison_id: UUID) -> None:
    """Delete every file of one."""
    folder.remove(comparison_folder(folder, comparison_id))
