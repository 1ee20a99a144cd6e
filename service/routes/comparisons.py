"""Comparisons of two finished jobs of one patient."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter

from dlb_core.contracts import ENDED_COMPARISONS
from dlb_core.documents import API, ArtefactDocument, JobFailure
from dlb_core.errors import (
    BadOption,
    JobNotFinished,
    JobNotFound,
    QueueFull,
    RangeUnsatisfiable,
    ResultsExpired,
    StoreUnavailable,
    UploadStalled,
    UploadTooLarge,
)
from dlb_core.jobs.comparisons.dispatcher import attempt_folder, remove_comparison
from dlb_core.jobs.comparisons.records import ComparisonRecord
from dlb_core.jobs.store.sessions import NO_SUCH_JOB
from dlb_core.longitudinal.document import ChangeTotals
from dlb_core.longitudinal.requests import (
    ComparisonDocument,
    ComparisonList,
    ComparisonRequest,
)
from service.bodies import described, read_document
from service.callers import Caller, CallerDep
from service.dependencies import Services, ServicesDep
from service.errors import describe
from service.presentation import matches, respond
from service.routes.artefacts import (
    FILE_ANSWERS,
    RANGE,
    SECURITY_HEADERS,
    RangedFile,
    successful,
)
from service.routes.jobs import IfNoneMatch

router = APIRouter(prefix=f"{API}/comparisons", tags=["comparisons"])

RETRY_AFTER_S = 2
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
    openapi_extra=described(ComparisonRequest),
    responses={
        202: {"description": "Accepted; a worker takes it up", "headers": LOCATION},
        **describe(
            BadOption,
            JobNotFound,
            JobNotFinished,
            ResultsExpired,
            QueueFull,
            UploadTooLarge,
            UploadStalled,
            StoreUnavailable,
        ),
    },
)
async def make_comparison(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """Compare two finished jobs, the earlier visit first."""
    idle_s = services.settings.upload_idle_s
    wanted = await read_document(request, ComparisonRequest, idle_s=idle_s)
    if wanted.first == wanted.second:
        raise BadOption("first and second are the same job", fields={"second": "the same job"})
    record = await run_sync(_accept, wanted, services, caller)
    services.comparison_rounds.wake()
    return respond(
        _document(record),
        status=HTTPStatus.ACCEPTED,
        headers={"Location": _path(record.id), "Retry-After": str(RETRY_AFTER_S)},
    )


@router.get("", response_model=ComparisonList, responses=describe(StoreUnavailable))
def list_comparisons(
    services: ServicesDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=100, description="how many")] = 20,
) -> ComparisonList:
    """List the newest comparisons."""
    records = services.comparisons.newest(limit, sees=caller.sees)
    return ComparisonList(comparisons=tuple(_document(record) for record in records))


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
    ended = record.state in ENDED_COMPARISONS
    headers = {} if ended else {"Retry-After": str(RETRY_AFTER_S)}
    return respond(_document(record), if_none_match=if_none_match, headers=headers)


@router.get(
    "/{comparison_id}/artefacts/{name}",
    response_class=RangedFile,
    openapi_extra=RANGE,
    responses={
        **FILE_ANSWERS,
        **describe(JobNotFound, RangeUnsatisfiable, StoreUnavailable),
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
    path = attempt_folder(services.data, record.id, record.fence) / name
    # No name but those of the record's own list ever reaches the disk.
    if entry is None or not path.is_file():
        raise JobNotFound("the comparison has no file of that name: its document lists them")
    headers = {**SECURITY_HEADERS, "ETag": f'"{entry.sha256}"'}
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return RangedFile(
        path,
        headers=headers,
        media_type=entry.media_type,
        filename=name,
        stat_result=path.stat(),
        content_disposition_type="attachment" if name.endswith(".nii.gz") else "inline",
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


def _accept(wanted: ComparisonRequest, services: Services, caller: Caller) -> ComparisonRecord:
    """Two jobs of one owner, both seen by the caller, both with results."""
    records = [services.store.get(job) for job in (wanted.first, wanted.second)]
    owners = {record.owner for record in records}
    # Before anything is said of their state: nobody is to learn of another's job.
    if caller.sees is not None and owners != {caller.sees}:
        raise JobNotFound(NO_SUCH_JOB)
    for record in records:
        successful(record)
    if len(owners) > 1:
        raise BadOption("the two jobs belong to different keys: their results are kept apart")
    return services.comparisons.insert(
        wanted.first,
        wanted.second,
        owner=owners.pop(),
        label=wanted.label,
        ignore_differences=wanted.ignore_differences,
    )


def _path(comparison_id: UUID) -> str:
    return f"{API}/comparisons/{comparison_id}"


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
