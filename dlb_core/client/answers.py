"""Read what a service answers: documents, problems, and what a proxy says in its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx
from pydantic import ValidationError

from dlb_core.contracts import Message
from dlb_core.documents import Problem
from dlb_core.errors import ServiceFailed, ServiceRefused, ServiceUnreachable

AWAY = (
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
)
"""What a proxy answers when it cannot reach the service."""
SOON_S = 60.0
"""A refusal for too many requests that ends so soon is worth waiting out; a day's quota is not."""

Document = TypeVar("Document", bound=Message)


def parse(answer: httpx.Response, kind: type[Document]) -> Document:
    """Read a document that the service sent.

    Raises
    ------
    ServiceFailed
        It is another.
    """
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise ServiceFailed(
            "the answer is not one of this service's: check the address, and that client and "
            "service have the same version"
        ) from error


def raise_for_problem(answer: httpx.Response) -> None:
    """Turn a problem document into an exception.

    Raises
    ------
    ServiceRefused, ServiceFailed, ServiceUnreachable
    """
    if answer.status_code < httpx.codes.BAD_REQUEST:
        return
    problem = _problem_of(answer)
    message = "; ".join(
        [problem.detail, *(f"{fault.field}: {fault.message}" for fault in problem.errors)]
    )
    if _may_pass(answer):
        raise ServiceUnreachable(message, retry_after_s=retry_after(answer))
    if answer.is_server_error:
        raise ServiceFailed(message)
    raise ServiceRefused(message, code=problem.code, status=problem.status)


def below(link: str) -> str:
    """Insist on a path of the service itself: the key must not be sent anywhere else.

    Raises
    ------
    ServiceFailed
    """
    if not link.startswith("/") or link.startswith("//"):
        raise ServiceFailed("the service links to somewhere else: check its address")
    return link


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds that an answer asks to wait, given as such or as a date; None: it does not say."""
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((aware - datetime.now(UTC)).total_seconds(), 0.0)


@contextmanager
def connection_errors() -> Iterator[None]:
    """Turn the connection's errors into ours.

    Raises
    ------
    ServiceUnreachable
    """
    try:
        yield
    except httpx.TransportError as error:
        raise ServiceUnreachable(
            "the service does not answer: check its address, and that it runs"
        ) from error


def _problem_of(answer: httpx.Response) -> Problem:
    """Read what went wrong; a proxy that cannot reach the service does not say it our way."""
    try:
        return parse(answer, Problem)
    except ServiceFailed:
        if answer.status_code not in AWAY:
            raise
    raise ServiceUnreachable(
        f"something before the service answers {answer.status_code}: the service is away, "
        "or too slow; try again",
        retry_after_s=retry_after(answer),
    )


def _may_pass(answer: httpx.Response) -> bool:
    """Whether what was refused is worth another try, unchanged."""
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return (retry_after(answer) or 0.0) <= SOON_S
    return answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.INSUFFICIENT_STORAGE)
