"""API and worker on different disks, which meet in a bucket, a broker and a database alone."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from job_harness import HERE, ROOT, WORKER_SETTINGS, broker_binaries, kill_tree, wait_until
from s3_server import BUCKET, S3Server, s3_server, strict_credentials

from dlb_core.artefacts import MASK_FLAIR, REPORT_JSON
from dlb_core.contracts import FINAL_STATES, JobState, Outcome
from dlb_core.documents import HealthDocument, JobDocument, Problem, ResultsDocument
from dlb_core.jobs.embedded_redis import EmbeddedRedis
from dlb_core.jobs.leftovers import remove_leftovers
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.retention import Retention, purge
from dlb_core.jobs.store import utc_now
from service.__main__ import main as start_service
from tests.unit.service_kit import Running, form, form_headers, pair
from worker.__main__ import main as start_worker

PREFIX = "site-1"


class Site:
    """An API and a worker without a disk in common."""

    def __init__(self, root: Path, s3: S3Server, broker: EmbeddedRedis) -> None:
        self.s3 = s3
        self.worker_data = root / "worker"
        self.settings = {
            "DLB_BUCKET": f"s3://{BUCKET}/{PREFIX}",
            "DLB_DATABASE_URL": f"sqlite:///{root / 'jobs.sqlite'}",
            "DLB_REDIS_URL": broker.url,
        }
        self.api = Running(
            root / "api",
            bucket=self.settings["DLB_BUCKET"],
            database_url=self.settings["DLB_DATABASE_URL"],
            redis_url=broker.url,
        )
        self.services = self.api.services
        self.http = httpx.Client(base_url=self.api.url, trust_env=False, timeout=30)
        self.log = root / "worker.log"

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start one, and wait until it is ready."""
        environment = os.environ | WORKER_SETTINGS | self.settings
        environment |= {
            "DLB_DATA": str(self.worker_data),
            "DLB_BUCKET_PATIENCE_S": "0",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "worker"]
        with self.log.open("ab") as log:
            worker = subprocess.Popen(command, env=environment, stderr=log, start_new_session=True)
        wait_until(lambda: self.services.store.workers_alive(60) > 0, describe=self.log.read_text)
        return worker

    def submit(self, label: str = "") -> httpx.Response:
        """Send a small pair."""
        body = form([*pair(), ("options", f'{{"label": "{label}"}}'.encode())])
        return self.http.post("/v1/jobs", content=body, headers=form_headers())

    def finished(self, label: str = "") -> JobRecord:
        """A job that has succeeded."""
        job = JobDocument.model_validate_json(self.submit(label).content)
        wait_until(lambda: self.job(job.id).state in FINAL_STATES, describe=self.log.read_text)
        record = self.job(job.id)
        assert record.state is JobState.SUCCESSFUL, record.error_message
        return record

    def job(self, job_id: UUID) -> JobRecord:
        """As the store has it."""
        return self.services.store.get(job_id)

    def keys(self, job_id: UUID) -> list[str]:
        """What the bucket holds of a job, by names relative to the job."""
        start = f"{PREFIX}/jobs/{job_id}/"
        return [key.removeprefix(start) for key in self.s3.keys(start)]

    def close(self) -> None:
        """Stop the API."""
        self.http.close()
        self.api.stop()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, s3: S3Server) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        broker = EmbeddedRedis(root / "redis", binary=broker_binaries()["valkey"])
        broker.start()
        stack.callback(broker.stop)
        site = Site(root, s3, broker)
        stack.callback(site.close)
        stack.callback(kill_tree, site.start_worker())
        yield site


def test_a_job_passes_through_the_bucket(site: Site) -> None:
    """What the caller downloads is what a worker with another disk has made."""
    job = site.finished("pace-0.01")
    path = f"/v1/jobs/{job.id}"

    results = ResultsDocument.model_validate_json(site.http.get(f"{path}/results").content)
    assert [entry.name for entry in results.artefacts] == [REPORT_JSON, MASK_FLAIR]
    for entry in results.artefacts:
        whole = site.http.get(entry.href)
        assert (whole.status_code, whole.headers["ETag"]) == (200, f'"{entry.sha256}"')
        assert sha256(whole.content).hexdigest() == entry.sha256
    wait_until(
        lambda: site.keys(job.id) == [f"attempts/1/{REPORT_JSON}", f"attempts/1/{MASK_FLAIR}"]
    )
    assert not list(site.services.data.jobs.iterdir())
    assert not list(site.services.data.staging.iterdir())
    wait_until(lambda: not list((site.worker_data / "jobs").iterdir()))


def test_a_file_is_sent_from_the_bucket_in_ranges(site: Site) -> None:
    """A download that broke off goes on; a file that is held already is not sent again."""
    job = site.finished()
    href = f"/v1/jobs/{job.id}/artefacts/{REPORT_JSON}"
    whole = site.http.get(href)

    part = site.http.get(href, headers={"Range": "bytes=10-29"})
    several = site.http.get(href, headers={"Range": "bytes=0-1,5-6"})
    beyond = site.http.get(href, headers={"Range": f"bytes={len(whole.content)}-"})
    held = site.http.get(href, headers={"If-None-Match": whole.headers["ETag"]})
    head = site.http.head(href)

    assert (part.status_code, part.content) == (206, whole.content[10:30])
    assert several.headers["Content-Type"].startswith("multipart/byteranges")
    assert (beyond.status_code, held.status_code) == (416, 304)
    assert head.headers["Content-Length"] == str(len(whole.content))


def test_a_batchs_table_is_read_from_the_bucket(site: Site) -> None:
    """The numbers of each case, though no report lies on the API's disk."""
    job = site.finished()
    manifest = {"name": "trial", "cases": [{"subject": "sub-01", "job": str(job.id)}]}

    batch = site.http.post("/v1/batches", json=manifest)
    table = site.http.get(batch.json()["cohort"]).text.splitlines()

    row = dict(zip(table[0].split(","), table[1].split(","), strict=True))
    assert (row["state"], row["lesion_count"]) == ("successful", "1")


def test_while_the_bucket_is_away_nothing_is_accepted(site: Site) -> None:
    """A job is accepted that can be kept, or refused in words; no half of it stays."""
    before = site.services.store.counts_by_state()
    with site.s3.away():
        refused = site.submit()
        health = site.http.get("/health/ready")

    problem = Problem.model_validate_json(refused.content)
    assert (refused.status_code, problem.code) == (503, "bucket-unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert site.services.store.counts_by_state() == before
    assert not list(site.services.data.staging.iterdir())
    failed = [
        c.name
        for c in HealthDocument.model_validate_json(health.content).checks
        if c.status == "failed"
    ]
    assert (health.status_code, failed) == (503, ["bucket"])
    assert site.http.get("/health/ready").status_code == 200


def test_results_that_find_no_bucket_are_made_again(site: Site) -> None:
    """The attempt says why it failed; the next one succeeds when the bucket is back."""
    job_id = JobDocument.model_validate_json(site.submit("pace-0.02").content).id
    wait_until(lambda: site.job(job_id).done > 0, describe=site.log.read_text)
    with site.s3.away():
        wait_until(
            lambda: len(site.job(job_id).log) == 1 and site.job(job_id).log[0].outcome is not None
        )
        failed = site.job(job_id)
    wait_until(lambda: site.job(job_id).state in FINAL_STATES)
    job = site.job(job_id)

    assert (failed.state, failed.log[0].outcome) == (JobState.ACCEPTED, Outcome.FAILED)
    assert failed.log[0].error_code == "bucket-unavailable"
    assert (job.state, job.attempts) == (JobState.SUCCESSFUL, 2)
    wait_until(lambda: all(key.startswith(f"attempts/{job.fence}/") for key in site.keys(job_id)))


def test_a_late_workers_upload_is_never_seen(site: Site) -> None:
    """Files lie by attempt, and the row names the one that counts; the rest is tidied away."""
    job = site.finished()
    late = f"jobs/{job.id}/attempts/0/{REPORT_JSON}"
    site.s3.overwrite(f"{PREFIX}/{late}", b"{}")

    seen = site.http.get(f"/v1/jobs/{job.id}/artefacts/{REPORT_JSON}")
    remove_leftovers(site.services.store, site.services.data)

    assert sha256(seen.content).hexdigest() == job.artefacts[0].sha256
    assert site.keys(job.id) == [f"attempts/{job.fence}/{entry.name}" for entry in job.artefacts]


def test_what_is_no_longer_kept_leaves_the_bucket(site: Site) -> None:
    """Deleted means deleted: a person's images must not stay behind in a bucket."""
    deleted, old = site.finished(), site.finished()

    answer = site.http.delete(f"/v1/jobs/{deleted.id}")
    later = utc_now() + timedelta(days=2)
    purged = purge(site.services.store, site.services.data, Retention(1, 0, 0), now=later)

    assert answer.status_code == 204
    assert purged.results >= 1
    assert not site.keys(deleted.id)
    assert not site.keys(old.id)
    assert site.http.get(f"/v1/jobs/{old.id}/results").status_code == 410


@pytest.mark.parametrize("program", [start_service, start_worker])
@pytest.mark.parametrize(
    ("bucket", "strict", "words"),
    [
        ("s3://no-such-bucket", False, "there is no such bucket"),
        (f"s3://{BUCKET}", True, "credentials: correct AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_said_at_the_start(
    program: Callable[[], int],
    bucket: str,
    strict: bool,
    words: str,
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An operator reads what to mend before the first upload fails."""
    monkeypatch.setenv("DLB_DATA", str(tmp_path))
    monkeypatch.setenv("DLB_BUCKET", bucket)
    monkeypatch.setattr(sys, "argv", ["program"])
    # A program's logs go where nobody reads them here.
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))

    with strict_credentials() if strict else nullcontext():
        status = program()

    assert status != 0
    assert words in capsys.readouterr().err
