"""An edited mask becomes a version of a job over HTTP; the networks' own result is kept."""

import os
import shutil
from pathlib import Path
from uuid import UUID

import anyio
import httpx
import nibabel as nib
import numpy as np
import pytest
from anyio.to_thread import current_default_thread_limiter
from service_kit import finish, form, form_headers, nifti, service, submit, until
from small_disk import NEEDS_ROOT, fill, mounted

from dlb_core import artefacts
from dlb_core.documents import Problem, ResultsDocument, VersionDocument, VersionList
from dlb_core.versions import draft_of, version_folder
from service.corrections import LANE, MAX_WAITING
from service.dependencies import Services
from tests.unit.finished_case import write_finished_case

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finished_case(tmp_path_factory.mktemp("results"))


async def finished(client: httpx.AsyncClient, services: Services, results: Path | None) -> str:
    """Path of a successful job, with these results."""
    path = (await submit(client)).headers["Location"]
    job_id = UUID(path.rsplit("/", 1)[1])
    finish(services, job_id)
    if results is not None:
        fence = services.store.get(job_id).fence
        shutil.copytree(results, services.data.attempt(job_id, fence), dirs_exist_ok=True)
    return path


async def correct(client: httpx.AsyncClient, path: str, **parts: bytes) -> httpx.Response:
    body = form(list(parts.items()))
    return await client.post(
        f"{path}/corrections", content=body, headers=form_headers(), timeout=600
    )


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, Problem.model_validate_json(answer.content).code


async def test_an_edited_mask_makes_a_version(tmp_path: Path, results: Path) -> None:
    """Everything erased: listed, measured and served as version 2, while version 1 stays."""
    image = nib.load(results / artefacts.MASK_FLAIR)
    erased = nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine).to_bytes()
    async with service(tmp_path) as (client, services):
        path = await finished(client, services, results)
        answer = await correct(
            client, path, mask=erased, author="A. Lesér".encode(), note=b"all artefacts"
        )
        assert answer.status_code == 201, answer.text
        made = VersionDocument.model_validate_json(answer.content)
        listed = VersionList.model_validate_json((await client.get(f"{path}/corrections")).content)
        second = ResultsDocument.model_validate_json(
            (await client.get(answer.headers["Location"])).content
        )
        page = await client.get(made.links.report)
        own = ResultsDocument.model_validate_json((await client.get(f"{path}/results")).content)
        missing = await client.get(f"{path}/results?version=3")
        no_file = await client.get(f"{path}/artefacts/{artefacts.REPORT_HTML}?version=3")

    assert made.correction is not None
    assert (made.version, made.correction.author) == (2, "A. Lesér")
    assert made.totals.lesion_count == 0
    assert [version.version for version in listed.versions] == [1, 2]
    assert listed.versions[1] == made
    assert second.version == 2
    assert second.report.corrections[0] == made.correction
    assert "corrected by hand by A. Lesér" in page.text
    assert all(entry.href.endswith("?version=2") for entry in second.artefacts)
    assert (own.version, own.report.corrections) == (1, ())
    assert own.report.totals.lesion_count == 2
    assert problem_of(missing) == problem_of(no_file) == (404, "not-found")


async def test_a_mask_that_cannot_be_used_is_refused_by_its_own_code(
    tmp_path: Path, results: Path
) -> None:
    """The process that measures says what is wrong; the caller must hear it."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services, results)
        elsewhere = await correct(client, path, mask=nifti((30, 30, 30)))
        listed = VersionList.model_validate_json((await client.get(f"{path}/corrections")).content)

    assert problem_of(elsewhere) == (422, "grid-mismatch")
    assert "30 x 30 x 30 voxels" in elsewhere.json()["detail"]
    assert [version.version for version in listed.versions] == [1]


async def test_a_full_disk_is_told_as_such_and_nothing_of_the_version_stays(
    tmp_path: Path, results: Path
) -> None:
    """The reader would look for a fault in the mask, and the operator for one in the service."""
    disk = tmp_path / "disk"
    with mounted(disk, megabytes=64) as allowed:
        if not allowed:
            pytest.skip(NEEDS_ROOT)
        settings = {"data": disk, "database_url": f"sqlite:///{tmp_path / 'jobs.sqlite'}"}
        async with service(tmp_path, **settings) as (client, services):
            path = await finished(client, services, results)
            mask = (results / artefacts.MASK_FLAIR).read_bytes()
            fill(disk / "filler", leaving=len(mask) + 16 * 4096)
            refused = await correct(client, path, mask=mask)
            left = list(disk.glob("jobs/*/attempts/*/corrections/*"))
            listed = VersionList.model_validate_json(
                (await client.get(f"{path}/corrections")).content
            )

    assert problem_of(refused) == (507, "disk-full")
    assert refused.headers["Retry-After"]
    assert left == []
    assert [version.version for version in listed.versions] == [1]


async def test_what_a_killed_correction_left_is_swept_at_the_next_start(tmp_path: Path) -> None:
    """Each holds a whole version of the results, with images of a person's brain."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services, None)
        job = services.store.get(UUID(path.rsplit("/", 1)[1]))
        version = version_folder(services.data.attempt(job.id, job.fence), 2)
    killed, going_on = draft_of(version), draft_of(version)
    for draft in (killed, going_on):
        draft.mkdir(parents=True)
        (draft / artefacts.MASK_MNI).write_bytes(b"half")
    os.utime(killed, (0, 0))

    async with service(tmp_path):
        await anyio.to_thread.run_sync(until, lambda: not killed.exists())

    assert going_on.exists()


async def test_a_form_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    """As are jobs without results."""
    async with service(tmp_path) as (client, services):
        waiting = (await submit(client)).headers["Location"]
        path = await finished(client, services, None)
        assert problem_of(await correct(client, waiting, mask=nifti())) == (409, "no-results")
        assert problem_of(await correct(client, path, author=b"A")) == (400, "malformed-upload")
        too_long = await correct(client, path, mask=nifti(), author=b"a" * 65)
        assert problem_of(too_long) == (422, "bad-option")
        two_lines = await correct(client, path, mask=nifti(), note=b"a\nb")
        assert problem_of(two_lines) == (422, "bad-option")
        assert two_lines.json()["errors"][0]["field"] == "note"


async def test_corrections_that_wait_hold_up_nobody_else_and_are_not_too_many(
    tmp_path: Path,
) -> None:
    """Each once held one of the threads that all requests share: forty stopped the service."""
    async with service(tmp_path) as (client, services):
        path = await finished(client, services, None)
        lane, shared = LANE.limiter(), current_default_thread_limiter()
        await lane.acquire_on_behalf_of(path)
        async with anyio.create_task_group() as group:
            for _ in range(MAX_WAITING):
                group.start_soon(lambda: correct(client, path, mask=nifti()))
            with anyio.fail_after(30):
                while lane.statistics().tasks_waiting < MAX_WAITING or shared.borrowed_tokens:
                    await anyio.sleep(0.01)
            one_more = await correct(client, path, mask=nifti())
            group.cancel_scope.cancel()
        lane.release_on_behalf_of(path)

        assert problem_of(one_more) == (503, "queue-full")
        assert one_more.headers["Retry-After"]
        assert not list(services.data.staging.iterdir())
