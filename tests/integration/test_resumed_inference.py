"""A case that was cut short in inference goes on there, and ends as if it had not been."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from ensemble_pipeline import FIRST_FILE, VOTES_FILE
from job_harness import HERE, ROOT, write_image

from dlb_core.contracts import JobState, SegmentationOptions, Stage
from dlb_core.jobs.layout import image_in
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore
from dlb_core.votes import KEEP_EVERY
from tests.unit.bundles import write_tiny_bundle
from worker.attempt import run_job
from worker.settings import WorkerSettings


class Bench:
    """A data folder with its store, and tiny networks."""

    def __init__(self, root: Path) -> None:
        self.settings = WorkerSettings(
            data=root / "data",
            weights=root / "bundle",
            threads=1,
            poll_s=0.05,
            retry_pause_s=0.0,
            pipeline="ensemble_pipeline:segment_case",
        )
        write_tiny_bundle(self.settings.weights)
        self.folder = self.settings.folder
        self.folder.create()
        self.store: JobStore = JobStore.open(self.settings.store_url)

    def accept(self, label: str) -> UUID:
        """Accept a job; its images are not looked at."""
        job_id = uuid4()
        self.folder.inputs(job_id).mkdir(parents=True)
        for role in ("T1w", "FLAIR"):
            write_image(image_in(self.folder.inputs(job_id), role), (12, 12, 12))
        self.store.insert(job_id, SegmentationOptions(label=label), {})
        return job_id

    def run(self, job_id: UUID) -> JobRecord:
        """Make one attempt."""
        run_job(job_id, store=self.store, settings=self.settings, worker_id="w")
        return self.store.get(job_id)

    def read(self, job: JobRecord, name: str) -> str:
        """One of a job's results."""
        return (self.folder.attempt(job.id, job.fence) / name).read_text()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose case processes find the pipeline."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def test_a_killed_case_goes_on_with_the_next_network_and_ends_bit_for_bit_the_same(
    bench: Bench,
) -> None:
    """Half an hour of inference must not be lost, nor the result depend on a crash."""
    whole = bench.run(bench.accept(""))
    assert whole.state is JobState.SUCCESSFUL, whole.error_message
    job_id = bench.accept(f"killed-{6 * KEEP_EVERY + 2}")

    cut_short = bench.run(job_id)
    assert (cut_short.state, cut_short.log[0].stage) == (JobState.ACCEPTED, Stage.INFERENCE)
    assert bench.folder.votes(job_id).exists()
    resumed = bench.run(job_id)

    assert (resumed.state, resumed.attempts) == (JobState.SUCCESSFUL, 2)
    assert bench.read(whole, FIRST_FILE) == "1"
    assert bench.read(resumed, FIRST_FILE) == str(6 * KEEP_EVERY + 1)
    assert bench.read(resumed, VOTES_FILE) == bench.read(whole, VOTES_FILE)
    assert [path.name for path in bench.folder.job(job_id).iterdir()] == ["attempts"]
