"""A job's changes as server-sent events."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from dlb_core.contracts import FINAL_STATES
from dlb_core.documents import API, JobDocument
from dlb_core.errors import JobNotFound, StoreUnavailable, StreamsExhausted
from dlb_core.jobs.records import JobRecord
from service.dependencies import FeedDep, StoreDep
from service.errors import describe
from service.events import JobFeed
from service.presentation import entity_tag, job_document

router = APIRouter(prefix=f"{API}/jobs/{{job_id}}", tags=["jobs"])

MEDIA_TYPE = "text/event-stream"
RECONNECT_AFTER_MS = 2000
HEADERS = {
    "Cache-Control": "no-store",
    # Asks nginx not to hold events back until it has a bufferful.
    "X-Accel-Buffering": "no",
}
SIGN_OF_LIFE = ": still here\n\n"


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`job` events: the job's document, now and after each change; the "
            "stream ends after the one in which the job has ended",
            # No schema: readers of the description take one to be that of each event.
            "content": {MEDIA_TYPE: {}},
        },
        204: {"description": "The job has ended, and the listener knows how: do not reconnect"},
        **describe(JobNotFound, StreamsExhausted, StoreUnavailable),
    },
)
async def stream_events(
    job_id: UUID,
    store: StoreDep,
    feed: FeedDep,
    last_event_id: Annotated[
        str | None,
        Header(max_length=100, description="id of the last event that came: it is not repeated"),
    ] = None,
) -> Response:
    """Stream a job's document, each time that it has changed, until the job has ended."""
    record = await run_sync(store.get, job_id)
    is_known = last_event_id == _event_id(job_document(record))
    if is_known and record.state in FINAL_STATES:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    feed.require_place()
    return StreamingResponse(
        _events(record, feed, is_known=is_known), media_type=MEDIA_TYPE, headers=HEADERS
    )


async def _events(record: JobRecord, feed: JobFeed, *, is_known: bool) -> AsyncIterator[str]:
    preface = f"retry: {RECONNECT_AFTER_MS}\n\n"
    async for latest in feed.follow(record, is_known=is_known):
        yield preface + (SIGN_OF_LIFE if latest is None else _event(latest))
        preface = ""


def _event(record: JobRecord) -> str:
    """One event: the document on one line."""
    document = job_document(record)
    return f"event: job\nid: {_event_id(document)}\ndata: {document.model_dump_json()}\n\n"


def _event_id(document: JobDocument) -> str:
    """The document's entity tag, without its quotes."""
    return entity_tag(document).removeprefix("W/").strip('"')
