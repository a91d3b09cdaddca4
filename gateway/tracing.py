"""Traces: OpenTelemetry spans of requests, statements, PSP calls, tasks and webhooks, where they are on.

Owns: the only use of OpenTelemetry, which is an optional package; what a span may hold: names, routes and
statuses, never a body, a parameter of a statement or a key. Must not know: what is traced. Off, each function
returns at its first line.

Source: W3C Trace Context (traceparent); OpenTelemetry semantic conventions for HTTP and databases.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

TRACEPARENT: Final = "traceparent"
_INSTALL: Final = "NETWORKCORE_TRACING needs the extra `otel`: pip install networkcore[otel]"
_SERVER_ERROR: Final = 500
_NOTHING: Final = nullcontext(None)


class _Switch:
    """Whether traces are on: one tracer for the process, or none."""

    tracer: "Tracer | None" = None


def start_tracing(*, service: str, exporter: "SpanExporter | None" = None) -> Callable[[], None]:
    """Turn traces on for this process; returns what sends the last spans and turns them off.

    `exporter` None: OTLP over HTTP, as the OTEL_EXPORTER_OTLP_... variables say. OTEL_TRACES_SAMPLER and its
    argument decide which requests are traced; one that a caller traces is.

    Raises:
        ConfigurationError: the packages are not installed.
    """
    try:
        from gateway.tracing_provider import open_provider  # noqa: PLC0415 - the optional packages
    except ModuleNotFoundError as error:
        raise ConfigurationError(_INSTALL) from error
    tracer, close = open_provider(service, exporter)
    _Switch.tracer = tracer

    def stop() -> None:
        _Switch.tracer = None
        close()

    return stop


def span(
    name: str, *, parent: str | None = None, **attributes: str | int
) -> "AbstractContextManager[Span | None]":
    """A span of this process's own work, below the present one or below `parent` (a traceparent)."""
    if _Switch.tracer is None:
        return _NOTHING
    return _opened(_Switch.tracer, name, "internal", {TRACEPARENT: parent} if parent else None, attributes)


def call_span(
    name: str, *, parent: str | None = None, **attributes: str | int
) -> "AbstractContextManager[Span | None]":
    """A span of a call to another system."""
    if _Switch.tracer is None:
        return _NOTHING
    return _opened(_Switch.tracer, name, "client", {TRACEPARENT: parent} if parent else None, attributes)


def request_span(headers: Mapping[str, str], *, method: str) -> "AbstractContextManager[Span | None]":
    """A span of a request that is served, below its caller's where it sends a traceparent."""
    if _Switch.tracer is None:
        return _NOTHING
    return _opened(_Switch.tracer, method, "server", headers, {"http.request.method": method})


def finish_request(served: "Span | None", *, method: str, route: str, status: int) -> None:
    """Name a request's span by its route, and record its status."""
    if served is None:
        return
    served.update_name(f"{method} {route}")
    served.set_attribute("http.route", route)
    served.set_attribute("http.response.status_code", status)
    if status >= _SERVER_ERROR:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - the optional packages

        served.set_status(StatusCode.ERROR)


def trace_id() -> str | None:
    """The present trace, 32 hexadecimal digits; None: there is none."""
    if _Switch.tracer is None:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - the optional packages

    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def traceparent() -> str | None:
    """The present span as a W3C traceparent; None: there is none."""
    if _Switch.tracer is None:
        return None
    carrier: dict[str, str] = {}
    add_traceparent(carrier)
    return carrier.get(TRACEPARENT)


def add_traceparent(headers: MutableMapping[str, str]) -> None:
    """Send the present trace with a request."""
    if _Switch.tracer is None:
        return
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - the optional packages
        TraceContextTextMapPropagator,
    )

    TraceContextTextMapPropagator().inject(headers)


def add_trace_to_line(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A step of the logs: each line names its trace."""
    found = trace_id()
    if found is not None:
        event["trace_id"] = found
    return event


@contextmanager
def _opened(
    tracer: "Tracer",
    name: str,
    kind: str,
    carrier: Mapping[str, str] | None,
    attributes: Mapping[str, str | int],
) -> "Iterator[Span]":
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the optional packages
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - likewise
        TraceContextTextMapPropagator,
    )

    above = None if carrier is None else TraceContextTextMapPropagator().extract(carrier)
    with tracer.start_as_current_span(
        name, context=above, kind=SpanKind[kind.upper()], attributes=_named(attributes)
    ) as opened:
        yield opened


def _named(attributes: Mapping[str, str | int]) -> dict[str, "str | bool | int | float | Sequence[Any]"]:
    """Keyword names as attribute names: `psp__path` is `psp.path`."""
    return {name.replace("__", "."): value for name, value in attributes.items()}
