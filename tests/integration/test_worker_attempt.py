"""One attempt with a real store and a real case process, without broker or Celery."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from job_harness import HERE, ROOT, write_image
from quick_pipeline import LITTER

from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore, open_store
from worker.attempt import Attempt, run_job
from worker.settings import WorkerSettings


class Bench:
    """A data folder, its store, and attempts at jobs in it."""

    def __init__(self, root: Path) -> None:
        self.settings = WorkerSettings(
            data=root, poll_s=0.05, threads=1, pipeline="quick_pipeline:segment_case"
        )
        self.folder = self.settings.folder
        self.folder.create()
        self.store: JobStore = open_store(self.settings.store_url)

    def accept(self, label: str = "") -> UUID:
        """Accept a job with a small pair."""
        job_id = uuid4()
        self.folder.inputs(job_id).mkdir(parents=True)
        for role in ("T1w", "FLAIR"):
            write_image(self.folder.input(job_id, role), (12, 12, 12))
        self.store.insert(job_id, SegmentationOptions(label=label), {})
        return job_id

    def run(self, job_id: UUID, **changes: object) -> JobRecord:
        """Try a job once."""
        settings = WorkerSettings.model_validate(self.settings.model_dump() | changes)
        run_job(job_id, store=self.store, settings=settings, worker_id="w")
        return self.store.get(job_id)


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
    assert not bench.folder.job(job.id).exists()


def test_a_full_disk_is_tried_again_with_the_scans_kept(bench: Bench) -> None:
    """The disk may have room again; the scans are needed then, the half results are not."""
    job = bench.run(bench.accept("full"))

    assert (job.state, job.attempts) == (JobState.ACCEPTED, 1)
    assert bench.folder.input(job.id, "T1w").exists()
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
    assert bench.folder.input(job_id, "FLAIR").exists()
