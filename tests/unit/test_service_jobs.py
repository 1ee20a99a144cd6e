"""Submitting, watching, listing and deleting jobs over HTTP."""

import asyncio
import gzip
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from service_kit import (
    BOUNDARY,
    finish,
    form,
    form_headers,
    make_settings,
    nifti,
    pair,
    running,
    service,
    submit,
)
from starlette.types import Message, Receive

from dlb_core.contracts import JobState
from dlb_core.documents import JobDocument, JobPage, Problem
from service.app import create_app
from service.dependencies import Services

pytestmark = pytest.mark.anyio

Post = Callable[[Receive], Awaitable[int]]
"""Sends one request, its body from a callable; returns the status."""


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


def nothing_left(services: Services) -> bool:
    """Whether a refused request left neither files nor a row."""
    folders = [services.data.staging, services.data.root / "jobs"]
    return not any(any(folder.iterdir()) for folder in folders) and not any(
        services.store.counts_by_state().values()
    )


def problem_of(answer: httpx.Response) -> Problem:
    """The problem document that an error must be."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    return problem


async def test_a_pair_is_accepted_and_kept(tmp_path: Path) -> None:
    """202 promises that the files lie in the job's folder, by content, and that a row exists."""
    t1w, flair = nifti(), nifti(compressed=False)
    async with service(tmp_path) as (client, services):
        answer = await submit(client, t1w=t1w, flair=flair, options=b'{"label": "case 1"}')

        assert answer.status_code == 202
        job = JobDocument.model_validate_json(answer.content)
        assert (job.state, job.options.label) == (JobState.ACCEPTED, "case 1")
        assert answer.headers["Location"] == f"/v1/jobs/{job.id}" == job.links.job
        assert int(answer.headers["Retry-After"]) > 0
        inputs = services.data.inputs(job.id)
        assert (inputs / "T1w.nii.gz").read_bytes() == t1w
        assert (inputs / "FLAIR.nii").read_bytes() == flair
        assert job.inputs["T1w"] == hashlib.sha256(t1w).hexdigest()
        assert services.store.get(job.id).inputs == job.inputs
        assert not list(services.data.staging.iterdir())


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"t1w": b"not an image at all"}, 422, "unreadable-image"),
        ({"flair": nifti()[:-20]}, 422, "unreadable-image"),
        ({"flair": nifti(compressed=False)[:-1]}, 422, "unreadable-image"),
        ({"t1w": nifti((24, 28, 4))}, 422, "implausible-image"),
        ({"options": b"{"}, 422, "bad-option"),
        ({"options": b'{"minimum_lesion_mm3": "3"}'}, 422, "bad-option"),
        ({"options": b" " * 70_000}, 413, "upload-too-large"),
        ({"mask": b"x"}, 400, "malformed-upload"),
        ({"flair": b""}, 400, "malformed-upload"),
    ],
)
async def test_a_bad_request_is_refused_and_leaves_nothing(
    tmp_path: Path, changes: dict[str, bytes], status: int, code: str
) -> None:
    """The caller learns what to mend; the service keeps no scan that it does not work on."""
    async with service(tmp_path) as (client, services):
        answer = await submit(client, **changes)

        assert (answer.status_code, problem_of(answer).code) == (status, code)
        assert nothing_left(services)


async def test_options_name_the_field_at_fault(tmp_path: Path) -> None:
    """A typing error in an option must not be ignored and the default used."""
    async with service(tmp_path) as (client, _):
        answer = await submit(client, options=b'{"minimum_lesion_mm3": -1, "treshold": 0.5}')

    named = {fault.field for fault in problem_of(answer).errors}
    assert named == {"options.minimum_lesion_mm3", "options.treshold"}


async def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    """A small file that unpacks to far more than its header says is an attack, not a scan."""
    bomb = gzip.compress(nifti(compressed=False) + bytes(64 * 1024 * 1024), compresslevel=1)
    async with service(tmp_path) as (client, services):
        answer = await submit(client, t1w=bomb)

        assert problem_of(answer).code == "unreadable-image"
        assert nothing_left(services)


async def test_an_image_over_the_cap_is_refused(tmp_path: Path) -> None:
    """The cap holds for a body whose length is announced, and for one whose length is not."""
    body = form(pair(t1w=bytes(1024 * 1024 + 1)))
    too_long = form(pair(t1w=bytes(3 * 1024 * 1024)))

    async def unannounced() -> Any:
        yield body

    async with service(tmp_path, max_upload_mb=1) as (client, services):
        for content in (body, unannounced(), too_long):
            answer = await client.post("/v1/jobs", content=content, headers=form_headers())

            assert (answer.status_code, problem_of(answer).code) == (413, "upload-too-large")
        assert nothing_left(services)


async def test_a_body_announced_too_long_is_refused_unread(tmp_path: Path) -> None:
    """Nobody should send a gigabyte to be told no."""
    asked = []

    async def receive() -> Message:
        asked.append(True)
        return {"type": "http.request", "body": b"", "more_body": True}

    async with raw_post(tmp_path, length=10**10) as (post, services):
        status = await post(receive)

        assert (status, asked) == (413, [])
        assert nothing_left(services)


async def test_a_sender_who_goes_away_leaves_nothing(tmp_path: Path) -> None:
    """Half an upload is nobody's job."""
    events = [
        {"type": "http.request", "body": form(pair(), closed=False), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return events.pop(0)

    async with raw_post(tmp_path) as (post, services):
        await post(receive)

        assert nothing_left(services)


async def test_a_sender_who_falls_silent_is_given_up(tmp_path: Path) -> None:
    """Stalled uploads would otherwise hold disk and connections for ever."""

    async def receive() -> Message:
        await asyncio.sleep(60)
        raise AssertionError("waited for a silent sender")

    async with raw_post(tmp_path, upload_idle_s=0.05) as (post, services):
        assert await post(receive) == 408
        assert nothing_left(services)


async def test_a_sender_who_is_as_good_as_silent_is_given_up(tmp_path: Path) -> None:
    """A byte a minute would keep the room that the whole upload has announced."""
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        await asyncio.sleep(0.02)
        sent += 1
        body = form([("t1w", b"")], closed=False) if sent == 1 else b"x"
        return {"type": "http.request", "body": body, "more_body": True}

    async with raw_post(tmp_path, upload_idle_s=0.2) as (post, services):
        assert await post(receive) == 408
        assert sent > 1
        assert nothing_left(services)


async def test_a_full_disk_is_said_before_it_is_full(tmp_path: Path) -> None:
    """507 asks the caller to come back; a database without room would lose jobs."""
    async with service(tmp_path, min_free_mb=2**40) as (client, services):
        answer = await submit(client)

        assert (answer.status_code, problem_of(answer).code) == (507, "disk-full")
        assert "Retry-After" in answer.headers
        assert nothing_left(services)


async def test_polling_costs_nothing_while_nothing_changes(tmp_path: Path) -> None:
    """The entity tag holds until the job moves on."""
    async with service(tmp_path) as (client, services):
        path = (await submit(client)).headers["Location"]
        first = await client.get(path)
        tag = {"If-None-Match": first.headers["ETag"]}
        again = await client.get(path, headers=tag)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["Retry-After"] == first.headers["Retry-After"]

        finish(services, UUID(path.rsplit("/", 1)[1]))
        moved = await client.get(path, headers=tag)
        assert moved.status_code == 200
        job = JobDocument.model_validate_json(moved.content)
        assert job.state is JobState.SUCCESSFUL
        assert job.progress.fraction == 1.0
        assert job.totals is not None
        assert "Retry-After" not in moved.headers


async def test_pages_show_every_job_once_newest_first(tmp_path: Path) -> None:
    """Following `next` must neither skip nor repeat."""
    async with service(tmp_path) as (client, services):
        submitted = [UUID((await submit(client)).json()["id"]) for _ in range(5)]
        finish(services, submitted[2])

        seen: list[UUID] = []
        path: str | None = "/v1/jobs?limit=2"
        while path is not None:
            page = JobPage.model_validate_json((await client.get(path)).content)
            seen += [job.id for job in page.jobs]
            path = page.next
        assert seen == submitted[::-1]

        path = "/v1/jobs?limit=3&state=accepted"
        page = JobPage.model_validate_json((await client.get(path)).content)
        assert page.next is not None
        rest = JobPage.model_validate_json((await client.get(page.next)).content)
        waiting = [job.id for job in page.jobs + rest.jobs]
        assert waiting == [job for job in submitted[::-1] if job != submitted[2]]


async def test_cancelling_a_waiting_job_removes_its_files_and_keeps_its_row(
    tmp_path: Path,
) -> None:
    """A second DELETE does no harm: the caller may not have heard the first answer."""
    async with service(tmp_path) as (client, services):
        path = (await submit(client)).headers["Location"]
        for _ in range(2):
            assert (await client.delete(path)).status_code == 204

        job = JobDocument.model_validate_json((await client.get(path)).content)
        assert job.state is JobState.DISMISSED
        assert not services.data.job(job.id).exists()


async def test_cancelling_a_running_job_waits_for_its_worker(tmp_path: Path) -> None:
    """Files that a worker reads must not vanish under it: 202, and the worker removes them."""
    async with service(tmp_path) as (client, services):
        path = (await submit(client)).headers["Location"]
        job_id = UUID(path.rsplit("/", 1)[1])
        claim = services.store.claim(job_id, 60.0)
        answer = await client.delete(path)

        assert answer.status_code == 202
        job = JobDocument.model_validate_json(answer.content)
        assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)
        assert services.data.inputs(job_id).exists()
        assert claim is not None
        assert services.store.dismiss(claim)


async def test_deleting_a_finished_job_forgets_it(tmp_path: Path) -> None:
    """Results and record go: nothing of the patient's case is left."""
    async with service(tmp_path) as (client, services):
        path = (await submit(client)).headers["Location"]
        job_id = UUID(path.rsplit("/", 1)[1])
        finish(services, job_id)

        assert (await client.delete(path)).status_code == 204
        assert not services.data.job(job_id).exists()
        assert (await client.get(path)).status_code == 404


async def test_crashes_leftovers_are_swept_at_the_next_start(tmp_path: Path) -> None:
    """A crash in mid-upload leaves scans that no row knows of; jobs' own files stay."""
    async with service(tmp_path) as (client, services):
        kept = services.data.inputs(UUID((await submit(client)).json()["id"]))
        upload = services.data.staging / str(uuid4())
        orphan = services.data.job(uuid4())
        young = services.data.staging / str(uuid4())
        arriving = services.data.staging / str(uuid4())
        for folder in (upload, orphan, young, arriving):
            folder.mkdir()
            (folder / "t1w").write_bytes(b"as far as it came")
        for folder in (upload, orphan, kept.parent):
            make_old(folder)
        os.utime(arriving, (0, 0))

    async with service(tmp_path):
        await until(lambda: not upload.exists() and not orphan.exists())

        assert young.exists()
        assert arriving.exists(), "a file that grows does not touch its folder"
        assert kept.exists()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "no-such-path"),
        ("PUT", "/v1/jobs", 405, "method-not-allowed"),
        ("GET", "/v1/jobs/not-an-id", 422, "invalid-request"),
        ("GET", f"/v1/jobs/{UUID(int=0)}", 404, "not-found"),
        ("DELETE", f"/v1/jobs/{UUID(int=0)}", 404, "not-found"),
        ("GET", f"/v1/jobs/{UUID(int=0)}/results", 404, "not-found"),
        ("GET", "/v1/jobs?limit=0", 422, "invalid-request"),
        ("GET", "/v1/jobs?state=lost", 422, "invalid-request"),
        ("GET", "/v1/jobs?before=nonsense", 422, "bad-option"),
        ("GET", "/v1/models/none", 404, "not-found"),
        ("POST", "/v1/jobs", 400, "malformed-upload"),
    ],
)
async def test_every_error_is_a_problem_document(
    tmp_path: Path, method: str, path: str, status: int, code: str
) -> None:
    """A client needs one way to read errors, the framework's own included."""
    async with service(tmp_path) as (client, _):
        answer = await client.request(method, path)

    assert (answer.status_code, problem_of(answer).code) == (status, code)


async def test_no_path_leads_elsewhere(tmp_path: Path) -> None:
    """A redirected upload would be sent once more, to an address made of the request's own Host."""
    async with service(tmp_path) as (client, _):
        for path in ("/v1/jobs/", "/v1/jobs//", "/health/live/"):
            answer = await client.get(path)
            assert (answer.status_code, problem_of(answer).code) == (404, "no-such-path")


async def test_a_method_not_allowed_names_all_that_are(tmp_path: Path) -> None:
    """RFC 9110: Allow lists the methods of the resource, not of one of its routes."""
    async with service(tmp_path) as (client, _):
        jobs = await client.put("/v1/jobs")
        job = await client.put(f"/v1/jobs/{UUID(int=0)}")

    assert jobs.headers["Allow"] == "GET, POST"
    assert job.headers["Allow"] == "DELETE, GET"


async def test_our_own_mistakes_say_nothing_about_how_we_are_built(tmp_path: Path) -> None:
    """A 500 goes into the log in full, and to the caller as a problem without details."""
    app = create_app(make_settings(tmp_path))

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret detail")

    async with running(app) as client:
        answer = await client.get("/broken")

    assert problem_of(answer).code == "internal-error"
    assert "secret" not in answer.text


def make_old(folder: Path) -> None:
    """Set the times of a folder and of all in it to long ago."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (0, 0))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the background."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


@asynccontextmanager
async def raw_post(
    root: Path, *, length: int | None = None, **changes: Any
) -> AsyncIterator[tuple[Post, Services]]:
    """A service to which a POST can be sent event by event."""
    app = create_app(make_settings(root, **changes))
    headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/jobs",
        "raw_path": b"/v1/jobs",
        "query_string": b"",
        "headers": headers,
        "client": ("test", 1),
        "server": ("test", 80),
    }

    async def post(receive: Receive) -> int:
        statuses: list[int] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await app(scope, receive, send)
        return statuses[0]

    async with app.router.lifespan_context(app):
        yield post, app.state.services
