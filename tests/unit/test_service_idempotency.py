"""A request that is sent again makes no second job."""

import asyncio
from datetime import date
from pathlib import Path

import httpx
import pytest
from service_kit import finish, form, form_headers, nifti, pair, service

from dlb_core.contracts import JobState, Priority, SegmentationOptions
from dlb_core.documents import JobDocument, Problem
from dlb_core.jobs.idempotency import content_digest, scoped_key
from service.dependencies import Services

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


async def post(client: httpx.AsyncClient, key: str, **changes: bytes) -> httpx.Response:
    """Send a good request under a key."""
    headers = form_headers() | {"Idempotency-Key": key}
    return await client.post("/v1/jobs", content=form(pair(**changes)), headers=headers)


def kept(services: Services) -> int:
    """How many jobs there are, each with a folder, and nothing besides."""
    rows = sum(services.store.counts_by_state().values())
    assert len(list(services.data.jobs.iterdir())) == rows
    assert not list(services.data.staging.iterdir())
    return rows


async def test_the_same_request_sent_again_gets_the_same_job(tmp_path: Path) -> None:
    """A client that heard no answer must be able to ask again without fear."""
    async with service(tmp_path) as (client, services):
        first, second = await post(client, "a"), await post(client, "a")

        assert (first.status_code, second.status_code) == (202, 200)
        assert first.json()["id"] == second.json()["id"]
        assert "Idempotency-Replayed" not in first.headers
        assert second.headers["Idempotency-Replayed"] == "true"
        assert second.headers["Location"] == first.headers["Location"]
        assert kept(services) == 1


async def test_twenty_at_once_make_one_job(tmp_path: Path) -> None:
    """Only the database can decide which of them was first."""
    async with service(tmp_path) as (client, services):
        answers = await asyncio.gather(*(post(client, "a") for _ in range(20)))

        assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert kept(services) == 1


@pytest.mark.parametrize(
    "changes",
    [{"flair": nifti((24, 28, 29))}, {"options": b'{"label": "b"}'}, {"priority": b"stat"}],
)
async def test_the_same_key_with_other_content_is_refused(
    tmp_path: Path, changes: dict[str, bytes]
) -> None:
    """Answering with the first job would give one patient's results for another's scans."""
    async with service(tmp_path) as (client, services):
        await post(client, "a")
        answer = await post(client, "a", **changes)

        assert answer.status_code == 422
        assert Problem.model_validate_json(answer.content).code == "idempotency-conflict"
        assert kept(services) == 1


async def test_a_repeated_request_tells_how_its_job_ended(tmp_path: Path) -> None:
    """Also a day later, when the job is long done."""
    async with service(tmp_path) as (client, services):
        first = JobDocument.model_validate_json((await post(client, "a")).content)
        finish(services, first.id)

        again = JobDocument.model_validate_json((await post(client, "a")).content)

    assert (again.id, again.state) == (first.id, JobState.SUCCESSFUL)


async def test_without_a_key_each_request_is_a_job(tmp_path: Path) -> None:
    """The same pair may be meant twice, for instance to compare two versions."""
    async with service(tmp_path) as (client, services):
        for _ in range(2):
            await client.post("/v1/jobs", content=form(pair()), headers=form_headers())

        assert kept(services) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_a_key_that_cannot_be_kept_is_refused(tmp_path: Path, key: str) -> None:
    """Cutting it short would make two keys one."""
    async with service(tmp_path) as (client, services):
        answer = await post(client, key)

        assert answer.status_code == 422
        assert Problem.model_validate_json(answer.content).code == "invalid-request"
        assert kept(services) == 0


def test_a_key_belongs_to_its_owner() -> None:
    """Else one hospital could learn of another's jobs by guessing keys."""
    keys = {scoped_key("a", owner) for owner in (None, "", "one", "two")}

    assert len(keys) == 4
    assert scoped_key("a", "one") != scoped_key("b", "one")


def test_content_is_what_was_asked_for_in_any_order() -> None:
    """The parts of a form come in the order that the sender's library likes."""
    options = SegmentationOptions()
    one = content_digest({"T1w": "1", "FLAIR": "2"}, options, Priority.ROUTINE)
    other = content_digest({"FLAIR": "2", "T1w": "1"}, options, Priority.ROUTINE)
    swapped = content_digest({"T1w": "2", "FLAIR": "1"}, options, Priority.ROUTINE)

    assert one == other != swapped


def test_a_request_from_before_scans_had_days_is_still_known() -> None:
    """A request that is sent again while the service is upgraded must not become a conflict."""
    inputs = {"T1w": "1", "FLAIR": "2"}
    dated = SegmentationOptions(scan_date=date(2024, 3, 31))

    undated = content_digest(inputs, SegmentationOptions(), Priority.ROUTINE)

    assert undated == "2b96fcb1c64b1fbd2577933b2607a10d24691417e3b8fe786f04937cb9e6aff6"
    assert content_digest(inputs, dated, Priority.ROUTINE) != undated
