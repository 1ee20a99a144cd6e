"""A finished job's results: the report's numbers, and each file."""

import stat
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable

from dlb_core import artefacts
from dlb_core.contracts import ArtefactEntry, JobState
from dlb_core.documents import API, ArtefactDocument, ResultsDocument
from dlb_core.errors import (
    JobNotFinished,
    JobNotFound,
    RangeUnsatisfiable,
    ResultsExpired,
    StoreUnavailable,
)
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.records import JobRecord
from dlb_core.report.document import Report
from service.dependencies import DataDep, StoreDep
from service.errors import describe
from service.presentation import artefact_path, matches, respond
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
SECURITY_HEADERS = {
    # A report opened from here must not be able to load or run anything.
    "Content-Security-Policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
}


class _RangedFile(FileResponse):
    """A file, or the ranges of it that were asked for."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """Ignore what is not a range, as RFC 9110 has it; refuse one beyond the end."""
        try:
            return super()._parse_range_header(http_range, file_size)
        except RangeNotSatisfiable as error:
            raise RangeUnsatisfiable(
                f"the range lies beyond the file's {file_size} bytes", size_bytes=file_size
            ) from error
        except MalformedRangeHeader:
            return []


@router.get(
    "/results",
    response_model=ResultsDocument,
    responses=describe(JobNotFound, JobNotFinished, ResultsExpired, StoreUnavailable),
)
def read_results(
    job_id: UUID, store: StoreDep, data: DataDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Give a successful job's report, and a list of its files."""
    record = _successful(store.get(job_id))
    report = _file(data, record, artefacts.REPORT_JSON).read_text(encoding="utf-8")
    document = ResultsDocument(
        id=record.id,
        report=Report.model_validate_json(report),
        artefacts=tuple(
            ArtefactDocument(**entry.model_dump(), href=artefact_path(record, entry.name))
            for entry in record.artefacts
        ),
    )
    return respond(document, if_none_match=if_none_match)


@router.head("/artefacts/{name}", response_class=_RangedFile, include_in_schema=False)
@router.get(
    "/artefacts/{name}",
    response_class=_RangedFile,
    openapi_extra=RANGE,
    responses={
        200: {"description": "The file", "content": CONTENT, "headers": FILE_HEADERS},
        206: {"description": "The part asked for", "content": CONTENT, "headers": FILE_HEADERS},
        304: {"description": "Unchanged since the ETag"},
        **describe(
            JobNotFound, JobNotFinished, ResultsExpired, RangeUnsatisfiable, StoreUnavailable
        ),
    },
)
def read_artefact(
    job_id: UUID,
    name: Annotated[str, PathParameter(max_length=200, description="as in the results' list")],
    store: StoreDep,
    data: DataDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Give one file of a successful job."""
    record = _successful(store.get(job_id))
    entry = _entry(record, name)
    headers = {**SECURITY_HEADERS, "ETag": f'"{entry.sha256}"'}
    if matches(if_none_match, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    path = _file(data, record, name)
    return _RangedFile(
        path,
        headers=headers,
        media_type=entry.media_type,
        filename=name,
        stat_result=path.stat(),
        content_disposition_type=_disposition(name),
    )


def _successful(record: JobRecord) -> JobRecord:
    """Insist on a job that has results."""
    if record.state is not JobState.SUCCESSFUL:
        raise JobNotFinished(f"the job is {record.state}: only a successful job has results")
    if record.expired is not None:
        raise ResultsExpired(
            f"the results were kept until {record.expired:%Y-%m-%d}: submit the images again"
        )
    return record


def _entry(record: JobRecord, name: str) -> ArtefactEntry:
    """Find a file in the job's own list; no other name ever reaches the disk."""
    for entry in record.artefacts:
        if entry.name == name:
            return entry
    raise JobNotFound("the job has no file of that name: its results list those there are")


def _file(data: DataFolder, record: JobRecord, name: str) -> Path:
    """Path of one of a successful job's files."""
    path = data.attempt(record.id, record.fence) / name
    try:
        regular = stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        regular = False
    if not regular:
        raise JobNotFound("the job's files are gone: it was deleted a moment ago")
    return path


def _disposition(name: str) -> str:
    """Let a browser show the report and the tables, and save the images."""
    return "attachment" if name.endswith((".nii.gz", ".txt")) else "inline"
