"""A thread that does the same again and again, through outages and faults, until it is stopped."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from dlb_core.errors import TransientError

logger = logging.getLogger(__name__)


class Rounds:
    """Calls `work` now and every `interval_s` seconds.

    Parameters
    ----------
    work : callable
        What it raises ends that round only.
    name : str
        The thread's, and what its log entries start with.
    interval_s : float
        Pause between two calls.
    """

    def __init__(self, work: Callable[[], None], *, name: str, interval_s: float) -> None:
        self._work, self._name, self._interval_s = work, name, interval_s
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run rounds until `stop`."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Start the next round now."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread, after the round it is in."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop: a long round may look, and end early."""
        return self._stopping.is_set()

    def _run(self) -> None:
        """Round after round; an outage is logged once, when it begins and when it ends."""
        away = False
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._work()
            except TransientError as error:
                if not away:
                    logger.warning(f"{self._name}_interrupted", extra={"cause": str(error)})
                away = True
            except Exception:
                # The thread must outlive a fault of ours: without it nothing would move.
                logger.exception(f"{self._name}_failed")
            else:
                if away:
                    logger.info(f"{self._name}_resumed")
                away = False
            self._wake.wait(self._interval_s)


class Repeated(ABC):
    """Work that is done once, or round after round in a thread of its own.

    Parameters
    ----------
    name, interval_s
        As `Rounds` has them.
    """

    def __init__(self, *, name: str, interval_s: float) -> None:
        self._rounds = Rounds(self.run_once, name=name, interval_s=interval_s)

    @abstractmethod
    def run_once(self) -> None:
        """One round."""

    def start(self) -> None:
        """Run rounds in a thread until `stop`."""
        self._rounds.start()

    def wake(self) -> None:
        """Start the next round now."""
        self._rounds.wake()

    def stop(self) -> None:
        """End the thread, after the round it is in."""
        self._rounds.stop()
