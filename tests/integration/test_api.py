"""The HTTP service as a process of its own, with a real broker and a real worker."""

import gzip
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from job_harness import ROOT, Installation, broker_binaries, wait_until

from dlb_core.artefacts import MASK_FLAIR, sha256_of
from dlb_core.cli import submit
from dlb_core.cli.main import build_parser
from dlb_core.client import DlbClient, case_of
from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.documents import Health
from dlb_core.nifti import write_volume
from dlb_core.volume import Volume
from service import health as service_health

MIB = 1024 * 1024
MAX_UPLOAD_MB = 64


class Api:
    """`python -m service` beside an installation's broker and worker."""

    def __init__(self, installation: Installation, weights: Path) -> None:
        self.installation = installation
        self.folder = installation.folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        environment = os.environ | {
            "DLB_DATA": str(self.folder.root),
            "DLB_REDIS_URL": installation.broker.url,
            "DLB_WEIGHTS": str(weights),
            "DLB_PORT": str(self.port),
            "DLB_MAX_UPLOAD_MB": str(MAX_UPLOAD_MB),
            "DLB_MIN_FREE_MB": "0",
        }
        self.log = self.folder.root / "service.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        wait_until(self.is_live, describe=self.log.read_text)

    def is_live(self) -> bool:
        """Whether it answers."""
        try:
            return httpx.get(f"{self.url}/health/live", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def peak_memory(self) -> int:
        """Most bytes the process has held so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024

    def stop(self) -> int:
        """Ask the process to end; returns its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service with one worker."""
    root = tmp_path_factory.mktemp("api")
    weights = root / "weights"
    weights.mkdir()
    (weights / "manifest.json").write_text('{"name": "t", "version": "1", "description": "d"}')
    (weights / "model_card.md").write_text("# t\n")
    installation = Installation(root, broker_binary=broker_binaries()["valkey"])
    try:
        installation.start_worker()
        api = Api(installation, weights)
        yield api
        api.stop()
    finally:
        installation.close()


@pytest.fixture
def client(api: Api) -> Iterator[DlbClient]:
    """A client of it."""
    with DlbClient(api.url) as client:
        yield client


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small head with one bright spot, in a field of view that passes for a brain scan."""
    data = np.ones((24, 28, 28), dtype=np.float32)
    data[10:12, 10:12, 10:12] = 3.0
    path = tmp_path_factory.mktemp("image") / "image.nii.gz"
    write_volume(path, Volume(data, np.diag([5.0, 5.0, 5.0, 1.0])), dtype=np.float32)
    return path


def of_another_shape(folder: Path) -> Path:
    """An image that does not go with the other one; only the worker's pipeline minds."""
    path = folder / "other.nii.gz"
    data = np.ones((26, 28, 28), dtype=np.float32)
    write_volume(path, Volume(data, np.diag([5.0, 5.0, 5.0, 1.0])), dtype=np.float32)
    return path


def test_everything_is_ready(client: DlbClient) -> None:
    """Database, disk, weights, broker and worker, as an operator would see them."""
    health = client.ready()

    assert health.status is Health.OK, health


def test_the_containers_check_finds_it_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The health check asks the port that the service was given."""
    monkeypatch.setenv("DLB_DATA", str(api.folder.root))
    monkeypatch.setenv("DLB_PORT", str(api.port))

    assert service_health.main() == 0


def test_a_pair_goes_in_and_masks_come_out(client: DlbClient, image: Path, tmp_path: Path) -> None:
    """The main job: upload, k of 75 networks, results that are what their digests say."""
    job = client.submit(t1w=image, flair=image, options=SegmentationOptions(label="pace-0.01"))
    fractions = [seen.progress.fraction for seen in client.watch(job.id)]
    end = client.get(job.id)

    assert end.state is JobState.SUCCESSFUL, end.error
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    results = {path.name: path for path in client.download(job.id, tmp_path)}
    assert gzip.decompress(results[MASK_FLAIR].read_bytes())
    listed = {entry.name: entry.sha256 for entry in client.results(job.id).artefacts}
    assert listed[MASK_FLAIR] == sha256_of(results[MASK_FLAIR])


def test_cancelling_stops_the_worker_and_removes_the_scans(
    api: Api, client: DlbClient, image: Path
) -> None:
    """Within seconds, not at the case's end."""
    job = client.submit(t1w=image, flair=image, options=SegmentationOptions(label="pace-5"))
    wait_until(lambda: client.get(job.id).state is JobState.RUNNING)
    client.cancel(job.id)

    assert client.wait(job.id).state is JobState.DISMISSED
    wait_until(lambda: not api.folder.job(job.id).exists())


def test_a_failed_case_tells_its_caller_why(client: DlbClient, image: Path, tmp_path: Path) -> None:
    """An error that the worker finds comes out of the service in the same words."""
    job = client.wait(client.submit(t1w=image, flair=of_another_shape(tmp_path)).id)

    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "grid-mismatch"


def test_two_visits_are_segmented_and_then_compared_by_themselves(
    client: DlbClient, image: Path
) -> None:
    """Nobody asks twice: the comparison begins when the second job has succeeded.

    What it finds are the results of a small pipeline without votes, which it says.
    """
    pair = case_of(t1w=image, flair=image)
    states: list[str] = []

    made = client.compare_scans(pair, pair)
    ended = client.wait_for_comparison(made.id, on_change=lambda now: states.append(now.state))

    assert states[0] == "waiting"
    assert [client.get(job).state for job in (made.first, made.second)] == [JobState.SUCCESSFUL] * 2
    assert (ended.state, ended.attempts) == ("failed", 1)
    assert ended.error is not None
    assert ended.error.message.startswith("The first folder has no ")


def test_a_visit_that_fails_ends_the_comparison_and_is_named(
    client: DlbClient, image: Path, tmp_path: Path
) -> None:
    """Its caller learns which scans to look at, and what is wrong with them."""
    second = case_of(t1w=image, flair=of_another_shape(tmp_path))
    made = client.compare_scans(case_of(t1w=image, flair=image), second)
    ended = client.wait_for_comparison(made.id)

    assert (ended.state, ended.attempts) == ("failed", 0)
    assert ended.error is not None
    assert ended.error.code == "visit-failed"
    assert "The second visit's job failed (grid-mismatch): T1w and FLAIR" in ended.error.message


def test_a_large_upload_goes_through_in_little_memory(api: Api, tmp_path: Path) -> None:
    """Two images of 60 MiB each: the process must not hold them."""
    before = api.peak_memory()
    noise = tmp_path / "noise.nii"
    noise.write_bytes(os.urandom(MIB) * 60)
    with noise.open("rb") as t1w, noise.open("rb") as flair:
        files = {"t1w": t1w, "flair": flair}
        answer = httpx.post(f"{api.url}/v1/jobs", files=files, timeout=60, trust_env=False)

    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable-image")
    assert api.peak_memory() - before < 24 * MIB
    assert not list(api.folder.staging.iterdir())


def test_an_upload_over_the_cap_is_cut_off(api: Api, tmp_path: Path) -> None:
    """With its length announced and without; the next request on the same client goes well."""
    large = tmp_path / "large.nii"
    with large.open("wb") as file:
        file.truncate(200 * MIB)

    def unannounced() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="t1w"\r\n\r\n'
        with large.open("rb") as file:
            while chunk := file.read(MIB):
                yield chunk

    with httpx.Client(base_url=api.url, timeout=60, trust_env=False) as http:
        with large.open("rb") as image:
            announced = http.post("/v1/jobs", files={"t1w": image, "flair": b"x"})
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        chunked = http.post("/v1/jobs", content=unannounced(), headers=headers)

        assert [answer.status_code for answer in (announced, chunked)] == [413, 413]
        assert http.get("/health/live").status_code == 200
    assert not list(api.folder.staging.iterdir())


def test_a_connection_cut_in_mid_upload_leaves_nothing(api: Api) -> None:
    """The scan's first half is removed as soon as the sender is gone."""
    with socket.create_connection(("127.0.0.1", api.port)) as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="t1w"\r\n\r\n' + bytes(100_000)
        )
        wait_until(lambda: bool(list(api.folder.staging.iterdir())))

    wait_until(lambda: not list(api.folder.staging.iterdir()))
    assert "Traceback" not in api.log.read_text()


def test_the_command_line_brings_the_results(
    api: Api, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dlb submit --wait` is what most users will see of all this."""
    words = ["submit", "--t1w", str(image), "--flair", str(image), "--url", api.url]
    args = build_parser().parse_args([*words, "--output", str(tmp_path / "out")])

    assert submit.run(args) == 0
    assert (tmp_path / "out" / MASK_FLAIR).stat().st_size > 0
    assert "1 lesion, 0.01 ml" in capsys.readouterr().out


def test_it_ends_when_told_to_and_accepted_jobs_outlive_it(
    api: Api, client: DlbClient, image: Path
) -> None:
    """A restart must lose nothing: the row stays, and a worker does the job meanwhile."""
    job = client.submit(t1w=image, flair=image)

    assert api.stop() in (0, -signal.SIGTERM)
    assert "Application shutdown complete" in api.log.read_text()
    assert api.installation.wait_for_end(job.id).state is JobState.SUCCESSFUL
