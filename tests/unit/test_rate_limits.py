"""Token buckets, and what a caller with an empty one is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from service_kit import form, form_headers, nifti, pair, service

from dlb_core.contracts import Role
from dlb_core.documents import Problem
from service.dependencies import Services
from service.rate_limits import MOST_CALLERS, TokenBuckets

LOCKED = {"authentication": "required"}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(buckets: TokenBuckets, caller: str, times: int) -> int:
    """How many of so many requests pass."""
    return [buckets.take(caller) for _ in range(times)].count(0)


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    """Opening a page of results asks for much at once; a runaway script asks for ever."""
    clock = Clock()
    buckets = TokenBuckets(60, 10, clock=clock)

    assert taken(buckets, "a", 20) == 10
    clock.now += 3
    assert taken(buckets, "a", 20) == 3
    clock.now += 3600
    assert taken(buckets, "a", 20) == 10, "a bucket holds no more than a burst"


def test_the_wait_is_as_long_as_it_takes() -> None:
    """Whoever waits as they are told must get through."""
    clock = Clock()
    buckets = TokenBuckets(6, 1, clock=clock)
    buckets.take("a")

    wait_s = buckets.take("a")
    assert wait_s == 10
    clock.now += wait_s
    assert buckets.take("a") == 0


def test_callers_do_not_share_a_bucket() -> None:
    """One key's script must not slow the others down."""
    buckets = TokenBuckets(60, 5, clock=Clock())

    assert [taken(buckets, caller, 6) for caller in ("a", "b")] == [5, 5]


def test_no_limit_means_none() -> None:
    """Zero switches the limit off."""
    assert taken(TokenBuckets(0, 1, clock=Clock()), "a", 1000) == 1000


def test_memory_stays_bounded() -> None:
    """Addresses are an attacker's to choose."""
    buckets = TokenBuckets(60, 1, clock=Clock())
    for number in range(MOST_CALLERS + 10):
        buckets.take(str(number))

    assert buckets.take("0") == 0, "the oldest was forgotten"
    assert buckets.take(str(MOST_CALLERS + 9)) > 0, "the newest was not"


def key_of(services: Services, name: str) -> dict[str, str]:
    """Headers with a new key."""
    return {"Authorization": f"Bearer {services.gate.keys.create(name, Role.SUBMIT)[1]}"}


def check_refusal(answer: httpx.Response) -> None:
    """Insist on a 429 that says when to come back."""
    assert answer.status_code == 429
    assert Problem.model_validate_json(answer.content).code == "rate-limited"
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.anyio
async def test_a_key_that_asks_too_often_is_told_to_wait(tmp_path: Path) -> None:
    """The others go on, and health checks are never limited."""
    limits = {"requests_per_minute": 1, "requests_at_once": 3}
    async with service(tmp_path, **LOCKED, **limits) as (client, services):
        hasty, patient = (key_of(services, name) for name in ("hasty", "patient"))
        answers = [await client.get("/v1/jobs", headers=hasty) for _ in range(5)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        check_refusal(answers[-1])
        assert (await client.get("/v1/jobs", headers=patient)).status_code == 200
        assert (await client.get("/health/live", headers=hasty)).status_code == 200


@pytest.mark.anyio
async def test_a_flood_of_bad_keys_locks_no_good_key_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from one address, a hospital's proxy: its users must get through."""
    monkeypatch.setattr("service.gate.FAILURES_PER_MINUTE", 2)
    async with service(tmp_path, **LOCKED) as (client, services):
        good = key_of(services, "good")
        bad = {"Authorization": "Bearer dlb_000000000000_x"}
        answers = [await client.get("/v1/jobs", headers=bad) for _ in range(6)]

        assert [answer.status_code for answer in answers[:2]] == [401, 401]
        check_refusal(answers[-1])
        assert (await client.get("/v1/jobs", headers=good)).status_code == 200
        logged = services.gate.audit.path.read_text().count('"status": 401')
        assert logged < len(answers), "the audit log is not there to be flooded"


@pytest.mark.anyio
async def test_a_used_up_quota_is_refused_before_the_body_is_read(tmp_path: Path) -> None:
    """What counts is what came, whatever was announced, and uploads that failed count too."""
    body = form(pair())
    async with service(tmp_path, **LOCKED, uploads_per_day=2) as (client, services):
        mine, other = (key_of(services, name) for name in ("mine", "other"))
        answers = [
            await client.post("/v1/jobs", content=content, headers=form_headers() | mine)
            for content in (body, body[:-30], body)
        ]

        assert [answer.status_code for answer in answers] == [202, 400, 429]
        check_refusal(answers[-1])
        sent = await client.post("/v1/jobs", content=body, headers=form_headers() | other)
        assert sent.status_code == 202


@pytest.mark.anyio
async def test_an_upload_counts_as_much_as_came(tmp_path: Path) -> None:
    """Where no length is announced the most is reserved, and given back."""
    body = form(pair())

    async def unannounced() -> object:
        yield body

    # Room for one reservation of the whole cap (2 MiB of images), not for two.
    limits = {"max_upload_mb": 1, "upload_mb_per_day": 3, "uploads_per_day": 0}
    async with service(tmp_path, **LOCKED, **limits) as (client, services):
        headers = form_headers() | key_of(services, "mine")
        for _ in range(3):
            answer = await client.post("/v1/jobs", content=unannounced(), headers=headers)
            assert answer.status_code == 202
        announced = headers | {"Content-Length": str(10**15)}
        answer = await client.post("/v1/jobs", content=body, headers=announced)
        assert answer.status_code == 413


@pytest.mark.anyio
async def test_uploads_at_once_are_few_and_end_with_their_senders(tmp_path: Path) -> None:
    """Each holds the room that it has announced: many that trickle would keep all others out."""
    image = nifti(compressed=False)
    body = form(pair(t1w=image, flair=image))

    async with service(tmp_path, **LOCKED, uploads_at_once=1) as (client, services):
        mine, theirs = (form_headers() | key_of(services, name) for name in ("mine", "theirs"))
        answers: list[httpx.Response] = []

        async def with_others_beside_it() -> AsyncIterator[bytes]:
            yield body[:100]
            answers.append(await client.post("/v1/jobs", content=body, headers=mine))
            answers.append(await client.post("/v1/jobs", content=body, headers=theirs))
            yield body[100:]

        answers.append(await client.post("/v1/jobs", content=with_others_beside_it(), headers=mine))
        broken = await client.post("/v1/jobs", content=body[:-9], headers=mine)
        no_document = await client.post("/v1/batches", content=b" " * 20_000, headers=mine)
        answers.append(await client.post("/v1/jobs", content=body, headers=mine))

    assert [answer.status_code for answer in answers] == [429, 202, 202, 202]
    assert answers[0].headers["Retry-After"] == "10"
    assert (broken.status_code, no_document.status_code) == (400, 422)


@pytest.mark.anyio
async def test_large_documents_count_among_the_uploads(tmp_path: Path) -> None:
    """They are held in memory."""
    async with service(tmp_path, **LOCKED, uploads_at_once=1) as (client, services):
        client.headers.update(key_of(services, "mine"))
        beside: list[int] = []

        async def with_others_beside_it() -> AsyncIterator[bytes]:
            yield b" " * 20_000
            for size in (20_000, 10):
                answer = await client.post("/v1/batches", content=b" " * size)
                beside.append(answer.status_code)
            yield b"{}"

        announced = {"Transfer-Encoding": "chunked"}
        await client.post("/v1/batches", content=with_others_beside_it(), headers=announced)

    assert beside == [429, 422]


@pytest.mark.anyio
async def test_what_is_fetched_from_an_archive_counts_as_an_upload(tmp_path: Path) -> None:
    """It comes to lie on the same disk, and is quicker to ask for."""
    archives = tmp_path / "archives.toml"
    archives.write_text('[away]\nurl = "http://127.0.0.1:1/"\n')
    limits = {"uploads_per_day": 1, "pacs_file": archives}
    async with service(tmp_path, **LOCKED, **limits) as (client, services):
        client.headers.update(key_of(services, "mine"))
        first, second = [
            await client.post("/v1/archives/away/jobs", json={"study_uid": "1.2.3"})
            for _ in range(2)
        ]

    codes = [Problem.model_validate_json(answer.content).code for answer in (first, second)]
    assert codes == ["pacs-unavailable", "rate-limited"]


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"
