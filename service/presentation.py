"""What the store knows of a job -> the document that a caller sees, with its cache headers."""

import hashlib
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import Response

from dlb_core import artefacts
from dlb_core.contracts import FINAL_STATES, JobState, Message, Progress
from dlb_core.corrections import VersionRecord
from dlb_core.documents import (
    API,
    AttemptDocument,
    JobDocument,
    JobFailure,
    JobLinks,
    JobPage,
    ProgressDocument,
    VersionDocument,
    VersionLinks,
)
from dlb_core.jobs.records import AttemptRecord, JobRecord
from dlb_core.report.document import Totals
from dlb_core.versions import FIRST

RETRY_AFTER_S = {JobState.ACCEPTED: 2, JobState.RUNNING: 1}
"""How long to wait before asking again, while a job is not final."""

_PASSING: dict[type[Message], Any] = {
    JobDocument: {"heartbeat"},
    JobPage: {"jobs": {"__all__": {"heartbeat"}}},
}
"""Fields of documents that change without anything happening."""


def job_path(record: JobRecord) -> str:
    """Path of a job's document."""
    return f"{API}/jobs/{record.id}"


def artefact_path(record: JobRecord, name: str, version: int = FIRST) -> str:
    """Path of one of a job's files."""
    return f"{job_path(record)}/artefacts/{name}{_of_version(version)}"


def version_document(record: JobRecord, made: VersionRecord | None) -> VersionDocument:
    """Describe a version to its caller; none made by hand: the networks' own result."""
    version = FIRST if made is None else made.correction.version
    totals = Totals.model_validate(record.totals) if made is None else made.totals
    path = job_path(record)
    return VersionDocument(
        version=version,
        totals=totals,
        correction=None if made is None else made.correction,
        links=VersionLinks(
            results=f"{path}/results{_of_version(version)}",
            report=artefact_path(record, artefacts.REPORT_HTML, version),
            view=f"{path}/view{_of_version(version)}",
        ),
    )


def _of_version(version: int) -> str:
    return "" if version == FIRST else f"?version={version}"


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
        attempt_log=tuple(_attempt(attempt) for attempt in record.log),
        heartbeat=record.heartbeat,
        priority=record.priority,
        expired=record.expired,
        cancel_requested=record.cancel_requested,
        options=record.options,
        inputs=record.inputs,
        error=_failure(record.error_code, record.error_message),
        totals=None if record.totals is None else Totals.model_validate(record.totals),
        links=_links(record),
    )


def job_headers(record: JobRecord) -> dict[str, str]:
    """Tell a caller who polls when to come back; a job that has ended will not change."""
    if record.state in FINAL_STATES:
        return {}
    return {"Retry-After": str(RETRY_AFTER_S[record.state])}


def next_page(path: str, cursor: str | None, **asked: str | int | None) -> str | None:
    """Path of a list's next page, with what else was asked for; None where there is none."""
    if cursor is None:
        return None
    query = {key: value for key, value in asked.items() if value is not None}
    return f"{path}?{urlencode(query | {'before': cursor})}"


def entity_tag(document: Message) -> str:
    """Digest of a document; weak, for a job's heartbeat is no change."""
    body = document.model_dump_json(exclude=_PASSING.get(type(document)))
    return f'W/"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'


def respond(
    document: Message,
    *,
    if_none_match: str | None = None,
    status: HTTPStatus = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> Response:
    """Write a document with its entity tag; a caller who has it already gets 304, no body."""
    tag = entity_tag(document)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", **(headers or {})}
    if matches(if_none_match, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    body = document.model_dump_json().encode()
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a caller's If-None-Match names this entity tag (weak comparison, RFC 9110)."""
    if if_none_match is None:
        return False
    tags = [text.strip().removeprefix("W/") for text in if_none_match.split(",")]
    return "*" in tags or tag.removeprefix("W/") in tags


def _attempt(record: AttemptRecord) -> AttemptDocument:
    """Describe an attempt; which worker made it is nobody's business."""
    return AttemptDocument(
        started=record.started,
        ended=record.ended,
        outcome=record.outcome,
        stage=record.stage,
        stage_seconds=record.stage_s,
        error=_failure(record.error_code, record.error_message),
    )


def _failure(code: str | None, message: str | None) -> JobFailure | None:
    """Why something failed, if it did."""
    return None if code is None else JobFailure(code=code, message=message or "")


def _links(record: JobRecord) -> JobLinks:
    """Where to go from a job."""
    path = job_path(record)
    links = JobLinks(job=path, events=f"{path}/events")
    if record.state is JobState.SUCCESSFUL and record.expired is None:
        report = artefact_path(record, artefacts.REPORT_HTML)
        return links.model_copy(
            update={
                "results": f"{path}/results",
                "report": report,
                "corrections": f"{path}/corrections",
            }
        )
    if record.state in (JobState.FAILED, JobState.DISMISSED) and record.keep_inputs:
        return links.model_copy(update={"retry": f"{path}/retry"})
    return links
