"""A finished job's results: the report's numbers, and each file."""

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi import Path as PathParameter

from dlb_core import artefacts
from dlb_core.contracts import ArtefactEntry, JobState
from dlb_core.corrections import VersionRecord
from dlb_core.documents import API, ArtefactDocument, ResultsDocument
from dlb_core.errors import (
    BucketUnavailable,
    JobNotFinished,
    JobNotFound,
    RangeUnsatisfiable,
    ResultsExpired,
    StoreUnavailable,
)
from dlb_core.jobs import results
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.records import JobRecord
from dlb_core.report.document import Report
from dlb_core.versions import FIRST, MOST_VERSIONS
from service.dependencies import DataDep, StoreDep
from service.errors import describe
from service.files import RangedFile, file_response, vanishing
from service.presentation import artefact_path, matches, respond, version_document
from service.routes.jobs import IfNoneMatch

router = APIRouter(prefix=f"{API}/jobs/{{job_id}}", tags=["results"])

RANGE: dict[str, Any] = {
    "parameters": [
        {
            "name": "Range",
            "in": "header",
            "required": False,
            "description": "part of the file, e.g. bytes=0-1023",
            "schema": {"type": "string"},
        }
    ]
}
CONTENT = {
    kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
    for kind in artefacts.MEDIA_TYPES.values()
}
FILE_HEADERS = {
    "ETag": {"description": "SHA-256 of the whole file, quoted", "schema": {"type": "string"}},
    "Accept-Ranges": {"schema": {"type": "string"}},
}
FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": CONTENT, "headers": FILE_HEADERS},
    206: {"description": "The part asked for", "content": CONTENT, "headers": FILE_HEADERS},
    304: {"description": "Unchanged since the ETag"},
}
"""Of a file, whole or in part."""
SECURITY_HEADERS = {
    # A report opened from here must not be able to load or run anything.
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
}


Version = Annotated[
    int,
    Query(ge=1, le=MOST_VERSIONS, description="1: the networks' own; see the job's corrections"),
]


@router.get(
    "/results",
    response_model=ResultsDocument,
    responses=describe(
        JobNotFound, JobNotFinished, ResultsExpired, StoreUnavailable, BucketUnavailable
    ),
)
def read_results(
    job_id: UUID,
    store: StoreDep,
    data: DataDep,
    version: Version = FIRST,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Give a successful job's report, and a list of its files."""
    record = successful(store.get(job_id))
    made = versions_of(data, record)
    entries = _entries(record, made, version)
    kept = _file(data, record, version, _entry(entries, artefacts.REPORT_JSON))
    with vanishing():
        report = data.read(kept)
    document = ResultsDocument(
        id=record.id,
        version=version,
        versions=tuple(version_document(record, each) for each in (None, *made)),
        report=Report.model_validate_json(report),
        artefacts=tuple(
            ArtefactDocument(**entry.model_dump(), href=artefact_path(record, entry.name, version))
            for entry in entries
        ),
    )
    return respond(document, if_none_match=if_none_match)


@router.head("/artefacts/{name}", response_class=RangedFile, include_in_schema=False)
@router.get(
    "/artefacts/{name}",
    response_class=RangedFile,
    openapi_extra=RANGE,
    responses={
        **FILE_ANSWERS,
        **describe(
            JobNotFound,
            JobNotFinished,
            ResultsExpired,
            RangeUnsatisfiable,
            StoreUnavailable,
            BucketUnavailable,
        ),
    },
)
def read_artefact(
    job_id: UUID,
    name: Annotated[str, PathParameter(max_length=200, description="as in the results' list")],
    store: StoreDep,
    data: DataDep,
    version: Version = FIRST,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Give one file of a successful job."""
    record = successful(store.get(job_id))
    made = () if version == FIRST else versions_of(data, record)
    entry = _entry(_entries(record, made, version), name)
    headers = {**SECURITY_HEADERS, "ETag": f'"{entry.sha256}"'}
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return file_response(
        data,
        _file(data, record, version, entry),
        headers=headers,
        media_type=entry.media_type,
        filename=name,
        disposition=_disposition(name),
    )


def successful(record: JobRecord) -> JobRecord:
    """Insist on a job that has results."""
    if record.state is not JobState.SUCCESSFUL:
        raise JobNotFinished(f"the job is {record.state}: only a successful job has results")
    if record.expired is not None:
        raise ResultsExpired(
            f"the results were kept until {record.expired:%Y-%m-%d}: submit the images again"
        )
    return record


def results_folder(data: DataFolder, record: JobRecord) -> Path:
    """Where a successful job's own results lie."""
    return data.attempt(record.id, record.fence)


def versions_of(data: DataFolder, record: JobRecord) -> tuple[VersionRecord, ...]:
    """What readers made of a successful job's results."""
    return results.versions_of(data, results_folder(data, record))


def _entries(
    record: JobRecord, made: tuple[VersionRecord, ...], version: int
) -> tuple[ArtefactEntry, ...]:
    """The files of one version."""
    if version == FIRST:
        return record.artefacts
    for each in made:
        if each.correction.version == version:
            return each.artefacts
    raise JobNotFound("the job has no such version: its results list those there are")


def _entry(entries: tuple[ArtefactEntry, ...], name: str) -> ArtefactEntry:
    """Find a file in the job's own list; no other name ever reaches the disk."""
    for entry in entries:
        if entry.name == name:
            return entry
    raise JobNotFound("the job has no file of that name: its results list those there are")


def _file(data: DataFolder, record: JobRecord, version: int, entry: ArtefactEntry) -> Path:
    """Where one of a successful job's files is kept."""
    return results.file_of(data, results_folder(data, record), version, entry)


def _disposition(name: str) -> str:
    """Let a browser show the report and the tables, and save the images."""
    return "attachment" if name.endswith((".nii.gz", ".txt")) else "inline"
