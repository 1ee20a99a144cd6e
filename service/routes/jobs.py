"""Submit, watch, list and delete jobs."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from dlb_core.contracts import JobState, Priority
from dlb_core.documents import API, JobDocument, JobPage
from dlb_core.errors import (
    BadOption,
    BucketUnavailable,
    DiskFull,
    IdempotencyConflict,
    JobNotFound,
    MalformedUpload,
    QueueFull,
    StoreUnavailable,
    UploadStalled,
    UploadTooLarge,
)
from service.callers import CallerDep
from service.dependencies import DataDep, DispatcherDep, IntakeDep, StoreDep
from service.errors import SCANS_REFUSED, describe
from service.intake import Admission, Sender
from service.presentation import job_document, job_headers, job_path, next_page, respond

router = APIRouter(prefix=f"{API}/jobs", tags=["jobs"])

FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "anyOf": [{"required": ["t1w", "flair"]}, {"required": ["study"]}],
                    "additionalProperties": False,
                    "properties": {
                        "t1w": {
                            "type": "string",
                            "format": "binary",
                            "minLength": 1,
                            "description": "T1-weighted image: NIfTI-1/2, .nii or .nii.gz; or a "
                            "zip of DICOM files that hold the series",
                        },
                        "flair": {
                            "type": "string",
                            "format": "binary",
                            "minLength": 1,
                            "description": "FLAIR image of the same session, likewise",
                        },
                        "study": {
                            "type": "string",
                            "format": "binary",
                            "minLength": 1,
                            "description": "in place of these two: one zip of DICOM files that "
                            "holds both series, among others",
                        },
                        "series": {"$ref": "#/components/schemas/NamedSeries"},
                        "options": {"$ref": "#/components/schemas/SegmentationOptions"},
                        "scan_date": {
                            "type": "string",
                            "format": "date",
                            "description": "day of the scan, in place of the one in the options",
                        },
                        "priority": {
                            "type": "string",
                            "enum": [priority.value for priority in Priority],
                            "default": Priority.ROUTINE.value,
                            "description": "how soon the job is begun while others wait",
                        },
                    },
                },
                "encoding": {
                    "options": {"contentType": "application/json"},
                    "series": {"contentType": "application/json"},
                },
            }
        },
    }
}
JOB_HEADERS = {
    "Retry-After": {
        "description": "seconds to wait before asking again; absent once the job has ended",
        "schema": {"type": "integer"},
    },
    "ETag": {"description": "changes when the document does", "schema": {"type": "string"}},
}
LOCATION = {"Location": {"description": "path of the job", "schema": {"type": "string"}}}
REPLAYED = {
    "Idempotency-Replayed": {
        "description": "true: the same request came before, and made this job",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
ADMITTED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": LOCATION | JOB_HEADERS | REPLAYED,
        "description": "The same request came before: its job, as it stands",
    },
    202: {"headers": LOCATION | JOB_HEADERS, "description": "The job waits for a worker"},
}
"""What `admitted` answers."""
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="any text that is new for each new request: the same request sent again with "
        "the same key makes no second job",
    ),
]
PageCursor = Annotated[
    str | None,
    Query(max_length=200, pattern="^[A-Za-z0-9_-]+$", description="cursor from a page's `next`"),
]
IfNoneMatch = Annotated[str | None, Header(description="an ETag: answered 304 while it holds")]


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobDocument,
    openapi_extra=FORM,
    responses={
        **ADMITTED,
        **describe(
            MalformedUpload,
            UploadStalled,
            UploadTooLarge,
            BadOption,
            *SCANS_REFUSED,
            IdempotencyConflict,
            StoreUnavailable,
            QueueFull,
            BucketUnavailable,
            DiskFull,
        ),
    },
)
async def submit_job(
    request: Request,
    intake: IntakeDep,
    dispatcher: DispatcherDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Accept one case, a T1w and a FLAIR image, for segmentation, and answer at once.

    DICOM is sent as zip archives; its series are chosen by rules that the refusal explains.
    """
    admission = await intake.accept(request, Sender(caller.owner, idempotency_key))
    dispatcher.wake()
    return admitted(admission)


@router.get(
    "",
    response_model=JobPage,
    responses={
        304: {"description": "Unchanged since the ETag"},
        **describe(BadOption, StoreUnavailable),
    },
)
def list_jobs(
    store: StoreDep,
    caller: CallerDep,
    state: Annotated[JobState | None, Query(description="only jobs in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="jobs a page")] = 20,
    before: PageCursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List jobs, newest first, a page at a time."""
    records, cursor = store.list_jobs(owner=caller.sees, state=state, limit=limit, before=before)
    page = JobPage(
        jobs=tuple(job_document(record) for record in records),
        next=next_page(f"{API}/jobs", cursor, limit=limit, state=state),
    )
    return respond(page, if_none_match=if_none_match)


@router.get(
    "/{job_id}",
    response_model=JobDocument,
    responses={
        200: {"headers": JOB_HEADERS},
        304: {"description": "Unchanged since the ETag", "headers": JOB_HEADERS},
        **describe(JobNotFound, StoreUnavailable),
    },
)
def read_job(job_id: UUID, store: StoreDep, if_none_match: IfNoneMatch = None) -> Response:
    """Tell how a job stands."""
    record = store.get(job_id)
    return respond(job_document(record), if_none_match=if_none_match, headers=job_headers(record))


@router.delete(
    "/{job_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses={
        202: {
            "model": JobDocument,
            "description": "A worker is on it: it stops within seconds and removes the files",
            "headers": JOB_HEADERS,
        },
        204: {"description": "No worker is on it, and its files are gone"},
        **describe(JobNotFound, StoreUnavailable),
    },
)
def delete_job(job_id: UUID, store: StoreDep, data: DataDep) -> Response:
    """Cancel a job that waits or runs; delete one that has ended, its results included.

    A cancelled job stays listed as `dismissed`, without files. A job that had ended is forgotten.
    """
    record = store.request_cancel(job_id)
    if record.state is JobState.RUNNING:
        return respond(
            job_document(record), status=HTTPStatus.ACCEPTED, headers=job_headers(record)
        )
    # The row goes first: it must never promise files that are gone.
    if record.state is not JobState.DISMISSED and not store.remove(job_id):
        # It was retried in between, and waits.
        return delete_job(job_id, store, data)
    data.remove_job(job_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def admitted(admission: Admission) -> Response:
    """Answer with the job: where it is, when to ask again, and whether it is a new one."""
    record = admission.record
    replayed = {"Idempotency-Replayed": "true"} if admission.replayed else {}
    return respond(
        job_document(record),
        status=HTTPStatus.OK if admission.replayed else HTTPStatus.ACCEPTED,
        headers={"Location": job_path(record), **job_headers(record), **replayed},
    )
