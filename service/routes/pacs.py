"""Picture archives: fetch a study from one, and deliver results to it."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Request, Response

from dlb_core.documents import API, JobDocument
from dlb_core.errors import (
    BadOption,
    BucketUnavailable,
    DeliveryNotFound,
    DiskFull,
    GeometryAmbiguous,
    GridMismatch,
    IdempotencyConflict,
    ImplausibleImage,
    JobNotFound,
    PacsUnavailable,
    QueueFull,
    ResultsExpired,
    SeriesAmbiguous,
    SeriesDefective,
    SeriesMissing,
    StoreUnavailable,
    StudyNotFound,
    UnknownArchive,
    UnreadableImage,
    UploadStalled,
    UploadTooLarge,
)
from dlb_core.pacs.documents import (
    ArchiveList,
    DeliveryDocument,
    DeliveryList,
    DeliveryRequest,
    PullRequest,
)
from service.bodies import described, read_document
from service.callers import CallerDep
from service.dependencies import DeliveriesDep, DispatcherDep, PullsDep, ServicesDep, StoreDep
from service.errors import describe
from service.intake import Sender
from service.presentation import respond
from service.routes.jobs import ADMITTED, IdempotencyKey, admitted

router = APIRouter(prefix=API, tags=["archives"])

ArchiveName = Annotated[str, Path(max_length=32, pattern="^[A-Za-z0-9_-]+$")]


@router.get("/archives", response_model=ArchiveList)
def list_archives(services: ServicesDep) -> Response:
    """Name the picture archives that the operator has set up."""
    return respond(ArchiveList(archives=tuple(sorted(services.archives))))


@router.post(
    "/archives/{archive}/jobs",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobDocument,
    openapi_extra=described(PullRequest),
    responses={
        **ADMITTED,
        **describe(
            UploadTooLarge,
            UploadStalled,
            BadOption,
            UnknownArchive,
            StudyNotFound,
            UnreadableImage,
            ImplausibleImage,
            GeometryAmbiguous,
            GridMismatch,
            SeriesMissing,
            SeriesAmbiguous,
            SeriesDefective,
            IdempotencyConflict,
            PacsUnavailable,
            StoreUnavailable,
            QueueFull,
            BucketUnavailable,
            DiskFull,
        ),
    },
)
async def pull_study(
    archive: ArchiveName,
    request: Request,
    services: ServicesDep,
    pulls: PullsDep,
    dispatcher: DispatcherDep,
    caller: CallerDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Fetch a study's T1w and FLAIR series from an archive, and accept them as one case.

    Only these two series are fetched; they are chosen as those of an uploaded study are. The
    answer comes when they are there.
    """
    idle_s = services.settings.upload_idle_s
    asked = await read_document(request, PullRequest, idle_s=idle_s)
    admission = await pulls.accept(archive, asked, Sender(caller.owner, idempotency_key))
    dispatcher.wake()
    return admitted(admission)


@router.get(
    "/jobs/{job_id}/deliveries",
    response_model=DeliveryList,
    responses=describe(JobNotFound, StoreUnavailable),
)
def list_deliveries(job_id: UUID, store: StoreDep, deliveries: DeliveriesDep) -> Response:
    """Tell where a job's DICOM results are being sent, and what came of it."""
    store.get(job_id)
    return respond(DeliveryList(deliveries=tuple(deliveries.of_job(job_id))))


@router.post(
    "/jobs/{job_id}/deliveries",
    status_code=HTTPStatus.ACCEPTED,
    response_model=DeliveryDocument,
    openapi_extra=described(DeliveryRequest),
    responses=describe(
        JobNotFound,
        ResultsExpired,
        BadOption,
        UnknownArchive,
        UploadTooLarge,
        UploadStalled,
        StoreUnavailable,
    ),
)
async def order_delivery(job_id: UUID, request: Request, services: ServicesDep) -> Response:
    """Have a job's DICOM results sent to an archive once they are there.

    The same order given again changes nothing. The archive must have the study that the job's
    series belong to.
    """
    idle_s = services.settings.upload_idle_s
    order = await read_document(request, DeliveryRequest, idle_s=idle_s)
    services.pulls.archive(order.archive)
    made = await run_sync(services.deliveries.order, job_id, order.archive)
    services.delivery_courier.wake()
    return respond(made, status=HTTPStatus.ACCEPTED)


@router.post(
    "/jobs/{job_id}/deliveries/{delivery_id}/replay",
    status_code=HTTPStatus.ACCEPTED,
    response_model=DeliveryDocument,
    responses=describe(JobNotFound, DeliveryNotFound, ResultsExpired, StoreUnavailable),
)
def replay_delivery(job_id: UUID, delivery_id: UUID, services: ServicesDep) -> Response:
    """Deliver again, now, whatever became of it before."""
    services.store.get(job_id)
    made = services.deliveries.replay(job_id, delivery_id)
    services.delivery_courier.wake()
    return respond(made, status=HTTPStatus.ACCEPTED)
