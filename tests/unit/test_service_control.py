"""Cancelling in every state, and trying again."""

from pathlib import Path
from uuid import UUID

import httpx
import pytest
from service_kit import finish, service, submit

from dlb_core.contracts import JobState
from dlb_core.documents import JobDocument, Problem
from dlb_core.jobs.layout import image_in
from dlb_core.jobs.leftovers import tidy_ended
from service.dependencies import Services

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


async def accept(client: httpx.AsyncClient) -> UUID:
    """Submit a good pair."""
    return JobDocument.model_validate_json((await submit(client)).content).id


def fail(services: Services, job_id: UUID, *, keep_inputs: bool = True) -> None:
    """Do what a worker does with a case that it cannot do."""
    claim = services.store.claim(job_id, 60.0)
    assert claim is not None
    assert services.store.fail(claim, "out-of-memory", "no", keep_inputs=keep_inputs)
    tidy_ended(services.store.get(job_id), services.data)


def document(answer: httpx.Response) -> JobDocument:
    """The job that was answered."""
    return JobDocument.model_validate_json(answer.content)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    return answer.status_code, Problem.model_validate_json(answer.content).code


async def test_a_waiting_job_is_cancelled_at_once_and_can_be_retried(tmp_path: Path) -> None:
    """Its images stay: the caller has changed their mind, and may again."""
    async with service(tmp_path) as (client, services):
        job_id = await accept(client)

        cancelled = await client.post(f"/v1/jobs/{job_id}/cancel")
        assert (cancelled.status_code, document(cancelled).state) == (200, JobState.DISMISSED)
        assert document(cancelled).links.retry == f"/v1/jobs/{job_id}/retry"

        retried = await client.post(f"/v1/jobs/{job_id}/retry")
        assert (retried.status_code, document(retried).state) == (202, JobState.ACCEPTED)
        assert document(retried).finished is None
        finish(services, job_id)
        assert services.store.get(job_id).state is JobState.SUCCESSFUL


async def test_a_running_job_is_cancelled_by_its_worker(tmp_path: Path) -> None:
    """It runs until the worker has heard; asking twice changes nothing."""
    async with service(tmp_path) as (client, services):
        job_id = await accept(client)
        claim = services.store.claim(job_id, 60.0)
        assert claim is not None

        first, second = [await client.post(f"/v1/jobs/{job_id}/cancel") for _ in range(2)]

        assert (first.status_code, second.status_code) == (202, 202)
        assert document(first).cancel_requested
        assert first.headers["ETag"] == second.headers["ETag"]
        assert services.store.dismiss(claim)
        assert services.store.get(job_id).keep_inputs


async def test_a_job_that_waits_for_its_next_attempt_is_cancelled_too(tmp_path: Path) -> None:
    """In the pause nobody works on it, and nobody would hear a flag."""
    async with service(tmp_path) as (client, services):
        job_id = await accept(client)
        claim = services.store.claim(job_id, 60.0)
        assert claim is not None
        services.store.retry_or_fail(claim, "disk-full", "no", max_attempts=3, pause_s=3600)

        answer = await client.post(f"/v1/jobs/{job_id}/cancel")

        assert (answer.status_code, document(answer).state) == (200, JobState.DISMISSED)
        assert services.store.claim(None, 60.0) is None


async def test_a_job_that_has_ended_stays_as_it_is(tmp_path: Path) -> None:
    """A cancel that comes too late must take nothing away."""
    async with service(tmp_path) as (client, services):
        done, failed, cancelled = [await accept(client) for _ in range(3)]
        finish(services, done)
        fail(services, failed)
        services.store.request_cancel(cancelled, discard=False)
        before = services.store.get_many([done, failed, cancelled])

        for job_id in before:
            assert (await client.post(f"/v1/jobs/{job_id}/cancel")).status_code == 200

        assert services.store.get_many([done, failed, cancelled]) == before


async def test_a_failed_job_is_tried_again_from_its_images(tmp_path: Path) -> None:
    """It counts its attempts anew, and its log keeps the old ones."""
    async with service(tmp_path) as (client, services):
        job_id = await accept(client)
        fail(services, job_id)
        before = document(await client.get(f"/v1/jobs/{job_id}"))

        retried = document(await client.post(f"/v1/jobs/{job_id}/retry"))

        assert before.error is not None
        assert (retried.state, retried.error, retried.attempts) == (JobState.ACCEPTED, None, 0)
        assert [attempt.error for attempt in retried.attempt_log] == [before.error]
        assert image_in(services.data.inputs(job_id), "T1w").exists()
        again = services.store.claim(job_id, 60.0)
        assert again is not None
        assert (again.attempt, again.fence) == (1, 2)


async def test_what_cannot_be_tried_again_is_said_so(tmp_path: Path) -> None:
    """Waiting, running and successful jobs need no retry; without images there is none."""
    async with service(tmp_path) as (client, services):
        waiting, running, done, at_fault, deleted = [await accept(client) for _ in range(5)]
        services.store.claim(running, 60.0)
        finish(services, done)
        fail(services, at_fault, keep_inputs=False)
        await client.delete(f"/v1/jobs/{deleted}")

        answers = {
            job_id: code_of(await client.post(f"/v1/jobs/{job_id}/retry"))
            for job_id in (waiting, running, done, at_fault, deleted, UUID(int=0))
        }

    assert answers == {
        waiting: (409, "not-retriable"),
        running: (409, "not-retriable"),
        done: (409, "not-retriable"),
        at_fault: (410, "inputs-gone"),
        deleted: (410, "inputs-gone"),
        UUID(int=0): (404, "not-found"),
    }


async def test_a_retry_needs_a_place_in_the_queue(tmp_path: Path) -> None:
    """Else retries would go round the limit."""
    async with service(tmp_path, max_waiting=1) as (client, services):
        job_id = await accept(client)
        fail(services, job_id)
        await accept(client)

        answer = await client.post(f"/v1/jobs/{job_id}/retry")

    assert code_of(answer) == (503, "queue-full")


async def test_deleting_a_cancelled_job_takes_its_images_too(tmp_path: Path) -> None:
    """DELETE promises that no file is left."""
    async with service(tmp_path) as (client, services):
        job_id = await accept(client)
        await client.post(f"/v1/jobs/{job_id}/cancel")
        assert image_in(services.data.inputs(job_id), "T1w").exists()

        assert (await client.delete(f"/v1/jobs/{job_id}")).status_code == 204

        assert not services.data.job(job_id).exists()
        assert document(await client.get(f"/v1/jobs/{job_id}")).links.retry is None
