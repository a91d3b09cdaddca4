"""Webhook endpoints, deliveries and events as rows.

Owns: reads and writes of gateway.webhook_endpoint and gateway.delivery, reads of gateway.event. Must not know
HTTP, signatures, or when to try again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "webhooks.sql")
_FIRST: Final = UUID(int=0)


class _FromRow:
    """A value whose fields are a row's columns."""

    __slots__ = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Build the value from a row that has a column for each field."""
        return cls(**{one.name: row[one.name] for one in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow(_FromRow):
    """Where a party's events are sent, and how it has been going. Times are wall time."""

    id: UUID
    party_id: str
    url: str
    event_types: Sequence[str]
    secret: bytes = field(repr=False)
    previous_secret: bytes | None = field(repr=False)
    previous_secret_until: datetime | None
    state: str
    disabled_reason: str | None
    failing_since: datetime | None
    failures_in_a_row: int
    resume_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery(_FromRow):
    """One event to send now, with all that is needed to send it; `data` is JSON text."""

    lane: int
    endpoint_id: UUID
    event_id: UUID
    attempts: int
    party_id: str
    type: str
    object_id: str
    data: str
    created_at: datetime
    url: str
    secret: bytes = field(repr=False)
    previous_secret: bytes | None = field(repr=False)
    previous_secret_until: datetime | None
    failures_in_a_row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of one sending. `status` None: no answer; `next_attempt_at` only while pending."""

    lane: int
    endpoint_id: UUID
    event_id: UUID
    state: str
    next_attempt_at: datetime | None
    status: int | None
    error: str | None
    at: datetime
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow(_FromRow):
    """A line of the delivery log."""

    event_id: UUID
    object_id: str
    type: str
    state: str
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    last_attempt_at: datetime | None
    duration_ms: int | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow(_FromRow):
    """An event as stored."""

    id: UUID
    party_id: str
    type: str
    object_id: str
    data: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How an endpoint stands after a failure."""

    party_id: str
    failing_since: datetime
    failures_in_a_row: int


async def add_endpoint(
    connection: Connection,
    *,
    endpoint_id: UUID,
    party_id: str,
    url: str,
    event_types: Sequence[str],
    secret: bytes,
    now: datetime,
) -> None:
    """Store an endpoint; the same id again changes nothing."""
    await _QUERIES.insert_endpoint(
        connection,
        id=endpoint_id,
        party_id=party_id,
        url=url,
        event_types=list(event_types),
        secret=secret,
        created_at=now,
    )


async def count_endpoints(connection: Connection, *, party_id: str) -> int:
    """How many endpoints a party has."""
    counted: int = await _QUERIES.count_endpoints(connection, party_id=party_id)
    return counted


async def find_endpoint(
    connection: Connection, *, endpoint_id: UUID, party_id: str | None
) -> EndpointRow | None:
    """One endpoint; `party_id` None looks among everybody's."""
    row = await _QUERIES.select_endpoint(connection, id=endpoint_id, party_id=party_id)
    return None if row is None else EndpointRow.from_row(row)


async def list_endpoints(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> list[EndpointRow]:
    """Endpoints, newest first."""
    found = _QUERIES.list_endpoints(connection, party_id=party_id, before=before, limit=limit)
    return [EndpointRow.from_row(row) async for row in found]


async def update_endpoint(
    connection: Connection,
    *,
    endpoint_id: UUID,
    url: str | None,
    event_types: Sequence[str] | None,
    state: str | None,
) -> bool:
    """Change what is not None."""
    row = await _QUERIES.update_endpoint(
        connection,
        id=endpoint_id,
        url=url,
        event_types=None if event_types is None else list(event_types),
        state=state,
    )
    return row is not None


async def rotate_secret(connection: Connection, *, endpoint_id: UUID, secret: bytes, until: datetime) -> bool:
    """Sign with a new secret, and with the old one as well until `until`."""
    return (await _QUERIES.rotate_secret(connection, id=endpoint_id, secret=secret, until=until)) is not None


async def delete_endpoint(connection: Connection, *, endpoint_id: UUID) -> bool:
    """Forget an endpoint; what was on its way to it is abandoned."""
    return (await _QUERIES.delete_endpoint(connection, id=endpoint_id)) is not None


async def lanes_to_fan_out(connection: Connection) -> list[int]:
    """Lanes with new events."""
    return [row["lane"] async for row in _QUERIES.lanes_to_fan_out(connection)]


async def fan_out(connection: Connection, *, lane: int, batch: int, wall_now: datetime) -> int:
    """Make deliveries of a lane's new events; how many events were taken."""
    taken: int = await _QUERIES.fan_out(connection, lane=lane, batch=batch, wall_now=wall_now)
    return taken


async def due(
    connection: Connection, *, wall_now: datetime, busy: Sequence[UUID]
) -> list[tuple[int, list[UUID]]]:
    """Lanes, and in each the endpoints that have something due, may be called and are not busy."""
    found = _QUERIES.due(connection, wall_now=wall_now, busy=list(busy))
    return [(row["lane"], list(row["endpoints"])) async for row in found]


async def claim(
    connection: Connection,
    *,
    lane: int,
    endpoints: Sequence[UUID],
    wall_now: datetime,
    leased_until: datetime,
    per_endpoint: int,
    pause_after: int,
    busy: Sequence[UUID],
) -> list[ClaimedDelivery]:
    """Lease a lane's due deliveries, at most `per_endpoint` of each endpoint, in order per object."""
    found = _QUERIES.claim(
        connection,
        lane=lane,
        endpoints=list(endpoints),
        wall_now=wall_now,
        leased_until=leased_until,
        per_endpoint=per_endpoint,
        pause_after=pause_after,
        busy=list(busy),
    )
    return [ClaimedDelivery.from_row(row) async for row in found]


async def record_attempts(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Write what became of sendings, in one statement."""
    await _QUERIES.record_attempts(
        connection,
        lanes=[one.lane for one in attempts],
        endpoints=[one.endpoint_id for one in attempts],
        events=[one.event_id for one in attempts],
        states=[one.state for one in attempts],
        next_attempts=[one.next_attempt_at for one in attempts],
        statuses=[one.status for one in attempts],
        errors=[one.error for one in attempts],
        ats=[one.at for one in attempts],
        durations=[one.duration_ms for one in attempts],
    )


async def endpoints_recovered(connection: Connection, ids: Sequence[UUID]) -> None:
    """Note that endpoints answered well."""
    await _QUERIES.endpoints_recovered(connection, ids=list(ids))


async def endpoint_failed(
    connection: Connection, *, endpoint_id: UUID, failures: int, wall_now: datetime
) -> Failure | None:
    """Note failures; None when the endpoint is enabled no more."""
    row = await _QUERIES.endpoint_failed(connection, id=endpoint_id, failures=failures, wall_now=wall_now)
    if row is None:
        return None
    return Failure(
        party_id=row["party_id"],
        failing_since=row["failing_since"],
        failures_in_a_row=row["failures_in_a_row"],
    )


async def pause_endpoint(connection: Connection, *, endpoint_id: UUID, resume_at: datetime) -> None:
    """Leave a failing endpoint alone until then."""
    await _QUERIES.pause_endpoint(connection, id=endpoint_id, resume_at=resume_at)


async def disable_endpoint(connection: Connection, *, endpoint_id: UUID, reason: str) -> bool:
    """Stop sending to an endpoint; False when it was not enabled."""
    return (await _QUERIES.disable_endpoint(connection, id=endpoint_id, reason=reason)) is not None


async def list_deliveries(
    connection: Connection, *, endpoint_id: UUID, state: str | None, before: UUID | None, limit: int
) -> list[DeliveryRow]:
    """An endpoint's log, newest event first."""
    found = _QUERIES.list_deliveries(
        connection, endpoint_id=endpoint_id, state=state, before=before, limit=limit
    )
    return [DeliveryRow.from_row(row) async for row in found]


async def replay(
    connection: Connection,
    *,
    endpoint_id: UUID,
    since: datetime,
    until: datetime,
    after: UUID | None,
    limit: int,
    wall_now: datetime,
) -> list[UUID]:
    """Send the events of a time span again, oldest first; the ids of those taken."""
    found = _QUERIES.replay(
        connection,
        endpoint_id=endpoint_id,
        since=since,
        until=until,
        after=after,
        limit=limit,
        wall_now=wall_now,
    )
    return [row["id"] async for row in found]


async def send_again(
    connection: Connection, *, endpoint_id: UUID, lane: int, event_id: UUID, wall_now: datetime
) -> bool:
    """Send one event again; False when the endpoint's party has no such event."""
    row = await _QUERIES.send_again(
        connection, endpoint_id=endpoint_id, lane=lane, event_id=event_id, wall_now=wall_now
    )
    return row is not None


async def add_test_event(
    connection: Connection,
    event: EventRow,
    *,
    lane: int,
    endpoint_id: UUID,
    wall_now: datetime,
) -> None:
    """Record an event that goes to one endpoint only."""
    await _QUERIES.insert_test_event(
        connection,
        lane=lane,
        id=event.id,
        party_id=event.party_id,
        type=event.type,
        object_id=event.object_id,
        data=dict(event.data),
        now=event.created_at,
        endpoint_id=endpoint_id,
        wall_now=wall_now,
    )


async def list_events(
    connection: Connection,
    *,
    party_id: str | None,
    types: Sequence[str] | None,
    after: UUID | None,
    horizon: UUID,
    limit: int,
) -> list[EventRow]:
    """Events with after < id < horizon, oldest first."""
    found = _QUERIES.list_events(
        connection,
        party_id=party_id,
        types=None if types is None else list(types),
        after=after or _FIRST,
        horizon=horizon,
        limit=limit,
    )
    return [EventRow.from_row(row) async for row in found]


async def find_event(
    connection: Connection, *, lane: int, event_id: UUID, party_id: str | None
) -> EventRow | None:
    """One event."""
    row = await _QUERIES.select_event(connection, lane=lane, id=event_id, party_id=party_id)
    return None if row is None else EventRow.from_row(row)
