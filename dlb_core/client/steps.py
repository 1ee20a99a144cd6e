"""What a client does one after another, told apart from how: a flow yields steps.

A flow is a generator. It yields a step, and is sent the answer, or has the connection's fault
raised in it. So it can be driven by a loop that waits and by one that does not.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import httpx

from dlb_core.client.answers import raise_for_problem
from dlb_core.client.transfers import ByteCallback
from dlb_core.errors import ServiceUnreachable

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
"""Before the first repetition; the next pause is twice as long, and so on."""
LONGEST_PAUSE_S = 30.0
MOST_PATIENT_S = 120.0
"""Who is asked to come back later than this is told so instead."""


@dataclass(frozen=True, slots=True)
class Form:
    """A case to send: its images, and the form's texts."""

    images: dict[str, Path]
    """Part (t1w and flair, or study) -> its file."""
    texts: dict[str, tuple[str, str]]
    """Part -> its text and media type."""
    on_bytes: ByteCallback


@dataclass(frozen=True, slots=True)
class Call:
    """One request, whose answer is read whole."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    form: Form | None = None
    content: bytes | None = None
    any_status: bool = False
    """Whether an answer that tells of a fault is an answer all the same."""


class Sink(Protocol):
    """Takes a download."""

    def begin(self, answer: httpx.Response) -> None:
        """Look at an answer's head."""

    def write(self, data: bytes) -> None:
        """Take the next bytes."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A request whose answer goes into a sink as it comes."""

    path: str
    headers: dict[str, str]
    sink: Sink


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Item:
    """Hand this to the caller, and go on."""

    document: Any


Step = Call | Fetch | Pause | Item
Flow = Generator[Step, httpx.Response | None, T]

Outcome = httpx.Response | ServiceUnreachable | None
"""What came of a step: an answer, a fault that may pass, or nothing to speak of."""


@dataclass(frozen=True, slots=True)
class End(Generic[T]):
    """A flow has come to its end."""

    value: T


def resume(flow: Flow[T], outcome: Outcome) -> Step | End[T]:
    """Tell a flow what came of its last step (None before its first), and get the next one."""
    try:
        if isinstance(outcome, ServiceUnreachable):
            return flow.throw(outcome)
        return flow.send(outcome)
    except StopIteration as end:
        return End(end.value)


def once(step: Call | Fetch) -> Flow[httpx.Response]:
    """Take a step that has an answer; a fault is raised."""
    answer = yield step
    assert answer is not None, "only pauses and items go without an answer"
    if not (isinstance(step, Call) and step.any_status):
        raise_for_problem(answer)
    return answer


def patiently(
    make: Callable[[], Call | Fetch], attempts: int, *, come: Callable[[], int] = lambda: 0
) -> Flow[httpx.Response]:
    """Take a step that is safe to repeat; after a fault that may pass, pause and repeat it.

    Parameters
    ----------
    make : callable
        Makes the step; asked again each time, for a download goes on where it broke off.
    attempts : int
        Times in a row that it may fail without anything having come.
    come : callable
        How much has come.
    """
    failed, before = 0, come()
    while True:
        try:
            return (yield from once(make()))
        except ServiceUnreachable as error:
            failed = 1 if come() > before else failed + 1
            before = come()
            if failed >= attempts or (error.retry_after_s or 0.0) > MOST_PATIENT_S:
                raise
            yield Pause(pause_s(failed - 1, error.retry_after_s))


def pause_s(attempt: int, retry_after_s: float | None) -> float:
    """Seconds before another attempt: longer each time, never less than the service asks for.

    Clients that failed together must not come back together, so chance has a part in it.
    """
    backoff = min(FIRST_PAUSE_S * 2.0**attempt, LONGEST_PAUSE_S)
    chance = random.uniform(0.5, 1.5)  # noqa: S311  # no secret
    return (retry_after_s or 0.0) + backoff * chance
