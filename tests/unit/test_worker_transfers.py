"""Files are moved while the lease is kept, for as long as somebody wants them."""

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from dlb_core.errors import BucketUnavailable, Cancelled
from dlb_core.jobs.records import Verdict
from worker.transfers import transfer

POLL_S = 0.01


def away_for(times: int) -> tuple[Callable[[Callable[[], bool]], None], list[str]]:
    """A move that finds no bucket some times, and what came of each try."""
    tries: list[str] = []

    def move(_: Callable[[], bool]) -> None:
        tries.append("away" if len(tries) < times else "done")
        if tries[-1] == "away":
            raise BucketUnavailable("away")

    return move, tries


def test_an_attempt_waits_for_a_bucket_that_comes_back() -> None:
    """Hours of work must not be lost to a restart of the bucket."""
    move, tries = away_for(2)

    verdict = transfer(move, keep=lambda: Verdict.GO_ON, poll_s=POLL_S, patience_s=60)

    assert verdict is Verdict.GO_ON
    assert tries == ["away", "away", "done"]


def test_its_patience_has_an_end() -> None:
    """Then another attempt, perhaps on another machine, is the better bet."""
    move, _ = away_for(1000)

    with pytest.raises(BucketUnavailable):
        transfer(move, keep=lambda: Verdict.GO_ON, poll_s=POLL_S, patience_s=0)


def test_work_that_is_no_longer_wanted_stops_between_two_files() -> None:
    """A cancelled job's results must not be uploaded to their end; nothing may land afterwards."""

    def move(should_stop: Callable[[], bool]) -> None:
        while not should_stop():
            time.sleep(POLL_S)
        raise Cancelled("told to stop")

    verdicts = itertools.chain([Verdict.GO_ON], itertools.repeat(Verdict.CANCELLED))
    verdict = transfer(move, keep=lambda: next(verdicts), poll_s=POLL_S, patience_s=60)

    assert verdict is Verdict.CANCELLED
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("transfer")]


def test_a_lost_lease_ends_the_wait_for_the_bucket() -> None:
    """Another worker has the job: this one must not upload when the bucket is back."""
    move, tries = away_for(1)

    verdict = transfer(move, keep=lambda: Verdict.LOST, poll_s=POLL_S, patience_s=60)

    assert verdict is Verdict.LOST
    assert tries == ["away"]
