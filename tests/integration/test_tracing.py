"""Traces: a request, its statements, its call to the PSP and its webhook are one; off, there is nothing."""

import io
import json
import time
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from gateway import tracing
from gateway.config import LogFormat, LogLevel
from gateway.database import Pool
from gateway.logs import configure_logs
from tests.fakes.api import authorization_body
from tests.integration.test_webhooks import Stage, open_stage
from tests.unit.gateway.test_logs import restored_logging
from tests.unit.gateway.test_stripe_psp import Bench, bench, held

__all__ = ["bench", "restored_logging"]  # fixtures
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    stop = tracing.start_tracing(service="networkcore-test", exporter=exporter)
    yield exporter
    stop()


def trace_of(span: ReadableSpan) -> str:
    context = span.context
    assert context is not None
    return f"{context.trace_id:032x}"


async def authorize(stage: Stage, *, traceparent: str = CALLER) -> None:
    answer = await stage.api.client.post(
        "/v1/authorizations",
        json=authorization_body(),
        headers={
            "Authorization": f"Bearer {stage.api.keys['parking']}",
            "Idempotency-Key": "a1",
            "traceparent": traceparent,
        },
    )
    assert answer.status == 201, await answer.text()


async def test_a_request_its_statements_and_its_webhook_are_the_callers_trace(
    pool: Pool, spans: InMemorySpanExporter
) -> None:
    async with open_stage(pool) as stage:
        await stage.listen("/in", kinds=["authorization.authorized"])
        spans.clear()
        await authorize(stage)
        served = [one for one in spans.get_finished_spans() if one.kind is SpanKind.SERVER]
        assert [one.name for one in served] == ["POST /v1/authorizations"]
        assert trace_of(served[0]) == TRACE
        assert served[0].attributes is not None
        assert served[0].attributes["http.response.status_code"] == 201
        statements = [
            one
            for one in spans.get_finished_spans()
            if one.attributes is not None and "db.system" in one.attributes and trace_of(one) == TRACE
        ]
        assert statements
        assert not [one for one in statements if "db.statement.parameters" in (one.attributes or {})]
        await stage.settle()
        (headers, _) = stage.receiver.got["/in"][0]
    assert headers["traceparent"].split("-")[1] == TRACE
    sent = [one for one in spans.get_finished_spans() if one.name == "POST webhook"]
    assert [trace_of(one) for one in sent] == [TRACE]
    assert sent[0].context is not None
    assert headers["traceparent"].split("-")[2] == f"{sent[0].context.span_id:016x}"


async def test_a_call_to_the_psp_is_a_span_named_without_ids(
    bench: Bench, spans: InMemorySpanExporter
) -> None:
    with tracing.span("task capture_session"):
        hold = await held(bench)
        await bench.psp.inspect(psp_payment=hold.psp_payment)
    names = [one.name for one in spans.get_finished_spans()]
    assert names == ["POST /v1/payment_intents", "GET /v1/payment_intents/{id}", "task capture_session"]
    assert len({trace_of(one) for one in spans.get_finished_spans()}) == 1


async def test_problems_and_log_lines_name_the_trace(pool: Pool, spans: InMemorySpanExporter) -> None:
    stream = io.StringIO()
    async with open_stage(pool) as stage:
        configure_logs(log_format=LogFormat.JSON, log_level=LogLevel.INFO, stream=stream)
        answer = await stage.api.client.get("/v1/sessions/unknown", headers={"traceparent": CALLER})
        assert (await answer.json())["trace_id"] == TRACE
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["trace_id"] for line in lines if line["event"] == "request"] == [TRACE]
    structlog.contextvars.clear_contextvars()


async def test_statements_outside_a_request_or_task_are_no_traces(
    pool: Pool, spans: InMemorySpanExporter
) -> None:
    async with pool.acquire() as connection:
        await connection.fetchval("SELECT 1")
        assert spans.get_finished_spans() == ()
        with tracing.span("task clear_session"):
            await connection.fetchval("SELECT 1")
    assert len(spans.get_finished_spans()) == 2


async def test_off_nothing_is_traced_sent_or_named(pool: Pool) -> None:
    async with open_stage(pool) as stage:
        await stage.listen("/in", kinds=["authorization.authorized"])
        await authorize(stage)
        await stage.settle()
        (headers, _) = stage.receiver.got["/in"][0]
        assert "traceparent" not in headers
        answer = await stage.api.client.get("/v1/sessions/unknown", headers={"traceparent": CALLER})
        assert "trace_id" not in await answer.json()
        assert await pool.fetchval("SELECT count(*) FROM gateway.event WHERE traceparent IS NOT NULL") == 0


def test_off_a_span_costs_less_than_a_microsecond_and_a_half() -> None:
    count, best = 20_000, float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(count):
            with tracing.span("nothing"):
                pass
        best = min(best, (time.perf_counter() - began) / count)
    assert best < 1.5e-6
    assert tracing.span("one") is tracing.span("another")
