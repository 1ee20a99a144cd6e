"""Batches: jobs that belong together, how they stand, and one table of what came out."""

import json
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from dlb_core import artefacts
from dlb_core.cohort import CohortCase, cohort_csv
from dlb_core.contracts import JobState
from dlb_core.documents import (
    API,
    BatchCaseDocument,
    BatchDocument,
    BatchPage,
    BatchSummary,
    JobFailure,
)
from dlb_core.errors import (
    BadOption,
    BatchNotFound,
    IdempotencyConflict,
    JobNotFound,
    StoreUnavailable,
    UploadStalled,
    UploadTooLarge,
)
from dlb_core.jobs.batches.store import DELETED, BatchCase, BatchJob, BatchOverview, BatchRecord
from dlb_core.jobs.idempotency import scoped_key
from dlb_core.jobs.layout import DataFolder
from service.bodies import read_body
from service.callers import CallerDep
from service.dependencies import BatchesDep, DataDep, ServicesDep
from service.errors import describe
from service.manifests import MAX_BYTES, READING, TABLE, read_manifest
from service.presentation import next_page, respond
from service.routes.jobs import IdempotencyKey, IfNoneMatch, PageCursor

router = APIRouter(prefix=f"{API}/batches", tags=["batches"])

RETRY_AFTER_S = 5
"""How often a batch that has not ended is worth looking at: its document may be long."""
MANIFEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/BatchRequest"}},
            TABLE: {
                "schema": {
                    "type": "string",
                    "description": "a table with the columns subject, session, job",
                }
            },
        },
    }
}
HEADERS = {
    "Retry-After": {
        "description": "seconds to wait before asking again; absent once all jobs have ended",
        "schema": {"type": "integer"},
    },
    "ETag": {"description": "changes when the document does", "schema": {"type": "string"}},
}
LOCATION = {"Location": {"description": "path of the batch", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=BatchDocument,
    openapi_extra=MANIFEST,
    responses={
        200: {"description": "The same request came before: its batch", "headers": LOCATION},
        201: {"description": "The batch", "headers": LOCATION},
        **describe(
            BadOption,
            JobNotFound,
            IdempotencyConflict,
            UploadTooLarge,
            UploadStalled,
            StoreUnavailable,
        ),
    },
)
async def make_batch(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    name: Annotated[
        str,
        Query(max_length=64, pattern=r"^[A-Za-z0-9._ -]*$", description="of a table's batch"),
    ] = "",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make a batch of jobs that were submitted before, one by one."""
    body = await read_body(request, max_bytes=MAX_BYTES, idle_s=services.settings.upload_idle_s)
    kind = request.headers.get("Content-Type", "")
    read = partial(read_manifest, body, content_type=kind, name=name)
    manifest = await run_sync(read, limiter=READING.limiter())
    cases = [BatchCase(case.subject, case.session, case.job) for case in manifest.cases]
    key = None if idempotency_key is None else scoped_key(f"batch {idempotency_key}", caller.owner)

    def create() -> tuple[BatchRecord, bool]:
        return services.batches.create(
            manifest.name, cases, owner=caller.owner, sees=caller.sees, idempotency=key
        )

    record, replayed = await run_sync(create)
    return respond(
        _document(record),
        status=HTTPStatus.OK if replayed else HTTPStatus.CREATED,
        headers={"Location": _path(record.id)},
    )


@router.get(
    "",
    response_model=BatchPage,
    responses={
        304: {"description": "Unchanged since the ETag"},
        **describe(BadOption, StoreUnavailable),
    },
)
def list_batches(
    batches: BatchesDep,
    caller: CallerDep,
    limit: Annotated[int, Query(ge=1, le=100, description="batches a page")] = 20,
    before: PageCursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """List batches without their cases, newest first, a page at a time."""
    found, cursor = batches.list_batches(sees=caller.sees, limit=limit, before=before)
    page = BatchPage(
        batches=tuple(_summary(batch) for batch in found),
        next=next_page(f"{API}/batches", cursor, limit=limit),
    )
    return respond(page, if_none_match=if_none_match)


@router.get(
    "/{batch_id}",
    response_model=BatchDocument,
    responses={
        200: {"headers": HEADERS},
        304: {"description": "Unchanged since the ETag", "headers": HEADERS},
        **describe(BatchNotFound, StoreUnavailable),
    },
)
def read_batch(
    batch_id: UUID, batches: BatchesDep, caller: CallerDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Tell how a batch's jobs stand."""
    document = _document(batches.get(batch_id, sees=caller.sees))
    headers = {} if document.ended else {"Retry-After": str(RETRY_AFTER_S)}
    return respond(document, if_none_match=if_none_match, headers=headers)


@router.get(
    "/{batch_id}/cohort.csv",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A row a case, whatever became of it",
            "content": {TABLE: {"schema": {"type": "string"}}},
        },
        **describe(BatchNotFound, StoreUnavailable),
    },
)
def read_cohort(
    batch_id: UUID, batches: BatchesDep, data: DataDep, caller: CallerDep
) -> StreamingResponse:
    """Give one table of all cases, as they stand."""
    record = batches.get(batch_id, sees=caller.sees)
    return StreamingResponse(
        cohort_csv(_cohort(record, data)),
        media_type=f"{TABLE}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="cohort-{batch_id}.csv"'},
    )


@router.delete(
    "/{batch_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=describe(BatchNotFound, StoreUnavailable),
)
def forget_batch(batch_id: UUID, batches: BatchesDep, caller: CallerDep) -> Response:
    """Forget a batch; its jobs, and their results, stay."""
    batches.remove(batch_id, sees=caller.sees)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _path(batch_id: UUID) -> str:
    return f"{API}/batches/{batch_id}"


def _summary(batch: BatchOverview) -> BatchSummary:
    path = _path(batch.id)
    return BatchSummary(
        id=batch.id,
        name=batch.name,
        created=batch.created,
        total=batch.counts.total(),
        counts=dict(sorted(batch.counts.items())),
        ended=batch.ended,
        href=path,
        cohort=f"{path}/cohort.csv",
    )


def _document(record: BatchRecord) -> BatchDocument:
    cases = tuple(_case(case, job) for case, job in record.cases)
    return BatchDocument(**_summary(record.overview).model_dump(), cases=cases)


def _case(case: BatchCase, job: BatchJob | None) -> BatchCaseDocument:
    failure = None
    if job is not None and job.error_code is not None:
        failure = JobFailure(code=job.error_code, message=job.error_message or "")
    return BatchCaseDocument(
        subject=case.subject,
        session=case.session,
        job=case.job_id,
        state=None if job is None else job.state,
        error=failure,
        href=f"{API}/jobs/{case.job_id}",
    )


def _cohort(record: BatchRecord, data: DataFolder) -> Iterator[CohortCase]:
    """Read the reports one after another: a batch may have thousands."""
    for case, job in record.cases:
        yield CohortCase(
            subject=case.subject,
            session=case.session,
            job=str(case.job_id),
            state=DELETED if job is None else job.state.value,
            error_code="" if job is None else job.error_code or "",
            finished="" if job is None or job.finished is None else job.finished.isoformat(),
            report=None if job is None else _report(case.job_id, job, data),
        )


def _report(job_id: UUID, job: BatchJob, data: DataFolder) -> dict[str, Any] | None:
    """A successful job's report; None where it is none, or is kept no longer."""
    if job.state is not JobState.SUCCESSFUL or job.expired is not None:
        return None
    try:
        text = data.read(data.attempt(job_id, job.fence) / artefacts.REPORT_JSON)
    except FileNotFoundError:
        return None
    report: dict[str, Any] = json.loads(text)
    return report
