"""Cancel a job, and try one again."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter, Response

from dlb_core.contracts import JobState
from dlb_core.documents import API, JobDocument
from dlb_core.errors import (
    InputsGone,
    JobNotFound,
    JobNotRetriable,
    QueueFull,
    StoreUnavailable,
)
from service.dependencies import DispatcherDep, ServicesDep, StoreDep
from service.errors import describe
from service.presentation import job_document, job_headers, respond
from service.routes.jobs import JOB_HEADERS

router = APIRouter(prefix=f"{API}/jobs/{{job_id}}", tags=["jobs"])


@router.post(
    "/cancel",
    response_model=JobDocument,
    responses={
        200: {"description": "No worker is on it", "headers": JOB_HEADERS},
        202: {
            "model": JobDocument,
            "description": "A worker is on it, and stops within seconds",
            "headers": JOB_HEADERS,
        },
        **describe(JobNotFound, StoreUnavailable),
    },
)
def cancel_job(job_id: UUID, store: StoreDep) -> Response:
    """Cancel a job that waits or runs; its images are kept for a while, for a retry.

    A job that has ended stays as it is. To have everything removed at once, DELETE it.
    """
    record = store.request_cancel(job_id, discard=False)
    running = record.state is JobState.RUNNING
    return respond(
        job_document(record),
        status=HTTPStatus.ACCEPTED if running else HTTPStatus.OK,
        headers=job_headers(record),
    )


@router.post(
    "/retry",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobDocument,
    responses={
        202: {"headers": JOB_HEADERS, "description": "The job waits for a worker again"},
        **describe(JobNotFound, JobNotRetriable, InputsGone, QueueFull, StoreUnavailable),
    },
)
def retry_job(job_id: UUID, services: ServicesDep, dispatcher: DispatcherDep) -> Response:
    """Try a job again that failed or was cancelled, with the same images and options."""
    record = services.store.retry(job_id, max_waiting=services.settings.max_waiting)
    dispatcher.wake()
    return respond(job_document(record), status=HTTPStatus.ACCEPTED, headers=job_headers(record))
