"""Deliveries: the log of an endpoint with each attempt, retries and replays.

Owns: the wire form of the log and of a replay. Must not know how a delivery is made.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api.endpoint import ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import EmptyBody, InstantIn, ListQuery, before
from gateway.api.idempotency import KeyRule
from gateway.api.partners.webhook_endpoints import webhook_endpoint
from gateway.ids import format_id
from gateway.schemas import api_schemas
from gateway.webhooks.repository import AttemptRecord, DeliveryRecord

_ACCEPTED: Final = 202


class ReplayBody(WireModel):
    """Which events to send again, by the business time at which they happened."""

    since: InstantIn
    until: InstantIn | None = None
    cursor: str | None = Field(
        None, description="`next_cursor` of the previous response if `has_more` was true"
    )


class DeliveriesQuery(ListQuery):
    """A page of the delivery log."""

    state: Literal["pending", "delivered", "failed", "abandoned"] | None = Field(
        None, description="`failed` also lists what failed and is tried again, which is pending"
    )


class DeliverySchema(api_schemas.PublicSchema):
    """The sending of one event to one endpoint."""

    object: Literal["delivery"] = "delivery"
    event: str
    event_type: str
    object_id: str
    state: Literal["pending", "delivered", "failed", "abandoned"]
    attempts: int
    next_attempt_at: api_schemas.Instant | None
    last_status: int | None = Field(description="HTTP status of the last answer; null: there was none")
    last_error: str | None
    last_attempt_at: api_schemas.Instant | None
    duration_ms: int | None
    delivered_at: api_schemas.Instant | None


class DeliveryAttemptSchema(api_schemas.PublicSchema):
    """One attempt to send an event, with how the receiver's answer began; kept for 30 days."""

    id: str = Field(examples=["dat_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["delivery_attempt"] = "delivery_attempt"
    event: str
    attempted_at: api_schemas.Instant = Field(description="when it was sent")
    acknowledged: bool = Field(description="whether the receiver has the event")
    status: int | None = Field(description="HTTP status of the answer; null: there was none")
    error: str | None = Field(description="why it is no acknowledgment")
    answer: str | None = Field(
        description="the first KiB of the answer's body, without card numbers and values of own headers"
    )
    answer_cut: bool = Field(description="whether the body was longer")
    duration_ms: int


class ReplaySchema(api_schemas.PublicSchema):
    """How many events are sent again."""

    object: Literal["replay"] = "replay"
    events: int
    has_more: bool
    next_cursor: str | None


async def list_deliveries(call: ApiRequest) -> ApiResponse:
    """The delivery log, newest event first."""
    found = await call.services.webhook_endpoints.list_deliveries(
        call.path_id("id", "whe"),
        party_id=call.own_party,
        state=call.query.state,
        before=before(call.query, "evt"),
        limit=call.query.limit + 1,
    )
    shown = [_delivery(row) for row in found]
    return ApiResponse(body=page(shown, limit=call.query.limit, cursor=lambda item: item.event))


async def list_attempts(call: ApiRequest) -> ApiResponse:
    """Each attempt to deliver an event, newest first."""
    found = await call.services.webhook_endpoints.list_attempts(
        call.path_id("id", "whe"),
        call.path_id("event_id", "evt"),
        party_id=call.own_party,
        before=before(call.query, "dat"),
        limit=call.query.limit + 1,
    )
    return ApiResponse(body=page([_attempt(row) for row in found], limit=call.query.limit))


async def retry(call: ApiRequest) -> ApiResponse:
    """Send one event again, whatever became of it."""
    await call.services.webhook_endpoints.retry_delivery(
        call.path_id("id", "whe"), call.path_id("event_id", "evt"), party_id=call.own_party
    )
    return ApiResponse(body=ReplaySchema(events=1, has_more=False, next_cursor=None), status=_ACCEPTED)


async def replay(call: ApiRequest) -> ApiResponse:
    """Send the events of a time span again, in batches of 10,000."""
    body: ReplayBody = call.body
    sent = await call.services.webhook_endpoints.replay(
        call.path_id("id", "whe"),
        party_id=call.own_party,
        since=body.since,
        until=body.until,
        after=before(body, "evt"),
    )
    return ApiResponse(
        body=ReplaySchema(
            events=sent.events,
            has_more=sent.next_after is not None,
            next_cursor=None if sent.next_after is None else format_id("evt", sent.next_after),
        ),
        status=_ACCEPTED,
    )


def _delivery(row: DeliveryRecord) -> DeliverySchema:
    return DeliverySchema(
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


def _attempt(row: AttemptRecord) -> DeliveryAttemptSchema:
    return DeliveryAttemptSchema(
        id=format_id("dat", row.id),
        event=format_id("evt", row.event_id),
        attempted_at=row.attempted_at,
        acknowledged=row.error is None,
        status=row.status,
        error=row.error,
        answer=row.answer,
        answer_cut=row.answer_cut,
        duration_ms=row.duration_ms,
    )


ENDPOINTS: Final = (
    webhook_endpoint(
        "GET",
        "/{id}/deliveries",
        "listDeliveries",
        "List deliveries",
        handler=list_deliveries,
        query=DeliveriesQuery,
        answers={200: DeliverySchema},
        listed=True,
    ),
    webhook_endpoint(
        "GET",
        "/{id}/deliveries/{event_id}/attempts",
        "listDeliveryAttempts",
        "List attempts of a delivery",
        handler=list_attempts,
        query=ListQuery,
        answers={200: DeliveryAttemptSchema},
        listed=True,
    ),
    webhook_endpoint(
        "POST",
        "/{id}/deliveries/{event_id}/retry",
        "retryDelivery",
        "Retry a delivery",
        handler=retry,
        body=EmptyBody,
        body_required=False,
        answers={202: ReplaySchema},
        key_rule=KeyRule.OPTIONAL,
    ),
    webhook_endpoint(
        "POST",
        "/{id}/replay",
        "replayEvents",
        "Replay events",
        handler=replay,
        body=ReplayBody,
        answers={202: ReplaySchema},
        key_rule=KeyRule.OPTIONAL,
    ),
)
