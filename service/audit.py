"""Write the audit log: a line for each request that changes or reads something, or is refused."""

import logging
import re
from contextlib import suppress
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dlb_core import artefacts
from dlb_core.audit import NOBODY, AuditEntry, AuditOutcome
from dlb_core.documents import API
from service import methods
from service.callers import Caller, job_named
from service.dependencies import services_of
from service.guard import passes_unasked

QUIET = frozenset(
    {
        f"{API}/jobs/{{job_id}}",
        f"{API}/jobs/{{job_id}}/events",
        f"{API}/models",
        f"{API}/models/{{model_id}}",
        f"{API}/openapi.json",
        "/metrics",
    }
)
"""Reading these is not logged, unless it is refused: they are asked for again and again."""
AT_THE_DOOR = (401, 403, 429)
"""Statuses of what the guard refuses, before any route is looked for."""
MADE = re.compile(rb"/(\w+)/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")
"""What an answer's Location leads to: its kind, and its id."""
JOBS = b"jobs"

logger = logging.getLogger(__name__)


class Audit:
    """Notes what became of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its end."""
        if passes_unasked(scope):
            await self._app(scope, receive, send)
            return
        seen = _Answer()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.note(message)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            # The framework's outermost layer makes a 500 of it.
            seen.status = seen.status or 500
            raise
        finally:
            _write(Request(scope), seen)


class _Answer:
    """What of an answer is noted."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.location = b""

    def note(self, message: Message) -> None:
        """Read an answer's beginning."""
        self.status = message["status"]
        self.location = dict(message["headers"]).get(b"location", b"")


def _write(request: Request, answer: _Answer) -> None:
    """Add the line, if there is to be one; a log that cannot be written is said in the other."""
    route = getattr(request.scope.get("route"), "path", _unrouted(answer.status))
    method = methods.named(request.method)
    reading = method in ("GET", "HEAD") and answer.status is not None and answer.status < 400
    if (reading and route in QUIET) or getattr(request.state, "unaudited", False):
        return
    caller = getattr(request.state, "caller", None)
    entry = AuditEntry(
        who=caller.id if isinstance(caller, Caller) else NOBODY,
        what=f"{method} {route}",
        outcome=_outcome(answer.status),
        job=_job(request, answer),
        status=answer.status,
        address=request.client.host if request.client else None,
        about=_artefact(request) or _thing(request, answer),
    )
    try:
        services_of(request).gate.audit.write(entry)
    except OSError as error:
        logger.critical("audit_failed", extra={"entry": str(entry), "cause": error.strerror})


def _unrouted(status: int | None) -> str:
    """What stands for the route of a request that came to none; its own path may say anything."""
    return "(at the door)" if status in AT_THE_DOOR else "(no such path)"


def _outcome(status: int | None) -> AuditOutcome:
    if status is None:
        return AuditOutcome.BROKEN_OFF
    if status >= 500:
        return AuditOutcome.FAILED
    return AuditOutcome.REFUSED if status >= 400 else AuditOutcome.DONE


def _job(request: Request, answer: _Answer) -> str | None:
    """The job that the path names, or the one that the answer leads to; in our own writing."""
    if named := job_named(request):
        return str(named)
    found = MADE.search(answer.location)
    return found[2].decode() if found and found[1] == JOBS else None


def _thing(request: Request, answer: _Answer) -> str | None:
    """The batch, webhook or the like that the path names or the answer leads to."""
    for name, value in request.path_params.items():
        if name.endswith("_id") and name != "job_id":
            with suppress(ValueError):
                return str(UUID(str(value)))
    found = MADE.search(answer.location)
    return found[2].decode() if found and found[1] != JOBS else None


def _artefact(request: Request) -> str | None:
    """The file that the path names, if it is one that we write."""
    name: Any = request.path_params.get("name")
    return name if name in artefacts.ALL + artefacts.DICOM else None
