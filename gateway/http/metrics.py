"""/metrics: what the edge answered, and what waits behind it, in the text format that Prometheus reads.

Owns: the names and labels of metrics, which docs/guides/monitoring.md explains and alerts build on. Must
not know how anything is done. No money here: a metric is a float (`gateway.http.promise` tells sums, for
alerts). Labels are paths as routed, never ids, so their number is bounded. The path needs a key with the
scope admin.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.database import named_queries
from gateway.http import problems
from gateway.http.problems import ProblemError
from gateway.http.promise import PromiseMetrics
from gateway.http.services import ApiServices
from gateway.http.tls import peer_fingerprint

_STATUS: Final[Any] = named_queries("gateway", "status.sql")
_WEBHOOKS: Final[Any] = named_queries("gateway", "webhooks.sql")
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class EdgeMetrics:
    """What this process answered, since its start."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "networkcore_http_requests",
            "Requests answered",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "networkcore_http_request_seconds",
            "Time to answer a request",
            ("method", "path"),
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def observe(self, request: web.Request, *, status: int, seconds: float) -> None:
        """Count one answer under its route; whatever matches no route is one path."""
        resource = request.match_info.route.resource
        path = "none" if resource is None else resource.canonical
        method = request.method if resource is not None else "ANY"
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(method, path).observe(seconds)


def metrics_routes(services: ApiServices, edge: EdgeMetrics) -> list[web.RouteDef]:
    """GET /metrics."""
    promise = PromiseMetrics()

    async def scrape(request: web.Request) -> web.Response:
        caller = await services.keys.authenticate(
            request.headers.get("Authorization"), certificate=peer_fingerprint(request)
        )
        if not caller.admin:
            raise ProblemError(problems.MISSING_SCOPE, "This path needs the scope admin.")
        queues = generate_latest(await _queues(services))
        body = generate_latest(edge.registry) + queues + await promise.read(services)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/metrics", scrape)]


async def _queues(services: ApiServices) -> CollectorRegistry:
    """What waits in the database now: the same whichever process is asked."""
    now = services.clock.wall_now()
    registry = CollectorRegistry()
    async with services.pool.acquire() as connection:
        errands = [row async for row in _STATUS.errands(connection, wall_now=now)]
        calls = [row async for row in _STATUS.open_calls(connection)]
        deliveries = await _STATUS.deliveries(connection, wall_now=now)
        oldest = await _WEBHOOKS.oldest_pending(connection)
    waiting = Gauge("networkcore_errands", "Errands", ("kind", "state"), registry=registry)
    late = Gauge(
        "networkcore_errand_oldest_due_seconds", "How late the latest errand is", ("kind",), registry=registry
    )
    for row in errands:
        for state in ("waiting", "due", "parked"):
            waiting.labels(row["kind"], state).set(row[state])
        late.labels(row["kind"]).set(_age(row["oldest_due_at"], now))
    asked = Gauge("networkcore_psp_calls_open", "PSP calls without an answer", ("kind",), registry=registry)
    unanswered = Gauge(
        "networkcore_psp_call_oldest_seconds", "Age of the oldest of them", ("kind",), registry=registry
    )
    for row in calls:
        asked.labels(row["kind"]).set(row["open"])
        unanswered.labels(row["kind"]).set(_age(row["oldest_at"], now))
    _deliveries(registry, deliveries, oldest_seconds=_age(oldest, now))
    return registry


def _deliveries(registry: CollectorRegistry, found: Mapping[str, Any], *, oldest_seconds: float) -> None:
    sent = Gauge("networkcore_webhook_deliveries", "Deliveries on their way", ("state",), registry=registry)
    for state in ("pending", "due"):
        sent.labels(state).set(found[state])
    for name, about, value in (
        ("networkcore_webhook_oldest_pending_seconds", "Age of the oldest undelivered event", oldest_seconds),
        ("networkcore_events_to_fan_out", "Events not yet handed to endpoints", found["to_fan_out"]),
        ("networkcore_webhook_endpoints_failing", "Endpoints failing now", found["failing_endpoints"]),
    ):
        Gauge(name, about, registry=registry).set(value)


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
