"""What is kept for how long, and what tells that it was there."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from service_kit import finish, service, submit

from dlb_core.cli.main import main
from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.documents import JobDocument
from dlb_core.errors import InputsGone, JobNotFound
from dlb_core.jobs.dispatcher import Dispatcher
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.retention import FOR_EVER, Purged, Retention, purge
from dlb_core.jobs.store import JobStore, utc_now

DAY = timedelta(days=1)
RETENTION = Retention(results_days=10, inputs_days=5, rows_days=100)


class NoHints:
    """A broker that nobody listens to."""

    def send(self, job_id: UUID) -> None:
        """Drop a hint."""

    def length(self) -> int:
        """None wait."""
        return 0


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder."""
    folder = DataFolder(tmp_path / "data")
    folder.create()
    return folder


@pytest.fixture
def store(folder: DataFolder) -> Iterator[JobStore]:
    """A job store in it."""
    with JobStore.open(folder.database_url) as store:
        yield store


def end(store: JobStore, folder: DataFolder, state: JobState) -> UUID:
    """A job that has just ended this way, with its files."""
    job_id = uuid4()
    folder.inputs(job_id).mkdir(parents=True)
    options = SegmentationOptions(label="Jane", scan_date=date(2024, 3, 31))
    store.insert(job_id, options, {"T1w": "a" * 64})
    claim = store.claim(job_id, 60.0)
    assert claim is not None
    folder.attempt(job_id, claim.fence).mkdir(parents=True)
    if state is JobState.SUCCESSFUL:
        store.finish(claim, [], {"lesion_count": 1})
    elif state is JobState.FAILED:
        store.fail(claim, "out-of-memory", "no")
    else:
        store.request_cancel(job_id, discard=False)
        store.dismiss(claim)
    return job_id


def left(folder: DataFolder, *job_ids: UUID) -> list[bool]:
    """Which of these jobs have any files."""
    return [folder.job(job_id).exists() for job_id in job_ids]


def test_each_thing_goes_when_its_time_is_over(store: JobStore, folder: DataFolder) -> None:
    """Images of failed jobs first, then results, rows last; nothing a moment too early."""
    done, failed, cancelled = (
        end(store, folder, state)
        for state in (JobState.SUCCESSFUL, JobState.FAILED, JobState.DISMISSED)
    )
    now = utc_now()

    assert purge(store, folder, RETENTION, now=now + 4.9 * DAY) == Purged(0, 0, 0)
    assert purge(store, folder, RETENTION, now=now + 5.1 * DAY) == Purged(0, 2, 0)
    assert left(folder, done, failed, cancelled) == [True, False, False]
    assert purge(store, folder, RETENTION, now=now + 10.1 * DAY) == Purged(1, 0, 0)
    assert left(folder, done) == [False]
    assert store.get(done).state is JobState.SUCCESSFUL
    assert purge(store, folder, RETENTION, now=now + 100.1 * DAY) == Purged(0, 0, 3)
    with pytest.raises(JobNotFound):
        store.get(done)


def test_a_tombstone_tells_nothing_of_a_person(store: JobStore, folder: DataFolder) -> None:
    """That there was a job, and how it ended, must do."""
    job_id = end(store, folder, JobState.SUCCESSFUL)
    purge(store, folder, RETENTION, now=utc_now() + 11 * DAY)

    job = store.get(job_id)

    assert job.expired is not None
    assert (job.artefacts, job.totals, job.inputs) == ((), None, {})
    assert job.options == SegmentationOptions()


def test_a_job_whose_images_are_gone_cannot_be_tried_again(
    store: JobStore, folder: DataFolder
) -> None:
    """Else a worker would fail on it for want of files."""
    job_id = end(store, folder, JobState.FAILED)
    purge(store, folder, RETENTION, now=utc_now() + 6 * DAY)

    with pytest.raises(InputsGone):
        store.retry(job_id)


def test_jobs_that_have_not_ended_are_never_touched(store: JobStore, folder: DataFolder) -> None:
    """However long they wait."""
    waiting, running = uuid4(), uuid4()
    for job_id in (running, waiting):
        folder.inputs(job_id).mkdir(parents=True)
        store.insert(job_id, SegmentationOptions(), {})
    store.claim(running, 1e9)

    assert purge(store, folder, RETENTION, now=utc_now() + 999 * DAY) == Purged(0, 0, 0)
    assert left(folder, waiting, running) == [True, True]


def test_for_ever_is_for_ever(store: JobStore, folder: DataFolder) -> None:
    """A site may keep everything."""
    job_id = end(store, folder, JobState.SUCCESSFUL)
    keep = Retention(FOR_EVER, FOR_EVER, FOR_EVER)

    assert purge(store, folder, keep, now=utc_now() + 9999 * DAY) == Purged(0, 0, 0)
    assert left(folder, job_id) == [True]


def test_the_dispatcher_purges_by_itself(store: JobStore, folder: DataFolder) -> None:
    """At its start and then every hour: nobody has to remember."""
    job_id = end(store, folder, JobState.SUCCESSFUL)
    late = utc_now() + 11 * DAY

    Dispatcher(store, NoHints(), folder, retention=RETENTION, clock=lambda: late).run_once()

    assert left(folder, job_id) == [False]


def test_the_command_removes_what_it_is_told_to(
    store: JobStore, folder: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing by default: what it removes cannot be had back."""
    done, failed = (end(store, folder, state) for state in (JobState.SUCCESSFUL, JobState.FAILED))
    data = ["--data", str(folder.root)]

    assert main(["purge", *data]) == 2
    assert main(["purge", *data, "--results-days", "-1"]) == 2
    assert main(["purge", "--data", str(folder.root / "jobs"), "--results-days", "1"]) == 2
    assert left(folder, done, failed) == [True, True]

    assert main(["purge", *data, "--results-days", "0.00000001"]) == 0
    assert left(folder, done, failed) == [False, True]
    assert "removed the results of 1 jobs" in capsys.readouterr().out


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_results_whose_time_is_over_are_gone_and_say_so(tmp_path: Path) -> None:
    """404 would leave a caller in doubt whether they ever were there."""
    async with service(tmp_path) as (client, services):
        job = JobDocument.model_validate_json((await submit(client)).content)
        finish(services, job.id)
        paths = [
            f"/v1/jobs/{job.id}/results",
            f"/v1/jobs/{job.id}/artefacts/report.html",
        ]
        before = [(await client.get(path)).status_code for path in paths]
        purge(services.store, services.data, RETENTION, now=utc_now() + 11 * DAY)
        answers: list[httpx.Response] = [await client.get(path) for path in paths]
        told = JobDocument.model_validate_json((await client.get(f"/v1/jobs/{job.id}")).content)

    assert before == [200, 200]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (410, "results-expired")
    ] * 2
    assert (told.state, told.links.results, told.totals) == (JobState.SUCCESSFUL, None, None)
    assert told.expired is not None
