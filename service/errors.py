"""Errors -> RFC 9457 problem documents: one table, and the handlers that use it."""

import logging
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match, Route

from dlb_core.documents import FieldProblem, Problem
from dlb_core.errors import (
    BadOption,
    DiskFull,
    DlbError,
    Forbidden,
    GeometryAmbiguous,
    Gone,
    GridMismatch,
    ImplausibleImage,
    InputError,
    JobNotFinished,
    JobNotFound,
    JobNotRetriable,
    MalformedUpload,
    ModelError,
    RangeUnsatisfiable,
    RateLimited,
    SeriesAmbiguous,
    SeriesDefective,
    SeriesMissing,
    StageFailed,
    TransientError,
    Unauthenticated,
    UnreadableArchive,
    UnreadableImage,
    UploadStalled,
    UploadTooLarge,
)
from service import security_headers

STATUS: dict[type[DlbError], HTTPStatus] = {
    InputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    MalformedUpload: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    JobNotFound: HTTPStatus.NOT_FOUND,
    UploadStalled: HTTPStatus.REQUEST_TIMEOUT,
    JobNotFinished: HTTPStatus.CONFLICT,
    JobNotRetriable: HTTPStatus.CONFLICT,
    Gone: HTTPStatus.GONE,
    UploadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RangeUnsatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    ModelError: HTTPStatus.INTERNAL_SERVER_ERROR,
    StageFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    TransientError: HTTPStatus.SERVICE_UNAVAILABLE,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    DiskFull: HTTPStatus.INSUFFICIENT_STORAGE,
    DlbError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Branch, or leaf that HTTP has a word of its own for -> status. The nearest ancestor counts."""

FRAMEWORK = {
    HTTPStatus.NOT_FOUND: ("no-such-path", "there is nothing at this path"),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method-not-allowed",
        "this path does not take this method; the Allow header names those it takes",
    ),
}
"""What the framework itself refuses -> code and detail."""

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 10

logger = logging.getLogger(__name__)


def status_of(kind: type[DlbError]) -> HTTPStatus:
    """HTTP status of an error, by the nearest ancestor in the table."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


SCANS_REFUSED: tuple[type[DlbError], ...] = (
    UnreadableImage,
    ImplausibleImage,
    GeometryAmbiguous,
    GridMismatch,
    UnreadableArchive,
    SeriesMissing,
    SeriesAmbiguous,
    SeriesDefective,
)
"""What may be wrong with scans that were sent, whole and in time."""


def describe(*kinds: type[DlbError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of a route that may raise these errors."""
    codes: dict[HTTPStatus, list[str]] = {}
    for kind in kinds:
        codes.setdefault(status_of(kind), []).append(kind.code)
    return {
        int(status): {
            "description": f"Problem: {', '.join(names)}",
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, names in codes.items()
    }


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Make every error of the app, whose routes these are, a problem document."""
    app.add_exception_handler(DlbError, _on_own_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, partial(_on_framework_error, routes=routes))
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unforeseen_error)


def _on_own_error(request: Request, error: Exception) -> Response:
    """Answer an error that this project raised on purpose."""
    assert isinstance(error, DlbError)
    return answer(request, error)


def answer(request: Request, error: DlbError) -> Response:
    """Make a problem document of one of this project's errors."""
    status = status_of(type(error))
    fields = error.fields if isinstance(error, BadOption) else {}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request_failed", extra={"code": error.code}, exc_info=error)
    return _respond(
        status,
        code=error.code,
        title=_first_line(type(error)),
        detail=str(error),
        errors=tuple(FieldProblem(field=name, message=text) for name, text in fields.items()),
        headers=_headers_of(request, error),
    )


def _on_invalid_request(request: Request, error: Exception) -> Response:
    """Answer a request whose path, query or headers do not hold to the schema."""
    assert isinstance(error, RequestValidationError)
    # The value itself is not repeated: it may be anything, a patient's name included.
    faults = tuple(
        FieldProblem(field=".".join(str(part) for part in fault["loc"]), message=fault["msg"])
        for fault in error.errors()
    )
    return _respond(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code="invalid-request",
        title="The request does not hold to the API's schema.",
        detail="; ".join(f"{fault.field}: {fault.message}" for fault in faults),
        errors=faults,
    )


def _on_framework_error(
    request: Request, error: Exception, *, routes: Sequence[BaseRoute]
) -> Response:
    """Answer what the framework refuses: unknown paths, methods."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code, detail = FRAMEWORK.get(status, ("http-error", status.description or status.phrase))
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request, routes))
    return _respond(status, code=code, title=status.phrase, detail=detail, headers=headers)


def _on_disconnect(request: Request, error: Exception) -> Response:
    """End a request whose sender has gone; nobody reads this answer."""
    logger.info("client_went_away")
    return Response(status_code=HTTPStatus.BAD_REQUEST)


def _on_unforeseen_error(request: Request, error: Exception) -> Response:
    """Answer a mistake of ours without telling how we are built; the server logs the rest."""
    return _respond(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code="internal-error",
        title="The service made a mistake.",
        detail="something unforeseen happened; the operator finds it in the service's log",
    )


def _headers_of(request: Request, error: DlbError) -> dict[str, str]:
    """Headers that help the caller to act on an error."""
    headers = {}
    if isinstance(error, TransientError):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = ", ".join(_challenges(request))
    if isinstance(error, RangeUnsatisfiable):
        headers["Content-Range"] = f"bytes */{error.size_bytes}"
    if request.method == "POST":
        # The body may be unread: the connection cannot carry another request.
        headers["Connection"] = "close"
    return headers


def _challenges(request: Request) -> list[str]:
    """Ways to say who one is; a browser asks its user only if Basic is among them."""
    page = "text/html" in request.headers.get("Accept", "")
    schemes = ["Bearer", "Basic"] if page else ["Bearer"]
    return [f'{scheme} realm="DeepLesionBrain"' for scheme in schemes]


def _allowed_methods(request: Request, routes: Sequence[BaseRoute]) -> list[str]:
    """Methods of all routes of this path; the framework names the first route's alone."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)


def _first_line(kind: type[DlbError]) -> str:
    """Words for a kind of error: its docstring's first line."""
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0]


def _respond(
    status: HTTPStatus,
    *,
    code: str,
    title: str,
    detail: str,
    errors: tuple[FieldProblem, ...] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """Write a problem document."""
    problem = Problem(
        type=f"urn:deeplesionbrain:problem:{code}",
        title=title,
        status=int(status),
        code=code,
        detail=detail,
        errors=errors,
    )
    return Response(
        problem.model_dump_json(),
        status_code=status,
        media_type=PROBLEM_TYPE,
        # Answers to mistakes of ours pass no middleware that would add them.
        headers=security_headers.HEADERS | (headers or {}),
    )
