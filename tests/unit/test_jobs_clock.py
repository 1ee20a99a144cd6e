"""A clock that is set back: nothing waits for the time that it showed before."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.records import Claim
from dlb_core.jobs.store import JobStore
from tests.unit.databases import fresh_database

LATER = datetime(2026, 1, 1, 13, tzinfo=UTC)
AN_HOUR = timedelta(hours=1)
STALE = timedelta(seconds=30)


class Clock:
    """Shows what it is told to."""

    now = LATER

    def __call__(self) -> datetime:
        return self.now

    def set_back(self) -> None:
        """By an hour."""
        self.now -= AN_HOUR

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """A clock that is ahead."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[JobStore]:
    """A store that goes by it."""
    engine = open_engine(fresh_database(tmp_path / "jobs.sqlite"))
    with JobStore(engine, clock=clock) as store:
        yield store


def accept(store: JobStore) -> UUID:
    """Insert a job."""
    return store.insert(uuid4(), SegmentationOptions(), {}).id


def claim(store: JobStore) -> Claim:
    """Claim the job that waits."""
    claim = store.claim(None, 30.0)
    assert claim is not None
    return claim


def test_a_dead_workers_lease_ends_as_soon_as_ever(store: JobStore, clock: Clock) -> None:
    """It would last an hour longer, and the job stand still."""
    job_id = accept(store)
    claim(store)
    clock.set_back()

    assert store.requeue_expired(clock.now, 3).requeued == ()
    clock.pass_s(31)

    assert store.requeue_expired(clock.now, 3).requeued == (job_id,)


def test_a_living_worker_keeps_its_lease(store: JobStore, clock: Clock) -> None:
    """Its heartbeats go by the new time."""
    accept(store)
    held = claim(store)
    clock.set_back()
    store.requeue_expired(clock.now, 3)

    for _ in range(4):
        clock.pass_s(10)
        assert store.heartbeat(held)
        assert store.requeue_expired(clock.now, 3).requeued == ()


def test_a_pause_before_another_attempt_takes_no_longer(store: JobStore, clock: Clock) -> None:
    """Half a minute, not an hour and a half minute."""
    job_id = accept(store)
    store.retry_or_fail(claim(store), "disk-full", "no room", max_attempts=3, pause_s=30.0)
    clock.set_back()

    store.requeue_expired(clock.now, 3)
    assert store.due_for_dispatch(clock.now, STALE) == []
    clock.pass_s(31)

    assert store.due_for_dispatch(clock.now, STALE) == [job_id]
    assert claim(store).job_id == job_id


def test_a_lost_hint_is_sent_again(store: JobStore, clock: Clock) -> None:
    """What was sent in time to come cannot be told from what was lost."""
    job_id = accept(store)
    store.mark_sent([job_id], clock.now)
    clock.set_back()

    assert store.due_for_dispatch(clock.now, STALE) == [job_id]


def test_a_worker_seen_in_time_to_come_does_not_count(store: JobStore, clock: Clock) -> None:
    """It may have died an hour ago by its own clock: readiness must not be told otherwise."""
    store.worker_seen("a")
    clock.set_back()
    assert store.workers_alive(60) == 0

    store.worker_seen("a")
    assert store.workers_alive(60) == 1


def test_what_lies_right_is_left_alone(store: JobStore, clock: Clock) -> None:
    """Moving every row at each round would change what callers see."""
    waiting = accept(store)
    before = store.get(waiting)
    clock.pass_s(5)
    store.requeue_expired(clock.now, 3)

    assert store.get(waiting) == before
    assert before.state is JobState.ACCEPTED
