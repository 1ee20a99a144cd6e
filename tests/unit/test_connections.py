"""Connections on which nothing is asked, over real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from service_kit import until

from service.connections import Connection

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


class Hasty(Connection):
    """Does not wait long."""

    head_s = 0.3


async def read_two(scope: Any, receive: Any, send: Any) -> None:
    """An app that reads a body and answers."""
    while (await receive()).get("more_body"):
        pass
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    await send(head)
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Where such an app listens."""
    config = uvicorn.Config(read_two, http=Hasty, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        until(lambda: server.started)
        yield listening.getsockname()
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("begun", [b"", HEAD[:20]])
def test_a_connection_on_which_no_request_comes_is_closed(
    address: tuple[str, int], begun: bytes
) -> None:
    """A thousand of them, held open for nothing, would keep everybody else out."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(begun)

        assert connection.recv(100) == b""


def test_requests_one_after_another_are_answered_however_slow_their_bodies(
    address: tuple[str, int],
) -> None:
    """A scan takes longer to come than a head may."""
    with socket.create_connection(address, timeout=20) as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"1")
            time.sleep(2 * Hasty.head_s)
            connection.sendall(b"2")

            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_bytes_that_trickle_do_not_put_it_off(address: tuple[str, int]) -> None:
    """A byte now and then is no request either."""

    async def trickle() -> bool:
        reader, writer = await asyncio.open_connection(*address)
        ended = asyncio.create_task(reader.read())
        for byte in HEAD[:20]:
            writer.write(bytes([byte]))
            await asyncio.sleep(Hasty.head_s / 4)
        writer.close()
        return ended.done()

    assert asyncio.run(trickle())
