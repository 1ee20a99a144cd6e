"""The job store's promises: one winner for each claim, and one end for each job."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from dlb_core.contracts import (
    FINAL_STATES,
    ArtefactEntry,
    JobState,
    Progress,
    SegmentationOptions,
    Stage,
)
from dlb_core.errors import BadOption, JobNotFound, StoreUnavailable
from dlb_core.jobs.database import open_engine, upgrade
from dlb_core.jobs.models import Base
from dlb_core.jobs.records import Claim, JobRecord, Verdict
from dlb_core.jobs.store import JobStore
from tests.unit.databases import fresh_database

START = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = SegmentationOptions(label="case 1", minimum_lesion_mm3=5.0)
DIGESTS = {"T1w": "a" * 64, "FLAIR": "b" * 64}
MASK = ArtefactEntry(name="mask.nii.gz", media_type="application/gzip", size_bytes=3, sha256="c")
TOTALS = {"lesion_count": 2}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """A clock at a fixed start."""
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[JobStore]:
    """A store on a file, as installed."""
    engine = open_engine(fresh_database(tmp_path / "jobs.sqlite"))
    with JobStore(engine, clock=clock) as store:
        yield store


def accept(store: JobStore) -> UUID:
    """Insert a job."""
    return store.insert(uuid4(), OPTIONS, DIGESTS).id


def claim(store: JobStore, job_id: UUID, *, lease_s: float = 30.0, worker: str = "w") -> Claim:
    """Claim a job that waits."""
    claim = store.claim(job_id, lease_s, worker_id=worker)
    assert claim is not None
    return claim


def test_a_new_job_waits_with_what_was_asked_for(store: JobStore) -> None:
    """The row is the promise: all that a worker will need is in it."""
    job = store.get(accept(store))

    assert (job.state, job.stage, job.attempts, job.fence) == (
        JobState.ACCEPTED,
        Stage.QUEUED,
        0,
        0,
    )
    assert (job.options, job.inputs) == (OPTIONS, DIGESTS)
    assert job.created == job.updated == START
    assert job.created.tzinfo is UTC


def test_an_unknown_job_is_not_found(store: JobStore) -> None:
    """Every way to name a job says the same of one that is not there."""
    for call in (store.get, store.remove, store.request_cancel):
        with pytest.raises(JobNotFound):
            call(uuid4())


def test_one_of_many_simultaneous_claims_wins(store: JobStore) -> None:
    """Messages are doubled now and then; the work must not be."""
    for _ in range(5):
        job_id = accept(store)
        with ThreadPoolExecutor(8) as pool:
            claims = list(pool.map(lambda _, job=job_id: store.claim(job, 30.0), range(8)))

        assert [claim.fence for claim in claims if claim is not None] == [1]


def test_finish_publishes_once(store: JobStore, clock: Clock) -> None:
    """Results, end and state appear in one change; who asks again learns that it was made."""
    job_id = accept(store)
    held = claim(store, job_id)
    clock.pass_s(5)

    assert store.finish(held, [MASK], TOTALS)
    clock.pass_s(5)
    assert store.finish(held, [], {})

    job = store.get(job_id)
    assert (job.state, job.stage) == (JobState.SUCCESSFUL, Stage.DONE)
    assert (job.artefacts, job.totals) == ((MASK,), TOTALS)
    assert (job.started, job.finished) == (START, START + timedelta(seconds=5))


def test_a_claim_that_lost_its_lease_can_write_nothing(store: JobStore, clock: Clock) -> None:
    """The frozen worker that thaws: whatever it tries, the row stays the other one's."""
    job_id = accept(store)
    lost = claim(store, job_id)
    clock.pass_s(31)
    assert store.requeue_expired(clock.now, 3).requeued == (job_id,)
    current = claim(store, job_id)
    before = store.get(job_id)

    assert not store.heartbeat(lost, Progress(stage=Stage.INFERENCE, done=70, total=75))
    assert not store.finish(lost, [MASK], TOTALS)
    assert not store.fail(lost, "x", "y")
    assert not store.release(lost)
    assert not store.retry_or_fail(lost, "x", "y", max_attempts=3)
    assert not store.dismiss(lost)
    assert store.verdict(lost) is Verdict.LOST
    assert store.get(job_id) == before
    assert (current.fence, current.attempt) == (2, 2)


def test_heartbeats_keep_the_lease_and_tell_progress(store: JobStore, clock: Clock) -> None:
    """A slow case is not a dead worker."""
    job_id = accept(store)
    held = claim(store, job_id)
    for done in range(4):
        clock.pass_s(20)
        assert store.heartbeat(held, Progress(stage=Stage.INFERENCE, done=done, total=75))
        assert store.requeue_expired(clock.now, 3).requeued == ()

    job = store.get(job_id)
    assert (job.stage, job.done, job.total) == (Stage.INFERENCE, 3, 75)
    assert job.updated == clock.now


def test_a_bare_heartbeat_changes_nothing_that_callers_see(store: JobStore, clock: Clock) -> None:
    """Else every poll would find a "changed" job and miss its ETag."""
    job_id = accept(store)
    held = claim(store, job_id)
    before = store.get(job_id)
    clock.pass_s(5)

    assert store.heartbeat(held)
    assert store.get(job_id) == before


def test_a_job_fails_with_the_cause_after_its_last_attempt(store: JobStore, clock: Clock) -> None:
    """The caller learns how often it was tried, and how far it came."""
    job_id = accept(store)
    for attempt in (1, 2, 3):
        held = claim(store, job_id)
        store.heartbeat(held, Progress(stage=Stage.INFERENCE, done=12, total=75))
        clock.pass_s(31)
        expired = store.requeue_expired(clock.now, 3)
        assert expired.requeued == ((job_id,) if attempt < 3 else ())
    assert expired.failed == (job_id,)

    job = store.get(job_id)
    assert (job.state, job.error_code) == (JobState.FAILED, "worker-died")
    assert job.error_message is not None
    assert "3 times" in job.error_message
    assert "inference (12 of 75)" in job.error_message


def test_an_attempt_given_back_does_not_count(store: JobStore, clock: Clock) -> None:
    """Restarting the service is no fault of the job's; its fence grows all the same."""
    job_id = accept(store)
    assert store.release(claim(store, job_id))
    again = claim(store, job_id)

    assert (again.attempt, again.fence) == (1, 2)
    assert store.due_for_dispatch(clock.now, None) == []


def test_a_transient_failure_is_tried_again_after_a_pause(store: JobStore, clock: Clock) -> None:
    """A full disk does not mend itself within the same second."""
    job_id = accept(store)
    assert store.retry_or_fail(claim(store, job_id), "disk-full", "no room", max_attempts=2)

    stale = timedelta(seconds=30)
    assert store.due_for_dispatch(clock.now, stale) == []
    clock.pass_s(31)
    assert store.due_for_dispatch(clock.now, stale) == [job_id]

    assert store.retry_or_fail(claim(store, job_id), "disk-full", "no room", max_attempts=2)
    job = store.get(job_id)
    assert (job.state, job.error_message) == (JobState.FAILED, "no room (tried 2 times)")


def test_cancelling_dismisses_a_waiting_job_at_once(store: JobStore) -> None:
    """Nobody works on it, so nobody has to be asked."""
    job_id = accept(store)

    assert store.request_cancel(job_id).state is JobState.DISMISSED
    assert store.claim(job_id, 30.0) is None


def test_cancelling_stops_a_running_job_and_its_results(store: JobStore) -> None:
    """Once the caller was told "cancelled", no result may appear."""
    job_id = accept(store)
    held = claim(store, job_id)

    asked = store.request_cancel(job_id)

    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    assert not store.heartbeat(held)
    assert not store.finish(held, [MASK], TOTALS)
    assert store.verdict(held) is Verdict.CANCELLED
    assert store.dismiss(held)
    assert store.get(job_id).state is JobState.DISMISSED


def test_a_job_nobody_cancelled_cannot_be_dismissed(store: JobStore) -> None:
    """A worker's mistake must not end a job."""
    job_id = accept(store)

    assert not store.dismiss(claim(store, job_id))
    assert store.get(job_id).state is JobState.RUNNING


def test_cancelling_after_the_end_changes_nothing(store: JobStore) -> None:
    """Results that were published stay."""
    job_id = accept(store)
    store.finish(claim(store, job_id), [MASK], TOTALS)
    before = store.get(job_id)

    assert store.request_cancel(job_id) == before


def test_a_cancelled_job_whose_worker_died_is_dismissed(store: JobStore, clock: Clock) -> None:
    """It must not be tried again, nor count as failed."""
    job_id = accept(store)
    claim(store, job_id)
    store.request_cancel(job_id)
    clock.pass_s(31)

    assert store.requeue_expired(clock.now, 3).dismissed == (job_id,)
    assert store.get(job_id).state is JobState.DISMISSED


def test_only_ended_jobs_can_be_removed(store: JobStore) -> None:
    """Removing a running job's row would orphan its worker."""
    job_id = accept(store)
    held = claim(store, job_id)
    store.remove(job_id)
    assert store.get(job_id).state is JobState.RUNNING

    store.fail(held, "x", "y")
    store.remove(job_id)
    with pytest.raises(JobNotFound):
        store.get(job_id)


def test_pages_hold_every_job_once_newest_first(store: JobStore, clock: Clock) -> None:
    """Also where several jobs came in the same instant, and while more come in."""
    jobs = []
    for number in range(7):
        jobs.append(accept(store))
        clock.pass_s(number % 2)
    seen: list[JobRecord] = []
    cursor = None
    while True:
        page, cursor = store.list_jobs(limit=3, before=cursor)
        seen += page
        accept(store)
        if cursor is None:
            break

    assert {job.id for job in seen} == set(jobs)
    assert len(seen) == len(jobs)
    assert [job.created for job in seen] == sorted((job.created for job in seen), reverse=True)


def test_a_list_can_be_cut_to_one_state(store: JobStore) -> None:
    """And an exactly full last page has no next one."""
    waiting, running = accept(store), accept(store)
    claim(store, running)

    page, cursor = store.list_jobs(state=JobState.RUNNING, limit=1)

    assert ([job.id for job in page], cursor) == ([running], None)
    assert store.counts_by_state()[JobState.ACCEPTED] == 1
    assert store.get(waiting).state is JobState.ACCEPTED


@pytest.mark.parametrize("cursor", ["", "x", "bm90IGEgY3Vyc29y", "ÿ", "YSBi"])
def test_a_foreign_cursor_is_refused(store: JobStore, cursor: str) -> None:
    """It came from outside: anything may be in it."""
    with pytest.raises(BadOption):
        store.list_jobs(limit=3, before=cursor)


def test_workers_count_while_they_are_heard_of(store: JobStore, clock: Clock) -> None:
    """So that readiness can tell whether anybody would take a job."""
    store.worker_seen("a")
    store.worker_seen("b")
    store.worker_seen("b")
    assert store.workers_alive(60) == 2

    store.worker_stopping("a")
    assert store.workers_alive(60) == 1
    clock.pass_s(61)
    assert store.workers_alive(60) == 0


def test_an_attempt_learns_that_its_worker_is_to_stop(store: JobStore) -> None:
    """The attempt runs in another process than the one that gets the signal."""
    held = claim(store, accept(store), worker="a")
    assert store.verdict(held) is Verdict.GO_ON
    store.worker_seen("a")
    assert store.verdict(held) is Verdict.GO_ON

    store.worker_stopping("a")
    assert store.verdict(held) is Verdict.WORKER_STOPPING


def test_a_database_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    """Callers retry on this one error, whatever the database."""
    with pytest.raises(StoreUnavailable):
        JobStore.open(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'jobs.sqlite'}")


def test_the_database_is_durable_and_shared(tmp_path: Path) -> None:
    """A row that was answered with 202 must survive a power cut."""
    engine = open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    with engine.connect() as connection:
        found = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
            for pragma in ("journal_mode", "synchronous", "foreign_keys")
        }
    engine.dispose()

    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    """Else an upgraded installation differs from a new one."""
    engine = open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    upgrade(engine)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()

    assert differences == []


def test_processes_that_start_together_upgrade_once(tmp_path: Path) -> None:
    """API and worker start at the same moment on an empty folder."""
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    code = f"from dlb_core.jobs.store import JobStore; JobStore.open({url!r}).close()"
    starts = [subprocess.Popen([sys.executable, "-W", "error", "-c", code]) for _ in range(4)]

    assert [process.wait(timeout=60) for process in starts] == [0, 0, 0, 0]


class Model:
    """Any interleaving of workers, callers and time, on one job."""

    def __init__(self) -> None:
        self.clock = Clock()
        engine = open_engine("sqlite://")
        Base.metadata.create_all(engine)
        self.store = JobStore(engine, clock=self.clock)
        self.job_id = accept(self.store)
        self.claims: list[Claim] = []
        self.published: set[int] = set()
        """Fences; who asks again, since the answer was lost, is told the same again."""

    def do(self, action: str, which: int) -> None:
        """Let somebody do something, with the newest or an older claim."""
        if action == "claim":
            held = self.store.claim(self.job_id, 30.0)
            self.claims += [held] if held is not None else []
        elif action == "time":
            self.clock.pass_s(31)
            self.store.requeue_expired(self.clock.now, 3)
        elif action == "cancel":
            self.store.request_cancel(self.job_id)
        elif self.claims:
            self._do_with(self.claims[-1 - which % len(self.claims)], action)

    def _do_with(self, held: Claim, action: str) -> None:
        if action == "finish":
            if self.store.finish(held, [MASK], {"fence": held.fence}):
                self.published.add(held.fence)
        elif action == "fail":
            self.store.fail(held, "x", "y")
        elif action == "dismiss":
            self.store.dismiss(held)
        elif action == "release":
            self.store.release(held)
        elif action == "heartbeat":
            self.store.heartbeat(held)


ACTIONS = ["claim", "time", "cancel", "finish", "fail", "dismiss", "release", "heartbeat"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3)), max_size=12))
def test_no_interleaving_ends_a_job_twice(steps: list[tuple[str, int]]) -> None:
    """An end is for good, results are the last claim's, and fences only grow."""
    model = Model()
    try:
        before = model.store.get(model.job_id)
        for action, which in steps:
            model.do(action, which)
            job = model.store.get(model.job_id)
            if before.state in FINAL_STATES:
                assert job == before
            assert job.fence >= before.fence
            assert len(model.published) == (job.state is JobState.SUCCESSFUL)
            if job.state is JobState.SUCCESSFUL:
                assert job.totals == {"fence": job.fence}
            before = job
    finally:
        model.store.close()
