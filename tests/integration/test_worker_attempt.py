"""One attempt with a real store and a real case process, without broker or Celery."""

import contextlib
import itertools
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from job_harness import HERE, ROOT, write_image
from quick_pipeline import LITTER

from dlb_core.contracts import JobState, Outcome, Priority, SegmentationOptions
from dlb_core.errors import InputsGone, StoreUnavailable
from dlb_core.jobs.layout import image_in
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore
from tests.unit.small_disk import NEEDS_ROOT, fill, mounted
from worker.attempt import Attempt, run_job
from worker.settings import WorkerSettings


class Bench:
    """A data folder, its store, and attempts at jobs in it."""

    def __init__(self, root: Path) -> None:
        self.settings = WorkerSettings(
            data=root,
            poll_s=0.05,
            threads=1,
            retry_pause_s=0.0,
            pipeline="quick_pipeline:segment_case",
        )
        self.folder = self.settings.folder
        self.folder.create()
        self.store: JobStore = JobStore.open(self.settings.store_url)

    def accept(self, label: str = "", *, priority: Priority = Priority.ROUTINE) -> UUID:
        """Accept a job with a small pair."""
        job_id = uuid4()
        self.folder.inputs(job_id).mkdir(parents=True)
        for role in ("T1w", "FLAIR"):
            write_image(image_in(self.folder.inputs(job_id), role), (12, 12, 12))
        self.store.insert(job_id, SegmentationOptions(label=label), {}, priority=priority)
        return job_id

    def run(self, job_id: UUID, **changes: object) -> JobRecord:
        """Try a job once."""
        settings = WorkerSettings.model_validate(self.settings.model_dump() | changes)
        run_job(job_id, store=self.store, settings=settings, worker_id="w")
        return self.store.get(job_id)

    def files_of(self, job: JobRecord) -> list[str]:
        """What is left of a job on disk."""
        folder = self.folder.job(job.id)
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose case processes find the quick pipeline."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
    bench = Bench(tmp_path / "data")
    yield bench
    bench.store.close()


def test_a_case_beyond_its_time_limit_is_ended(bench: Bench) -> None:
    """A hanging case would block the worker for ever."""
    job = bench.run(bench.accept("pace-60"), time_limit_s=0.5)

    assert (job.state, job.error_code) == (JobState.FAILED, "time-limit")
    assert bench.files_of(job) == ["inputs"]


def test_a_case_that_is_late_in_a_stage_is_asked_to_stop(bench: Bench) -> None:
    """The soft limit lets it end between two steps, with the stage as the cause."""
    job = bench.run(bench.accept("late"), stage_soft_s=0.3, stage_hard_s=60.0)

    assert (job.state, job.attempts) == (JobState.ACCEPTED, 1)
    assert job.log[0].error_code == "time-limit"
    assert "in stage reading" in (job.log[0].error_message or "")


def test_a_case_that_hears_nothing_is_ended_at_the_hard_limit(bench: Bench) -> None:
    """A library that hangs asks nobody whether to go on; the last attempt names the stage."""
    limits = {"stage_limits": "inference=0.2:0.6", "max_attempts": 1}
    job = bench.run(bench.accept("deaf"), **limits)

    assert (job.state, job.error_code) == (JobState.FAILED, "time-limit")
    assert "in stage inference" in (job.error_message or "")
    assert job.log[0].stage_s["inference"] >= 0.6


@pytest.mark.parametrize(
    ("label", "code", "words"),
    [
        ("segv", "case-crashed", "SIGSEGV"),
        ("crash", "case-killed", "killed"),
        ("greedy", "out-of-memory", "memory"),
        ("leak", "internal-error", "RuntimeError"),
        ("quota", "disk-full", "no room"),
    ],
)
def test_each_way_to_die_has_its_own_cause(bench: Bench, label: str, code: str, words: str) -> None:
    """ "Worker died" hides what the operator must do: buy memory, file a bug, find the killer."""
    job = bench.run(bench.accept(label), max_attempts=1, memory_mb=2048)

    assert (job.state, job.error_code) == (JobState.FAILED, code)
    assert words in (job.error_message or "")
    assert bench.files_of(job) == ["inputs"]


def test_a_failed_job_can_be_tried_again(bench: Bench) -> None:
    """Its images were kept for that; its log keeps what went wrong before."""
    job = bench.run(bench.accept("pace-0.01"), time_limit_s=0.1)
    assert job.state is JobState.FAILED

    bench.store.retry(job.id)
    job = bench.run(job.id)

    assert (job.state, job.attempts, job.error_code) == (JobState.SUCCESSFUL, 1, None)
    assert [attempt.outcome for attempt in job.log] == [Outcome.FAILED, Outcome.SUCCESSFUL]
    assert bench.files_of(job) == ["attempts"]


def test_images_at_fault_are_not_kept(bench: Bench) -> None:
    """No other attempt could go well with them."""
    job_id = bench.accept()
    write_image(image_in(bench.folder.inputs(job_id), "FLAIR"), (12, 12, 13))

    job = bench.run(job_id)

    assert (job.state, job.error_code) == (JobState.FAILED, "grid-mismatch")
    assert bench.files_of(job) == []
    with pytest.raises(InputsGone):
        bench.store.retry(job_id)


def test_a_successful_jobs_images_stay_if_the_operator_wants_them(bench: Bench) -> None:
    """Some sites must be able to show what a result was made from."""
    kept = bench.run(bench.accept(), keep_inputs=True)
    deleted = bench.run(bench.accept())

    assert bench.files_of(kept) == ["attempts", "inputs"]
    assert bench.files_of(deleted) == ["attempts"]


def test_a_cancelled_case_keeps_its_images_only_for_a_caller_who_did_not_delete(
    bench: Bench,
) -> None:
    """Cancelled is not deleted: one may be tried again, of the other nothing stays."""
    for discard, left in ((False, ["inputs"]), (True, [])):
        job_id = bench.accept("deaf")
        canceller = threading.Timer(0.5, bench.store.request_cancel, [job_id], {"discard": discard})
        canceller.start()
        job = bench.run(job_id)
        canceller.join()

        assert job.state is JobState.DISMISSED
        assert bench.files_of(job) == left


def test_the_most_urgent_job_is_begun_whichever_the_hint_was_about(bench: Bench) -> None:
    """Hints lie in the broker in the order they came; the store says whose turn it is."""
    routine = bench.accept()
    stat = bench.accept(priority=Priority.STAT)

    bench.run(routine)

    assert bench.store.get(stat).state is JobState.SUCCESSFUL
    assert bench.store.get(routine).state is JobState.ACCEPTED


def test_a_full_disk_is_tried_again_with_the_scans_kept(bench: Bench) -> None:
    """The disk may have room again; the scans are needed then, the half results are not."""
    job = bench.run(bench.accept("full"))

    assert (job.state, job.attempts) == (JobState.ACCEPTED, 1)
    assert image_in(bench.folder.inputs(job.id), "T1w").exists()
    assert not bench.folder.attempt(job.id, 1).exists()

    job = bench.run(job.id, max_attempts=2)
    assert (job.state, job.error_code) == (JobState.FAILED, "disk-full")


def test_a_killed_case_leaves_no_temporary_files(bench: Bench) -> None:
    """Libraries put scans into temporary files; a killed process cannot delete them."""
    shared = Path(tempfile.gettempdir())
    before = set(shared.glob(f"{LITTER}*"))

    job = bench.run(bench.accept("crash"))

    assert job.state is JobState.ACCEPTED
    assert set(shared.glob(f"{LITTER}*")) == before
    assert list(bench.folder.root.rglob(f"{LITTER}*")) == []


def test_a_pipeline_that_cannot_be_loaded_fails_the_job(bench: Bench) -> None:
    """A broken installation must not look like a dead worker."""
    job = bench.run(bench.accept(), pipeline="no_such_module:segment_case")

    assert (job.state, job.error_code) == (JobState.FAILED, "internal-error")


class _Unheard(JobStore):
    """Publishes, and breaks off before its first answer."""

    asked = 0

    def finish(self, *given: Any, **named: Any) -> bool:
        published = super().finish(*given, **named)
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailable("the connection broke off")
        return published


def test_results_outlive_an_answer_that_was_lost(bench: Bench) -> None:
    """What the database calls successful must be there to be fetched."""
    bench.store.close()
    bench.store = store = _Unheard.open(bench.settings.store_url)

    done = bench.run(bench.accept())

    assert (done.state, store.asked) == (JobState.SUCCESSFUL, 2)
    folder = bench.folder.attempt(done.id, done.fence)
    assert done.artefacts
    assert all((folder / entry.name).is_file() for entry in done.artefacts)


def test_a_doubled_message_does_nothing(bench: Bench) -> None:
    """Its job has ended; nothing of it may change."""
    job_id = bench.accept()
    done = bench.run(job_id)

    assert done.state is JobState.SUCCESSFUL
    assert bench.run(job_id) == done


def test_an_attempt_that_lost_its_claim_leaves_no_trace(bench: Bench) -> None:
    """Its successor's files, and the scans it needs, stay untouched."""
    job_id = bench.accept("pace-0.01")
    late = bench.store.claim(job_id, 30.0)
    assert late is not None
    created = bench.store.get(job_id).created
    bench.store.requeue_expired(created.replace(year=2100), 3)
    assert bench.store.claim(job_id, 30.0) is not None
    before = bench.store.get(job_id)

    Attempt(late, store=bench.store, settings=bench.settings).run()

    assert bench.store.get(job_id) == before
    assert not bench.folder.attempt(job_id, 1).exists()
    assert image_in(bench.folder.inputs(job_id), "FLAIR").exists()


@pytest.fixture
def small_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench with all it has on a disk of 4 MiB and 60 files."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
    with mounted(tmp_path / "disk", megabytes=4, files=60) as allowed:
        if not allowed:
            pytest.skip(NEEDS_ROOT)
        bench = Bench(tmp_path / "disk" / "data")
        yield bench
        bench.store.close()


def use_up_files(folder: Path) -> None:
    """Make files until the disk takes no more of them."""
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (folder / str(number)).touch()


def test_a_disk_without_room_for_a_claim_leaves_the_job_waiting(small_bench: Bench) -> None:
    """Nothing was begun, so no attempt counts; the next hint finds the job."""
    job_id = small_bench.accept()
    filler = small_bench.folder.root / "filler"
    fill(filler, leaving=0)

    waiting = small_bench.run(job_id)
    filler.unlink()

    assert (waiting.state, waiting.attempts) == (JobState.ACCEPTED, 0)
    assert small_bench.run(job_id).state is JobState.SUCCESSFUL


def test_a_disk_without_room_for_a_folder_is_the_attempts_cause(small_bench: Bench) -> None:
    """Otherwise the job would wait for its lease's end, and blame the worker."""
    job_id = small_bench.accept()
    use_up_files(small_bench.folder.root / "litter")

    job = small_bench.run(job_id)

    assert (job.state, job.attempts) == (JobState.ACCEPTED, 1)
    assert job.log[0].error_code == "disk-full"
