"""Spans of one attempt: how long the job waited, the attempt, and each of its stages."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from dlb_core.contracts import Stage
from dlb_core.jobs.records import Claim
from dlb_core.jobs.tracing import context_of

TRACER = trace.get_tracer("dlb.worker")


class AttemptTrace:
    """Follows one attempt."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._attempt: Span | None = None
        self._stage: Span | None = None
        self._name: Stage | None = None

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Be in the attempt's span, below the request that submitted the job."""
        claim = self._claim
        parent = context_of(claim.trace)
        about: dict[str, str | int] = {
            "dlb.job_id": str(claim.job_id),
            "dlb.attempt": claim.attempt,
        }
        if claim.attempt == 1 and claim.accepted is not None:
            began = _nanoseconds(claim.accepted)
            TRACER.start_span("queue", parent, start_time=began, attributes=about).end()
        with TRACER.start_as_current_span(
            "attempt", parent, kind=SpanKind.CONSUMER, attributes=about
        ) as self._attempt:
            try:
                yield
            finally:
                self._end_stage()

    def enter(self, stage: Stage) -> None:
        """The case is in this stage now."""
        if stage is not self._name:
            self._end_stage()
            self._name, self._stage = stage, TRACER.start_span(f"stage {stage.value}")

    def ended(self, outcome: str, *, code: str | None = None) -> None:
        """Note how the attempt ended; a message may hold too much for a trace."""
        assert self._attempt is not None, "an attempt ends while it is followed"
        self._attempt.set_attribute("dlb.outcome", outcome)
        if code is not None:
            self._attempt.set_attribute("error.type", code)
            self._attempt.set_status(Status(StatusCode.ERROR, code))

    def _end_stage(self) -> None:
        if self._stage is not None:
            self._stage.end()
            self._stage = None


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * 1e9)
