"""`dlb serve` as a user runs it: real processes, real HTTP, real signals."""

import contextlib
import gzip
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import psutil
import pytest
from job_harness import HERE, ROOT, kill_tree, wait_until

from dlb_core.cli.main import main

HEAD = np.ones((24, 28, 28), dtype=np.int16)
"""At 5 mm, the field of view of a head."""


@dataclass
class Served:
    """A running `dlb serve`."""

    process: subprocess.Popen[bytes]
    url: str
    data: Path
    output: Path

    def children(self) -> dict[str, psutil.Process]:
        """Its living children by name."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            # One that just died is listed until its parent looks at it.
            with contextlib.suppress(psutil.NoSuchProcess):
                words = child.cmdline() or [""]
                found["broker" if "valkey-server" in words[0] else words[-1]] = child
        return found

    def ready(self) -> bool:
        """Whether every health check passes."""
        try:
            health = httpx.get(f"{self.url}/health/ready", timeout=5, trust_env=False).json()
        except httpx.HTTPError:
            return False
        return health["status"] == "ok"

    def submit(self, label: str) -> str:
        """Upload a pair, and return the job's address."""
        response = httpx.post(
            f"{self.url}/v1/jobs",
            files={"t1w": ("a.nii.gz", _image()), "flair": ("b.nii.gz", _image())},
            data={"options": f'{{"label": "{label}"}}'},
            timeout=20,
            trust_env=False,
        )
        assert response.status_code == 202, response.text
        return f"{self.url}/v1/jobs/{response.json()['id']}"

    def state(self, job: str) -> str:
        """State of a job."""
        return str(httpx.get(job, timeout=20, trust_env=False).json()["state"])


def _lives(process: psutil.Process) -> bool:
    """Whether a process runs: one that waits for its parent to look does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _image() -> bytes:
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    image = nib.Nifti1Image(HEAD, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    return gzip.compress(image.to_bytes(), compresslevel=1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bundle(root: Path) -> Path:
    """As much of a bundle as the service looks at; the quick pipeline needs none."""
    folder = root / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text('{"name": "t", "version": "1", "description": "d"}')
    (folder / "model_card.md").write_text("# t\n")
    return folder


def _command(root: Path, port: int) -> list[str]:
    options = ["--data", str(root / "data"), "--weights", str(_bundle(root))]
    return ["serve", "--port", str(port), "--threads", "1", *options]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """`dlb serve` in a process of its own, ready."""
    port, output = _free_port(), tmp_path / "output.txt"
    code = "import sys; from dlb_core.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *_command(tmp_path, port)],
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
                "DLB_PIPELINE": "quick_pipeline:segment_case",
                "DLB_LEASE_S": "3",
                "DLB_HEARTBEAT_S": "0.5",
                "DLB_POLL_S": "0.2",
                "DLB_MIN_FREE_MB": "0",
            },
            stdout=file,
            stderr=file,
        )
    served = Served(process, f"http://127.0.0.1:{port}", tmp_path / "data", output)
    try:
        wait_until(lambda: "ready at" in output.read_text(), describe=output.read_text)
        yield served
    finally:
        kill_tree(process)


def test_serve_runs_a_job_mends_what_dies_and_stops_clean(served: Served) -> None:
    """One command gives a working service; Ctrl-C leaves nothing behind but the data."""
    job = served.submit("first")
    wait_until(lambda: served.state(job) == "successful")

    before = served.children()
    assert before.keys() == {"worker", "service", "broker"}
    for child in before.values():
        child.kill()
    wait_until(lambda: served.children().keys() == before.keys())
    wait_until(served.ready, describe=served.output.read_text)
    job = served.submit("second")
    wait_until(lambda: served.state(job) == "successful")

    everything = psutil.Process(served.process.pid).children(recursive=True)
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=40) == 0
    wait_until(lambda: not any(_lives(process) for process in everything))
    assert "the worker process ended (status -9)" in served.output.read_text()


def test_nothing_outlives_a_killed_serve(served: Served) -> None:
    """kill -9 cannot be handled, but orphans would hold the port and the data folder."""
    job = served.submit("pace-0.5")
    wait_until(lambda: served.state(job) == "running")
    everything = psutil.Process(served.process.pid).children(recursive=True)

    served.process.kill()
    served.process.wait()

    wait_until(lambda: not any(_lives(process) for process in everything))


def test_a_second_serve_on_one_folder_is_refused(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two brokers on one append-only file would ruin it."""
    status = main(_command(served.data.parent, _free_port()))

    assert status == 2
    assert "another `dlb serve` uses this data folder" in capsys.readouterr().err
    assert served.ready()


def test_a_taken_port_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error in a child's log would leave the user to guess."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status = main(_command(tmp_path, int(taken.getsockname()[1])))

    assert status == 2
    assert "choose another --port" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.org", "::"])  # noqa: S104  # refused
def test_an_address_that_others_reach_is_refused(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without accounts, whoever reaches the service can read every result."""
    status = main([*_command(tmp_path, 8000), "--host", host])

    assert status == 2
    assert "--insecure-bind-any" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
