"""Results of deliveries: each delivery's next state, and each endpoint's health.

Owns: that decision and the order of its writes, in the caller's transaction. Must not know how a request is
made or what is sent next. A healthy endpoint's row is never written, so it can't become a hot row.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self, assert_never
from uuid import UUID

import structlog

from gateway.database import Connection
from gateway.ids import format_id, new_id, shard_of
from gateway.schemas import api_schemas
from gateway.webhooks import delivery_queue, events, repository
from gateway.webhooks.delivery_queue import Attempt, ClaimedDelivery
from gateway.webhooks.event_filter import EventFilter
from gateway.webhooks.events import EventType, NewEvent
from gateway.webhooks.own_headers import MASK
from gateway.webhooks.repository import EndpointRecord
from gateway.webhooks.retry import disables_at, must_be_disabled, next_attempt, pause_until, warnings_due
from gateway.webhooks.sender import Acknowledged, EndpointGone, NotAcknowledged, SentMessage
from gateway.webhooks.signing import public_key_text

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One delivery and the outcome of sending it.

    `attempt_id` is drawn once, so that an attempt whose recording is repeated stays one.
    """

    delivery: ClaimedDelivery
    sent: SentMessage
    attempt_id: UUID

    @classmethod
    def of(cls, delivery: ClaimedDelivery, sent: SentMessage) -> Self:
        """The result of an attempt that has just ended."""
        return cls(delivery=delivery, sent=sent, attempt_id=new_id(shard=delivery.shard))


async def record(
    connection: Connection,
    results: Sequence[Result],
    *,
    wall_now: datetime,
    business_now: datetime,
    chance: random.Random,
) -> set[int]:
    """Write the answers, in a number of statements that does not grow with them.

    In the caller's transaction, if `takes_transaction` says so.

    Returns the shards in which a later event of the same object may be sent now.
    """
    health = _health(results)
    await delivery_queue.lock_endpoints(connection, [*health.gone, *health.recovered, *health.failing])
    attempts = [_attempt(one, now=wall_now, chance=chance) for one in results]
    freed = await delivery_queue.record_attempts(connection, attempts)
    for endpoint_id in health.gone:
        await _disable(connection, endpoint_id, reason="the receiver answered 410 Gone", now=business_now)
    await delivery_queue.mark_endpoints_recovered(connection, health.recovered)
    await _note_failures(connection, health.failing, wall_now=wall_now, business_now=business_now)
    return freed


def takes_transaction(results: Sequence[Result]) -> bool:
    """Whether recording these results writes more than their deliveries: an endpoint, or an answer's text."""
    health = _health(results)
    texts = any(one.sent.answer is not None for one in results)
    return bool(texts or health.gone or health.recovered or health.failing)


def _attempt(result: Result, *, now: datetime, chance: random.Random) -> Attempt:
    delivery, outcome, answer = result.delivery, result.sent.outcome, result.sent.answer
    state, next_attempt_at, error = "delivered", None, None
    match outcome:
        case Acknowledged():
            pass
        case EndpointGone():
            state, error = "abandoned", "the receiver answered 410 Gone"
        case NotAcknowledged(reason=reason, retry_after=retry_after):
            next_attempt_at = next_attempt(
                attempts=delivery.attempts, now=now, spread=chance.randrange(100), retry_after=retry_after
            )
            state, error = ("failed" if next_attempt_at is None else "pending"), reason
        case never:
            assert_never(never)
    return Attempt(
        shard=delivery.shard,
        endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        attempts=delivery.attempts,
        state=state,
        next_attempt_at=next_attempt_at,
        status=outcome.status,
        error=error,
        at=now,
        duration_ms=result.sent.duration_ms,
        id=result.attempt_id,
        answer=None if answer is None else answer.text,
        answer_cut=answer is not None and answer.cut,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Health:
    """Endpoints to be written: gone, recovered, and failing with their number of failures."""

    gone: Sequence[UUID]
    recovered: Sequence[UUID]
    failing: Mapping[UUID, int]


def _health(results: Sequence[Result]) -> _Health:
    acknowledged, gone, failed = set(), set(), Counter[UUID]()
    for one in results:
        match one.sent.outcome:
            case Acknowledged():
                acknowledged.add(one.delivery.endpoint_id)
            case EndpointGone():
                gone.add(one.delivery.endpoint_id)
            case NotAcknowledged():
                failed[one.delivery.endpoint_id] += 1
            case never:
                assert_never(never)
    was_failing = {one.delivery.endpoint_id for one in results if one.delivery.failures_in_a_row}
    return _Health(
        gone=sorted(gone),
        recovered=sorted((acknowledged & (was_failing | set(failed))) - gone),
        failing={name: count for name, count in sorted(failed.items()) if name not in acknowledged | gone},
    )


async def _note_failures(
    connection: Connection, failing: Mapping[UUID, int], *, wall_now: datetime, business_now: datetime
) -> None:
    pauses: dict[UUID, datetime] = {}
    for failure in await delivery_queue.mark_endpoints_failed(connection, failing, wall_now=wall_now):
        if must_be_disabled(failing_since=failure.failing_since, now=wall_now):
            reason = "no delivery succeeded for five days"
            await _disable(connection, failure.endpoint_id, reason=reason, now=business_now)
            continue
        due = warnings_due(failing_since=failure.failing_since, now=wall_now)
        if due > failure.warnings:
            await delivery_queue.put_warnings(connection, endpoint_id=failure.endpoint_id, warnings=due)
            await _warn(connection, failure.endpoint_id, now=business_now)
        pause = pause_until(failures_in_a_row=failure.failures_in_a_row, now=wall_now)
        if pause is not None:
            pauses[failure.endpoint_id] = pause
    await delivery_queue.pause_endpoints(connection, pauses)


async def _disable(connection: Connection, endpoint_id: UUID, *, reason: str, now: datetime) -> None:
    """Stop sending to an endpoint, with an event that its party can list or receive at another endpoint."""
    if not await delivery_queue.disable_endpoint(connection, endpoint_id=endpoint_id, reason=reason):
        return
    _log.warning("webhook_endpoint_disabled", endpoint=format_id("whe", endpoint_id), reason=reason)
    await _publish(connection, endpoint_id, EventType.WEBHOOK_ENDPOINT_DISABLED, now=now)


async def _warn(connection: Connection, endpoint_id: UUID, *, now: datetime) -> None:
    """Publish that an endpoint keeps failing and when it ends, to every other endpoint of its party."""
    event = await _publish(connection, endpoint_id, EventType.WEBHOOK_ENDPOINT_FAILING, now=now)
    if event is None:
        return
    await delivery_queue.skip_own_event(connection, endpoint_id=endpoint_id, event=event)
    _log.warning("webhook_endpoint_failing", endpoint=event.object_id)


async def _publish(
    connection: Connection, endpoint_id: UUID, kind: EventType, *, now: datetime
) -> NewEvent | None:
    stored = await repository.find_endpoint(connection, endpoint_id=endpoint_id, party_id=None)
    if stored is None:
        return None
    shown = endpoint_object(stored)
    event = NewEvent(
        type=kind,
        party_id=stored.party_id,
        object_id=shown.id,
        data=shown.as_json(),
        shard=shard_of(endpoint_id),
    )
    await events.record(connection, [event], now=now)
    return event


def endpoint_object(row: EndpointRecord, *, secret: str | None = None) -> api_schemas.WebhookEndpointSchema:
    """The public endpoint; its secret only where it was just made."""
    return api_schemas.WebhookEndpointSchema(
        id=format_id("whe", row.id),
        url=row.url,
        events=list(row.event_types),
        filter=_filter_object(row),
        state="enabled" if row.state == "enabled" else "disabled",
        disabled_reason=row.disabled_reason,
        failing_since=row.failing_since,
        disables_at=None
        if row.failing_since is None or row.state != "enabled"
        else disables_at(row.failing_since),
        signature="v1a" if row.signature == "v1a" else "v1",
        public_key=None if row.public_key is None else public_key_text(row.public_key),
        previous_public_key=None
        if row.previous_public_key is None
        else public_key_text(row.previous_public_key),
        previous_key_until=row.previous_secret_until,
        headers=dict.fromkeys(row.header_names, MASK),
        api_version=row.api_version,
        created=row.created_at,
        secret=secret,
    )


def _filter_object(row: EndpointRecord) -> api_schemas.EventFilterSchema | None:
    if row.filter is None:
        return None
    shown = EventFilter.from_json(row.filter)
    return api_schemas.EventFilterSchema(
        sessions=list(shown.sessions),
        evse_prefixes=list(shown.evse_prefixes),
        locations=list(shown.locations),
        metadata=dict(shown.metadata),
    )
