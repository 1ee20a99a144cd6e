"""An attempt's hold on its job: renew it, tell progress, and learn when to stop."""

import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from dlb_core.contracts import Progress
from dlb_core.errors import TransientError
from dlb_core.jobs.records import Claim, Verdict

logger = logging.getLogger("worker.lease")
T = TypeVar("T")


class ClaimKeeper(Protocol):
    """What a lease needs of the job store."""

    def heartbeat(
        self,
        claim: Claim,
        progress: Progress | None = None,
        *,
        stage_s: dict[str, float] | None = None,
    ) -> bool:
        """Renew; False when the work must stop."""

    def verdict(self, claim: Claim) -> Verdict:
        """Look, without writing."""


def insist(
    ask: Callable[[], T],
    lease_s: float,
    *,
    poll_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Call the store again and again until it answers, for as long as a lease.

    A guarded change is safe to ask for late: it matches no row once the claim is lost.

    Raises
    ------
    TransientError
        It never answered, or never had room.
    """
    deadline = clock() + lease_s
    while True:
        try:
            return ask()
        except TransientError:
            if clock() > deadline:
                raise
            time.sleep(poll_s)


class Lease:
    """Keeps one claim alive.

    Parameters
    ----------
    claim : Claim
    store : ClaimKeeper
    heartbeat_s : float
        Pause between renewals.
    poll_s : float
        Pause between looks at the cancel flag.
    progress_s : float
        Shortest pause between two notes of progress within one stage.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        claim: Claim,
        store: ClaimKeeper,
        *,
        heartbeat_s: float,
        poll_s: float,
        progress_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claim = claim
        self._store = store
        self._heartbeat_s = heartbeat_s
        self._poll_s = poll_s
        self._progress_s = progress_s
        self._clock = clock
        self._renewed = self._looked = clock()
        self._noted: Progress | None = None

    def keep(self, progress: Progress | None, stage_s: dict[str, float] | None = None) -> Verdict:
        """Renew, note progress or look, whichever is due.

        Parameters
        ----------
        progress : Progress or None
            How far the case is, as last heard.
        stage_s : dict, optional
            Seconds in each stage until now; noted with progress only.

        Returns
        -------
        Verdict
            LOST, too, when the store was away, or its disk full, for longer than the lease.
        """
        try:
            return self._keep(progress, stage_s)
        except TransientError:
            if self._clock() - self._renewed < self._claim.lease_s:
                return Verdict.GO_ON
            logger.warning("lease_ran_out", extra={"job_id": self._claim.job_id})
            return Verdict.LOST

    def insist(self, ask: Callable[[], T]) -> T:
        """Call the store again and again until it answers, for as long as a lease.

        Raises
        ------
        TransientError
            It never answered, or never had room.
        """
        return insist(ask, self._claim.lease_s, poll_s=self._poll_s, clock=self._clock)

    def _keep(self, progress: Progress | None, stage_s: dict[str, float] | None) -> Verdict:
        now = self._clock()
        if self._renewal_is_due(progress, now):
            held = self._renew(progress, stage_s)
            self._renewed = self._clock()
            self._noted = progress
            return Verdict.GO_ON if held else self._look(now)
        return self._look(now) if now - self._looked >= self._poll_s else Verdict.GO_ON

    def _renew(self, progress: Progress | None, stage_s: dict[str, float] | None) -> bool:
        if progress == self._noted:
            # Nothing that a caller sees has changed: the row's visible part must not either.
            return self._store.heartbeat(self._claim)
        return self._store.heartbeat(self._claim, progress, stage_s=stage_s)

    def _look(self, now: float) -> Verdict:
        self._looked = now
        return self._store.verdict(self._claim)

    def _renewal_is_due(self, progress: Progress | None, now: float) -> bool:
        """At each stage's start, every so often while progress comes, and at each heartbeat."""
        pause = now - self._renewed
        if pause >= self._heartbeat_s:
            return True
        if progress is None or progress == self._noted:
            return False
        return (
            self._noted is None or progress.stage != self._noted.stage or pause >= self._progress_s
        )
