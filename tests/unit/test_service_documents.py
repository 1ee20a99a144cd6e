"""Small JSON documents in requests: read under a cap, refused by field, never repeated."""

from pathlib import Path

import pytest
from service_kit import service

from dlb_core.documents import Problem
from service.bodies import MAX_DOCUMENT_BYTES

PATHS = (
    "/v1/archives/main/jobs",
    "/v1/comparisons",
    "/v1/webhooks",
)
NAME = "Doe^Jane"
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


async def test_what_is_too_large_is_refused_and_what_is_wrong_is_named(tmp_path: Path) -> None:
    """A body without an end would fill the memory of a service that reads it whole."""
    async with service(tmp_path) as (client, _):
        for path in PATHS:
            large = await client.post(path, content=b" " * MAX_DOCUMENT_BYTES + b"{}")
            wrong = await client.post(path, json={NAME[:3]: NAME})
            problems = [Problem.model_validate_json(each.content) for each in (large, wrong)]
            assert [(each.status, each.code) for each in problems] == [
                (413, "upload-too-large"),
                (422, "bad-option"),
            ]
            assert problems[1].errors
            assert NAME not in wrong.text
