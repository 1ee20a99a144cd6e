"""Comparisons are taken once, survive their workers, and go where their jobs go."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.errors import JobNotFound
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.database import open_engine, upgrade
from dlb_core.jobs.store import JobStore

LEASE_S = 30.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(tmp_path: Path, clock: Clock) -> Iterator[tuple[ComparisonStore, JobStore]]:
    engine = open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    upgrade(engine)
    yield ComparisonStore(engine, clock=clock), JobStore(engine)
    engine.dispose()


@pytest.fixture
def store(stores: tuple[ComparisonStore, JobStore]) -> ComparisonStore:
    return stores[0]


def accepted(store: ComparisonStore, owner: str | None = "clinic") -> UUID:
    return store.insert(uuid4(), uuid4(), owner=owner).id


def test_of_two_workers_one_gets_it(store: ComparisonStore) -> None:
    """A doubled hint must not double the work."""
    comparison_id = accepted(store)

    assert store.claim(comparison_id, LEASE_S) is not None
    assert store.claim(comparison_id, LEASE_S) is None


def test_a_finished_one_holds_its_numbers(store: ComparisonStore) -> None:
    claim = store.claim(accepted(store), LEASE_S)
    assert claim is not None

    assert store.finish(claim, [], {"new": 2})
    assert store.finish(claim, [], {}), "who did not hear the answer asks again"

    record = store.get(claim.comparison_id, sees="clinic")
    assert (record.state, record.totals) == (JobState.SUCCESSFUL, {"new": 2})
    assert record.finished is not None


def test_a_silent_workers_comparison_waits_again_and_is_lost_to_it(
    store: ComparisonStore, clock: Clock
) -> None:
    """A frozen worker that wakes up must not publish over another's result."""
    frozen = store.claim(accepted(store), LEASE_S)
    assert frozen is not None
    clock.move(LEASE_S + 1)

    assert store.requeue_expired(max_attempts=3) == [frozen.comparison_id]
    second = store.claim(frozen.comparison_id, LEASE_S)

    assert second is not None
    assert not store.heartbeat(frozen)
    assert not store.finish(frozen, [], {})
    assert store.finish(second, [], {})
    assert not store.finish(frozen, [], {})


def test_a_heartbeat_keeps_it(store: ComparisonStore, clock: Clock) -> None:
    claim = store.claim(accepted(store), LEASE_S)
    assert claim is not None
    clock.move(LEASE_S - 1)
    assert store.heartbeat(claim)
    clock.move(LEASE_S - 1)

    assert store.requeue_expired(max_attempts=3) == []


def test_after_three_silent_workers_it_fails_with_a_cause(
    store: ComparisonStore, clock: Clock
) -> None:
    """What kills every worker must not be tried for ever."""
    comparison_id = accepted(store)
    for _ in range(3):
        assert store.claim(comparison_id, LEASE_S) is not None
        clock.move(LEASE_S + 1)
        store.requeue_expired(max_attempts=3)

    record = store.get(comparison_id, sees=None)
    assert (record.state, record.error_code) == (JobState.FAILED, "worker-died")
    assert store.claim(comparison_id, LEASE_S) is None


def test_another_owner_learns_nothing(store: ComparisonStore) -> None:
    comparison_id = accepted(store, "clinic")

    with pytest.raises(JobNotFound):
        store.get(comparison_id, sees="elsewhere")
    with pytest.raises(JobNotFound):
        store.remove(comparison_id, sees="elsewhere")
    assert store.newest(10, sees="elsewhere") == []
    assert [record.id for record in store.newest(10, sees="clinic")] == [comparison_id]
    assert store.get(comparison_id, sees=None).owner == "clinic"


def test_a_deleted_one_cannot_be_published(store: ComparisonStore) -> None:
    """Its caller wanted it gone: what its worker writes later must not bring it back."""
    claim = store.claim(accepted(store), LEASE_S)
    assert claim is not None
    store.remove(claim.comparison_id, sees="clinic")

    assert not store.finish(claim, [], {})
    with pytest.raises(JobNotFound):
        store.get(claim.comparison_id, sees=None)


def test_hints_are_sent_once_and_again_when_stale(store: ComparisonStore, clock: Clock) -> None:
    comparison_id = accepted(store)
    assert store.due_for_dispatch(stale_after_s=None) == [comparison_id]
    store.mark_sent([comparison_id])

    assert store.due_for_dispatch(stale_after_s=30) == []
    clock.move(31)
    assert store.due_for_dispatch(stale_after_s=None) == []
    assert store.due_for_dispatch(stale_after_s=30) == [comparison_id]


def test_it_goes_with_either_of_its_jobs(stores: tuple[ComparisonStore, JobStore]) -> None:
    """It holds the same person's images: deleting them must not leave a copy."""
    comparisons, jobs = stores
    ids = [jobs.insert(uuid4(), SegmentationOptions(), {}).id for _ in range(2)]
    kept = comparisons.insert(ids[0], ids[1], owner=None).id
    orphan = comparisons.insert(ids[0], uuid4(), owner=None).id

    assert comparisons.drop_outlived(None) == [orphan]
    assert comparisons.get(kept, sees=None).id == kept


def test_old_results_go(stores: tuple[ComparisonStore, JobStore], clock: Clock) -> None:
    comparisons, jobs = stores
    ids = [jobs.insert(uuid4(), SegmentationOptions(), {}).id for _ in range(2)]
    claim = comparisons.claim(comparisons.insert(ids[0], ids[1], owner=None).id, LEASE_S)
    assert claim is not None
    comparisons.fail(claim, "quality-failed", "why")

    assert comparisons.drop_outlived(clock.now) == []
    clock.move(60)
    assert comparisons.drop_outlived(clock.now) == [claim.comparison_id]
