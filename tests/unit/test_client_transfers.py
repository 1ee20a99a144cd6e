"""The client over lines that break: repetitions, pauses, downloads that go on; and awaited."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from service_kit import Running, finish, nifti

from dlb_core.artefacts import MASK_FLAIR, REPORT_HTML, sha256_of
from dlb_core.client import AsyncDlbClient, DlbClient
from dlb_core.client.steps import pause_s
from dlb_core.contracts import JobState
from dlb_core.documents import JobDocument
from dlb_core.errors import DownloadDamaged, ServiceUnreachable

ROOM = 400
"""Bytes of an answer that come through before the line breaks."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What matters is that something is tried again, not when."""
    monkeypatch.setattr("dlb_core.client.steps.FIRST_PAUSE_S", 0.01)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests here."""
    running = Running(tmp_path_factory.mktemp("service"))
    yield running
    running.stop()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image that is accepted."""
    path = tmp_path / "image.nii.gz"
    path.write_bytes(nifti())
    return path


@pytest.fixture
def job(running: Running, image: Path) -> JobDocument:
    """A job that has succeeded."""
    with DlbClient(running.url) as client:
        job = client.submit(t1w=image, flair=image)
    finish(running.services, job.id)
    return job


class Broken(httpx.SyncByteStream):
    """An answer's body that ends too early."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[:ROOM]
        if len(self._body) > ROOM:
            raise httpx.ReadError("the line broke")


class ShortLine(httpx.BaseTransport):
    """Carries so much of each file, and notes which ranges were asked for."""

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        self._service = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, and cut its answer."""
        answer = self._service.handle_request(request)
        if "/artefacts/" not in request.url.path:
            return answer
        if request.url.path.endswith(MASK_FLAIR):
            self.ranges.append(request.headers.get("Range"))
        body = answer.read()
        return httpx.Response(answer.status_code, headers=answer.headers, stream=Broken(body))

    def close(self) -> None:
        """Close the connections to the service."""
        self._service.close()


def test_a_download_that_breaks_off_goes_on_where_it_was(
    running: Running, job: JobDocument, tmp_path: Path
) -> None:
    """Over a line that always breaks, starting anew would never end."""
    line, seen = ShortLine(), []
    with DlbClient(running.url, attempts=2, transport=line) as client:
        client.download(job.id, tmp_path, on_bytes=lambda done, total: seen.append((done, total)))

    entries = running.services.store.get(job.id).artefacts
    assert {entry.sha256 for entry in entries} == {
        sha256_of(tmp_path / entry.name) for entry in entries
    }
    assert line.ranges == [None, f"bytes={ROOM}-", f"bytes={2 * ROOM}-"]
    assert seen == sorted(seen)
    assert seen[-1] == (sum(entry.size_bytes for entry in entries),) * 2
    assert not list(tmp_path.glob(".*"))


def test_a_new_program_takes_up_what_an_earlier_one_had(
    running: Running, job: JobDocument, tmp_path: Path
) -> None:
    """Gigabytes over a slow line: a reboot in between must not cost them."""
    line = ShortLine()
    with (
        DlbClient(running.url, attempts=1, transport=line) as client,
        pytest.raises(ServiceUnreachable),
    ):
        client.download(job.id, tmp_path, wanted=lambda name: name == MASK_FLAIR)
    assert not (tmp_path / MASK_FLAIR).exists()

    line.ranges.clear()
    with DlbClient(running.url, attempts=2, transport=line) as client:
        client.download(job.id, tmp_path)
        asked = list(line.ranges)
        client.download(job.id, tmp_path)

    assert asked[0] == f"bytes={ROOM}-"
    assert line.ranges == asked, "what is there was fetched again"


def test_parts_of_another_file_are_not_gone_on_with(
    running: Running, job: JobDocument, tmp_path: Path
) -> None:
    """Two halves of two masks would make a mask of nobody."""
    digest = next(
        e.sha256 for e in running.services.store.get(job.id).artefacts if e.name == MASK_FLAIR
    )
    part = tmp_path / f".{MASK_FLAIR}.{digest[:16]}.part"
    part.write_bytes(b"x" * ROOM)
    older = tmp_path / f".{MASK_FLAIR}.{'0' * 16}.part"
    older.write_bytes(b"y")

    with DlbClient(running.url) as client:
        with pytest.raises(DownloadDamaged):
            client.download(job.id, tmp_path)
        assert not part.exists()
        client.download(job.id, tmp_path)
    assert not older.exists()
    assert sha256_of(tmp_path / MASK_FLAIR) == digest


def test_the_service_says_when_to_come_back(running: Running, job: JobDocument) -> None:
    """Coming earlier makes a crowd; all at one moment makes one too."""
    pauses = [pause_s(attempt, 10.0) for attempt in (0, 1, 2) for _ in range(20)]
    assert min(pauses) >= 10.0
    assert len(set(pauses)) > 40

    answers = iter([httpx.Response(503, headers={"Retry-After": "0"}, text="busy")] * 3)
    service = httpx.HTTPTransport()

    def stumble(request: httpx.Request) -> httpx.Response:
        return next(answers, None) or service.handle_request(request)

    with DlbClient(running.url, transport=httpx.MockTransport(stumble)) as client:
        assert client.get(job.id).id == job.id
    service.close()

    patience = httpx.MockTransport(lambda _: httpx.Response(503, headers={"Retry-After": "9999"}))
    with (
        DlbClient(running.url, transport=patience) as client,
        pytest.raises(ServiceUnreachable) as told,
    ):
        client.get(job.id)
    assert told.value.retry_after_s == 9999


def test_awaited_it_does_the_same(running: Running, image: Path, tmp_path: Path) -> None:
    """An asynchronous program must not stop for an upload, nor write the client again."""

    async def whole_exchange() -> tuple[list[JobState], list[Path]]:
        sent: list[int] = []
        async with AsyncDlbClient(running.url) as client:
            first, other = await asyncio.gather(
                client.submit(t1w=image, flair=image, on_bytes=lambda done, _: sent.append(done)),
                client.submit(t1w=image, flair=image),
            )
            assert sent[-1] == 2 * image.stat().st_size
            assert {job.id async for job in client.jobs(limit=2)} == {first.id, other.id}
            assert await client.cancel(other.id) is None
            states = [job.state async for job in _ended_meanwhile(running, client, first.id)]
            assert (await client.results(first.id)).report.totals.lesion_count == 0
            return states, await client.download(first.id, tmp_path / "out")

    states, paths = asyncio.run(whole_exchange())

    assert states == [JobState.ACCEPTED, JobState.SUCCESSFUL]
    assert REPORT_HTML in {path.name for path in paths}


async def _ended_meanwhile(
    running: Running, client: AsyncDlbClient, job_id: UUID
) -> AsyncIterator[JobDocument]:
    """Watch a job, and be its worker."""
    async for job in client.watch(job_id):
        yield job
        if job.state is JobState.ACCEPTED:
            finish(running.services, job_id)


def test_awaited_an_absence_is_waited_out_and_then_said(running: Running) -> None:
    """As the other client does: one behaviour, two ways to wait."""
    asked = []

    def away(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ConnectError("nobody is there")

    async def ask() -> None:
        async with AsyncDlbClient(
            running.url, attempts=3, transport=httpx.MockTransport(away)
        ) as client:
            await client.get(UUID(int=0))

    with pytest.raises(ServiceUnreachable):
        asyncio.run(ask())
    assert len(asked) == 3
