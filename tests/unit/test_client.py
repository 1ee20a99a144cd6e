"""The client against the real service over a real socket; a job's end is made by hand."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from service_kit import Running, finish, nifti

from dlb_core.artefacts import MASK_FLAIR, sha256_of
from dlb_core.client import DlbClient
from dlb_core.contracts import JobState, Priority, Progress, SegmentationOptions, Stage
from dlb_core.documents import Health
from dlb_core.errors import (
    DownloadDamaged,
    ServiceFailed,
    ServiceRefused,
    ServiceUnreachable,
    UnreadableImage,
)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What matters is that a case is sent again, not when."""
    monkeypatch.setattr("dlb_core.client.steps.FIRST_PAUSE_S", 0.01)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests here."""
    running = Running(tmp_path_factory.mktemp("service"))
    yield running
    running.stop()


@pytest.fixture
def client(running: Running) -> Iterator[DlbClient]:
    """A client of it."""
    with DlbClient(running.url) as client:
        yield client


@pytest.fixture
def t1w(tmp_path: Path) -> Path:
    """An image named after its patient, as they often are."""
    path = tmp_path / "Jane_Doe.nii.gz"
    path.write_bytes(nifti())
    return path


def test_a_case_is_sent_and_its_results_come_back(
    running: Running, client: DlbClient, t1w: Path, tmp_path: Path
) -> None:
    """The whole exchange: upload, wait, download with digests."""
    sent: list[tuple[int, int]] = []
    options = SegmentationOptions(label="case 7", minimum_lesion_mm3=10.0)
    job = client.submit(
        t1w=t1w,
        flair=t1w,
        options=options,
        on_bytes=lambda done, total: sent.append((done, total)),
    )
    assert job.options == options
    assert job.inputs == {"T1w": sha256_of(t1w), "FLAIR": sha256_of(t1w)}
    assert sent[-1] == (2 * t1w.stat().st_size,) * 2

    finish(running.services, job.id)
    assert client.wait(job.id).state is JobState.SUCCESSFUL
    paths = client.download(job.id, tmp_path / "new" / "folder")
    expected = {entry.name: entry.sha256 for entry in client.results(job.id).artefacts}
    assert {path.name: sha256_of(path) for path in paths} == expected


def test_watching_yields_each_change_and_then_the_end(
    running: Running, client: DlbClient, t1w: Path
) -> None:
    """A progress bar is fed by what has changed, not by every poll."""
    job = client.submit(t1w=t1w, flair=t1w)
    states = []
    for seen in client.watch(job.id):
        states.append((seen.state, seen.progress.done))
        if len(states) == 1:
            claim = running.services.store.claim(job.id, 60.0)
            assert claim is not None
            progress = Progress(stage=Stage.INFERENCE, done=30, total=75)
            assert running.services.store.heartbeat(claim, progress)
        elif len(states) == 2:
            assert running.services.store.fail(claim, "stage-failed", "no")

    assert states == [(JobState.ACCEPTED, 0), (JobState.RUNNING, 30), (JobState.FAILED, 30)]
    assert seen.error is not None
    assert seen.error.code == "stage-failed"


def test_listing_goes_on_over_pages(client: DlbClient, t1w: Path) -> None:
    """The caller asks for jobs, not for pages."""
    sent = [client.submit(t1w=t1w, flair=t1w).id for _ in range(22)]

    assert [job.id for job in client.jobs(limit=22)] == sent[::-1]
    assert [job.id for job in client.jobs(state=JobState.ACCEPTED, limit=3)] == sent[:-4:-1]


def test_cancelling_tells_a_waiting_job_from_a_running_one(
    running: Running, client: DlbClient, t1w: Path
) -> None:
    """While a worker still runs the files are not gone yet."""
    waiting, running_one = (client.submit(t1w=t1w, flair=t1w).id for _ in range(2))
    claim = running.services.store.claim(running_one, 60.0)
    assert claim is not None

    assert client.cancel(waiting) is None
    assert client.get(waiting).state is JobState.DISMISSED
    stopping = client.cancel(running_one)
    assert stopping is not None
    assert stopping.cancel_requested


def test_refusals_carry_the_services_code_and_words(
    client: DlbClient, t1w: Path, tmp_path: Path
) -> None:
    """The user acts on them: they must not be swallowed into "request failed"."""
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(nifti()[:-20])

    with pytest.raises(ServiceRefused, match="FLAIR") as refusal:
        client.submit(t1w=t1w, flair=damaged)
    assert (refusal.value.code, refusal.value.status) == ("unreadable-image", 422)
    with pytest.raises(ServiceRefused) as refusal:
        client.get(UUID(int=0))
    assert refusal.value.code == "not-found"


def test_a_file_that_is_not_there_is_said_by_its_role(client: DlbClient, t1w: Path) -> None:
    """Nothing is sent, and no name of the user's disk is repeated."""
    with pytest.raises(UnreadableImage, match="T1w") as error:
        client.submit(t1w=t1w.parent / "nowhere.nii", flair=t1w)
    assert "nowhere" not in str(error.value)


def test_names_of_files_stay_on_the_users_disk(running: Running, t1w: Path) -> None:
    """A file may be named after its patient: the name must not be sent."""
    bodies: list[bytes] = []

    def record(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(503, json={})

    transport = httpx.MockTransport(record)
    with DlbClient(running.url, transport=transport) as client, pytest.raises(ServiceUnreachable):
        client.submit(t1w=t1w, flair=t1w)
    assert b"form-data" in bodies[0]
    assert b"Jane" not in bodies[0]


def test_a_damaged_download_does_not_land(
    running: Running, client: DlbClient, t1w: Path, tmp_path: Path
) -> None:
    """A mask that lost bytes on its way must not look like one."""
    job = client.submit(t1w=t1w, flair=t1w)
    finish(running.services, job.id)
    record = running.services.store.get(job.id)
    mask = running.services.data.attempt(job.id, record.fence) / MASK_FLAIR
    mask.write_bytes(bytes(mask.stat().st_size))

    with pytest.raises(DownloadDamaged, match="mask"):
        client.download(job.id, tmp_path / "results")
    assert not (tmp_path / "results" / MASK_FLAIR).exists()


def test_another_server_is_not_taken_for_ours() -> None:
    """A wrong address must not end in a traceback."""
    page = httpx.MockTransport(lambda request: httpx.Response(200, text="<html>"))
    with DlbClient("http://elsewhere", transport=page) as client, pytest.raises(ServiceFailed):
        client.get(UUID(int=0))


class StumblingProxy(httpx.BaseTransport):
    """Passes on to the service, but for one answer of its own, the second."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._asked = 0
        self._service = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as a gateway does."""
        self._asked += 1
        if self._asked == 2:
            return httpx.Response(self._status, text="<html>Bad Gateway</html>")
        return self._service.handle_request(request)

    def close(self) -> None:
        """Close the connections to the service."""
        self._service.close()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_lost_the_service_for_a_moment_ends_no_wait(
    running: Running, client: DlbClient, t1w: Path, status: int
) -> None:
    """While the service restarts its proxy answers, with a page of its own."""
    job = client.submit(t1w=t1w, flair=t1w)
    client.cancel(job.id)
    with DlbClient(running.url, attempts=1, transport=StumblingProxy(status)) as behind_proxy:
        assert behind_proxy.get(job.id).state is JobState.DISMISSED
        with pytest.raises(ServiceUnreachable, match=str(status)):
            behind_proxy.get(job.id)

    waiting = client.submit(t1w=t1w, flair=t1w)
    with DlbClient(running.url, transport=StumblingProxy(status)) as behind_proxy:
        states = []
        for seen in behind_proxy.watch(waiting.id):
            states.append(seen.state)
            client.cancel(waiting.id)
    assert states == [JobState.ACCEPTED, JobState.DISMISSED]


class DeafLine(httpx.BaseTransport):
    """Carries requests to the service, and loses its answers to the first ones."""

    def __init__(self, lost: int) -> None:
        self.lost = lost
        self.carried = 0
        self._service = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer, unless it is one of the first."""
        answer = self._service.handle_request(request)
        answer.read()
        self.carried += 1
        if self.carried <= self.lost:
            raise httpx.ReadError("the line broke")
        return answer

    def close(self) -> None:
        """Close the connections to the service."""
        self._service.close()


def test_a_case_whose_answer_was_lost_is_sent_again_and_is_one_job(
    running: Running, t1w: Path
) -> None:
    """The service had accepted it: a second job would double the work and the results."""
    before = sum(running.services.store.counts_by_state().values())
    line = DeafLine(lost=2)

    with DlbClient(running.url, transport=line) as client:
        job = client.submit(t1w=t1w, flair=t1w, priority=Priority.STAT)
        again = client.submit(t1w=t1w, flair=t1w)

    assert (line.carried, job.priority) == (4, Priority.STAT)
    assert job.id != again.id
    assert sum(running.services.store.counts_by_state().values()) == before + 2


def test_one_key_of_the_callers_own_is_one_job(client: DlbClient, t1w: Path) -> None:
    """A script that is started again goes on with the job it had sent."""
    first, second = (
        client.submit(t1w=t1w, flair=t1w, idempotency_key="case-7-visit-2") for _ in range(2)
    )

    assert first.id == second.id


def test_a_gateways_own_500_is_not_waited_out() -> None:
    """Only an absence passes by itself."""
    broken = httpx.MockTransport(lambda request: httpx.Response(500, text="<html>"))
    with DlbClient("http://elsewhere", transport=broken) as client, pytest.raises(ServiceFailed):
        client.get(UUID(int=0))


def test_no_service_is_something_to_try_again() -> None:
    """Nobody listens there."""
    with DlbClient("http://127.0.0.1:1") as client, pytest.raises(ServiceUnreachable):
        client.get(UUID(int=0))


def test_readiness_is_an_answer(client: DlbClient) -> None:
    """Degraded, since this service has no broker."""
    assert client.ready().status is Health.DEGRADED
