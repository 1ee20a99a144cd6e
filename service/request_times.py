"""How long requests took, by route and kind of answer, in this process."""

import time

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import methods

BOUNDS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
LONG = "/events"
"""End of routes whose answers last as long as a job: their times say nothing."""
NOWHERE = "(none)"
"""The route of a request that came to none; its own path may say anything."""


class RequestTimes:
    """Times every request. `app.state.registry` holds the numbers."""

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "dlb_http_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ("method", "route", "status"),
            buckets=BOUNDS_S,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.monotonic()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._note(scope, status, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", NOWHERE)
        if route.endswith(LONG):
            return
        method = methods.named(scope["method"]) if route != NOWHERE else "(any)"
        self._seconds.labels(method, route, f"{status // 100}xx").observe(seconds)
