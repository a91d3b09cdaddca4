"""/metrics: what the edge answered, and what is pending behind it, in the text format that Prometheus reads.

Owns: the names and labels of metrics, which docs/guides/monitoring.md explains and alerts build on. Must
not know how anything is done. No money here: a metric is a float (`gateway.api.business_metrics` has sums,
for alerts). Labels are paths as routed, never ids, so their number is bounded. The path needs a key with the
scope metrics:read.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway import status_repository
from gateway.api.business_metrics import SettlementSlaMetrics
from gateway.api.operation_scopes import scopes_of
from gateway.api.process_metrics import ProcessMetrics
from gateway.api.services import ApiServices
from gateway.api.tls import peer_fingerprint
from gateway.jobs.shard_owners import ShardSummary, list_shard_owners, summarize
from gateway.payments import psp_incident_repository

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_NO_ROUTE: Final = "none"
_OPERATION: Final = "scrapeMetrics"  # by which the table of scopes names this path
# A hold is renewed hours before it ends: what is this near was not, or can't be.
_HOLD_ENDS_WITHIN: Final = timedelta(hours=2)


class EdgeMetrics:
    """What this process answered, since its start."""

    def __init__(self) -> None:
        self.group: ProcessMetrics | None = None
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "networkcore_http_requests",
            "HTTP requests answered.",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "networkcore_http_request_seconds",
            "Time to answer an HTTP request.",
            ("method", "path"),
            buckets=_BUCKETS,
            registry=self.registry,
        )

        self._lost = Counter(
            "networkcore_request_log_lost",
            "Requests of API keys that the request log has lost.",
            registry=self.registry,
        )

    def count_lost(self, entries: int) -> None:
        """Count requests that the request log has lost."""
        self._lost.inc(entries)

    def own(self) -> bytes:
        """This process's own, in Prometheus' text format."""
        return generate_latest(self.registry)

    async def read(self) -> bytes:
        """This process's own, or those of every process of its group, each under its number."""
        return self.own() if self.group is None else await self.group.read()

    def observe(self, request: web.Request, *, status: int, seconds: float) -> None:
        """Count one answer under its route; whatever matches no route is one path."""
        path = route_of(request)
        method = request.method if path != _NO_ROUTE else "ANY"
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(method, path).observe(seconds)


def route_of(request: web.Request) -> str:
    """The route that a request matched, without what its path names: an eMAID or a token is personal data."""
    resource = request.match_info.route.resource
    return _NO_ROUTE if resource is None else resource.canonical


def metrics_routes(services: ApiServices, edge: EdgeMetrics) -> list[web.RouteDef]:
    """GET /metrics."""
    business = SettlementSlaMetrics()

    async def scrape(request: web.Request) -> web.Response:
        caller = await services.keys.authenticate(
            request.headers.get("Authorization"),
            certificate=peer_fingerprint(request),
            address=services.addresses.origin(request),
        )
        caller.need(scopes_of(_OPERATION))
        queues = generate_latest(await _queues(services))
        body = await edge.read() + queues + await business.read(services)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/metrics", scrape)]


async def _queues(services: ApiServices) -> CollectorRegistry:
    """What is pending in the database now: every process shows the same."""
    now = services.clock.wall_now()
    registry = CollectorRegistry()
    async with services.pool.acquire() as connection:
        tasks = await status_repository.count_tasks(connection, wall_now=now)
        requests = await status_repository.open_psp_requests(connection)
        refused = await psp_incident_repository.count_by_code(connection)
        deliveries = await status_repository.count_deliveries(connection, wall_now=now)
        oldest = await status_repository.find_oldest_pending_delivery(connection)
        holds = await status_repository.count_holds_ending(
            connection, before=services.now() + _HOLD_ENDS_WITHIN
        )
        shards = summarize(await list_shard_owners(connection, wall_now=now), wall_now=now)
    queued = Gauge("networkcore_tasks", "Tasks by kind and state.", ("kind", "state"), registry=registry)
    late = Gauge(
        "networkcore_task_oldest_due_seconds",
        "Seconds by which the oldest due task is late.",
        ("kind",),
        registry=registry,
    )
    for row in tasks:
        for state in ("waiting", "due", "exceptions"):
            queued.labels(row["kind"], state).set(row[state])
        late.labels(row["kind"]).set(_age(row["oldest_due_at"], now))
    unknown = Gauge(
        "networkcore_psp_requests_open",
        "PSP requests whose outcome is not known yet.",
        ("kind",),
        registry=registry,
    )
    age = Gauge(
        "networkcore_psp_request_oldest_seconds",
        "Age of the oldest PSP request whose outcome is not known yet.",
        ("kind",),
        registry=registry,
    )
    for row in requests:
        unknown.labels(row["kind"]).set(row["open"])
        age.labels(row["kind"]).set(_age(row["oldest_at"], now))
    Gauge(
        "networkcore_card_holds_ending",
        "Card holds that are not captured and end within two hours.",
        registry=registry,
    ).set(holds)
    mistakes = Gauge(
        "networkcore_psp_refused_requests",
        "Requests that the PSP refused for a mistake of ours, while it stands.",
        ("code",),
        registry=registry,
    )
    for code, count in refused.items():
        mistakes.labels(code).set(count)
    _deliveries(registry, deliveries, oldest_seconds=_age(oldest, now))
    _shards(registry, shards)
    return registry


def _shards(registry: CollectorRegistry, found: ShardSummary) -> None:
    owned = Gauge(
        "networkcore_shards", "Shards that a worker owns, by its name.", ("worker",), registry=registry
    )
    for worker, count in found.owned.items():
        owned.labels(worker).set(count)
    Gauge(
        "networkcore_shards_without_owner",
        "Shards that no worker owns: nothing that is due in them is done.",
        registry=registry,
    ).set(found.without_owner)
    Counter(
        "networkcore_shard_leases_taken_over",
        "Leases that ended because their worker neither renewed them nor gave them back.",
        registry=registry,
    ).inc(found.taken_over)
    late = Gauge(
        "networkcore_work_oldest_due_seconds",
        "Since when the oldest work is due that no worker has taken.",
        ("kind",),
        registry=registry,
    )
    for kind, seconds in found.oldest_due_s.items():
        late.labels(kind).set(seconds)


def _deliveries(registry: CollectorRegistry, found: Mapping[str, Any], *, oldest_seconds: float) -> None:
    sent = Gauge(
        "networkcore_webhook_deliveries",
        "Webhook deliveries not acknowledged yet.",
        ("state",),
        registry=registry,
    )
    for state in ("pending", "due"):
        sent.labels(state).set(found[state])
    for name, about, value in (
        (
            "networkcore_webhook_oldest_pending_seconds",
            "Age of the oldest undelivered event.",
            oldest_seconds,
        ),
        ("networkcore_events_to_fan_out", "Events not yet assigned to endpoints.", found["to_fan_out"]),
        (
            "networkcore_webhook_endpoints_failing",
            "Enabled webhook endpoints that fail.",
            found["failing_endpoints"],
        ),
    ):
        Gauge(name, about, registry=registry).set(value)


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
