"""One trace from the request that submits a job to the worker that does it.

The trace's name (W3C traceparent) lies in the job's row, not in the broker's message: messages are
hints, may be lost, and need not lead to the job they name. Where no SDK is set up, or is not even
installed (extra `otel`), spans cost nothing and go nowhere, but names are made and handed on all
the same, so that log lines of one job can be found in the logs of all processes.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dlb_core import __version__
from dlb_core.errors import BadOption

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

OTLP, FILE = "otlp", "file:"
PATTERN = r"^(|otlp|file:.+)$"
"""What a setting that says where spans go may be: empty, for nowhere; `otlp`; `file:PATH`."""
FLUSH_MS = 3000

_PROPAGATOR = TraceContextTextMapPropagator()


def current_traceparent() -> str | None:
    """Name of the trace and span that we are in; None: in none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def context_of(traceparent: str | None) -> Context:
    """The context that a name stands for; an empty one where it is none."""
    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return _PROPAGATOR.extract(carrier, context=Context())


@contextmanager
def inside(context: Context) -> Iterator[None]:
    """Be in a context for a while."""
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


@contextmanager
def always_traced(traceparent: str | None) -> Iterator[None]:
    """Be in a trace: the one that we are in, the one that a caller named, or a new one."""
    if trace.get_current_span().get_span_context().is_valid:
        yield
        return
    context = context_of(traceparent)
    if not trace.get_current_span(context).get_span_context().is_valid:
        context = trace.set_span_in_context(_new_span(), Context())
    with inside(context):
        yield


def configure_tracing(traces: str, name: str) -> None:
    """Say where this process's spans go; to be called once, before the first.

    Parameters
    ----------
    traces : str
        As `PATTERN` has it. `otlp` goes where the variables OTEL_EXPORTER_OTLP_... say.
    name : str
        The process's, in the traces.

    Raises
    ------
    BadOption
        The SDK is not installed.
    """
    if not traces:
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    except ImportError as error:
        raise BadOption(
            "traces need the extra `otel`: pip install 'deeplesionbrain-service[otel]'"
        ) from error
    resource = Resource.create({"service.name": name, "service.version": __version__})
    provider = TracerProvider(resource=resource)
    exporter = _exporter(traces)
    # A file takes each span at once, so that a killed process has written what it did.
    is_file = traces.startswith(FILE)
    provider.add_span_processor(
        SimpleSpanProcessor(exporter) if is_file else BatchSpanProcessor(exporter)
    )
    trace.set_tracer_provider(provider)


def flush_traces() -> None:
    """Send what waits to be sent; at the end of a piece of work, for the process may be killed."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush(FLUSH_MS)


def _exporter(traces: str) -> "SpanExporter":
    if traces == OTLP:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return ConsoleSpanExporter(
        # For as long as the process lives; each line is one write, so processes may share it.
        out=Path(traces.removeprefix(FILE)).open("a", encoding="utf-8"),
        formatter=lambda span: f"{span.to_json(indent=None)}\n",
    )


def _new_span() -> NonRecordingSpan:
    """A span of a new trace that goes nowhere."""
    return NonRecordingSpan(
        SpanContext(
            # An id must not be zero; that chance has it is beyond caring, but costs nothing.
            trace_id=secrets.randbits(128) | 1,
            span_id=secrets.randbits(64) | 1,
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.DEFAULT),
        )
    )
