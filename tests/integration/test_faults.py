"""Kills, outages and freezes: no job is lost, none ends twice.

Real processes get real signals; leases are short so that this takes seconds. What is here each
has a claim of its own; kills at random, of everything, are in `tests/faults`.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from job_harness import (
    SHORT_LEASE,
    Installation,
    broker_binaries,
    kill_tree,
    signal_all,
    tree_of,
    wait_until,
)
from redis import Redis

from dlb_core.artefacts import sha256_of
from dlb_core.contracts import JobState, Outcome
from dlb_core.errors import StoreUnavailable
from dlb_core.jobs.queue import redis_url


@pytest.fixture(params=["valkey", "redis"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """An installation without workers, on either broker."""
    installation = Installation(tmp_path, broker_binary=broker_binaries()[request.param])
    try:
        yield installation
    finally:
        installation.close()


def assert_published_once(installation: Installation, job_id: object, *, attempt: int) -> None:
    """The job ended well, with that attempt's files and no other's."""
    job = installation.wait_for_end(job_id)  # type: ignore[arg-type]
    assert job.state is JobState.SUCCESSFUL, job.error_message
    assert job.attempts == attempt
    attempts = installation.folder.job(job.id) / "attempts"
    wait_until(lambda: [path.name for path in attempts.iterdir()] == [str(job.fence)])
    for entry in job.artefacts:
        assert sha256_of(attempts / str(job.fence) / entry.name) == entry.sha256


def pool_child_of(worker_pid: int) -> psutil.Process:
    """The process in which Celery runs the task: the parent of the case's process."""
    processes = psutil.Process(worker_pid).children(recursive=True)
    case = next(process for process in processes if "worker.case" in process.cmdline())
    parent = case.parent()
    assert parent is not None
    return parent


def test_a_job_survives_a_broker_that_forgot_everything(installation: Installation) -> None:
    """The message is only a hint: FLUSHALL while a job waits costs a second, not the job."""
    job_id = installation.submit()
    wait_until(lambda: installation.queue.length() == 1)
    with Redis.from_url(redis_url(installation.broker.url)) as client:
        client.flushall()

    installation.start_worker()

    assert_published_once(installation, job_id, attempt=1)


def test_a_case_outlives_its_broker(installation: Installation) -> None:
    """Redis killed in mid-case: the case goes on, ends once, and the worker takes new jobs."""
    installation.start_worker()
    job_id = installation.submit(label="pace-0.04")
    installation.wait_for_middle(job_id)

    kill_broker_and_restart(installation)

    assert_published_once(installation, job_id, attempt=1)
    assert_published_once(installation, installation.submit(), attempt=1)


@pytest.mark.parametrize("installation", ["valkey"], indirect=True)
def test_a_case_outlives_a_broker_that_refuses_to_write(installation: Installation) -> None:
    """What a full disk makes of it: the worker neither ends nor leaves its case."""
    worker = installation.start_worker()
    job_id = installation.submit(label="pace-0.04")
    installation.wait_for_middle(job_id)

    with Redis.from_url(redis_url(installation.broker.url)) as client:
        client.config_set("min-replicas-to-write", 1)
        wait_until(lambda: "NOREPLICAS" in installation.log.read_text())
        client.config_set("min-replicas-to-write", 0)

    assert_published_once(installation, job_id, attempt=1)
    assert_published_once(installation, installation.submit(), attempt=1)
    assert worker.poll() is None


def kill_broker_and_restart(installation: Installation) -> None:
    """Kill -9 the broker, and let its supervisor bring it back."""
    pid = installation.broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: installation.broker.pid is None)

    def answers() -> bool:
        installation.broker.keep_running()
        try:
            installation.queue.ping()
        except StoreUnavailable:
            return False
        return True

    wait_until(answers)


@pytest.mark.parametrize("installation", ["valkey"], indirect=True)
def test_a_killed_pool_process_is_replaced_and_its_job_runs_again(
    installation: Installation,
) -> None:
    """Celery tells no one when a child is killed: the lease must."""
    worker = installation.start_worker(**SHORT_LEASE)
    job_id = installation.submit(label="pace-0.02")
    installation.wait_for_middle(job_id)

    pool_child_of(worker.pid).kill()

    # The same worker goes on with its short lease: a slow machine may cost it another attempt.
    job = installation.wait_for_end(job_id)
    assert job.attempts >= 2
    assert_published_once(installation, job_id, attempt=job.attempts)
    assert worker.poll() is None


@pytest.mark.parametrize("installation", ["valkey"], indirect=True)
def test_a_frozen_worker_cannot_publish_after_its_lease(installation: Installation) -> None:
    """A laptop lid, a paused VM: the thawed worker finds its job taken, and leaves no trace."""
    frozen = installation.start_worker(**SHORT_LEASE)
    job_id = installation.submit(label="pace-0.02")
    installation.wait_for_middle(job_id)
    processes = tree_of(frozen)
    signal_all(processes, signal.SIGSTOP)
    installation.wait_for(job_id, lambda job: job.state is JobState.ACCEPTED)

    installation.start_worker()
    installation.wait_for(job_id, lambda job: job.fence == 2)
    signal_all(processes, signal.SIGCONT)

    assert_published_once(installation, job_id, attempt=2)
    wait_until(lambda: "attempt_withdrawn" in installation.log.read_text())


@pytest.mark.parametrize("installation", ["valkey"], indirect=True)
def test_results_finished_while_the_worker_was_frozen_are_not_published(
    installation: Installation,
) -> None:
    """The case ends and its files lie ready, but the worker that would publish them is late."""
    frozen = installation.start_worker(**SHORT_LEASE)
    job_id = installation.submit(label="pace-0.02")
    installation.wait_for_middle(job_id)
    late = pool_child_of(frozen.pid)
    late.suspend()
    installation.wait_for(job_id, lambda job: job.state is JobState.ACCEPTED)
    assert any(installation.folder.attempt(job_id, 1).glob("*.nii.gz"))

    installation.start_worker()
    installation.wait_for(job_id, lambda job: job.fence == 2)
    late.resume()

    assert_published_once(installation, job_id, attempt=2)


@pytest.mark.parametrize("installation", ["valkey"], indirect=True)
def test_a_job_whose_workers_always_die_fails_with_the_cause(installation: Installation) -> None:
    """A case that takes the machine down must not be tried for ever."""
    job_id = installation.submit(label="pace-0.5")
    for attempt in (1, 2, 3):
        worker = installation.start_worker(**SHORT_LEASE)
        installation.wait_for(job_id, lambda job, number=attempt: job.fence == number)
        installation.wait_for_middle(job_id)
        kill_tree(worker)

    job = installation.wait_for_end(job_id)

    assert (job.state, job.error_code, job.attempts) == (JobState.FAILED, "worker-died", 3)
    assert job.error_message is not None
    assert "died or stopped answering 3 times" in job.error_message
    assert "inference" in job.error_message
    assert [attempt.outcome for attempt in job.log] == [Outcome.SILENT] * 3
    left = installation.folder.job(job_id)
    wait_until(
        lambda: [path.name for path in sorted(left.glob("*/*"))] == ["FLAIR.nii.gz", "T1w.nii.gz"]
    )


@pytest.mark.parametrize("installation", ["valkey"], indirect=True)
def test_a_cancelled_job_whose_worker_died_is_dismissed(installation: Installation) -> None:
    """Nobody is left to see the flag: the dispatcher acts on it when the lease ends."""
    worker = installation.start_worker(**SHORT_LEASE)
    job_id = installation.submit(label="pace-1")
    installation.wait_for_middle(job_id)
    kill_tree(worker)

    installation.store.request_cancel(job_id)

    assert installation.wait_for_end(job_id).state is JobState.DISMISSED
    wait_until(lambda: not installation.folder.job(job_id).exists())
