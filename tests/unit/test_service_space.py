"""Nothing is accepted that cannot be kept: a full queue, a disk that is full or fills up."""

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from service_kit import form, form_headers, nifti, pair, service, submit
from small_disk import NEEDS_ROOT, fill, mounted

from dlb_core.documents import Problem
from dlb_core.errors import DiskFull
from service.dependencies import Services
from service.space import LOOK_EVERY_BYTES, UploadSpace

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024
PAGES_OF_AN_UPLOAD = 3
"""Two small images and a little; fewer than a row takes in the store's log."""


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 4 MiB."""
    folder = tmp_path / "disk"
    with mounted(folder, megabytes=4) as allowed:
        if not allowed:
            pytest.skip(NEEDS_ROOT)
        yield folder


def assert_empty(services: Services) -> None:
    """Nothing was kept."""
    assert not list(services.data.staging.iterdir())
    assert not list(services.data.jobs.iterdir())
    assert sum(services.store.counts_by_state().values()) == 0


def code_of(content: bytes) -> str:
    """Code of a problem document."""
    return Problem.model_validate_json(content).code


async def test_a_full_queue_refuses_new_jobs_and_says_when_to_come_back(tmp_path: Path) -> None:
    """A job that would wait for days is better sent elsewhere."""
    async with service(tmp_path, max_waiting=2) as (client, services):
        accepted = [await submit(client) for _ in range(2)]
        refused = await submit(client)

        assert [answer.status_code for answer in accepted] == [202, 202]
        assert (refused.status_code, code_of(refused.content)) == (503, "queue-full")
        assert int(refused.headers["Retry-After"]) > 0
        assert not list(services.data.staging.iterdir())

        services.store.claim(None, 60.0)
        assert (await submit(client)).status_code == 202


async def test_a_full_queue_still_answers_a_request_that_was_accepted(tmp_path: Path) -> None:
    """Its caller may never have heard the first answer, and would think it refused."""
    headers = form_headers() | {"Idempotency-Key": "a"}
    async with service(tmp_path, max_waiting=1) as (client, _):
        first, again = [
            await client.post("/v1/jobs", content=form(pair()), headers=headers) for _ in range(2)
        ]

    assert (first.status_code, again.status_code) == (202, 200)


async def test_an_upload_that_would_leave_too_little_room_is_refused_unread(
    tmp_path: Path,
) -> None:
    """The jobs that run need the rest for their results."""
    async with service(tmp_path, min_free_mb=10**9) as (client, services):
        answer = await submit(client)

        assert (answer.status_code, code_of(answer.content)) == (507, "disk-full")
        assert int(answer.headers["Retry-After"]) > 0
        assert_empty(services)


async def test_a_disk_that_fills_up_in_mid_upload_is_cleaned_up(
    small_disk: Path, tmp_path: Path
) -> None:
    """A body without an announced length, and no spare room kept: the kernel says ENOSPC."""
    noise = nifti(compressed=False) + b"x" * (6 * MIB)

    async def unannounced() -> AsyncIterator[bytes]:
        yield form(pair(t1w=noise))

    settings = {"data": small_disk, "database_url": f"sqlite:///{tmp_path / 'jobs.sqlite'}"}
    async with service(tmp_path, **settings) as (client, services):
        answer = await client.post("/v1/jobs", content=unannounced(), headers=form_headers())

        assert (answer.status_code, code_of(answer.content)) == (507, "disk-full")
        assert_empty(services)
        assert (await submit(client)).status_code == 202


async def test_a_small_upload_onto_a_full_disk_is_refused(small_disk: Path, tmp_path: Path) -> None:
    """So small that all of it waits in buffers, which find no room when they are closed either."""
    settings = {"data": small_disk, "database_url": f"sqlite:///{tmp_path / 'jobs.sqlite'}"}
    async with service(tmp_path, **settings) as (client, services):
        filler = small_disk / "filler"
        fill(filler, leaving=0)
        answer = await submit(client)
        filler.unlink()

        assert (answer.status_code, code_of(answer.content)) == (507, "disk-full")
        assert_empty(services)


async def test_a_disk_without_room_for_the_row_refuses_the_job(small_disk: Path) -> None:
    """The images fitted, the row that promises work on them did not."""
    async with service(small_disk) as (client, services):
        filler = small_disk / "filler"
        fill(filler, leaving=PAGES_OF_AN_UPLOAD * 4096)

        refused = await submit(client)
        filler.unlink()

        assert (refused.status_code, code_of(refused.content)) == (507, "disk-full")
        assert "job store" in refused.json()["detail"]
        assert_empty(services)
        assert (await submit(client)).status_code == 202


def test_what_others_have_announced_counts_as_taken(small_disk: Path) -> None:
    """Twenty uploads that start together would each find the disk empty."""
    space = UploadSpace(small_disk, spare=MIB)
    with space.reserve(2 * MIB) as first:
        with pytest.raises(DiskFull), space.reserve(2 * MIB):
            pass
        (small_disk / "first").write_bytes(bytes(2 * MIB))
        first.take(2 * MIB)
        assert first.outstanding == 0
        with space.reserve(MIB // 2):
            pass
    (small_disk / "first").unlink()

    with space.reserve(2 * MIB):
        pass


def test_an_upload_that_announced_nothing_is_stopped_before_the_spare_room_goes(
    small_disk: Path,
) -> None:
    """Chunked bodies have no length."""
    space = UploadSpace(small_disk, spare=3 * MIB)
    with space.reserve(0) as upload:
        (small_disk / "part").write_bytes(bytes(2 * MIB))
        with pytest.raises(DiskFull):
            upload.take(LOOK_EVERY_BYTES)


def test_room_given_back_by_many_threads_is_whole_again(tmp_path: Path) -> None:
    """A count that drifts would refuse uploads on an empty disk, or accept them on a full one."""
    space = UploadSpace(tmp_path, spare=0)

    def upload() -> None:
        for _ in range(200):
            with space.reserve(1000) as reservation:
                reservation.take(300)

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert space.promised == 0
