"""Move files to or from a bucket while the lease is kept: that may take longer than a lease."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from dlb_core.errors import BucketUnavailable
from dlb_core.jobs.layout import ShouldStop
from dlb_core.jobs.records import Verdict

LONGEST_PAUSE_S = 30.0

logger = logging.getLogger("worker.transfers")


def transfer(
    move: Callable[[ShouldStop], None],
    *,
    keep: Callable[[], Verdict],
    poll_s: float,
    patience_s: float,
) -> Verdict:
    """Do it in a thread, again and again while the bucket is away, until it is done or unwanted.

    Parameters
    ----------
    move : callable
        Safe to repeat; heeds what it is handed between two files.
    keep : callable
        Renews the lease, and says whether the work is still wanted.
    poll_s : float
        Pause between two calls of `keep`.
    patience_s : float
        How long a bucket may be away.

    Returns
    -------
    Verdict
        `GO_ON` when it is done.

    Raises
    ------
    BucketUnavailable
        It was away for longer.
    OSError
        This machine's disk is at fault.
    """
    deadline, pause_s = time.monotonic() + patience_s, poll_s
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="transfer") as thread:
        while True:
            work = thread.submit(move, stop.is_set)
            while not wait([work], timeout=poll_s).done:
                verdict = keep()
                if verdict is not Verdict.GO_ON:
                    # What is on its way ends first: nothing may land after the clean-up.
                    stop.set()
                    wait([work])
                    return verdict
            try:
                work.result()
            except BucketUnavailable as error:
                if time.monotonic() > deadline:
                    raise
                logger.warning("transfer_put_off", extra={"cause": str(error)})
            else:
                return Verdict.GO_ON
            verdict = _pause(pause_s, keep, poll_s)
            if verdict is not Verdict.GO_ON:
                return verdict
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _pause(pause_s: float, keep: Callable[[], Verdict], poll_s: float) -> Verdict:
    """Wait, for as long as the work is wanted."""
    end = time.monotonic() + pause_s
    while (verdict := keep()) is Verdict.GO_ON and time.monotonic() < end:
        time.sleep(min(poll_s, pause_s))
    return verdict
