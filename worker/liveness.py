"""Let the job store know that this worker lives, and when it was told to stop."""

import logging
import threading
from collections.abc import Callable
from socket import gethostname
from typing import Protocol

from dlb_core.errors import TransientError

logger = logging.getLogger("worker.liveness")


def host_name() -> str:
    """This machine, or container, as its workers' ids end in it."""
    return gethostname()[:40]


class SignsOfLife(Protocol):
    """Where signs of life go: the job store, or that of trainings."""

    def worker_seen(self, worker_id: str) -> None:
        """It lives."""

    def worker_stopping(self, worker_id: str) -> None:
        """It was told to stop."""

    def worker_gone(self, worker_id: str) -> None:
        """It has stopped."""


class Liveness:
    """A thread of the worker's main process, which does no work and so is never busy.

    Parameters
    ----------
    store : SignsOfLife
    worker_id : str
    interval_s : float
        Pause between signs of life.
    """

    def __init__(self, store: SignsOfLife, worker_id: str, *, interval_s: float) -> None:
        self._store = store
        self._worker_id = worker_id
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._stopping = False
        self._gone = False
        self._thread = threading.Thread(target=self._run, name="liveness", daemon=True)

    def start(self) -> None:
        """Say now, and from now on, that the worker lives."""
        self._thread.start()

    def announce_stop(self) -> None:
        """Ask the running attempt, through the store, to give its job back.

        Called in a signal handler, so the thread does the writing.
        """
        self._stopping = True
        self._wake.set()

    def end(self) -> None:
        """Sign off."""
        self._gone = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._gone:
            self._wake.clear()
            self._say(self._store.worker_stopping if self._stopping else self._store.worker_seen)
            self._wake.wait(self._interval_s)
        self._say(self._store.worker_gone)

    def _say(self, write: Callable[[str], None]) -> None:
        try:
            write(self._worker_id)
        except TransientError as error:
            logger.warning("liveness_not_noted", extra={"cause": str(error)})
