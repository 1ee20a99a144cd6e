"""Comparisons over HTTP: of finished jobs of one owner, and nobody else's."""

from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from service_kit import finish, service, submit

from dlb_core.contracts import Role
from dlb_core.documents import Problem
from dlb_core.longitudinal.requests import ComparisonDocument
from service.dependencies import Services

pytestmark = pytest.mark.anyio

PATH = "/v1/comparisons"


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


async def job(client: httpx.AsyncClient, services: Services, *, done: bool = True) -> str:
    """Id of a job, successful or waiting."""
    job_id = (await submit(client)).headers["Location"].rsplit("/", 1)[1]
    if done:
        finish(services, UUID(job_id))
    return job_id


async def test_two_finished_jobs_are_accepted(tmp_path: Path) -> None:
    async with service(tmp_path) as (client, services):
        first, second = [await job(client, services) for _ in range(2)]
        answer = await client.post(PATH, json={"first": first, "second": second, "label": "A 1"})

        assert answer.status_code == 202
        document = ComparisonDocument.model_validate_json(answer.content)
        assert (str(document.first), str(document.second)) == (first, second)
        again = await client.get(answer.headers["Location"])
        assert again.json()["state"] == "accepted"
        assert again.headers["Retry-After"]
        listed = await client.get(PATH)
        assert [entry["id"] for entry in listed.json()["comparisons"]] == [str(document.id)]
        known = await client.get(PATH, headers={"If-None-Match": listed.headers["ETag"]})
        assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "bad-option"),
        (b"no json", "bad-option"),
        (b'{"first": "%s", "second": "%s"}', "bad-option"),
    ],
)
async def test_bad_requests_say_why(tmp_path: Path, body: bytes, code: str) -> None:
    """The last one names one job twice."""
    async with service(tmp_path) as (client, services):
        if b"%s" in body:
            job_id = (await job(client, services)).encode()
            body = body % (job_id, job_id)
        answer = await client.post(PATH, content=body)

        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_job_without_results_is_not_compared(tmp_path: Path) -> None:
    async with service(tmp_path) as (client, services):
        done, waiting = await job(client, services), await job(client, services, done=False)
        for first, status, code in ((waiting, 409, "no-results"), (str(uuid4()), 404, "not-found")):
            answer = await client.post(PATH, json={"first": first, "second": done})
            problem = Problem.model_validate_json(answer.content)

            assert (answer.status_code, problem.code) == (status, code)


async def test_nobody_compares_or_sees_anothers(tmp_path: Path) -> None:
    """Results of different keys are kept apart, and so is what is made of them."""
    async with service(tmp_path) as (client, services):
        keys = {}
        for owner in ("one", "two"):
            _, key = services.gate.keys.create(owner, Role.SUBMIT, owner=owner)
            keys[owner] = {"Authorization": f"Bearer {key}"}
        client.headers.update(keys["one"])
        first, second = [await job(client, services) for _ in range(2)]
        made = await client.post(PATH, json={"first": first, "second": second})
        client.headers.update(keys["two"])
        own = await job(client, services)

        assert made.status_code == 202
        mixed = await client.post(PATH, json={"first": first, "second": own})
        assert (mixed.status_code, mixed.json()["code"]) == (404, "not-found")
        for answer in (
            await client.get(made.headers["Location"]),
            await client.get(f"{made.headers['Location']}/artefacts/comparison.json"),
            await client.delete(made.headers["Location"]),
        ):
            assert answer.status_code == 404
        assert (await client.get(PATH)).json() == {"comparisons": [], "next": None}


async def test_a_comparison_can_be_deleted(tmp_path: Path) -> None:
    async with service(tmp_path) as (client, services):
        first, second = [await job(client, services) for _ in range(2)]
        made = await client.post(PATH, json={"first": first, "second": second})

        assert (await client.delete(made.headers["Location"])).status_code == 204
        assert (await client.get(made.headers["Location"])).status_code == 404
