"""Jobs through a real broker, a real store and a real worker process."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_harness import Installation, broker_binaries, tree_of, wait_until

from dlb_core.artefacts import MASK_FLAIR, REPORT_JSON, sha256_of
from dlb_core.contracts import JobState, Stage


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with one worker and a genuine Redis, for the tests that leave it whole.

    What depends on the broker is tested on both kinds, in `test_faults.py`.
    """
    root = tmp_path_factory.mktemp("jobs")
    installation = Installation(root, broker_binary=broker_binaries()["redis"])
    try:
        installation.start_worker()
        yield installation
    finally:
        installation.close()


def test_a_job_runs_and_publishes_its_artefacts(installation: Installation) -> None:
    """The main path: what the row lists is what lies on disk, and the scans are gone."""
    job_id = installation.submit(label="pace-0.01")
    job = installation.wait_for_end(job_id)

    assert job.state is JobState.SUCCESSFUL, job.error_message
    assert (job.stage, job.attempts, job.fence) == (Stage.DONE, 1, 1)
    assert job.totals is not None
    assert job.totals["lesion_volume_ml"] == pytest.approx(0.008)
    assert [entry.name for entry in job.artefacts] == [REPORT_JSON, MASK_FLAIR]
    results = installation.folder.attempt(job_id, job.fence)
    for entry in job.artefacts:
        assert sha256_of(results / entry.name) == entry.sha256
    wait_until(lambda: not installation.folder.inputs(job_id).exists())
    assert sorted(path.name for path in results.iterdir()) == sorted(
        entry.name for entry in job.artefacts
    )


def test_progress_counts_networks_while_the_case_runs(installation: Installation) -> None:
    """A caller who waits sees k of 75 grow."""
    job_id = installation.submit(label="pace-0.02")
    middle = installation.wait_for_middle(job_id)
    later = installation.wait_for(job_id, lambda job: job.done > middle.done)

    assert (middle.stage, middle.total) == (Stage.INFERENCE, 75)
    assert later.updated > middle.updated
    assert installation.wait_for_end(job_id).state is JobState.SUCCESSFUL


def test_a_pair_that_does_not_fit_fails_with_its_own_cause(installation: Installation) -> None:
    """The caller's mistake is said once, in words they can act on, and not tried again."""
    job = installation.wait_for_end(installation.submit(flair_shape=(12, 12, 13)))

    assert (job.state, job.error_code, job.attempts) == (JobState.FAILED, "grid-mismatch", 1)
    assert job.error_message == "T1w and FLAIR differ in shape: send two images of one grid"
    wait_until(lambda: not installation.folder.job(job.id).exists())


def test_an_unexpected_error_keeps_its_text_out_of_the_answer(installation: Installation) -> None:
    """Foreign errors may hold paths and names."""
    job = installation.wait_for_end(installation.submit(label="leak"))

    assert (job.state, job.error_code) == (JobState.FAILED, "internal-error")
    assert job.error_message == ("an unexpected RuntimeError ended this case: see the worker's log")


def test_a_case_that_crashes_every_time_fails_with_the_signal(installation: Installation) -> None:
    """Three kills by the kernel are no reason to try for ever, nor to say "worker died" only."""
    job = installation.wait_for_end(installation.submit(label="crash"))

    assert (job.state, job.error_code, job.attempts) == (JobState.FAILED, "case-killed", 3)
    assert job.error_message is not None
    assert "was killed" in job.error_message
    assert "tried 3 times" in job.error_message
    assert [attempt.error_code for attempt in job.log] == ["case-killed"] * 3


def test_a_running_job_stops_when_cancelled(installation: Installation) -> None:
    """Cancelling ends the case's process, not only the row."""
    job_id = installation.submit(label="pace-1")
    installation.wait_for_middle(job_id)

    installation.store.request_cancel(job_id)
    job = installation.wait_for_end(job_id)

    assert job.state is JobState.DISMISSED
    wait_until(lambda: not installation.folder.job(job_id).exists())
    cases = [
        process
        for process in tree_of(installation.workers[0])
        if "worker.case" in process.cmdline()
    ]
    assert cases == []


def test_a_queued_job_is_dismissed_at_once(installation: Installation) -> None:
    """Its message still comes, and must change nothing."""
    blocking = installation.submit(label="pace-0.02")
    installation.wait_for_middle(blocking)
    job_id = installation.submit()

    cancelled = installation.store.request_cancel(job_id)

    assert cancelled.state is JobState.DISMISSED
    assert installation.wait_for_end(blocking).state is JobState.SUCCESSFUL
    wait_until(lambda: installation.queue.length() == 0)
    assert installation.store.get(job_id) == cancelled


def test_every_line_the_worker_logs_is_json_without_paths(installation: Installation) -> None:
    """Logs travel further than results do; a scan's path or name must not be in them."""
    installation.wait_for_end(installation.submit())
    lines = installation.log.read_text().splitlines()

    events = [json.loads(line) for line in lines if line.startswith("{")]
    ours = [entry for entry in events if entry["logger"].startswith("worker.attempt")]
    assert {"attempt_started", "job_successful"} <= {entry["event"] for entry in ours}
    assert str(installation.folder.root) not in json.dumps(ours)


def test_a_worker_told_to_stop_gives_its_job_back_uncounted(tmp_path: Path) -> None:
    """An update of the service must cost a job neither an attempt nor half a minute's wait."""
    installation = Installation(tmp_path, broker_binary=broker_binaries()["valkey"])
    try:
        worker = installation.start_worker()
        job_id = installation.submit(label="pace-0.02")
        installation.wait_for_middle(job_id)

        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
        waiting = installation.store.get(job_id)
        assert (waiting.state, waiting.attempts, waiting.fence) == (JobState.ACCEPTED, 0, 1)
        assert installation.store.workers_alive(60) == 0

        installation.start_worker()
        job = installation.wait_for_end(job_id)
        assert (job.state, job.attempts, job.fence) == (JobState.SUCCESSFUL, 1, 2)
    finally:
        installation.close()
