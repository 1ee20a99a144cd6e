"""Names of traces are made and handed on also where spans go nowhere."""

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from opentelemetry import trace
from service_kit import form, form_headers, pair, service
from sqlalchemy import select
from webhook_kit import receiver

from dlb_core.errors import BadOption
from dlb_core.jobs.logs import JsonFormatter, log_fields
from dlb_core.jobs.models import JobRow
from dlb_core.jobs.tracing import (
    always_traced,
    configure_tracing,
    context_of,
    current_traceparent,
    inside,
)
from service.settings import ServiceSettings

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that uvicorn uses."""
    return "asyncio"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as it is written in production."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.anyio
@pytest.mark.parametrize("caller", [CALLER, None, "00-nonsense", f"00-{'0' * 32}-{'0' * 16}-01"])
async def test_a_job_carries_its_requests_trace_and_the_log_names_it(
    tmp_path: Path, lines: io.StringIO, caller: str | None
) -> None:
    """Without an SDK too: an operator greps one id through the logs of all processes."""
    headers = form_headers() | ({"traceparent": caller} if caller else {})
    async with service(tmp_path) as (client, services):
        answer = await client.post("/v1/jobs", content=form(pair()), headers=headers)
        job = UUID(answer.json()["id"])
        with services.store._read() as session:
            kept = session.scalar(select(JobRow.trace).where(JobRow.id == job))
        claim = services.store.claim(job, 60.0)

    assert claim is not None
    assert kept is not None
    assert kept == claim.trace
    trace_id = kept.split("-")[1]
    assert (trace_id == TRACE) == (caller == CALLER)
    assert int(trace_id, 16) != 0
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    accepted = next(line for line in logged if line["event"] == "job_accepted")
    assert (accepted["trace_id"], accepted["job_id"]) == (trace_id, str(job))


def test_a_trace_is_joined_kept_and_left_again() -> None:
    """Else one request's lines would bear another's name."""
    with always_traced(CALLER):
        assert (current_traceparent() or "").split("-")[1] == TRACE
        with always_traced(None):
            assert (current_traceparent() or "").split("-")[1] == TRACE
    assert current_traceparent() is None
    with inside(context_of(CALLER)):
        assert trace.get_current_span().get_span_context().trace_id == int(TRACE, 16)
    assert current_traceparent() is None


def test_fields_stand_on_every_line_within(lines: io.StringIO) -> None:
    """A library's own words in a case's log are of no use without the job."""
    with log_fields(job_id="7"):
        logging.getLogger("somebody.else").info("working")
    logging.getLogger("somebody.else").info("after")

    inner, outer = (json.loads(line) for line in lines.getvalue().splitlines())
    assert inner["job_id"] == "7"
    assert "job_id" not in outer


def test_spans_reach_a_collector() -> None:
    """Through the real exporter, in a process of its own: providers are set once in each."""
    program = (
        "from dlb_core.jobs.tracing import configure_tracing, flush_traces\n"
        "from opentelemetry import trace\n"
        "configure_tracing('otlp', 'dlb-test')\n"
        "trace.get_tracer('t').start_span('stage inference').end()\n"
        "flush_traces()\n"
    )
    with receiver() as collector:
        collector.answers = [200]
        address = collector.url.rpartition("/")[0]
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": address},
            check=True,
            timeout=120,
        )

    headers, body = collector.requests[0]
    assert headers["content-type"] == "application/x-protobuf"
    assert b"dlb-test" in body
    assert b"stage inference" in body


def test_where_spans_go_must_be_said_in_a_known_way(tmp_path: Path) -> None:
    """A typing error would silently send them nowhere."""
    with pytest.raises(BadOption, match="DLB_TRACES"):
        ServiceSettings.from_environment({"DLB_DATA": str(tmp_path), "DLB_TRACES": "jaeger"})
    configure_tracing("", "unused")
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
