"""Comparisons of scans over HTTP: two jobs and what waits for them, together or not at all."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from dicom_kit import archive, flair, t1w
from service_kit import finish, form, form_headers, nifti, service, submit

from dlb_core.contracts import Role
from dlb_core.documents import Problem
from dlb_core.jobs.layout import image_in
from dlb_core.jobs.store import utc_now
from dlb_core.longitudinal.requests import ComparisonDocument
from service.dependencies import Services

pytestmark = pytest.mark.anyio

PATH = "/v1/comparisons"
FINE = nifti((50, 58, 58), voxel_mm=2.4)
"""Of the same field of view, in voxels less than half as long."""
WRONG_ORDER = {"first_scan_date": b"2025-04-01", "second_scan_date": b"2024-03-31"}
PARTS = ("first_t1w", "first_flair", "second_t1w", "second_flair")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


async def post(
    client: httpx.AsyncClient, *, key: str | None = None, **changes: Any
) -> httpx.Response:
    """Send two pairs, some parts changed, added or (None) left out."""
    parts = dict.fromkeys(PARTS, nifti()) | changes
    body = form([(name, content) for name, content in parts.items() if content is not None])
    headers = form_headers() | ({} if key is None else {"Idempotency-Key": key})
    return await client.post(PATH, content=body, headers=headers)


def kept(services: Services) -> tuple[int, int]:
    """How many jobs and comparisons there are; each job has a folder, and nothing else is there."""
    jobs = sum(services.store.counts_by_state().values())
    assert len(list(services.data.jobs.iterdir())) == jobs
    assert not list(services.data.staging.iterdir())
    return jobs, len(services.comparisons.list_comparisons(sees=None, limit=100)[0])


async def settled(client: httpx.AsyncClient, services: Services, path: str) -> ComparisonDocument:
    """A comparison that no longer waits for its jobs."""
    async with asyncio.timeout(20):
        while True:
            services.comparison_rounds.wake()
            document = ComparisonDocument.model_validate_json((await client.get(path)).content)
            if document.state != "waiting":
                return document
            await asyncio.sleep(0.05)


async def test_scans_make_two_jobs_and_a_comparison_that_begins_after_them(tmp_path: Path) -> None:
    async with service(tmp_path) as (client, services):
        answer = await post(
            client,
            options=b'{"label": "P 7", "minimum_lesion_mm3": 10.0}',
            priority=b"research",
            comparison=b'{"label": "C 7", "ignore_differences": true}',
        )

        assert answer.status_code == 202, answer.text
        document = ComparisonDocument.model_validate_json(answer.content)
        assert (document.state, document.label) == ("waiting", "C 7")
        assert int(answer.headers["Retry-After"]) > 2, "jobs take minutes"
        for job_id in (document.first, document.second):
            job = services.store.get(job_id)
            assert (job.options.label, job.priority) == ("P 7", "research")
            assert image_in(services.data.inputs(job_id), "FLAIR").is_file()
        finish(services, document.first)
        waits = await client.get(answer.headers["Location"])
        assert waits.json()["state"] == "waiting"
        same = {"If-None-Match": waits.headers["ETag"]}
        assert (await client.get(answer.headers["Location"], headers=same)).status_code == 304
        finish(services, document.second)

        ready = await settled(client, services, document.href)
        claim = services.comparisons.claim(ready.id, 60.0)

        assert claim is not None
        assert (claim.first, claim.second) == (document.first, document.second)
        assert (claim.label, claim.ignore_differences) == ("C 7", True)


async def test_a_cancelled_visit_ends_the_comparison_and_is_named(tmp_path: Path) -> None:
    """Else its caller would wait for ever, or not know which scans to send again."""
    async with service(tmp_path) as (client, services):
        made = ComparisonDocument.model_validate_json((await post(client)).content)
        finish(services, made.first)
        assert (await client.delete(f"/v1/jobs/{made.second}")).status_code == 204

        ended = await settled(client, services, made.href)

        assert ended.state == "failed"
        assert ended.error is not None
        assert ended.error.code == "visit-failed"
        assert "The second visit's job was cancelled" in ended.error.message


@pytest.mark.parametrize(
    ("changes", "status", "code", "said"),
    [
        ({"second_flair": b"no image"}, 422, "unreadable-image", "Of the second visit: "),
        ({"second_flair": None}, 400, "malformed-upload", "second_flair: this part is missing"),
        ({"first_t1w": None, "first_flair": None}, 400, "malformed-upload", "first_"),
        ({"first_study": b"x"}, 400, "malformed-upload", "cannot come with"),
        ({"comparison": b'{"first": 1}'}, 422, "bad-option", "comparison"),
        ({"options": b'{"label": 1}'}, 422, "bad-option", "options"),
        ({"first_series": b'{"t1w": -1}'}, 422, "bad-option", "Of the first visit: "),
        ({"second_flair": FINE}, 422, "quality-failed", "2.4 x 2.4 x 2.4 mm) differ too much"),
        (WRONG_ORDER, 422, "quality-failed", "the other way round"),
        ({"second_scan_date": b"soon"}, 422, "bad-option", "Of the second visit: "),
        ({"options": b'{"scan_date": "2024-03-31"}'}, 422, "bad-option", "first_scan_date"),
    ],
)
async def test_one_fault_and_nothing_is_kept(
    tmp_path: Path, changes: dict[str, bytes | None], status: int, code: str, said: str
) -> None:
    """Half a comparison is a job that nobody asked for."""
    async with service(tmp_path) as (client, services):
        answer = await post(client, **changes)

        problem = Problem.model_validate_json(answer.content)
        assert (answer.status_code, problem.code) == (status, code)
        assert said in problem.detail
        assert kept(services) == (0, 0)


async def test_unlike_voxels_are_accepted_by_whoever_says_so(tmp_path: Path) -> None:
    """The comparison then says what the difference does."""
    async with service(tmp_path) as (client, services):
        asked = b'{"ignore_differences": true}'
        days = {"first_scan_date": b"2024-03-31", "second_scan_date": b"2025-04-01"}
        answer = await post(client, second_flair=FINE, comparison=asked, **days)

        assert answer.status_code == 202
        document = ComparisonDocument.model_validate_json(answer.content)
        jobs = [services.store.get(job) for job in (document.first, document.second)]
        assert [str(job.options.scan_date) for job in jobs] == ["2024-03-31", "2025-04-01"]


async def test_one_visit_may_be_a_study_and_the_other_two_files(tmp_path: Path) -> None:
    """The earlier visit comes from an archive as DICOM, the later one from a colleague."""
    study = archive([*t1w(), *flair()], tmp_path / "study.zip").read_bytes()
    earlier = {"first_t1w": None, "first_flair": None, "first_study": study}
    async with service(tmp_path) as (client, services):
        mixed = await post(client, second_t1w=study)
        answer = await post(client, **earlier)

        assert mixed.json()["detail"].startswith("Of the second visit: One of T1w and FLAIR is")
        assert answer.status_code == 202, answer.text
        names = [
            sorted(path.name for path in services.data.inputs(UUID(answer.json()[job])).iterdir())
            for job in ("first", "second")
        ]
        assert names == [["FLAIR.nii", "T1w.nii", "dicom.json"], ["FLAIR.nii.gz", "T1w.nii.gz"]]
        assert kept(services) == (2, 1)


async def test_a_queue_with_one_place_takes_no_pair(tmp_path: Path) -> None:
    async with service(tmp_path, max_waiting=2) as (client, services):
        await submit(client)

        answer = await post(client)

        assert (answer.status_code, answer.json()["code"]) == (503, "queue-full")
        assert kept(services) == (1, 0)


async def test_a_pair_of_visits_counts_as_two_uploads(tmp_path: Path) -> None:
    """Else a day's quota would hold twice as many cases in this form as in the other."""
    async with service(tmp_path, uploads_per_day=3) as (client, services):
        _, key = services.gate.keys.create("one", Role.SUBMIT, owner="one")
        client.headers["Authorization"] = f"Bearer {key}"

        answers = [await post(client), await post(client), await submit(client)]

        assert [answer.status_code for answer in answers] == [202, 429, 202]
        assert kept(services) == (3, 1)
        assert services.store.get(UUID(answers[0].json()["first"])).owner == "one"


async def test_sent_again_with_its_key_it_is_the_same_comparison(tmp_path: Path) -> None:
    async with service(tmp_path) as (client, services):
        first = await post(client, key="a")
        services.store.request_cancel(UUID(first.json()["first"]))
        again = await asyncio.gather(*(post(client, key="a") for _ in range(3)))
        others = [
            await post(client, key="a", second_flair=nifti((24, 28, 29))),
            await post(client, key="a", comparison=b'{"label": "b"}'),
        ]

        assert first.status_code == 202
        for answer in again:
            assert (answer.status_code, answer.json()["id"]) == (200, first.json()["id"])
            assert answer.headers["Idempotency-Replayed"] == "true"
        for answer in others:
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-conflict")
        assert kept(services) == (2, 1)


async def test_several_at_once_with_one_key_make_one(tmp_path: Path) -> None:
    """Only the database can decide which of them was first."""
    async with service(tmp_path) as (client, services):
        answers = await asyncio.gather(*(post(client, key="a") for _ in range(4)))

        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 202]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert kept(services) == (2, 1)


async def test_a_comparison_of_jobs_is_made_once_a_key_too(tmp_path: Path) -> None:
    """The key is good although a job's results are gone by then; a job's key is another."""
    async with service(tmp_path) as (client, services):
        ids = []
        for _ in range(2):
            job_id = UUID((await submit(client)).json()["id"])
            finish(services, job_id)
            ids.append(str(job_id))
        body, key = {"first": ids[0], "second": ids[1]}, {"Idempotency-Key": "a"}
        made = await client.post(PATH, json=body, headers=key)
        services.store.expire_results(utc_now())
        again = await client.post(PATH, json=body, headers=key)
        turned = {"first": ids[1], "second": ids[0]}
        other = await client.post(PATH, json=turned, headers=key)

        assert (made.status_code, again.status_code) == (202, 200)
        assert made.json()["id"] == again.json()["id"]
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-conflict")
