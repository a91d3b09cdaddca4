"""Deliveries: the log of an endpoint, and sending again.

Owns: the wire form of the log and of a replay. Must not know how a delivery is made.
"""

from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import Field

from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.endpoint import Answer, Call, WireModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.models import ListQuery, before
from gateway.http.partners.webhook_endpoints import find_own, webhook_endpoint
from gateway.http.problems import ProblemError
from gateway.ids import format_id, lane_of
from gateway.store import webhooks
from gateway.store.webhooks import DeliveryRow

_ACCEPTED: Final = 202
_REPLAY_BATCH: Final = 10_000
_END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)


class ReplayIn(WireModel):
    """Which events to send again, by the business time at which they happened."""

    since: objects.Instant
    until: objects.Instant | None = None
    cursor: str | None = Field(None, description="next_cursor of the call before, when it said has_more")


class SendAgainIn(WireModel):
    """Nothing to say."""


class DeliveriesQuery(ListQuery):
    """A page of the delivery log."""

    state: Literal["pending", "delivered", "failed", "abandoned"] | None = None


class DeliveryOut(objects.PublicObject):
    """One event on its way to one endpoint."""

    object: Literal["delivery"] = "delivery"
    event: str
    event_type: str
    object_id: str
    state: Literal["pending", "delivered", "failed", "abandoned"]
    attempts: int
    next_attempt_at: objects.Instant | None
    last_status: int | None = Field(description="HTTP status of the last answer; null: there was none")
    last_error: str | None
    last_attempt_at: objects.Instant | None
    duration_ms: int | None
    delivered_at: objects.Instant | None


class ReplayOut(objects.PublicObject):
    """How much is on its way again."""

    object: Literal["replay"] = "replay"
    events: int
    has_more: bool
    next_cursor: str | None


async def deliveries(call: Call) -> Answer:
    """The delivery log, newest event first."""
    async with call.services.pool.acquire() as connection:
        stored = await find_own(call, connection)
        found = await webhooks.list_deliveries(
            connection,
            endpoint_id=stored.id,
            state=call.query.state,
            before=before(call.query, "evt"),
            limit=call.query.limit + 1,
        )
    shown = [_delivery(row) for row in found]
    return Answer(body=page(shown, limit=call.query.limit, cursor=lambda item: item.event))


async def send_again(call: Call) -> Answer:
    """Send one event again, whatever became of it."""
    event_id = call.path_id("event_id", "evt")
    async with transaction(call.services.pool) as connection:
        stored = await find_own(call, connection)
        done = await webhooks.send_again(
            connection,
            endpoint_id=stored.id,
            lane=lane_of(event_id),
            event_id=event_id,
            wall_now=call.services.clock.wall_now(),
        )
    if not done:
        raise ProblemError(problems.NOT_FOUND, "The endpoint's party has no such event.")
    return Answer(body=ReplayOut(events=1, has_more=False, next_cursor=None), status=_ACCEPTED)


async def replay(call: Call) -> Answer:
    """Send everything since a time again, in batches of 10,000."""
    body: ReplayIn = call.body
    async with transaction(call.services.pool) as connection:
        stored = await find_own(call, connection)
        taken = await webhooks.replay(
            connection,
            endpoint_id=stored.id,
            since=body.since,
            until=body.until or _END_OF_TIME,
            after=before(body, "evt"),
            limit=_REPLAY_BATCH,
            wall_now=call.services.clock.wall_now(),
        )
    has_more = len(taken) == _REPLAY_BATCH
    return Answer(
        body=ReplayOut(
            events=len(taken),
            has_more=has_more,
            next_cursor=format_id("evt", taken[-1]) if has_more else None,
        ),
        status=_ACCEPTED,
    )


def _delivery(row: DeliveryRow) -> DeliveryOut:
    return DeliveryOut(
        event=format_id("evt", row.event_id),
        event_type=row.type,
        object_id=row.object_id,
        state=row.state,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        last_status=row.last_status,
        last_error=row.last_error,
        last_attempt_at=row.last_attempt_at,
        duration_ms=row.duration_ms,
        delivered_at=row.delivered_at,
    )


ENDPOINTS: Final = (
    webhook_endpoint(
        "GET",
        "/{id}/deliveries",
        "listDeliveries",
        "Read the delivery log",
        handler=deliveries,
        query=DeliveriesQuery,
        answers={200: DeliveryOut},
        listed=True,
    ),
    webhook_endpoint(
        "POST",
        "/{id}/deliveries/{event_id}/retry",
        "retryDelivery",
        "Send one event again",
        handler=send_again,
        body=SendAgainIn,
        body_required=False,
        answers={202: ReplayOut},
        key_rule=KeyRule.OPTIONAL,
    ),
    webhook_endpoint(
        "POST",
        "/{id}/replay",
        "replayEvents",
        "Send events again since a time",
        handler=replay,
        body=ReplayIn,
        answers={202: ReplayOut},
        key_rule=KeyRule.OPTIONAL,
    ),
)
