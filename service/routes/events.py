"""Changes as server-sent events."""

from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Response
from fastapi.responses import StreamingResponse

from dlb_core.contracts import Message
from dlb_core.documents import API
from dlb_core.errors import JobNotFound, StoreUnavailable, StreamsExhausted
from service.dependencies import FeedDep, StoreDep
from service.errors import describe
from service.events import ENDED, Feed, Record
from service.presentation import entity_tag, job_document

router = APIRouter(prefix=f"{API}/jobs/{{job_id}}", tags=["jobs"])

MEDIA_TYPE = "text/event-stream"
RECONNECT_AFTER_MS = 2000
HEADERS = {
    "Cache-Control": "no-store",
    # Asks nginx not to hold events back until it has a bufferful.
    "X-Accel-Buffering": "no",
}
LastEventId = Annotated[
    str | None,
    Header(max_length=100, description="id of the last event that came: it is not repeated"),
]
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
    last_event_id: LastEventId = None,
) -> Response:
    """Stream a job's document, each time that it has changed, until the job has ended."""
    record = await run_sync(store.get, job_id)
    return stream_of(record, feed, job_document, name="job", last_event_id=last_event_id)


def stream_of(
    record: Record,
    feed: Feed[Record],
    describe_it: Callable[[Record], Message],
    *,
    name: str,
    last_event_id: str | None,
) -> Response:
    """Stream a record's document, each time that it has changed, as events of this name."""
    is_known = last_event_id == _event_id(describe_it(record))
    if is_known and record.state in ENDED:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    feed.require_place()

    async def events() -> AsyncIterator[str]:
        preface = f"retry: {RECONNECT_AFTER_MS}\n\n"
        async for latest in feed.follow(record, is_known=is_known):
            said = SIGN_OF_LIFE if latest is None else _event(name, describe_it(latest))
            yield preface + said
            preface = ""

    return StreamingResponse(events(), media_type=MEDIA_TYPE, headers=HEADERS)


def _event(name: str, document: Message) -> str:
    """One event: the document on one line."""
    return f"event: {name}\nid: {_event_id(document)}\ndata: {document.model_dump_json()}\n\n"


def _event_id(document: Message) -> str:
    """The document's entity tag, without its quotes."""
    return entity_tag(document).removeprefix("W/").strip('"')
