"""Webhook endpoints, the log of deliveries, and events as rows.

Owns: reads and writes of gateway.webhook_endpoint, the log of gateway.delivery, reads of gateway.event. Must
not know HTTP, signatures, or when to try again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "webhooks.sql")
_FIRST: Final = UUID(int=0)


class FromRow:
    """A value whose fields are a row's columns."""

    __slots__ = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Build the value from a row that has a column for each field."""
        return cls(**{one.name: row[one.name] for one in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A signing secret as stored: sealed with the key of that name; None: in the clear."""

    key: str | None
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsRow:
    """An endpoint's secrets: the present one, and the one before it while it still signs."""

    id: UUID
    secrets: Sequence[StoredSecret]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRow(FromRow):
    """Where a party's events are sent, and how it has been going. Times are wall time."""

    id: UUID
    party_id: str
    url: str
    event_types: Sequence[str]
    secret: bytes = field(repr=False)
    secret_key: str | None
    previous_secret: bytes | None = field(repr=False)
    previous_secret_key: str | None
    previous_secret_until: datetime | None
    state: str
    disabled_reason: str | None
    failing_since: datetime | None
    failures_in_a_row: int
    resume_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow(FromRow):
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
class EventRow(FromRow):
    """An event as stored."""

    id: UUID
    party_id: str
    type: str
    object_id: str
    data: Mapping[str, Any]
    created_at: datetime


async def add_endpoint(
    connection: Connection,
    *,
    endpoint_id: UUID,
    party_id: str,
    url: str,
    event_types: Sequence[str],
    secret: StoredSecret,
    now: datetime,
) -> None:
    """Store an endpoint; the same id again changes nothing."""
    await _QUERIES.insert_endpoint(
        connection,
        id=endpoint_id,
        party_id=party_id,
        url=url,
        event_types=list(event_types),
        secret=secret.content,
        secret_key=secret.key,
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


async def rotate_secret(
    connection: Connection, *, endpoint_id: UUID, secret: StoredSecret, until: datetime
) -> bool:
    """Sign with a new secret, and with the old one as well until `until`."""
    row = await _QUERIES.rotate_secret(
        connection, id=endpoint_id, secret=secret.content, secret_key=secret.key, until=until
    )
    return row is not None


async def one_of_each_key(connection: Connection) -> list[SecretsRow]:
    """One endpoint's secrets for each key that sealed any."""
    return [_secrets(row) async for row in _QUERIES.one_of_each_key(connection)]


async def sealed_otherwise(connection: Connection, *, key: str, limit: int) -> list[SecretsRow]:
    """Endpoints with a secret that this key has not sealed, held for this transaction."""
    return [_secrets(row) async for row in _QUERIES.sealed_otherwise(connection, key=key, limit=limit)]


async def put_secrets(connection: Connection, *, endpoint_id: UUID, secrets: Sequence[StoredSecret]) -> None:
    """Write an endpoint's secrets in another form: the present one, then the one before it."""
    previous = secrets[1] if len(secrets) > 1 else None
    await _QUERIES.put_secrets(
        connection,
        id=endpoint_id,
        secret=secrets[0].content,
        secret_key=secrets[0].key,
        previous_secret=previous and previous.content,
        previous_secret_key=previous and previous.key,
    )


def _secrets(row: Mapping[str, Any]) -> SecretsRow:
    found = [StoredSecret(key=row["secret_key"], content=row["secret"])]
    if row["previous_secret"] is not None:
        found.append(StoredSecret(key=row["previous_secret_key"], content=row["previous_secret"]))
    return SecretsRow(id=row["id"], secrets=found)


async def delete_endpoint(connection: Connection, *, endpoint_id: UUID) -> bool:
    """Forget an endpoint; what was on its way to it is abandoned."""
    return (await _QUERIES.delete_endpoint(connection, id=endpoint_id)) is not None


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
