"""Keep trainings moving: send hints for tasks that wait, take tasks back from dead workers.

Every worker of trainings runs one. Each may die at any point: all they decide is one guarded
change in SQL, and hints may be doubled.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from dlb_core.jobs.queue import TrainingQueue
from dlb_core.jobs.store import MAX_ATTEMPTS
from dlb_core.jobs.store.sessions import utc_now
from dlb_core.jobs.training.rows import Task
from dlb_core.jobs.training.store import TrainingStore

logger = logging.getLogger(__name__)


class TrainingDispatcher:
    """Looks after waiting and running tasks; call `run_once` again and again.

    Parameters
    ----------
    store : TrainingStore
    queue : TrainingQueue
    stale_after_s : float
        A task that still waits this long after its hint gets another one.
    max_attempts : int
        Attempts without progress that a task gets when its workers die.
    """

    def __init__(
        self,
        store: TrainingStore,
        queue: TrainingQueue,
        *,
        stale_after_s: float = 30.0,
        max_attempts: int = MAX_ATTEMPTS,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._queue = queue
        self._stale_after = timedelta(seconds=stale_after_s)
        self._max_attempts = max_attempts
        self._clock = clock

    def run_once(self) -> None:
        """Take tasks from dead workers, and send the hints that are due.

        Raises
        ------
        StoreUnavailable
            The store or the broker does not answer; nothing is lost, call again.
        """
        for training_id, name in self._store.requeue_expired(self._clock(), self._max_attempts):
            cause = {"training_id": training_id, "task": name, "cause": "lease ended"}
            logger.warning("training_task_taken_back", extra=cause)
        self._send_hints()

    def _send_hints(self) -> None:
        """Send new tasks' hints; stale ones' too, if some hint must have been lost."""
        waiting = self._store.count_ready()
        if waiting == 0:
            return
        # While as many hints wait as tasks do, a task is only waiting its turn.
        lost = self._queue.length() < waiting
        now = self._clock()
        sent: list[Task] = []
        try:
            for task in self._store.due_for_dispatch(now, self._stale_after if lost else None):
                self._queue.send(*task)
                sent.append(task)
        finally:
            if sent:
                self._store.mark_sent(sent, now)
                logger.info("training_hints_sent", extra={"tasks": len(sent)})
