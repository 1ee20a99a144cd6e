"""Comparisons are taken once, survive their workers, and go where their jobs go."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dlb_core.contracts import ComparisonState, JobState, SegmentationOptions
from dlb_core.errors import JobNotFound, QueueFull
from dlb_core.jobs.comparisons.dispatcher import attempt_folder, comparison_folder
from dlb_core.jobs.comparisons.leftovers import sweep_comparisons
from dlb_core.jobs.comparisons.store import (
    HINTED_AT_ONCE,
    MOST_OF_AN_OWNER,
    ComparisonStore,
)
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.store.requests import KeyTaken, NewJob
from tests.unit.databases import fresh_database

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
    engine = open_engine(fresh_database(tmp_path / "jobs.sqlite"))
    yield ComparisonStore(engine, clock=clock), JobStore(engine)
    engine.dispose()


@pytest.fixture
def store(stores: tuple[ComparisonStore, JobStore]) -> ComparisonStore:
    return stores[0]


def accepted(
    store: ComparisonStore, owner: str | None = "clinic", *, key: str | None = None
) -> UUID:
    return store.insert(uuid4(), uuid4(), owner=owner, idempotency=key).id


def test_a_list_is_cut_into_pages_and_to_one_state(store: ComparisonStore, clock: Clock) -> None:
    """A clinic's third hundredth comparison must be found, too; some came in one instant."""
    ids = []
    for number in range(5):
        ids.append(accepted(store))
        clock.move(number % 2)
    store.claim(ids[0], LEASE_S)

    first, cursor = store.list_comparisons(sees="clinic", limit=3)
    rest, end = store.list_comparisons(sees="clinic", limit=3, before=cursor)
    running, _ = store.list_comparisons(sees=None, state=ComparisonState.RUNNING, limit=3)

    assert {record.id for record in (*first, *rest)} == set(ids)
    assert (len(first), len(rest), end) == (3, 2, None)
    assert [record.id for record in running] == ids[:1]


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
    assert (record.state, record.totals) == (ComparisonState.SUCCESSFUL, {"new": 2})
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
    assert (record.state, record.error_code) == (ComparisonState.FAILED, "worker-died")
    assert store.claim(comparison_id, LEASE_S) is None


def test_another_owner_learns_nothing(store: ComparisonStore) -> None:
    comparison_id = accepted(store, "clinic")

    with pytest.raises(JobNotFound):
        store.get(comparison_id, sees="elsewhere")
    with pytest.raises(JobNotFound):
        store.remove(comparison_id, sees="elsewhere")
    assert store.list_comparisons(sees="elsewhere", limit=10) == ([], None)
    listed, _ = store.list_comparisons(sees="clinic", limit=10)
    assert [record.id for record in listed] == [comparison_id]
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


def test_few_have_a_hint_at_once_and_each_gets_its_turn(
    store: ComparisonStore, clock: Clock
) -> None:
    """Urgent jobs wait behind these hints; and one that is lost must not hold up the rest."""
    ids = []
    for _ in range(HINTED_AT_ONCE + 2):
        ids.append(accepted(store))
        clock.move(1)

    first = store.due_for_dispatch(stale_after_s=30)
    store.mark_sent(first)
    assert first == ids[:HINTED_AT_ONCE]
    assert store.due_for_dispatch(stale_after_s=30) == []

    assert store.claim(first[0], LEASE_S) is not None
    assert store.due_for_dispatch(stale_after_s=30) == ids[HINTED_AT_ONCE:-1]
    clock.move(31)
    assert store.due_for_dispatch(stale_after_s=30)[:2] == ids[HINTED_AT_ONCE:]


def test_one_owner_cannot_keep_the_others_places(
    stores: tuple[ComparisonStore, JobStore],
) -> None:
    """To ask for a comparison of finished jobs costs nothing; one of scans costs two uploads."""
    store, _ = stores
    last = accepted(store, "clinic", key="first")
    for _ in range(MOST_OF_AN_OWNER - 1):
        accepted(store, "clinic")

    with pytest.raises(QueueFull, match="100 comparisons of this owner wait"):
        accepted(store, "clinic")
    with pytest.raises(KeyTaken):
        accepted(store, "clinic", key="first")

    accepted(store, "elsewhere")
    accepted(store, None)
    of_scans(store, owner="clinic")
    assert store.claim(last, LEASE_S) is not None
    accepted(store, "clinic")


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


def of_scans(
    store: ComparisonStore,
    *,
    owner: str | None = None,
    key: str | None = None,
    max_waiting: int | None = None,
) -> tuple[UUID, UUID, UUID]:
    """A comparison whose jobs come with it: its id, and theirs."""
    first, second = (NewJob(uuid4(), SegmentationOptions(), {}) for _ in range(2))
    ids = first.job_id, second.job_id
    record = store.insert(
        *ids, owner=owner, idempotency=key, jobs=(first, second), max_waiting=max_waiting
    )
    return record.id, *ids


def end(jobs: JobStore, job_id: UUID, state: JobState) -> None:
    """Let a job end, or not (`running`)."""
    if state is JobState.DISMISSED:
        jobs.request_cancel(job_id, discard=False)
        return
    claim = jobs.claim(job_id, LEASE_S)
    assert claim is not None
    if state is JobState.SUCCESSFUL:
        jobs.finish(claim, [], {})
    if state is JobState.FAILED:
        jobs.fail(claim, "quality-failed", "The T1w is too dark.")


@pytest.mark.parametrize(
    ("ends", "state", "said"),
    [
        ("running successful", "waiting", []),
        ("running failed", "waiting", []),
        ("successful successful", "accepted", []),
        ("successful failed", "failed", ["second visit's job failed (quality-failed): The T1w is"]),
        ("dismissed successful", "failed", ["first visit's job was cancelled"]),
        ("failed dismissed", "failed", ["first visit's job failed", "second visit's job was canc"]),
    ],
)
def test_what_becomes_of_a_comparison_is_decided_by_both_jobs_ends(
    stores: tuple[ComparisonStore, JobStore], ends: str, state: str, said: list[str]
) -> None:
    """Whoever waits for it learns which visit is at fault."""
    comparisons, jobs = stores
    comparison_id, *job_ids = of_scans(comparisons)
    for job_id, how in zip(job_ids, ends.split(), strict=True):
        end(jobs, job_id, JobState(how))
    assert comparisons.claim(comparison_id, LEASE_S) is None, "it waits"

    settled = comparisons.settle_waiting()

    record = comparisons.get(comparison_id, sees=None)
    assert record.state == state
    assert settled == ({} if state == "waiting" else {comparison_id: record.state})
    for words in said:
        assert words in (record.error_message or "")
    assert (record.error_code == "visit-failed") == bool(said)
    assert comparisons.due_for_dispatch(stale_after_s=None) == (
        [comparison_id] if state == "accepted" else []
    )
    assert comparisons.settle_waiting() == {}


def test_a_job_that_is_retried_in_time_costs_nothing(
    stores: tuple[ComparisonStore, JobStore],
) -> None:
    """A full disk that failed one visit is no reason to send both again."""
    comparisons, jobs = stores
    comparison_id, first, second = of_scans(comparisons)
    end(jobs, first, JobState.FAILED)
    comparisons.settle_waiting()
    jobs.retry(first)
    end(jobs, second, JobState.SUCCESSFUL)
    assert comparisons.settle_waiting() == {}
    end(jobs, first, JobState.SUCCESSFUL)

    assert comparisons.settle_waiting() == {comparison_id: ComparisonState.ACCEPTED}


def test_two_jobs_and_their_comparison_come_together_or_not_at_all(
    stores: tuple[ComparisonStore, JobStore],
) -> None:
    """Half of it would be a job that nobody asked for, or one that waits for ever."""
    comparisons, jobs = stores
    of_scans(comparisons, key="k", max_waiting=3)

    with pytest.raises(QueueFull, match="2 jobs wait already, and 3 may"):
        of_scans(comparisons, max_waiting=3)
    with pytest.raises(KeyTaken):
        of_scans(comparisons, key="k", max_waiting=3)

    assert jobs.counts_by_state()[JobState.ACCEPTED] == 2
    assert len(comparisons.list_comparisons(sees=None, limit=10)[0]) == 1


def test_folders_that_nobody_will_ask_for_are_swept(
    stores: tuple[ComparisonStore, JobStore], tmp_path: Path
) -> None:
    """They hold a person's images; those of work under way stay, and so do young ones."""
    comparisons, _ = stores
    folder = DataFolder(tmp_path)
    ended, running = accepted(comparisons), accepted(comparisons)
    dead = comparisons.claim(ended, LEASE_S)
    assert dead is not None
    comparisons.release(dead)
    claim = comparisons.claim(ended, LEASE_S)
    assert claim is not None
    comparisons.finish(claim, [], {})
    assert comparisons.claim(running, LEASE_S) is not None
    orphan, young = uuid4(), uuid4()
    kept = [attempt_folder(folder, ended, 2), attempt_folder(folder, running, 1)]
    gone = [attempt_folder(folder, ended, 1), comparison_folder(folder, orphan)]
    for place in (*kept, *gone):
        place.mkdir(parents=True)
        (place / "comparison.json").write_text("{}")
    hours_ago = time.time() - 7200
    for path in folder.root.rglob("*"):
        os.utime(path, (hours_ago, hours_ago))
    (comparison_folder(folder, young) / "1").mkdir(parents=True)

    assert sweep_comparisons(folder, comparisons, older_than_s=3600) == 2

    assert not any(place.exists() for place in gone)
    assert all((place / "comparison.json").exists() for place in kept)
    assert comparison_folder(folder, young).exists()
    assert sweep_comparisons(DataFolder(tmp_path / "new"), comparisons, older_than_s=0) == 0
