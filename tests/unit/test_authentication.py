"""Who gets in, what they may do, and whose jobs they see."""

import base64
import re
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from service_kit import finish, form, form_headers, make_settings, pair, running, service

from dlb_core.contracts import Role
from dlb_core.documents import JobPage, Problem
from service.app import create_app
from service.dependencies import Services

pytestmark = pytest.mark.anyio

LOCKED = {"authentication": "required"}


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


def bearer(services: Services, role: Role, *, owner: str | None = None) -> dict[str, str]:
    """Headers with a new key."""
    _, key = services.gate.keys.create("for a test", role, owner=owner)
    return {"Authorization": f"Bearer {key}"}


async def send(client: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    """Submit a good pair."""
    return await client.post("/v1/jobs", content=form(pair()), headers=form_headers() | headers)


def problem_of(answer: httpx.Response) -> Problem:
    """The problem document that an error must be."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    return Problem.model_validate_json(answer.content)


def operations(root: Path) -> list[tuple[str, str]]:
    """Method and path, filled in, of everything that the description names."""
    schema = create_app(make_settings(root)).openapi()
    return [
        (method.upper(), re.sub(r"\{.*?\}", str(UUID(int=1)), path))
        for path, methods in schema["paths"].items()
        for method in methods
    ]


async def test_no_data_leaves_without_a_key(tmp_path: Path) -> None:
    """A route that someone adds must not be open because a guard was forgotten."""
    unnamed = [
        ("GET", "/v1/openapi.json"),
        ("GET", "/v1/none"),
        ("PUT", "/v1/jobs"),
        ("GET", "/none"),
    ]
    open_to_all = []
    async with service(tmp_path, **LOCKED) as (client, _):
        for method, path in operations(tmp_path) + unnamed:
            answer = await client.request(method, path)
            if answer.status_code == 401:
                assert problem_of(answer).code == "unauthenticated"
                assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            else:
                open_to_all.append(path)

    assert open_to_all == ["/health/live", "/health/ready"]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer dlb_",
        "Bearer dlb_0123456789ab_nonsense",
        "Bearer a.b.c",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"me").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Digest username=x",
        "bearer\tx",
    ],
)
async def test_what_is_no_key_opens_nothing(tmp_path: Path, authorization: str) -> None:
    """Nonsense is refused as an unknown key is, in no other way."""
    async with service(tmp_path, **LOCKED) as (client, services):
        bearer(services, Role.ADMIN)
        answer = await client.get("/v1/jobs", headers={"Authorization": authorization})

    assert (answer.status_code, problem_of(answer).code) == (401, "unauthenticated")


async def test_a_key_sees_its_own_jobs_only(tmp_path: Path) -> None:
    """Another's job is not forbidden but unknown: its existence is nobody's business."""
    async with service(tmp_path, **LOCKED) as (client, services):
        mine, yours = (bearer(services, Role.SUBMIT) for _ in range(2))
        everybody = bearer(services, Role.ADMIN)
        job = UUID((await send(client, mine)).json()["id"])
        finish(services, job)

        for method, path in operations(tmp_path):
            if str(UUID(int=1)) not in path or "/jobs/" not in path:
                continue
            path = path.replace(str(UUID(int=1)), str(job), 1)
            refused = await client.request(method, path, headers=yours)
            assert (refused.status_code, problem_of(refused).code) == (404, "not-found"), path
        listed = [
            len(JobPage.model_validate_json((await client.get("/v1/jobs", headers=key)).text).jobs)
            for key in (mine, yours, everybody)
        ]
        assert listed == [1, 0, 1]
        for key in (mine, everybody):
            assert (await client.get(f"/v1/jobs/{job}/results", headers=key)).status_code == 200


async def test_a_job_written_otherwise_is_still_anothers(tmp_path: Path) -> None:
    """The guard must read an id as the route does: without dashes, in capitals, as a URN."""
    async with service(tmp_path, **LOCKED) as (client, services):
        mine, yours = (bearer(services, Role.SUBMIT) for _ in range(2))
        job = (await send(client, mine)).json()["id"]

        for text in (job.upper(), job.replace("-", ""), f"urn:uuid:{job}", f"%7B{job}%7D"):
            seen = await client.get(f"/v1/jobs/{text}", headers=yours)
            assert seen.status_code in (404, 422), text
        nobodys = await client.get(f"/v1/jobs/{uuid4()}", headers=yours)
        anothers = await client.get(f"/v1/jobs/{job}", headers=yours)
        assert anothers.content == nobodys.content, "the answers tell one from the other"


async def test_keys_of_one_owner_share_their_jobs(tmp_path: Path) -> None:
    """A key is replaced, or a second one made for reading, without losing the jobs."""
    async with service(tmp_path, **LOCKED) as (client, services):
        submitter = bearer(services, Role.SUBMIT, owner="radiology")
        reader = bearer(services, Role.READ, owner="radiology")
        job = (await send(client, submitter)).json()["id"]

        assert (await client.get(f"/v1/jobs/{job}", headers=reader)).status_code == 200


async def test_a_reading_key_changes_nothing(tmp_path: Path) -> None:
    """It lies on a screen in the ward."""
    async with service(tmp_path, **LOCKED) as (client, services):
        submitter = bearer(services, Role.SUBMIT, owner="radiology")
        reader = bearer(services, Role.READ, owner="radiology")
        job = (await send(client, submitter)).json()["id"]

        answers = [
            await send(client, reader),
            await client.delete(f"/v1/jobs/{job}", headers=reader),
            await client.post(f"/v1/jobs/{job}/retry", headers=reader),
        ]
        assert {(answer.status_code, problem_of(answer).code) for answer in answers} == {
            (403, "forbidden")
        }
        assert services.store.get(UUID(job)).cancel_requested is False


async def test_a_revoked_key_is_refused_at_once(tmp_path: Path) -> None:
    """Nothing remembers that it was good a moment ago."""
    async with service(tmp_path, **LOCKED) as (client, services):
        record, key = services.gate.keys.create("lost", Role.READ)
        headers = {"Authorization": f"Bearer {key}"}
        assert (await client.get("/v1/jobs", headers=headers)).status_code == 200

        services.gate.keys.revoke(record.id)
        assert (await client.get("/v1/jobs", headers=headers)).status_code == 401


async def test_on_loopback_no_key_is_needed_until_there_is_one(tmp_path: Path) -> None:
    """The first minute with the service must be easy; the first key shuts the door."""
    async with service(tmp_path) as (client, services):
        assert (await send(client, {})).status_code == 202

        key = bearer(services, Role.ADMIN)
        assert (await client.get("/v1/jobs")).status_code == 401
        listed = await client.get("/v1/jobs", headers=key)
        assert len(listed.json()["jobs"]) == 1, "an administrator sees what came before the keys"


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"host": "0.0.0.0"}, 401),  # noqa: S104  # shut
        ({"host": "127.0.0.1"}, 200),
        ({"host": "::1"}, 200),
        ({"host": "0.0.0.0", "authentication": "off"}, 200),  # noqa: S104  # forced open
        ({"host": "127.0.0.1", "authentication": "required"}, 401),
    ],
)
async def test_where_others_reach_it_a_key_is_needed(
    tmp_path: Path, settings: dict[str, str], status: int
) -> None:
    """A container listens on every address, and no key may have been made yet."""
    async with service(tmp_path, **settings) as (client, _):
        assert (await client.get("/v1/jobs")).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
    ],
)
async def test_no_other_web_page_may_use_an_open_service(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    """A page in the user's browser reaches loopback too, by forms and by rebound names."""
    async with service(tmp_path) as (client, _):
        assert (await client.get("/v1/jobs", headers=headers)).status_code == status


async def test_a_browser_asks_for_the_key_and_sends_it_for_its_own_pages_only(
    tmp_path: Path,
) -> None:
    """A report is opened in a browser, which knows Basic and no Bearer, and sends it unasked."""
    async with service(tmp_path, **LOCKED) as (client, services):
        asked = await client.get("/v1/jobs", headers={"Accept": "text/html,*/*"})
        assert 'Basic realm="DeepLesionBrain"' in asked.headers["WWW-Authenticate"]

        key = bearer(services, Role.SUBMIT)["Authorization"].split()[1]
        basic = {"Authorization": "Basic " + base64.b64encode(f"me:{key}".encode()).decode()}
        assert (await client.get("/v1/jobs", headers=basic)).status_code == 200
        assert (await send(client, basic | {"Origin": "http://evil.example"})).status_code == 403
        assert (await send(client, basic | {"Origin": "http://127.0.0.1"})).status_code == 202


async def test_every_answer_carries_the_security_headers(tmp_path: Path) -> None:
    """Errors, mistakes of ours and results alike; a route's own policy stays."""
    app = create_app(make_settings(tmp_path))

    @app.get("/v1/broken")
    def broken() -> None:
        raise RuntimeError

    async with running(app) as client:
        job = (await send(client, {})).json()["id"]
        finish(app.state.services, UUID(job))
        report = await client.get(f"/v1/jobs/{job}/artefacts/report.html")
        others = [await client.get(path) for path in ("/v1/jobs", "/v1/none", "/v1/broken")]

    assert [answer.status_code for answer in others] == [200, 404, 500]
    for answer in [report, *others]:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "sandbox" in report.headers["Content-Security-Policy"]
    assert others[1].headers["Cache-Control"] == "no-store"
