"""A receiver of webhooks, as a customer would write it: real HTTP, and the public library."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.0/8"


class Receiver:
    """Keeps what comes, and answers as told."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        """Statuses of the next answers; 204 when none is left."""
        self.headers: dict[str, str] = {}
        """Of every answer."""
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.pause_s = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                time.sleep(receiver.pause_s)
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?site=1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Close the door."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ids(self) -> list[str]:
        """Ids of the messages that came, in their order."""
        return [headers["webhook-id"] for headers, _ in self.requests]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that runs."""
    running = Receiver()
    try:
        yield running
    finally:
        running.stop()
