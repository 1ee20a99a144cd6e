"""A comparison is as patient with the bucket as a job is."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from s3_server import BUCKET, S3Server, s3_server

from dlb_core import artefacts
from dlb_core.artefacts import list_artefacts, write_text
from dlb_core.contracts import ComparisonState, SegmentationOptions
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.database import open_engine, upgrade
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore
from worker.comparison import run_comparison
from worker.settings import WorkerSettings


class Outage(logging.Handler):
    """Begins when it is told to, and ends when the worker says that it waits."""

    def __init__(self, s3: S3Server) -> None:
        super().__init__()
        self._s3, self._end = s3, ExitStack()
        self.waits = 0

    def begin(self) -> None:
        """Nothing answers from now on."""
        self._end.enter_context(self._s3.away())

    def emit(self, record: logging.LogRecord) -> None:
        self.waits += record.getMessage() == "transfer_put_off"
        self._end.close()


class Jobs(JobStore):
    """Loses the bucket once a job was looked at: by then, the comparison is claimed."""

    outage: Outage
    looks = 0

    def get(self, job_id: UUID) -> JobRecord:
        self.looks += 1
        if self.looks == 1:
            self.outage.begin()
        return super().get(job_id)


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def outage(s3: S3Server) -> Iterator[Outage]:
    outage = Outage(s3)
    logger = logging.getLogger("worker.transfers")
    logger.addHandler(outage)
    yield outage
    logger.removeHandler(outage)


def succeeded(jobs: JobStore, settings: WorkerSettings) -> UUID:
    """A job of whose results one file alone is there: what comes after the bucket ends at that."""
    job_id = jobs.insert(uuid4(), SegmentationOptions(), {}).id
    claim = jobs.claim(job_id, 60.0)
    assert claim is not None
    results = settings.folder.attempt(job_id, claim.fence)
    results.mkdir(parents=True)
    write_text(results / artefacts.REPORT_JSON, "{}")
    entries = list_artefacts(results)
    settings.folder.hand_over(results, [entry.name for entry in entries])
    shutil.rmtree(results)
    assert jobs.finish(claim, entries, {})
    return job_id


def test_a_comparison_waits_for_a_bucket_that_comes_back(outage: Outage, tmp_path: Path) -> None:
    """An attempt that fails at the first silence is one of three."""
    settings = WorkerSettings(
        data=tmp_path / "data", bucket=f"s3://{BUCKET}/{uuid4()}", poll_s=0.01
    )
    settings.folder.create()
    engine = open_engine(settings.store_url)
    upgrade(engine)
    jobs, store = Jobs(engine), ComparisonStore(engine)
    jobs.outage = outage
    visits = [succeeded(jobs, settings) for _ in range(2)]
    comparison_id = store.insert(*visits, owner=None).id

    run_comparison(comparison_id, store=store, jobs=jobs, settings=settings)

    record = store.get(comparison_id, sees=None)
    engine.dispose()
    assert outage.waits == 1
    assert (record.state, record.error_code) == (ComparisonState.FAILED, "bad-option")
