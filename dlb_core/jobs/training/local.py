"""Workers of trainings on this machine, and a broker for them where none is given.

They are started by module name: this package knows nothing of theirs.
"""

import sys
from dataclasses import dataclass

from dlb_core.contracts import Device
from dlb_core.jobs.embedded_redis import EmbeddedRedis
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.supervisor import Child, Death, keep_all_running

GRACE_S = 60.0
"""A step in the middle is ended, and a checkpoint written, before a worker stops."""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What `dlb train --distributed` was asked for."""

    folder: DataFolder
    database_url: str | None
    redis_url: str | None
    """Another broker than the embedded one."""
    num_workers: int
    device: Device
    threads: int


class LocalWorkers:
    """Broker and workers, from `start` to `stop`."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._broker: EmbeddedRedis | None = None
        self._children: list[Child] = []

    def start(self) -> None:
        """Start everything.

        Raises
        ------
        BrokerMissing, StoreUnavailable
            The embedded broker does not start.
        """
        redis_url = self._settings.redis_url
        if redis_url is None:
            self._broker = EmbeddedRedis(self._settings.folder.redis)
            self._broker.start()
            redis_url = self._broker.url
        for number in range(self._settings.num_workers):
            self._children.append(self._worker(number, redis_url))
            self._children[-1].start()

    def keep_running(self) -> list[Death]:
        """Start again what has died, and say what has; call this often."""
        return keep_all_running([*self._children, self._broker])

    def stop(self) -> None:
        """Stop everything; networks in the middle leave their checkpoints and wait."""
        for child in self._children:
            child.ask_to_stop()
        for child in self._children:
            child.stop(GRACE_S)
        if self._broker is not None:
            self._broker.stop()

    def _worker(self, number: int, redis_url: str) -> Child:
        settings = self._settings
        variables = {
            "DLB_DATA": str(settings.folder.root),
            "DLB_REDIS_URL": redis_url,
            "DLB_DATABASE_URL": settings.database_url or "",
            "DLB_DEVICE": settings.device.value,
            "DLB_THREADS": str(settings.threads),
            # Where processes share the cores, waiting threads cost more than they bring.
            "OMP_NUM_THREADS": str(settings.threads),
        }
        command = [sys.executable, "-m", "worker", "--queue", "training"]
        name = f"worker {number + 1}"
        log = settings.folder.logs / f"training-worker-{number + 1}.log"
        return Child(name, command, variables=variables, log=log)
