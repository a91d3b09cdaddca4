"""What answers lead to: each delivery's next state, and each endpoint's health.

Owns: that decision and the order of its writes, in the caller's transaction. Must not know how a request is
made or what is sent next. A healthy endpoint's row is never written, so it can't become a hot row.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from uuid import UUID

import structlog

from gateway import objects
from gateway.database import Connection
from gateway.ids import format_id, lane_of
from gateway.notify import events
from gateway.notify.events import EventType, NewEvent
from gateway.notify.schedule import gives_up, next_attempt, pause_until
from gateway.notify.sender import Gone, Refused, SendOutcome, Taken
from gateway.store import delivery_queue, webhooks
from gateway.store.delivery_queue import Attempt, ClaimedDelivery
from gateway.store.webhooks import EndpointRow

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One delivery and what became of its sending."""

    delivery: ClaimedDelivery
    outcome: SendOutcome
    duration_ms: int


async def record(
    connection: Connection,
    results: Sequence[Result],
    *,
    wall_now: datetime,
    business_now: datetime,
    chance: random.Random,
) -> set[int]:
    """Write the answers, in a number of statements that does not grow with them.

    Returns the lanes in which a later event of the same object waits no more.
    """
    health = _health(results)
    await delivery_queue.hold_endpoints(connection, [*health.gone, *health.recovered, *health.failing])
    attempts = [_attempt(one, now=wall_now, chance=chance) for one in results]
    freed = await delivery_queue.record_attempts(connection, attempts)
    for endpoint_id in health.gone:
        await _disable(connection, endpoint_id, reason="the receiver answered 410 Gone", now=business_now)
    await delivery_queue.endpoints_recovered(connection, health.recovered)
    await _note_failures(connection, health.failing, wall_now=wall_now, business_now=business_now)
    return freed


def _attempt(result: Result, *, now: datetime, chance: random.Random) -> Attempt:
    delivery, outcome = result.delivery, result.outcome
    state, again, error = "delivered", None, None
    match outcome:
        case Taken():
            pass
        case Gone():
            state, error = "abandoned", "the receiver is gone (410)"
        case Refused(reason=reason, retry_after=asked):
            again = next_attempt(
                attempts=delivery.attempts, now=now, spread=chance.randrange(100), retry_after=asked
            )
            state, error = ("failed" if again is None else "pending"), reason
        case never:
            assert_never(never)
    return Attempt(
        lane=delivery.lane,
        endpoint_id=delivery.endpoint_id,
        event_id=delivery.event_id,
        state=state,
        next_attempt_at=again,
        status=outcome.status,
        error=error,
        at=now,
        duration_ms=result.duration_ms,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Health:
    """Endpoints that are to be written: gone, well again, and failing with how many failures."""

    gone: Sequence[UUID]
    recovered: Sequence[UUID]
    failing: Mapping[UUID, int]


def _health(results: Sequence[Result]) -> _Health:
    well, gone, failed = set(), set(), Counter[UUID]()
    for one in results:
        match one.outcome:
            case Taken():
                well.add(one.delivery.endpoint_id)
            case Gone():
                gone.add(one.delivery.endpoint_id)
            case Refused():
                failed[one.delivery.endpoint_id] += 1
            case never:
                assert_never(never)
    was_failing = {one.delivery.endpoint_id for one in results if one.delivery.failures_in_a_row}
    return _Health(
        gone=sorted(gone),
        recovered=sorted((well & (was_failing | set(failed))) - gone),
        failing={name: count for name, count in sorted(failed.items()) if name not in well | gone},
    )


async def _note_failures(
    connection: Connection, failing: Mapping[UUID, int], *, wall_now: datetime, business_now: datetime
) -> None:
    pauses: dict[UUID, datetime] = {}
    for failure in await delivery_queue.endpoints_failed(connection, failing, wall_now=wall_now):
        if gives_up(failing_since=failure.failing_since, now=wall_now):
            reason = "no delivery succeeded for five days"
            await _disable(connection, failure.endpoint_id, reason=reason, now=business_now)
            continue
        pause = pause_until(failures_in_a_row=failure.failures_in_a_row, now=wall_now)
        if pause is not None:
            pauses[failure.endpoint_id] = pause
    await delivery_queue.pause_endpoints(connection, pauses)


async def _disable(connection: Connection, endpoint_id: UUID, *, reason: str, now: datetime) -> None:
    """Stop sending, and tell the party by an event, which it can pull or hear of elsewhere."""
    if not await delivery_queue.disable_endpoint(connection, endpoint_id=endpoint_id, reason=reason):
        return
    stored = await webhooks.find_endpoint(connection, endpoint_id=endpoint_id, party_id=None)
    if stored is None:
        return
    _log.warning("webhook_endpoint_disabled", endpoint=format_id("whe", endpoint_id), reason=reason)
    shown = endpoint_object(stored)
    told = NewEvent(
        type=EventType.WEBHOOK_ENDPOINT_DISABLED,
        party_id=stored.party_id,
        object_id=shown.id,
        data=shown.as_json(),
        lane=lane_of(endpoint_id),
    )
    await events.record(connection, [told], now=now)


def endpoint_object(row: EndpointRow, *, secret: str | None = None) -> objects.WebhookEndpoint:
    """The public endpoint; its secret only where it was just made."""
    return objects.WebhookEndpoint(
        id=format_id("whe", row.id),
        url=row.url,
        events=list(row.event_types),
        state="enabled" if row.state == "enabled" else "disabled",
        disabled_reason=row.disabled_reason,
        failing_since=row.failing_since,
        created=row.created_at,
        secret=secret,
    )
