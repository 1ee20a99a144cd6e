"""Comparisons of two visits of one patient."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import StreamingResponse

from dlb_core.contracts import ENDED_COMPARISONS, ComparisonState
from dlb_core.documents import ArtefactDocument, JobFailure
from dlb_core.errors import (
    BadOption,
    BucketUnavailable,
    DiskFull,
    IdempotencyConflict,
    JobNotFinished,
    JobNotFound,
    MalformedUpload,
    QualityFailed,
    QueueFull,
    RangeUnsatisfiable,
    ResultsExpired,
    StoreUnavailable,
    StreamsExhausted,
    UploadStalled,
    UploadTooLarge,
)
from dlb_core.jobs.comparisons.dispatcher import attempt_folder, remove_comparison
from dlb_core.jobs.comparisons.records import ComparisonRecord
from dlb_core.jobs.store.sessions import NO_SUCH_JOB
from dlb_core.longitudinal.document import ChangeTotals
from dlb_core.longitudinal.naming import VISITS
from dlb_core.longitudinal.requests import (
    ComparisonDocument,
    ComparisonPage,
    ComparisonRequest,
)
from service.bodies import described, read_document
from service.callers import Caller, CallerDep
from service.comparison_intake import (
    PATH,
    ComparisonAdmission,
    ComparisonIntake,
    content_of,
    sender_of,
)
from service.dependencies import Services, ServicesDep
from service.errors import SCANS_REFUSED, describe
from service.files import RangedFile, file_response
from service.intake import Sender
from service.presentation import matches, next_page, respond
from service.routes.artefacts import (
    FILE_ANSWERS,
    RANGE,
    SECURITY_HEADERS,
    successful,
)
from service.routes.events import MEDIA_TYPE, LastEventId, stream_of
from service.routes.jobs import REPLAYED, IdempotencyKey, IfNoneMatch, PageCursor
from service.uploads import MULTIPART

router = APIRouter(prefix=PATH, tags=["comparisons"])

RETRY_AFTER_S = {ComparisonState.WAITING: 5}
"""How long to wait before asking again, where it is not `SOON_S`: jobs take minutes."""
SOON_S = 2


def _scan(what: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "minLength": 1, "description": what}


FORM: dict[str, Any] = {
    "schema": {
        "type": "object",
        "allOf": [
            {
                "anyOf": [
                    {"required": [f"{visit}_t1w", f"{visit}_flair"]},
                    {"required": [f"{visit}_study"]},
                ]
            }
            for visit in VISITS
        ],
        "additionalProperties": False,
        "properties": {
            **{
                f"{visit}_{part}": schema
                for visit, when in zip(VISITS, ("earlier", "later"), strict=True)
                for part, schema in {
                    "t1w": _scan(f"T1-weighted image of the {when} visit, as a job has it"),
                    "flair": _scan(f"FLAIR image of the {when} visit"),
                    "study": _scan("in place of these two: one zip of DICOM files"),
                    "series": {"$ref": "#/components/schemas/NamedSeries"},
                    "scan_date": {
                        "type": "string",
                        "format": "date",
                        "description": f"day of the {when} visit's scan",
                    },
                }.items()
            },
            "options": {"$ref": "#/components/schemas/SegmentationOptions"},
            "priority": {"$ref": "#/components/schemas/Priority"},
            "comparison": {"$ref": "#/components/schemas/ComparisonChoices"},
        },
    },
    "encoding": {
        part: {"contentType": "application/json"}
        for part in ("options", "comparison", *(f"{visit}_series" for visit in VISITS))
    },
}
BODY = described(ComparisonRequest)
BODY["requestBody"]["content"][MULTIPART.decode()] = FORM
HEADERS = {
    "Retry-After": {
        "description": "seconds to wait before asking again; absent once it has ended",
        "schema": {"type": "integer"},
    },
    "ETag": {"description": "changes when the document does", "schema": {"type": "string"}},
}
LOCATION = {"Location": {"description": "path of the comparison", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ComparisonDocument,
    openapi_extra=BODY,
    responses={
        200: {
            "description": "The same request came before: its comparison, as it stands",
            "headers": LOCATION | HEADERS | REPLAYED,
        },
        202: {
            "description": "Accepted; a worker takes it up, once both visits have results",
            "headers": LOCATION | HEADERS,
        },
        **describe(
            BadOption,
            JobNotFound,
            JobNotFinished,
            ResultsExpired,
            IdempotencyConflict,
            MalformedUpload,
            *SCANS_REFUSED,
            QualityFailed,
            QueueFull,
            BucketUnavailable,
            DiskFull,
            UploadTooLarge,
            UploadStalled,
            StoreUnavailable,
        ),
    },
)
async def make_comparison(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Compare two visits, the earlier first: two finished jobs, or two visits' scans.

    Scans make two jobs, accepted together with the comparison that waits for them, or not at all.
    """
    intake = ComparisonIntake.of(services)
    sender = sender_of(caller.owner, idempotency_key)
    if request.headers.get("Content-Type", "").lower().startswith(MULTIPART.decode()):
        admission = await intake.of_scans(request, sender)
        services.dispatcher.wake()
    else:
        idle_s = services.settings.upload_idle_s
        wanted = await read_document(request, ComparisonRequest, idle_s=idle_s)
        if wanted.first == wanted.second:
            raise BadOption("first and second are the same job", fields={"second": "the same job"})
        admission = await run_sync(_of_jobs, wanted, sender, services, caller)
    services.comparison_rounds.wake()
    record = admission.record
    replayed = {"Idempotency-Replayed": "true"} if admission.replayed else {}
    return respond(
        _document(record),
        status=HTTPStatus.OK if admission.replayed else HTTPStatus.ACCEPTED,
        headers={"Location": _path(record.id), **_headers(record), **replayed},
    )


@router.get(
    "",
    response_model=ComparisonPage,
    responses={
        304: {"description": "Unchanged since the ETag"},
        **describe(BadOption, StoreUnavailable),
    },
)
def list_comparisons(
    services: ServicesDep,
    caller: CallerDep,
    state: Annotated[
        ComparisonState | None, Query(description="only comparisons in this state")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="comparisons a page")] = 20,
    before: PageCursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List comparisons, newest first, a page at a time."""
    records, cursor = services.comparisons.list_comparisons(
        sees=caller.sees, state=state, limit=limit, before=before
    )
    page = ComparisonPage(
        comparisons=tuple(_document(record) for record in records),
        next=next_page(PATH, cursor, limit=limit, state=state),
    )
    return respond(page, if_none_match=if_none_match)


@router.get(
    "/{comparison_id}",
    response_model=ComparisonDocument,
    responses={
        200: {"headers": HEADERS},
        304: {"description": "Unchanged since the ETag", "headers": HEADERS},
        **describe(JobNotFound, StoreUnavailable),
    },
)
def read_comparison(
    comparison_id: UUID,
    services: ServicesDep,
    caller: CallerDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Tell how a comparison stands; once it is successful, its numbers and files."""
    record = services.comparisons.get(comparison_id, sees=caller.sees)
    return respond(_document(record), if_none_match=if_none_match, headers=_headers(record))


@router.get(
    "/{comparison_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`comparison` events: its document, now and after each change; the "
            "stream ends after the one in which it has ended",
            "content": {MEDIA_TYPE: {}},
        },
        204: {"description": "It has ended, and the listener knows how: do not reconnect"},
        **describe(JobNotFound, StreamsExhausted, StoreUnavailable),
    },
)
async def stream_comparison(
    comparison_id: UUID,
    services: ServicesDep,
    caller: CallerDep,
    last_event_id: LastEventId = None,
) -> Response:
    """Stream a comparison's document, each time that it has changed, until it has ended."""
    read = partial(services.comparisons.get, comparison_id, sees=caller.sees)
    return stream_of(
        await run_sync(read),
        services.comparison_feed,
        _document,
        name="comparison",
        last_event_id=last_event_id,
    )


@router.get(
    "/{comparison_id}/artefacts/{name}",
    response_class=RangedFile,
    openapi_extra=RANGE,
    responses={
        **FILE_ANSWERS,
        **describe(JobNotFound, RangeUnsatisfiable, StoreUnavailable, BucketUnavailable),
    },
)
def read_comparison_file(
    comparison_id: UUID,
    name: Annotated[str, PathParameter(max_length=200, description="as in the document's list")],
    services: ServicesDep,
    caller: CallerDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Give one file of a successful comparison."""
    record = services.comparisons.get(comparison_id, sees=caller.sees)
    entry = next((entry for entry in record.artefacts if entry.name == name), None)
    # No name but those of the record's own list ever reaches the disk.
    if entry is None:
        raise JobNotFound("the comparison has no file of that name: its document lists them")
    headers = {**SECURITY_HEADERS, "ETag": f'"{entry.sha256}"'}
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return file_response(
        services.data,
        attempt_folder(services.data, record.id, record.fence) / name,
        headers=headers,
        media_type=entry.media_type,
        filename=name,
        disposition="attachment" if name.endswith(".nii.gz") else "inline",
    )


@router.delete(
    "/{comparison_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=describe(JobNotFound, StoreUnavailable),
)
def delete_comparison(comparison_id: UUID, services: ServicesDep, caller: CallerDep) -> Response:
    """Delete a comparison, whatever its state; the jobs stay."""
    services.comparisons.remove(comparison_id, sees=caller.sees)
    remove_comparison(services.data, comparison_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _of_jobs(
    wanted: ComparisonRequest, sender: Sender, services: Services, caller: Caller
) -> ComparisonAdmission:
    """Two jobs of one owner, both seen by the caller, both with results."""
    intake = ComparisonIntake.of(services)
    known = intake.known(sender, content_of(wanted))
    if known is not None:
        return known
    records = [services.store.get(job) for job in (wanted.first, wanted.second)]
    owners = {record.owner for record in records}
    # Before anything is said of their state: nobody is to learn of another's job.
    if caller.sees is not None and owners != {caller.sees}:
        raise JobNotFound(NO_SUCH_JOB)
    for record in records:
        successful(record)
    if len(owners) > 1:
        raise BadOption("the two jobs belong to different keys: their results are kept apart")
    return intake.of_jobs(wanted, owners.pop(), sender)


def _headers(record: ComparisonRecord) -> dict[str, str]:
    """Tell a caller who polls when to come back; one that has ended will not change."""
    if record.state in ENDED_COMPARISONS:
        return {}
    return {"Retry-After": str(RETRY_AFTER_S.get(record.state, SOON_S))}


def _path(comparison_id: UUID) -> str:
    return f"{PATH}/{comparison_id}"


def _document(record: ComparisonRecord) -> ComparisonDocument:
    error = None
    if record.error_code is not None:
        error = JobFailure(code=record.error_code, message=record.error_message or "")
    path = _path(record.id)
    return ComparisonDocument(
        id=record.id,
        state=record.state,
        first=record.first,
        second=record.second,
        label=record.label,
        attempts=record.attempts,
        created=record.created,
        updated=record.updated,
        finished=record.finished,
        error=error,
        totals=None if record.totals is None else ChangeTotals.model_validate(record.totals),
        artefacts=tuple(
            ArtefactDocument(**entry.model_dump(), href=f"{path}/artefacts/{entry.name}")
            for entry in record.artefacts
        ),
        href=path,
    )
