"""What readers make of a job's results: send an edited mask, list the versions."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response

from dlb_core.documents import API, VersionDocument, VersionList
from dlb_core.errors import (
    BadOption,
    BucketUnavailable,
    CorrectionsExist,
    DiskFull,
    GeometryAmbiguous,
    GridMismatch,
    ImplausibleImage,
    JobNotFinished,
    JobNotFound,
    MalformedUpload,
    NotAMask,
    QueueFull,
    ResultsExpired,
    ResultsUnusable,
    StageFailed,
    StoreUnavailable,
    UnreadableImage,
    UploadStalled,
    UploadTooLarge,
)
from service.corrections import Corrector
from service.dependencies import DataDep, ServicesDep, StoreDep
from service.errors import describe
from service.presentation import respond, version_document
from service.routes.artefacts import successful, versions_of
from service.routes.jobs import IfNoneMatch

router = APIRouter(prefix=f"{API}/jobs/{{job_id}}/corrections", tags=["corrections"])

TEXT = {"type": "string", "maxLength": 500}
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["mask"],
                    "additionalProperties": False,
                    "properties": {
                        "mask": {
                            "type": "string",
                            "format": "binary",
                            "minLength": 1,
                            "description": "the newest version's lesion mask as edited, NIfTI on "
                            "the grid of the FLAIR, the T1w or of MNI152; above zero is lesion",
                        },
                        "author": {
                            **TEXT,
                            "maxLength": 64,
                            "description": "who edited it; printed on the report",
                        },
                        "note": {**TEXT, "description": "what was changed; printed likewise"},
                    },
                },
            }
        },
    }
}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=VersionDocument,
    openapi_extra=FORM,
    responses={
        201: {
            "description": "A new version of measures and report; those before are kept",
            "headers": {
                "Location": {
                    "description": "the version's results",
                    "schema": {"type": "string"},
                }
            },
        },
        **describe(
            JobNotFound,
            JobNotFinished,
            ResultsExpired,
            ResultsUnusable,
            MalformedUpload,
            UploadStalled,
            UploadTooLarge,
            BadOption,
            UnreadableImage,
            ImplausibleImage,
            GeometryAmbiguous,
            GridMismatch,
            NotAMask,
            CorrectionsExist,
            StageFailed,
            QueueFull,
            StoreUnavailable,
            BucketUnavailable,
            DiskFull,
        ),
    },
)
async def correct_job(
    job_id: UUID, request: Request, services: ServicesDep, store: StoreDep
) -> Response:
    """Measure and report a finished job anew from an edited mask; takes up to a minute."""
    record = successful(await run_sync(store.get, job_id))
    made = await Corrector(services).accept(request, record)
    document = version_document(record, made)
    return respond(
        document, status=HTTPStatus.CREATED, headers={"Location": document.links.results}
    )


@router.get(
    "",
    response_model=VersionList,
    responses={
        304: {"description": "Unchanged since the ETag"},
        **describe(
            JobNotFound, JobNotFinished, ResultsExpired, StoreUnavailable, BucketUnavailable
        ),
    },
)
def list_versions(
    job_id: UUID, store: StoreDep, data: DataDep, if_none_match: IfNoneMatch = None
) -> Response:
    """List the versions of a successful job's results, the networks' own first."""
    record = successful(store.get(job_id))
    made = (None, *versions_of(data, record))
    document = VersionList(versions=tuple(version_document(record, each) for each in made))
    return respond(document, if_none_match=if_none_match)
