"""How spans are sampled and sent: the part of tracing that needs the optional packages.

Owns: the provider of OpenTelemetry, and that statements are spans of a request or task, never traces of their
own: an idle worker looks at its queues many times a second. Must not know: what is traced.
"""

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, Tracer, TraceState
from opentelemetry.util.types import Attributes
from typing_extensions import override

_RATIO: Final = "OTEL_TRACES_SAMPLER_ARG"
_DATABASE: Final = ("db.system", "db.system.name")


class NoLoneStatements(Sampler):
    """Drops statements outside any request or task; leaves the rest to a ratio of all traces."""

    def __init__(self, ratio: float) -> None:
        """`ratio`: the part of all traces that is kept, 0 to 1."""
        self._others = TraceIdRatioBased(ratio)

    @override
    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if attributes is not None and any(named in attributes for named in _DATABASE):
            return SamplingResult(Decision.DROP)
        return self._others.should_sample(parent_context, trace_id, name, kind, attributes, links)

    @override
    def get_description(self) -> str:
        return f"NoLoneStatements({self._others.get_description()})"


def open_provider(service: str, exporter: SpanExporter | None) -> tuple[Tracer, Callable[[], None]]:
    """A tracer of this process, and what sends its last spans. `exporter` None: OTLP, in the background."""
    ratio = float(os.environ.get(_RATIO) or 1.0)
    resource = Resource.create({"service.name": service, "service.version": version("networkcore")})
    provider = TracerProvider(resource=resource, sampler=ParentBased(NoLoneStatements(ratio)))
    if exporter is None:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    else:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    statements = AsyncPGInstrumentor(capture_parameters=False)  # type: ignore[no-untyped-call]
    statements.instrument(tracer_provider=provider)

    def close() -> None:
        statements.uninstrument()
        provider.shutdown()

    return provider.get_tracer("networkcore"), close
