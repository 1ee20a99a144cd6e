"""A whole installation whose every process can be killed: broker, API, workers, their cases."""

import os
import random
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from dlb_core.jobs.embedded_redis import EmbeddedRedis
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.queue import JobQueue
from dlb_core.jobs.supervisor import Child, Death
from tests.faults.clock import Clock
from tests.integration.job_harness import HERE, ROOT, wait_until
from tests.unit.service_kit import make_bundle

START_PATIENCE_S = 120.0
ENDS = "fault_suite_ends"
"""Table in which the database itself notes each job's change of state."""

WORKER = {
    "DLB_PIPELINE": "quick_pipeline:segment_case",
    "DLB_LEASE_S": "10",
    "DLB_HEARTBEAT_S": "1",
    "DLB_POLL_S": "0.2",
    "DLB_RETRY_PAUSE_S": "0.5",
    "DLB_THREADS": "1",
}
SERVICE = {"DLB_MIN_FREE_MB": "0", "DLB_UPLOAD_IDLE_S": "3"}


class System:
    """The processes, and a supervisor that starts again whichever has died.

    Parameters
    ----------
    root : Path
        For weights and logs.
    data : Path
        The data folder: on a disk of its own, if that is to be filled.
    num_workers : int
    clock : Clock or None
        What API and workers go by; None: the machine's. The broker goes by the machine's, for it
        holds nothing that depends on the time of day.
    """

    def __init__(self, root: Path, data: Path, *, num_workers: int, clock: Clock | None) -> None:
        self.folder = DataFolder(data)
        self.folder.create()
        self.clock = clock
        self.logs = root / "logs"
        self.logs.mkdir()
        self.broker = EmbeddedRedis(self.folder.redis)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        transport = httpx.HTTPTransport(verify=False)  # plain HTTP, on loopback
        self._http = httpx.Client(base_url=self.url, transport=transport, timeout=20)
        self._environment = {
            "DLB_DATA": str(data),
            "DLB_REDIS_URL": self.broker.url,
            "DLB_WEIGHTS": str(make_bundle(root / "weights")),
            "DLB_PORT": str(self.port),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
        }
        self.api = self._child("service", SERVICE)
        self.workers = [self._child("worker", WORKER, number) for number in range(num_workers)]
        self.deaths: list[Death] = []
        """Of API and workers, as found."""
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")

    def start(self) -> None:
        """Start everything; returns when the API says that all is well."""
        self.broker.start()
        self.api.start()
        wait_until(self.answers, patience_s=START_PATIENCE_S, describe=self.last_words)
        note_changes_of_state(self.folder.database)
        for worker in self.workers:
            worker.start()
        wait_until(self.is_ready, patience_s=START_PATIENCE_S, describe=self.last_words)
        self._supervisor.start()

    def stop(self) -> None:
        """Stop everything."""
        self._stopping.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        for child in (*self.workers, self.api):
            child.ask_to_stop()
        for child in (*self.workers, self.api):
            child.stop()
        self.broker.stop()
        self._http.close()

    def answers(self) -> bool:
        """Whether the API answers."""
        return self._ask("live") is not None

    def is_ready(self) -> bool:
        """Whether the API finds all that it needs, and every worker."""
        health = self._ask("ready")
        return health is not None and health["status"] == "ok" and self._all_workers_in(health)

    def last_words(self) -> str:
        """Ends of the logs."""
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.logs.iterdir()))

    def hints(self) -> int | None:
        """Messages in the broker; None while it does not answer."""
        queue = JobQueue(self.broker.url)
        try:
            return queue.length()
        except Exception:
            return None
        finally:
            queue.close()

    def _ask(self, what: str) -> dict[str, object] | None:
        try:
            answer = self._http.get(f"/health/{what}")
        except httpx.TransportError:
            return None
        return dict(answer.json())

    def _all_workers_in(self, health: dict[str, object]) -> bool:
        return f"{len(self.workers)} alive" in str(health["checks"])

    def _child(self, module: str, variables: dict[str, str], number: int = 0) -> Child:
        clock = {} if self.clock is None else self.clock.variables
        return Child(
            f"{module} {number}",
            [sys.executable, "-m", module],
            variables=self._environment | variables | clock,
            log=self.logs / f"{module}-{number}.log",
        )

    def _supervise(self) -> None:
        """Start again at once what has died; the broker after its own supervisor's pause."""
        while not self._stopping.wait(0.1):
            self.broker.keep_running()
            for child in (self.api, *self.workers):
                death = child.keep_running()
                if death is not None:
                    self.deaths.append(death)
                    child.start()


def note_changes_of_state(database: Path) -> None:
    """Let the database note every change of a job's state, whoever makes it."""
    with sqlite3.connect(database, timeout=20) as connection:
        connection.execute(f"CREATE TABLE {ENDS} (job TEXT, old TEXT, new TEXT)")
        note = f"INSERT INTO {ENDS} VALUES (NEW.id, OLD.state, NEW.state)"  # noqa: S608  # ours
        connection.execute(
            f"CREATE TRIGGER {ENDS}_update AFTER UPDATE OF state ON jobs "
            f"WHEN OLD.state IS NOT NEW.state BEGIN {note}; END"
        )
    connection.close()


def tree_of(child: Child) -> list[psutil.Process]:
    """A child and everything below it; empty where it has just died."""
    if child.pid is None:
        return []
    try:
        root = psutil.Process(child.pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes: list[psutil.Process]) -> int:
    """Kill -9; returns how many were still there to kill."""
    killed = 0
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
        killed += 1
    return killed


def cases_of(system: System) -> list[psutil.Process]:
    """Processes that run a case now."""
    found = []
    for process in (process for worker in system.workers for process in tree_of(worker)):
        try:
            if "worker.case" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def choose(dice: random.Random, found: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    """One of the processes that there are now, if there are any."""
    there = found()
    return [dice.choice(there)] if there else []
