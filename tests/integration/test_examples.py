"""The examples of README and documents, run as they stand there."""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from job_harness import ROOT, wait_until

from dlb_core.contracts import JobState, Role
from tests.unit.service_kit import Running, finish, nifti
from tests.unit.webhook_kit import LOOPBACK

SERVICE = "http://127.0.0.1:8000"
RECEIVER = "http://127.0.0.1:9000/"


def blocks(document: str, language: str) -> list[str]:
    """What stands between a document's fences of one kind."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [content for kind, content in found if kind == language]


def curl_commands() -> list[str]:
    """README's, continued lines joined."""
    lines = "\n".join(blocks("README.md", "")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("curl ")]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A service on a free port."""
    running = Running(tmp_path, webhook_networks=LOOPBACK)
    yield running
    running.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader of README stands, with a pair of scans."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("T1w.nii.gz", "FLAIR.nii.gz"):
        (folder / name).write_bytes(nifti())
    return folder


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def answers(url: str) -> bool:
    """Whether anything speaks HTTP there."""
    try:
        httpx.get(url)
    except httpx.TransportError:
        return False
    return True


def finish_next(running: Running) -> UUID:
    """Do a worker's part for the job that waits, once there is one."""
    store = running.services.store
    wait_until(lambda: store.counts_by_state()[JobState.ACCEPTED] == 1)
    (job,), _ = store.list_jobs(limit=1, state=JobState.ACCEPTED)
    finish(running.services, job.id)
    return job.id


def test_readmes_curl_commands(running: Running, folder: Path) -> None:
    """Each is copied by somebody on their first day."""
    if shutil.which("curl") is None:
        pytest.skip("NO CURL HERE: README's commands were not run")
    submit, status, report, webhook, with_key = curl_commands()

    def run(command: str, **names: str) -> str:
        for name, value in ({SERVICE: running.url} | names).items():
            command = command.replace(name, value)
        shell = ["bash", "-euc", command.replace("curl ", "curl --fail --silent --show-error ", 1)]
        return subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=True).stdout

    run(submit)
    job = str(finish_next(running))
    assert '"state":"successful"' in run(status, JOB_ID=job)
    run(report, JOB_ID=job)
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert '"secret":"whsec_' in run(webhook)
    (folder / "key.txt").write_text(running.services.gate.keys.create("gateway", Role.ADMIN)[1])
    assert job in run(with_key)


def test_readmes_python(running: Running, folder: Path) -> None:
    """Submit, wait, print."""
    (code,) = blocks("README.md", "python")
    # A worker of this test needs no five seconds.
    code = code.replace(SERVICE, running.url).replace("time.sleep(5)", "time.sleep(0.1)")
    reader = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    finish_next(running)

    printed, _ = reader.communicate(timeout=60)

    assert reader.returncode == 0
    assert "'lesion_count': 0" in printed


def test_the_receiver_of_webhooks(running: Running, folder: Path) -> None:
    """It checks signatures, of test messages and of real ones, and refuses what is not ours."""
    (code,) = blocks("docs/webhooks.md", "python")
    port = free_port()
    with httpx.Client(base_url=running.url) as client:
        url = RECEIVER.replace("9000", str(port))
        asked = {"url": url, "events": ["job.successful"]}
        made = client.post("/v1/webhooks", json=asked).raise_for_status().json()
        log = folder / "log"
        with log.open("wb") as output:
            receiver = subprocess.Popen(
                [sys.executable, "-c", code.replace("9000", str(port)), made["secret"]],
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(lambda: answers(url), describe=log.read_text)
            client.post(f"{made['href']}/test").raise_for_status()
            files = {"t1w": nifti(), "flair": nifti()}
            client.post("/v1/jobs", files=files).raise_for_status()
            job = finish_next(running)
            wait_until(lambda: "job.successful" in log.read_text(), describe=log.read_text)
            forged = {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,AA=="}
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.post(url, content=b"{}", headers=forged)
        finally:
            receiver.kill()
            receiver.wait()

    told = log.read_text()
    assert f"webhook.test {{'webhook': '{made['id']}'" in told
    assert str(job) in told
    assert "WebhookVerificationError" in told
