"""A bucket that takes its time: whoever needs nothing of it is answered meanwhile."""

import asyncio
import socket
from pathlib import Path

import pytest
from service_kit import service, submit

from service.intake import KEEPING


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


@pytest.mark.anyio
async def test_uploads_to_a_bucket_wait_in_threads_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In those of all others they would hold up every request."""
    # Connections are made, and nothing is ever read from them.
    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    async with service(tmp_path, bucket="s3://any") as (client, _):
        uploads = [asyncio.create_task(submit(client)) for _ in range(KEEPING.at_once + 1)]
        while KEEPING.limiter().statistics().tasks_waiting == 0:
            assert not any(upload.done() for upload in uploads)
            await asyncio.sleep(0.05)

        listed = await client.get("/v1/jobs")
        pending = [upload for upload in uploads if not upload.done()]
        silent.close()
        answers = await asyncio.gather(*uploads)

    assert listed.status_code == 200
    assert len(pending) == len(uploads)
    assert {answer.status_code for answer in answers} == {503}
