"""A real S3 server on loopback, that can go away and come back with what it held."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import obstore
import pytest
from moto import settings
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

BUCKET = "dlb-test"


class S3Server:
    """One server with one bucket, until it is stopped."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()
        httpx.put(f"{self.url}/{BUCKET}", trust_env=False, timeout=60).raise_for_status()

    def start(self) -> None:
        """Listen, with what was there before."""
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        """Refuse every connection."""
        self._server.stop()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nothing answers."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all objects."""
        store = S3Store(BUCKET, client_options={"allow_http": True})
        return sorted(item["path"] for batch in obstore.list(store, prefix) for item in batch)

    def overwrite(self, key: str, content: bytes) -> None:
        """Put something else in an object's place."""
        obstore.put(S3Store(BUCKET, client_options={"allow_http": True}), key, content)

    def variables(self) -> dict[str, str]:
        """What finds it, as an operator would write it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server, and the variables that lead to it."""
    server = S3Server()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in server.variables().items():
            patch.setenv(name, value)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def strict_credentials() -> Iterator[None]:
    """Let the server look at keys, and know none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        yield
