"""What the store knows of a job -> the document that a caller sees, with its cache headers."""

import hashlib
from http import HTTPStatus

from fastapi import Response

from dlb_core import artefacts
from dlb_core.contracts import FINAL_STATES, JobState, Message, Progress
from dlb_core.documents import API, JobDocument, JobFailure, JobLinks, ProgressDocument
from dlb_core.jobs.records import JobRecord
from dlb_core.report.document import Totals

RETRY_AFTER_S = {JobState.ACCEPTED: 2, JobState.RUNNING: 1}
"""How long to wait before asking again, while a job is not final."""


def job_path(record: JobRecord) -> str:
    """Path of a job's document."""
    return f"{API}/jobs/{record.id}"


def artefact_path(record: JobRecord, name: str) -> str:
    """Path of one of a job's files."""
    return f"{job_path(record)}/artefacts/{name}"


def job_document(record: JobRecord) -> JobDocument:
    """Describe a job to its caller."""
    progress = Progress(stage=record.stage, done=record.done, total=record.total)
    return JobDocument(
        id=record.id,
        state=record.state,
        stage=record.stage,
        progress=ProgressDocument.of(progress),
        created=record.created,
        updated=record.updated,
        started=record.started,
        finished=record.finished,
        attempts=record.attempts,
        cancel_requested=record.cancel_requested,
        options=record.options,
        inputs=record.inputs,
        error=_failure(record),
        totals=None if record.totals is None else Totals.model_validate(record.totals),
        links=_links(record),
    )


def job_headers(record: JobRecord) -> dict[str, str]:
    """Tell a caller who polls when to come back; a job that has ended will not change."""
    if record.state in FINAL_STATES:
        return {}
    return {"Retry-After": str(RETRY_AFTER_S[record.state])}


def respond(
    document: Message,
    *,
    if_none_match: str | None = None,
    status: HTTPStatus = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> Response:
    """Write a document with its entity tag; a caller who has it already gets 304, no body."""
    body = document.model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", **(headers or {})}
    if matches(if_none_match, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a caller's If-None-Match names this entity tag (weak comparison, RFC 9110)."""
    if if_none_match is None:
        return False
    tags = [text.strip().removeprefix("W/") for text in if_none_match.split(",")]
    return "*" in tags or tag in tags


def _failure(record: JobRecord) -> JobFailure | None:
    """Why a job failed, if it did."""
    if record.error_code is None:
        return None
    return JobFailure(code=record.error_code, message=record.error_message or "")


def _links(record: JobRecord) -> JobLinks:
    """Where to go from a job."""
    if record.state is not JobState.SUCCESSFUL:
        return JobLinks(job=job_path(record))
    return JobLinks(
        job=job_path(record),
        results=f"{job_path(record)}/results",
        report=artefact_path(record, artefacts.REPORT_HTML),
    )
