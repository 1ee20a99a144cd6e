"""Lets a request in, or answers it at the door: who, what they may, how often, how much.

It stands before the routes, so no route can be forgotten: whatever is not named here as public
needs a caller, paths that do not exist among them.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from urllib.parse import urlsplit

from anyio import CancelScope, CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dlb_core.errors import DlbError, Forbidden, RateLimited, Unauthenticated
from dlb_core.jobs.keys import PREFIX
from dlb_core.longitudinal.naming import VISITS
from dlb_core.loopback import is_loopback
from service import comparison_intake, errors
from service.authentication import is_basic, require_role
from service.bodies import MAX_DOCUMENT_BYTES
from service.callers import ANONYMOUS, Caller
from service.dependencies import Services, services_of
from service.gate import Gate
from service.lanes import Lane
from service.rate_limits import AtOnce
from service.uploads import MULTIPART

PUBLIC = re.compile(r"/|/(health|viewer)/.*|/v1/jobs/[^/]+/view")
"""Whoever watches over the service need not have a key; nor do the pages, which hold no data and
ask for the key themselves."""
UPLOADS_RETRY_S = 10
TOKENS = Lane("tokens", 8)
"""Threads in which identity providers' tokens are checked."""


def passes_unasked(scope: Scope) -> bool:
    """Whether this is no request at all, or one to what is public."""
    return scope["type"] != "http" or PUBLIC.fullmatch(scope["path"]) is not None


class Guard:
    """Puts the caller into the request's state, or answers in the routes' place."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if passes_unasked(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        services = services_of(request)
        with ExitStack() as held:
            try:
                request.state.caller = caller = await _admit(request, services)
                held.enter_context(_place(request, services.gate.uploads, caller))
                upload = await _reserve(request, services, caller)
            except DlbError as error:
                await errors.answer(request, error)(scope, receive, send)
                return
            if upload is None:
                await self._app(scope, receive, send)
                return
            try:
                await self._app(scope, upload.metered(receive), send)
            finally:
                # A caller who hangs up must not get back what was received.
                with CancelScope(shield=True):
                    await run_sync(upload.settle)


class _Upload:
    """An upload that was reserved, and what has come of it."""

    def __init__(self, gate: Gate, owner: str, reserved: int, day: date) -> None:
        self._gate = gate
        self._owner = owner
        self._reserved = reserved
        self._day = day
        self._received = 0

    def metered(self, receive: Receive) -> Receive:
        """Count what passes."""

        async def counted() -> Message:
            message = await receive()
            self._received += len(message.get("body", b""))
            return message

        return counted

    def settle(self) -> None:
        """Count what has come, in place of what was reserved."""
        self._gate.quotas.settle(self._owner, self._received - self._reserved, day=self._day)


async def _admit(request: Request, services: Services) -> Caller:
    """Find out who it is, and whether they may go on."""
    gate = services.gate
    try:
        authorization = request.headers.get("Authorization")
        caller = await run_sync(
            gate.authenticator.authenticate, authorization, limiter=_lane(authorization)
        )
    except Unauthenticated:
        _count_failure(request, gate)
        raise
    if caller is ANONYMOUS:
        _require_own_name(request, services)
    if caller is ANONYMOUS or is_basic(authorization):
        _require_own_page(request)
    if caller is ANONYMOUS:
        return caller
    wait_s = gate.requests.take(caller.id)
    if wait_s:
        raise RateLimited("too many requests with this key: slow down", retry_after_s=wait_s)
    # Noted before it is refused, so that the audit log knows who it was.
    request.state.caller = caller
    require_role(caller, request.method)
    return caller


def _lane(authorization: str | None) -> CapacityLimiter | None:
    """Keep tokens, whose provider may be slow to tell its keys, from holding up all else."""
    scheme, _, credentials = (authorization or "").partition(" ")
    is_token = scheme.lower() == "bearer" and not credentials.startswith(f"{PREFIX}_")
    return TOKENS.limiter() if is_token else None


def _count_failure(request: Request, gate: Gate) -> None:
    """Answer a flood of bad keys with 429, and keep it out of the audit log.

    Guessing a key is hopeless at any rate; but each guess would add a line to a log.
    """
    address = request.client.host if request.client else ""
    wait_s = gate.failures.take(address)
    if wait_s:
        request.state.unaudited = True
        raise RateLimited("too many refused keys: look at yours", retry_after_s=wait_s)


def _require_own_name(request: Request, services: Services) -> None:
    """Answer to this machine's own names only, where nobody is asked who they are.

    A web page's owner can let its name resolve to this machine: in the user's browser the page
    could then read every answer.
    """
    host = request.headers.get("Host")
    if host is None or not is_loopback(services.settings.host):
        return
    if not is_loopback(_hostname(host)):
        raise Forbidden(
            "without keys this service answers to localhost and 127.0.0.1 only: make a key with "
            "`dlb keys create`, or ask for it by one of these names"
        )


def _require_own_page(request: Request) -> None:
    """Keep other people's web pages from using what the user's browser may use unasked."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
        raise Forbidden(
            "the request was sent by a web page from elsewhere; behind a proxy, let it pass the "
            "Host header on as it came"
        )


def _hostname(host: str) -> str:
    """A Host header's name, without the port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@contextmanager
def _place(request: Request, uploads: AtOnce, caller: Caller) -> Iterator[None]:
    """Count a large body among its owner's while it is under way: it takes room, or memory."""
    if caller.owner is None or not _is_large(request):
        yield
        return
    if not uploads.begin(caller.owner):
        raise RateLimited(
            "too many uploads of yours are under way: send one after another",
            retry_after_s=UPLOADS_RETRY_S,
        )
    try:
        yield
    finally:
        uploads.end(caller.owner)


def _is_large(request: Request) -> bool:
    """Whether a body may be more than a small document; one that is not announced may."""
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal():
        return int(announced) > MAX_DOCUMENT_BYTES
    return "Transfer-Encoding" in request.headers


async def _reserve(request: Request, services: Services, caller: Caller) -> "_Upload | None":
    """Count an upload against its owner's quota, before its first byte is read."""
    kind = request.headers.get("Content-Type", "").encode("latin-1").strip().lower()
    if caller.owner is None or not kind.startswith(MULTIPART):
        return None
    announced = request.headers.get("Content-Length", "")
    limits, cases = services.intake.limits, 1
    if request.scope["path"] == comparison_intake.PATH:
        limits, cases = comparison_intake.ComparisonIntake.of(services).limits, len(VISITS)
    most = limits.max_body_bytes
    reserved = min(int(announced), most) if announced.isdecimal() else most
    reserve = partial(services.gate.quotas.reserve, uploads=cases)
    day = await run_sync(reserve, caller.owner, reserved)
    return _Upload(services.gate, caller.owner, reserved, day)
