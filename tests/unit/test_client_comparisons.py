"""The client's comparisons against the real service; what workers do is done by hand."""

import asyncio
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from service_kit import Running, finish, nifti

from dlb_core.artefacts import list_artefacts, sha256_of
from dlb_core.client import AsyncDlbClient, DlbClient, case_of
from dlb_core.contracts import ComparisonState, SegmentationOptions
from dlb_core.errors import ServiceRefused
from dlb_core.jobs.comparisons.dispatcher import attempt_folder
from dlb_core.longitudinal.requests import ComparisonDocument
from service.dependencies import Services

COUNTS = ("new", "enlarging", "stable", "shrinking", "resolved", "merged", "split", "unconfirmed")
VOLUMES = ("gained_ml", "lost_ml", "change_ml", "smallest_detectable_ml")
TOTALS = dict.fromkeys(COUNTS, 1) | dict.fromkeys(VOLUMES, 0.5)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests here."""
    running = Running(tmp_path_factory.mktemp("service"))
    yield running
    running.stop()


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """An image."""
    path = tmp_path / "Jane_Doe.nii.gz"
    path.write_bytes(nifti())
    return path


def compare_by_hand(services: Services, comparison_id: UUID) -> None:
    """Do what a worker does with a comparison: claim, write results, publish."""
    services.comparisons.settle_waiting()
    claim = services.comparisons.claim(comparison_id, 60.0)
    assert claim is not None
    folder = attempt_folder(services.data, comparison_id, claim.fence)
    folder.mkdir(parents=True)
    (folder / "comparison.json").write_text("{}")
    assert services.comparisons.finish(claim, list_artefacts(folder), TOTALS)


def test_two_visits_are_sent_and_their_comparison_comes_back(
    running: Running, scan: Path, tmp_path: Path
) -> None:
    """The whole exchange: upload, wait for both jobs and the comparison, download."""
    sent: list[tuple[int, int]] = []
    states: list[str] = []

    def work(document: ComparisonDocument) -> None:
        states.append(document.state)
        if document.state == "waiting":
            for job_id in (document.first, document.second):
                finish(running.services, job_id)
            compare_by_hand(running.services, document.id)

    with DlbClient(running.url) as client:
        made = client.compare_scans(
            case_of(t1w=scan, flair=scan, scan_date=date(2024, 3, 31)),
            case_of(t1w=scan, flair=scan),
            label="C 7",
            options=SegmentationOptions(label="P 7"),
            idempotency_key="k",
            on_bytes=lambda done, total: sent.append((done, total)),
        )
        ended = client.wait_for_comparison(made.id, on_change=work)
        (path,) = client.download_comparison(made.id, tmp_path / "out")
        jobs = [client.get(made.first), client.get(made.second)]

    assert sent[-1] == (4 * scan.stat().st_size,) * 2
    assert (states[0], ended.state, ended.label) == (
        "waiting",
        ComparisonState.SUCCESSFUL,
        "C 7",
    )
    assert ended.totals is not None
    assert ended.totals.new == 1
    assert sha256_of(path) == ended.artefacts[0].sha256
    assert [job.options.label for job in jobs] == ["P 7"] * 2
    assert [job.options.scan_date for job in jobs] == [date(2024, 3, 31), None]


def test_a_comparisons_changes_are_events_until_its_end(running: Running, scan: Path) -> None:
    """A page that shows it need not ask every few seconds, for half an hour."""
    with DlbClient(running.url) as client:
        pair = case_of(t1w=scan, flair=scan)
        made = client.compare_scans(pair, pair)
    url, heard = f"{running.url}{made.href}/events", []
    with httpx.stream("GET", url, timeout=20, trust_env=False) as answer:
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                assert value == "comparison"
            if field == "id":
                last = value
            if field == "data":
                heard.append(ComparisonDocument.model_validate_json(value).state.value)
                if len(heard) == 1:
                    running.services.store.request_cancel(made.first)
                    running.services.store.request_cancel(made.second)
                    running.services.comparison_rounds.wake()

    assert heard == ["waiting", "failed"]
    known = {"Last-Event-ID": last}
    assert httpx.get(url, headers=known, trust_env=False).status_code == 204


def test_jobs_are_compared_awaited_too(running: Running, scan: Path) -> None:
    """One key is one comparison, whoever asks again."""

    async def exchange() -> None:
        async with AsyncDlbClient(running.url) as client:
            jobs = [await client.submit(t1w=scan, flair=scan) for _ in range(2)]
            ids = [job.id for job in jobs]
            with pytest.raises(ServiceRefused, match="only a successful job has results"):
                await client.compare(ids[0], ids[1])
            for job_id in ids:
                finish(running.services, job_id)
            made = await client.compare(ids[0], ids[1], idempotency_key="j")
            again = await client.compare(ids[0], ids[1], idempotency_key="j")
            assert made.id == again.id
            state = ComparisonState.ACCEPTED
            assert [item.id async for item in client.comparisons(state=state)] == [made.id]
            assert (await client.comparison(made.id)).state == ComparisonState.ACCEPTED
            await client.remove_comparison(made.id)
            with pytest.raises(ServiceRefused):
                await client.comparison(made.id)

    asyncio.run(exchange())
