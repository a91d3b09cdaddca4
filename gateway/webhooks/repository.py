"""Webhook endpoints, the log of deliveries, and events as rows.

Owns: reads and writes of gateway.webhook_endpoint, the log of gateway.delivery, reads of gateway.event. Must
not know HTTP, signatures, or when to try again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "webhooks.sql")
_FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRecord:
    """A signing secret as stored: encrypted with the key of that name; None: in the clear."""

    key: str | None
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSecretsRecord:
    """An endpoint's secrets: the present one, and the one before it while it still signs."""

    id: UUID
    secrets: Sequence[SecretRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord(FromRow):
    """Where a party's events are sent, and how it has been going. Times are wall time."""

    id: UUID
    party_id: str
    url: str
    event_types: Sequence[str]
    secret: bytes = field(repr=False)
    encryption_key: str | None
    previous_secret: bytes | None = field(repr=False)
    previous_encryption_key: str | None
    previous_secret_until: datetime | None
    state: str
    disabled_reason: str | None
    failing_since: datetime | None
    failures_in_a_row: int
    resume_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord(FromRow):
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
class EventRecord(FromRow):
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
    secret: SecretRecord,
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
        encryption_key=secret.key,
        created_at=now,
    )


async def count_endpoints(connection: Connection, *, party_id: str) -> int:
    """How many endpoints a party has."""
    counted: int = await _QUERIES.count_endpoints(connection, party_id=party_id)
    return counted


async def find_endpoint(
    connection: Connection, *, endpoint_id: UUID, party_id: str | None
) -> EndpointRecord | None:
    """One endpoint; `party_id` None: whoever it belongs to."""
    row = await _QUERIES.select_endpoint(connection, id=endpoint_id, party_id=party_id)
    return None if row is None else EndpointRecord.from_row(row)


async def list_endpoints(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> list[EndpointRecord]:
    """Endpoints, newest first."""
    found = _QUERIES.list_endpoints(connection, party_id=party_id, before=before, limit=limit)
    return [EndpointRecord.from_row(row) async for row in found]


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
    connection: Connection, *, endpoint_id: UUID, secret: SecretRecord, until: datetime
) -> bool:
    """Sign with a new secret, and with the old one as well until `until`."""
    row = await _QUERIES.rotate_secret(
        connection, id=endpoint_id, secret=secret.content, encryption_key=secret.key, until=until
    )
    return row is not None


async def list_one_of_each_key(connection: Connection) -> list[EndpointSecretsRecord]:
    """One endpoint's secrets for each key that encrypted any."""
    return [_secrets(row) async for row in _QUERIES.one_of_each_key(connection)]


async def list_encrypted_with_other_key(
    connection: Connection, *, key: str, limit: int
) -> list[EndpointSecretsRecord]:
    """Endpoints with a secret that this key has not encrypted, locked until the transaction ends."""
    return [
        _secrets(row) async for row in _QUERIES.encrypted_with_other_key(connection, key=key, limit=limit)
    ]


async def put_secrets(connection: Connection, *, endpoint_id: UUID, secrets: Sequence[SecretRecord]) -> None:
    """Write an endpoint's secrets encrypted anew: the present one, then the one before it."""
    previous = secrets[1] if len(secrets) > 1 else None
    await _QUERIES.put_secrets(
        connection,
        id=endpoint_id,
        secret=secrets[0].content,
        encryption_key=secrets[0].key,
        previous_secret=previous and previous.content,
        previous_encryption_key=previous and previous.key,
    )


def _secrets(row: Mapping[str, Any]) -> EndpointSecretsRecord:
    found = [SecretRecord(key=row["encryption_key"], content=row["secret"])]
    if row["previous_secret"] is not None:
        found.append(SecretRecord(key=row["previous_encryption_key"], content=row["previous_secret"]))
    return EndpointSecretsRecord(id=row["id"], secrets=found)


async def delete_endpoint(connection: Connection, *, endpoint_id: UUID) -> bool:
    """Delete an endpoint; its pending deliveries are abandoned."""
    return (await _QUERIES.delete_endpoint(connection, id=endpoint_id)) is not None


async def list_deliveries(
    connection: Connection, *, endpoint_id: UUID, state: str | None, before: UUID | None, limit: int
) -> list[DeliveryRecord]:
    """An endpoint's log, newest event first."""
    found = _QUERIES.list_deliveries(
        connection, endpoint_id=endpoint_id, state=state, before=before, limit=limit
    )
    return [DeliveryRecord.from_row(row) async for row in found]


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
    """Send the events of a time span again, oldest first; their ids."""
    wanted = _QUERIES.events_to_replay(
        connection, endpoint_id=endpoint_id, since=since, until=until, after=after, limit=limit
    )
    found = [row async for row in wanted]
    for shard in sorted({row["shard"] for row in found}):
        rows = [row for row in found if row["shard"] == shard]
        await _QUERIES.replay_shard(
            connection,
            shard=shard,
            endpoint_id=endpoint_id,
            events=[row["id"] for row in rows],
            objects=[row["object_id"] for row in rows],
            wall_now=wall_now,
        )
    return [row["id"] for row in found]


async def retry_delivery(
    connection: Connection, *, endpoint_id: UUID, shard: int, event_id: UUID, wall_now: datetime
) -> bool:
    """Send one event again; False when the endpoint's party has no such event."""
    row = await _QUERIES.send_again(
        connection, endpoint_id=endpoint_id, shard=shard, event_id=event_id, wall_now=wall_now
    )
    return row is not None


async def add_events(connection: Connection, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Insert events in one statement; each row has shard, id, party_id, type, object_id and data."""
    await _QUERIES.insert_events(connection, events=list(rows), now=now)


async def add_test_event(
    connection: Connection,
    event: EventRecord,
    *,
    shard: int,
    endpoint_id: UUID,
    wall_now: datetime,
) -> None:
    """Record an event that goes to one endpoint only."""
    await _QUERIES.insert_test_event(
        connection,
        shard=shard,
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
) -> list[EventRecord]:
    """Events with after < id < horizon, oldest first."""
    found = _QUERIES.list_events(
        connection,
        party_id=party_id,
        types=None if types is None else list(types),
        after=after or _FIRST,
        horizon=horizon,
        limit=limit,
    )
    return [EventRecord.from_row(row) async for row in found]


async def find_event(
    connection: Connection, *, shard: int, event_id: UUID, party_id: str | None
) -> EventRecord | None:
    """One event."""
    row = await _QUERIES.select_event(connection, shard=shard, id=event_id, party_id=party_id)
    return None if row is None else EventRecord.from_row(row)


async def find_oldest_undelivered_event(connection: Connection) -> datetime | None:
    """When the oldest event was created that some endpoint has not acknowledged; None if there is none."""
    created: datetime | None = await _QUERIES.oldest_undelivered(connection)
    return created
