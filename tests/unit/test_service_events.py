"""Server-sent events: each change once, over a real connection, and an end."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from service_kit import Running, nifti, until

from dlb_core.client import DlbClient
from dlb_core.contracts import Progress, Stage
from dlb_core.jobs.records import JobRecord
from service.events import Feed

Event = tuple[str, dict[str, Any]]
"""Its id, and its data."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests here."""
    running = Running(tmp_path_factory.mktemp("service"))
    yield running
    running.stop()


@pytest.fixture
def job_id(running: Running, tmp_path: Path) -> UUID:
    """A job that waits."""
    image = tmp_path / "image.nii.gz"
    image.write_bytes(nifti())
    with DlbClient(running.url) as client:
        return client.submit(t1w=image, flair=image).id


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """Put a stream's lines together, as a browser's EventSource does."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            assert fields["event"] == "job"
            yield fields["id"], json.loads(fields["data"])
            fields = {}


class Listener:
    """Reads a job's events in a thread of its own, to the stream's end."""

    def __init__(self, url: str, job_id: UUID, *, last_event_id: str | None = None) -> None:
        self.events: list[Event] = []
        self.status = 0
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        self._request = (f"{url}/v1/jobs/{job_id}/events", headers)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def states(self) -> list[str]:
        """State of the job in each event."""
        return [data["state"] for _, data in self.events]

    def end(self) -> None:
        """Wait until the stream has ended."""
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _listen(self) -> None:
        url, headers = self._request
        with httpx.stream("GET", url, headers=headers, timeout=30) as answer:
            self.status = answer.status_code
            for event in events_of(answer.iter_lines()):
                self.events.append(event)


def test_each_change_comes_once_and_the_end_closes_the_stream(
    running: Running, job_id: UUID
) -> None:
    """A heartbeat is no change; several listeners of one job all hear."""
    store = running.services.store
    listeners = [Listener(running.url, job_id) for _ in range(3)]
    until(lambda: all(listener.states() == ["accepted"] for listener in listeners))
    claim = store.claim(job_id, 60.0)
    assert claim is not None
    until(lambda: all(len(listener.events) == 2 for listener in listeners))
    store.heartbeat(claim)
    store.heartbeat(claim, Progress(stage=Stage.INFERENCE, done=30, total=75))
    until(lambda: all(len(listener.events) == 3 for listener in listeners))
    store.fail(claim, "stage-failed", "no")

    for listener in listeners:
        listener.end()
        assert listener.states() == ["accepted", "running", "running", "failed"]
        assert listener.events[2][1]["progress"]["done"] == 30
        assert len({event_id for event_id, _ in listener.events}) == 4


def test_a_listener_that_comes_back_is_told_what_is_new_only(
    running: Running, job_id: UUID
) -> None:
    """A connection breaks; nothing is repeated, and nothing is missed that still holds."""
    store = running.services.store
    first = Listener(running.url, job_id)
    until(lambda: len(first.events) == 1)
    last = first.events[0][0]
    second = Listener(running.url, job_id, last_event_id=last)
    claim = store.claim(job_id, 60.0)
    assert claim is not None
    until(lambda: len(second.events) == 1)
    third = Listener(running.url, job_id, last_event_id=last)
    until(lambda: len(third.events) == 1)
    store.fail(claim, "stage-failed", "no")
    for listener in (first, second, third):
        listener.end()

    assert second.states() == third.states() == ["running", "failed"]
    done = Listener(running.url, job_id, last_event_id=second.events[-1][0])
    done.end()
    assert (done.status, done.events) == (204, [])


def test_a_deleted_job_ends_its_streams(running: Running, job_id: UUID) -> None:
    """Nothing will ever come of it."""
    listener = Listener(running.url, job_id)
    until(lambda: len(listener.events) == 1)
    httpx.delete(f"{running.url}/v1/jobs/{job_id}").raise_for_status()

    listener.end()

    assert listener.states() == ["accepted", "dismissed"]
    unknown = httpx.get(f"{running.url}/v1/jobs/{UUID(int=0)}/events")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")


def test_a_stream_ends_after_a_while_and_is_taken_up_again(running: Running, job_id: UUID) -> None:
    """A key that was revoked must not hear of its jobs for as long as it stays on the line."""
    record = running.services.store.get(job_id)
    heard: list[JobRecord | None] = []

    async def listen() -> None:
        feed = Feed(running.services.store.get_many, max_listeners=1, longest_s=0.0)
        async for latest in feed.follow(record, is_known=False):
            heard.append(latest)
        await feed.close()

    asyncio.run(listen())

    assert heard == [record]


def test_streams_over_the_limit_are_refused_and_closed_ones_make_room(tmp_path: Path) -> None:
    """Each stream holds a connection open: without a limit a few pages could hold them all."""
    small = Running(tmp_path, max_event_streams=1)
    try:
        image = tmp_path / "image.nii.gz"
        image.write_bytes(nifti())
        with DlbClient(small.url) as client:
            job_id = client.submit(t1w=image, flair=image).id
        url = f"{small.url}/v1/jobs/{job_id}/events"
        with httpx.stream("GET", url, timeout=10) as first:
            lines = first.iter_lines()
            next(lines)
            refused = httpx.get(url)
            assert (refused.status_code, refused.json()["code"]) == (503, "too-many-streams")

        def is_free() -> bool:
            with httpx.stream("GET", url, timeout=10) as answer:
                return answer.status_code == 200

        until(is_free)
    finally:
        small.stop()
