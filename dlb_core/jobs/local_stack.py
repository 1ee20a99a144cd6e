"""The whole service on one machine: broker, worker and API as supervised children.

They are started by module name: this package knows nothing of theirs.
"""

import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import ValidationError

from dlb_core.contracts import Device
from dlb_core.documents import Health, HealthCheck, HealthDocument
from dlb_core.errors import BadOption, StackNotReady
from dlb_core.jobs.embedded_redis import EmbeddedRedis
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.supervisor import Child, Death, keep_all_running

PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What `dlb serve` was asked for."""

    data: Path
    weights: Path
    host: str
    port: int
    device: Device
    threads: int | None
    redis_url: str | None
    """Another broker than the embedded one."""
    ask_for_keys: bool = True
    """Whether callers must say who they are, unless the service is new and on loopback."""

    @property
    def url(self) -> str:
        """Where the API can be reached on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104  # compared
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def variables(self, redis_url: str) -> dict[str, str]:
        """Environment that service and worker read."""
        variables = {
            "DLB_DATA": str(self.data),
            "DLB_WEIGHTS": str(self.weights),
            "DLB_REDIS_URL": redis_url,
            "DLB_HOST": self.host,
            "DLB_PORT": str(self.port),
            "DLB_DEVICE": self.device.value,
        }
        if not self.ask_for_keys:
            variables["DLB_AUTHENTICATION"] = "off"
        if self.threads is not None:
            variables["DLB_THREADS"] = str(self.threads)
        return variables


class LocalStack:
    """Broker, worker and API, from `start` to `stop`."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._folder = DataFolder(settings.data)
        self._lock: int | None = None
        self._broker: EmbeddedRedis | None = None
        self._children: list[Child] = []

    @property
    def children(self) -> tuple[Child, ...]:
        """Worker and API, in the order of their start."""
        return tuple(self._children)

    def start(self) -> None:
        """Start everything; `wait_until_ready` tells when it can be used.

        Raises
        ------
        BadOption
            The folder is in use by another `dlb serve`, or the port is taken.
        BrokerMissing, StoreUnavailable
            The embedded broker does not start.
        """
        self._folder.create()
        self._take_lock()
        _require_free_port(self._settings.host, self._settings.port)
        redis_url = self._settings.redis_url
        if redis_url is None:
            self._broker = EmbeddedRedis(self._folder.redis)
            self._broker.start()
            redis_url = self._broker.url
        variables = self._settings.variables(redis_url)
        for module in ("worker", "service"):
            self._children.append(self._child(module, variables))
            self._children[-1].start()

    def wait_until_ready(self, timeout_s: float, *, unless: Callable[[], bool]) -> None:
        """Ask the API until it, the broker and a worker are ready, or `unless` says to stop.

        Raises
        ------
        StackNotReady
            They were not within `timeout_s`, or a child ended; the failing checks are named.
        """
        deadline = time.monotonic() + timeout_s
        while not unless():
            health = self._health()
            if health is not None and health.status is Health.OK:
                return
            ended = [child.name for child in self._children if not child.is_running]
            if ended or time.monotonic() > deadline:
                raise StackNotReady(_why(ended, health))
            time.sleep(PAUSE_S)

    def keep_running(self) -> list[Death]:
        """Start again what has died, and say what has; call this often."""
        return keep_all_running([*self._children, self._broker])

    def stop(self) -> None:
        """Stop everything, the API first; a running job is given back and waits."""
        for child in reversed(self._children):
            child.stop()
        if self._broker is not None:
            self._broker.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _child(self, module: str, variables: dict[str, str]) -> Child:
        log = self._folder.logs / f"{module}.log"
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        return Child(module, [sys.executable, "-m", module], variables=variables, log=log)

    def _take_lock(self) -> None:
        """Keep a second `dlb serve` out of this folder; the kernel lets go when we die."""
        lock = os.open(self._folder.root / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise BadOption(
                "another `dlb serve` uses this data folder: stop it, or choose another --data"
            ) from error
        self._lock = lock

    def _health(self) -> HealthDocument | None:
        """What the API says of itself; None while it does not answer."""
        try:
            answer = httpx.get(f"{self._settings.url}/health/ready", timeout=5.0, trust_env=False)
            return HealthDocument.model_validate_json(answer.content)
        except (httpx.HTTPError, ValidationError):
            return None


def _require_free_port(host: str, port: int) -> None:
    """Refuse a port that something else listens on, before the API fails on it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadOption(
                f"cannot listen on {host} port {port} ({error.strerror}): choose another --port"
            ) from error


def _why(ended: list[str], health: HealthDocument | None) -> str:
    """Name what keeps the stack from being ready."""
    if ended:
        return f"the {' and '.join(ended)} process ended at its start: see its log"
    if health is None:
        return "the API does not answer: see its log"
    return "; ".join(_line(check) for check in health.checks if check.status is not Health.OK)


def _line(check: HealthCheck) -> str:
    return f"{check.name}: {check.detail}"
