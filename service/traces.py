"""Every request lies in a trace, so that its log lines, and its job's, can be found."""

from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from dlb_core.jobs.tracing import always_traced

QUIET = ("/health/", "/metrics", "/viewer/")
"""Beginnings of paths that are asked for again and again: no spans of these."""


def is_quiet(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request is worth no span."""
    return str(scope.get("path", "")).startswith(QUIET)


class Traces:
    """Joins the caller's trace, or begins one.

    Where spans go anywhere, the framework has made one already, and this does nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with always_traced(Headers(scope=scope).get("traceparent")):
            await self._app(scope, receive, send)
