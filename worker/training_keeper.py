"""An attempt's hold on its network: a thread renews the lease while the main thread trains."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol, Self

from dlb_core.errors import TransientError
from dlb_core.jobs.training.records import TaskClaim, TaskVerdict

logger = logging.getLogger("worker.training")


class TaskKeeper(Protocol):
    """What a keeper needs of the store of trainings."""

    def heartbeat(
        self, claim: TaskClaim, *, step: int | None = None, loss: float | None = None
    ) -> bool:
        """Renew; False when the claim was lost."""

    def verdict(self, claim: TaskClaim) -> TaskVerdict:
        """Look, without writing."""


class Keeper:
    """Keeps one claim alive, from the `with` block's start to its end.

    Parameters
    ----------
    claim : TaskClaim
    store : TaskKeeper
    heartbeat_s : float
        Pause between renewals.
    poll_s : float
        Pause between looks at whether the work is still wanted.
    """

    def __init__(
        self, claim: TaskClaim, store: TaskKeeper, *, heartbeat_s: float, poll_s: float
    ) -> None:
        self._claim, self._store = claim, store
        self._heartbeat_s, self._poll_s = heartbeat_s, poll_s
        self._progress: tuple[int, float] | None = None
        self._renewed = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self.verdict = TaskVerdict.GO_ON
        """Once it is not to go on, it stays so."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def note(self, step: int, loss: float) -> None:
        """Tell progress, with the next renewal."""
        self._progress = step, loss

    def should_stop(self) -> bool:
        """Whether the training is to leave a checkpoint and end."""
        return self.verdict is not TaskVerdict.GO_ON

    def insist(self, ask: Callable[[], bool]) -> bool:
        """Call the store again and again until it answers; False when the claim was lost.

        A guarded change is safe to ask for late: it matches no row once the claim is lost.
        """
        while True:
            try:
                return ask()
            except TransientError:
                if self.verdict is TaskVerdict.LOST:
                    return False
                time.sleep(self._poll_s)

    def _run(self) -> None:
        while not self._over.wait(self._poll_s):
            try:
                found = self._look()
            except TransientError:
                found = TaskVerdict.GO_ON
                if time.monotonic() - self._renewed > self._claim.lease_s:
                    logger.warning("training_lease_ran_out", extra={"task": self._claim.name})
                    found = TaskVerdict.LOST
            if self.verdict is not TaskVerdict.LOST and found is not TaskVerdict.GO_ON:
                self.verdict = found

    def _look(self) -> TaskVerdict:
        now = time.monotonic()
        if now - self._renewed < self._heartbeat_s:
            return self._store.verdict(self._claim)
        step, loss = self._progress or (None, None)
        held = self._store.heartbeat(self._claim, step=step, loss=loss)
        self._renewed = now
        return self._store.verdict(self._claim) if held else TaskVerdict.LOST
