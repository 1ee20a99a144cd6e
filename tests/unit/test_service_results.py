"""A finished job's report and files over HTTP."""

import hashlib
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from service_kit import finish, service, submit

from dlb_core.artefacts import MASK_FLAIR, REPORT_HTML, REPORT_JSON
from dlb_core.documents import Problem, ResultsDocument
from service.dependencies import Services

pytestmark = pytest.mark.anyio

CONTENT = b"0123456789" * 100
"""What `service_kit.finish` writes as the mask."""


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


async def finished(client: httpx.AsyncClient, services: Services) -> str:
    """Path of a successful job."""
    path = (await submit(client)).headers["Location"]
    finish(services, UUID(path.rsplit("/", 1)[1]))
    return path


async def test_results_list_each_file_with_its_digest(tmp_path: Path) -> None:
    """What is listed can be fetched, and is what the digest says."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        answer = await client.get(f"{path}/results")
        results = ResultsDocument.model_validate_json(answer.content)

        assert results.report.totals.brain_volume_ml == 1200.0
        assert {entry.name for entry in results.artefacts} == {REPORT_JSON, REPORT_HTML, MASK_FLAIR}
        for entry in results.artefacts:
            file = await client.get(entry.href)
            assert file.headers["Content-Type"] == entry.media_type
            assert hashlib.sha256(file.content).hexdigest() == entry.sha256
            assert len(file.content) == entry.size_bytes


async def test_a_job_without_results_says_so(tmp_path: Path) -> None:
    """409 tells "not yet" from "no such job"."""
    async with service(tmp_path) as (client, _):
        path = (await submit(client)).headers["Location"]
        for below in ("results", f"artefacts/{MASK_FLAIR}"):
            answer = await client.get(f"{path}/{below}")
            problem = Problem.model_validate_json(answer.content)

            assert (answer.status_code, problem.code) == (409, "no-results")
            assert "accepted" in problem.detail


@pytest.mark.parametrize(
    "name", ["absent.nii.gz", "..%2F..%2F..%2Fjobs.sqlite", "%2Fetc%2Fpasswd", ".", "%00"]
)
async def test_only_listed_names_reach_the_disk(tmp_path: Path, name: str) -> None:
    """A name that climbs out of the folder is no name of a file."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        answer = await client.get(f"{path}/artefacts/{name}")

        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=990-", 990, 999), ("bytes=-1", 999, 999), ("bytes=5-5", 5, 5)],
)
async def test_a_range_is_that_part_of_the_file(
    tmp_path: Path, asked: str, first: int, last: int
) -> None:
    """Broken downloads go on where they stopped."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        answer = await client.get(f"{path}/artefacts/{MASK_FLAIR}", headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == CONTENT[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/1000"


async def test_a_download_can_be_looked_at_before_it_is_made(tmp_path: Path) -> None:
    """HEAD tells length and digest; download managers begin with it."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        answer = await client.head(f"{path}/artefacts/{MASK_FLAIR}")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == "1000"


async def test_several_ranges_come_in_one_answer(tmp_path: Path) -> None:
    """Each part says where it belongs."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        asked = {"Range": "bytes=0-1,500-501"}
        answer = await client.get(f"{path}/artefacts/{MASK_FLAIR}", headers=asked)

    assert answer.status_code == 206
    assert answer.headers["Content-Type"].startswith("multipart/byteranges")
    assert b"bytes 500-501/1000" in answer.content


async def test_a_range_beyond_the_end_is_refused(tmp_path: Path) -> None:
    """416 tells how long the file is."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        asked = {"Range": "bytes=1000-"}
        answer = await client.get(f"{path}/artefacts/{MASK_FLAIR}", headers=asked)

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */1000"
    assert Problem.model_validate_json(answer.content).code == "range-not-satisfiable"


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes=", "nonsense", "bytes=9-1"])
async def test_what_is_not_a_range_is_ignored(tmp_path: Path, asked: str) -> None:
    """RFC 9110: the whole file answers it."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        answer = await client.get(f"{path}/artefacts/{MASK_FLAIR}", headers={"Range": asked})

    assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_the_entity_tag_of_a_file_is_its_digest(tmp_path: Path) -> None:
    """A file that the caller has is not sent again; a range goes on only in the same file."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    async with service(tmp_path) as (client, services):
        path = f"{await finished(client, services)}/artefacts/{MASK_FLAIR}"
        assert (await client.get(path)).headers["ETag"] == f'"{digest}"'

        again = await client.get(path, headers={"If-None-Match": f'W/"other", "{digest}"'})
        assert (again.status_code, again.content) == (304, b"")

        asked = {"Range": "bytes=0-1", "If-Range": '"another file"'}
        assert (await client.get(path, headers=asked)).content == CONTENT


async def test_a_report_opened_in_a_browser_can_run_nothing(tmp_path: Path) -> None:
    """It is shown from the API's own address: a script in it could read every job."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        answer = await client.get(f"{path}/artefacts/{REPORT_HTML}")

    assert answer.headers["Content-Disposition"].startswith("inline")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_files_deleted_under_a_row_are_not_found(tmp_path: Path) -> None:
    """Deleting races with reading; the reader sees 404, not a broken service."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services)
        services.data.remove_job(UUID(path.rsplit("/", 1)[1]))

        assert (await client.get(f"{path}/results")).status_code == 404
        assert (await client.get(f"{path}/artefacts/{MASK_FLAIR}")).status_code == 404
