"""Priorities: the urgent first, and nobody waits for ever; and rows of older installations."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from dlb_core.contracts import Outcome, Priority, Progress, SegmentationOptions, Stage
from dlb_core.jobs.database import MIGRATIONS, open_engine, upgrade
from dlb_core.jobs.models import Base
from dlb_core.jobs.store import JobStore

HOUR = timedelta(hours=1)
FIRST_VERSIONS_ROW = """
INSERT INTO jobs (
    id, state, stage, done, total, options, inputs, attempts, fence, worker_id, cancel_requested,
    created, updated, finished, artefacts
) VALUES (
    :id, :state, 'queued', 0, 1, '{}', '{}', 0, 0, '', FALSE, :created, :created, :finished, '[]'
)
"""


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at a fixed start."""
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Iterator[JobStore]:
    """A store in memory."""
    engine = open_engine("sqlite://")
    Base.metadata.create_all(engine)
    with JobStore(engine, clock=clock) as store:
        yield store


def accept(store: JobStore, priority: Priority = Priority.ROUTINE) -> UUID:
    """Insert a job."""
    return store.insert(uuid4(), SegmentationOptions(), {}, priority=priority).id


def next_job(store: JobStore) -> UUID | None:
    """Claim whatever comes next."""
    claim = store.claim(None, 60.0)
    return None if claim is None else claim.job_id


def test_the_urgent_come_first_and_equals_in_order(store: JobStore, clock: Clock) -> None:
    """An emergency does not wait behind a study of a thousand cases."""
    jobs = []
    for priority in (Priority.RESEARCH, Priority.ROUTINE, Priority.ROUTINE, Priority.STAT):
        jobs.append(accept(store, priority))
        clock.now += timedelta(seconds=1)
    research, first, second, stat = jobs

    assert [next_job(store) for _ in range(5)] == [stat, first, second, research, None]


@pytest.mark.parametrize(
    ("waiting", "urgent", "at_most_h"),
    [
        (Priority.RESEARCH, Priority.STAT, 25),
        (Priority.RESEARCH, Priority.ROUTINE, 21),
        (Priority.ROUTINE, Priority.STAT, 5),
    ],
)
def test_a_stream_of_more_urgent_jobs_starves_nobody(
    store: JobStore, clock: Clock, waiting: Priority, urgent: Priority, at_most_h: int
) -> None:
    """A worker that is always busy, one more urgent job each hour: the other one still comes."""
    patient, came = accept(store, waiting), clock.now
    begun = None
    while begun != patient:
        assert clock.now - came <= at_most_h * HOUR
        clock.now += HOUR
        accept(store, urgent)
        begun = next_job(store)

    assert clock.now - came > HOUR


def test_a_job_in_its_pause_is_passed_over(store: JobStore, clock: Clock) -> None:
    """Trying it at once would fail the same way; others need not wait for it."""
    pausing, other = accept(store), accept(store)
    claim = store.claim(pausing, 60.0)
    assert claim is not None
    store.retry_or_fail(claim, "disk-full", "no", max_attempts=3, pause_s=30)

    assert (next_job(store), next_job(store)) == (other, None)
    clock.now += timedelta(seconds=31)
    assert next_job(store) == pausing


def test_the_log_tells_how_each_attempt_went(store: JobStore, clock: Clock) -> None:
    """Three attempts, three ends: the operator must see each one's cause."""
    job_id = accept(store)
    failing = store.claim(job_id, 60.0, worker_id="a")
    assert failing is not None
    store.heartbeat(failing, Progress(stage=Stage.REGISTRATION), stage_s={"reading": 1.5})
    store.retry_or_fail(failing, "out-of-memory", "no", max_attempts=3, pause_s=0)
    silent = store.claim(job_id, 60.0, worker_id="b")
    assert silent is not None
    clock.now += timedelta(seconds=61)
    store.requeue_expired(clock.now, 3)
    stopped = store.claim(job_id, 60.0, worker_id="c")
    assert stopped is not None
    store.release(stopped)

    log = store.get(job_id).log

    assert [(entry.worker_id, entry.outcome, entry.error_code) for entry in log] == [
        ("a", Outcome.FAILED, "out-of-memory"),
        ("b", Outcome.SILENT, "worker-died"),
        ("c", Outcome.RELEASED, None),
    ]
    assert (log[0].stage, log[0].stage_s) == (Stage.REGISTRATION, {"reading": 1.5})
    assert log[1].ended == log[1].started + timedelta(seconds=61)


def test_a_heartbeat_is_told_and_is_no_change(store: JobStore, clock: Clock) -> None:
    """Callers may see that a worker lives; their cached document stays good."""
    job_id = accept(store)
    claim = store.claim(job_id, 60.0)
    assert claim is not None
    before = store.get(job_id)
    clock.now += timedelta(seconds=5)
    store.heartbeat(claim)
    after = store.get(job_id)

    assert after == before
    assert after.heartbeat == clock.now != before.heartbeat


def test_an_installation_of_the_first_version_keeps_its_jobs(tmp_path: Path) -> None:
    """Waiting jobs wait in the order they came; ended ones have no images to retry with."""
    engine = open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    rows = (
        ("2" * 32, "accepted", "2026-01-02 00:00:00.000000", None),
        ("1" * 32, "accepted", "2026-01-01 00:00:00.000000", None),
        ("3" * 32, "failed", "2025-12-31 00:00:00.000000", "2025-12-31 01:00:00.000000"),
    )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for job_id, state, created, finished in rows:
            connection.execute(
                text(FIRST_VERSIONS_ROW),
                {"id": job_id, "state": state, "created": created, "finished": finished},
            )

    upgrade(engine)
    with JobStore(engine) as store:
        failed = store.get(UUID("3" * 32))
        order = [next_job(store) for _ in range(3)]

    assert order == [UUID("1" * 32), UUID("2" * 32), None]
    assert (failed.keep_inputs, failed.log) == (False, ())
