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
    """What is sealed of an endpoint: its secret, the one before it while it still signs, its own headers."""

    id: UUID
    secret: SecretRecord
    previous_secret: SecretRecord | None
    headers: SecretRecord | None

    @property
    def all(self) -> Sequence[SecretRecord]:
        """Each of them that there is."""
        return [one for one in (self.secret, self.previous_secret, self.headers) if one is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSigningKey:
    """A key to be stored: its scheme, the sealed secret, and the public key of an asymmetric one."""

    signature: str
    secret: SecretRecord
    public_key: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedHeaders:
    """An endpoint's own headers: their names, and all of them sealed; None where there are none."""

    names: Sequence[str] = ()
    content: SecretRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord(FromRow):
    """Where a party's events are sent, and how it has been going. Times are wall time."""

    id: UUID
    party_id: str
    url: str
    event_types: Sequence[str]
    filter: Mapping[str, Any] | None  # as EventFilter.to_json
    signature: str
    secret: bytes = field(repr=False)
    encryption_key: str | None
    public_key: bytes | None
    previous_signature: str | None
    previous_secret: bytes | None = field(repr=False)
    previous_encryption_key: str | None
    previous_public_key: bytes | None
    previous_secret_until: datetime | None
    header_names: Sequence[str]
    headers: bytes | None = field(repr=False)
    headers_encryption_key: str | None
    api_version: str
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
class AttemptRecord(FromRow):
    """One attempt to deliver an event, with how the receiver's answer began."""

    id: UUID
    event_id: UUID
    status: int | None
    error: str | None
    answer: str | None
    answer_cut: bool
    duration_ms: int
    attempted_at: datetime


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
    key: NewSigningKey,
    headers: SealedHeaders,
    api_version: str,
    now: datetime,
    event_filter: Mapping[str, Any] | None = None,
) -> None:
    """Store an endpoint; the same id again changes nothing."""
    await _QUERIES.insert_endpoint(
        connection,
        id=endpoint_id,
        party_id=party_id,
        url=url,
        event_types=list(event_types),
        filter=event_filter or None,
        signature=key.signature,
        secret=key.secret.content,
        encryption_key=key.secret.key,
        public_key=key.public_key,
        header_names=list(headers.names),
        headers=headers.content and headers.content.content,
        headers_encryption_key=headers.content and headers.content.key,
        api_version=api_version,
        created_at=now,
    )


async def lock_party(connection: Connection, *, party_id: str) -> None:
    """Lock a party until the transaction ends: who counts its endpoints waits."""
    await _QUERIES.lock_party(connection, party_id=party_id)


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
    event_filter: Mapping[str, Any] | None = None,
    api_version: str | None = None,
) -> bool:
    """Change what is not None; an empty filter takes the filter away."""
    row = await _QUERIES.update_endpoint(
        connection,
        id=endpoint_id,
        url=url,
        event_types=None if event_types is None else list(event_types),
        filter=event_filter,
        state=state,
        api_version=api_version,
    )
    return row is not None


async def lock_headers(connection: Connection, *, endpoint_id: UUID) -> SecretRecord | None:
    """Lock an endpoint until the transaction ends; its own headers, sealed."""
    row = await _QUERIES.lock_endpoint(connection, id=endpoint_id)
    if row is None or row["headers"] is None:
        return None
    return SecretRecord(key=row["headers_encryption_key"], content=row["headers"])


async def put_headers(connection: Connection, *, endpoint_id: UUID, headers: SealedHeaders) -> None:
    """Write an endpoint's own headers, all of them."""
    await _QUERIES.put_headers(
        connection,
        id=endpoint_id,
        header_names=list(headers.names),
        headers=headers.content and headers.content.content,
        headers_encryption_key=headers.content and headers.content.key,
    )


async def find_public_keys(
    connection: Connection, *, endpoint_id: UUID, wall_now: datetime
) -> list[bytes] | None:
    """The public keys of an endpoint in force, the present one first; None where there is no endpoint."""
    row = await _QUERIES.public_keys(connection, id=endpoint_id, wall_now=wall_now)
    return None if row is None else [key for key in (row["public_key"], row["previous_public_key"]) if key]


async def rotate_secret(
    connection: Connection, *, endpoint_id: UUID, key: NewSigningKey, until: datetime
) -> bool:
    """Sign with a new key, and with the old one as well until `until`."""
    row = await _QUERIES.rotate_secret(
        connection,
        id=endpoint_id,
        signature=key.signature,
        secret=key.secret.content,
        encryption_key=key.secret.key,
        public_key=key.public_key,
        until=until,
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


async def put_secrets(connection: Connection, sealed: EndpointSecretsRecord) -> None:
    """Write what is sealed of an endpoint, encrypted anew."""
    previous, headers = sealed.previous_secret, sealed.headers
    await _QUERIES.put_secrets(
        connection,
        id=sealed.id,
        secret=sealed.secret.content,
        encryption_key=sealed.secret.key,
        previous_secret=previous and previous.content,
        previous_encryption_key=previous and previous.key,
        headers=headers and headers.content,
        headers_encryption_key=headers and headers.key,
    )


def _secrets(row: Mapping[str, Any]) -> EndpointSecretsRecord:
    return EndpointSecretsRecord(
        id=row["id"],
        secret=SecretRecord(key=row["encryption_key"], content=row["secret"]),
        previous_secret=None
        if row["previous_secret"] is None
        else SecretRecord(key=row["previous_encryption_key"], content=row["previous_secret"]),
        headers=None
        if row["headers"] is None
        else SecretRecord(key=row["headers_encryption_key"], content=row["headers"]),
    )


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


async def list_attempts(
    connection: Connection,
    *,
    endpoint_id: UUID,
    shard: int,
    event_id: UUID,
    before: UUID | None,
    limit: int,
) -> list[AttemptRecord] | None:
    """The attempts of one event at an endpoint, newest first; None where it was never to be sent there."""
    if not await _QUERIES.has_delivery(connection, shard=shard, endpoint_id=endpoint_id, event_id=event_id):
        return None
    found = _QUERIES.list_attempts(
        connection, shard=shard, endpoint_id=endpoint_id, event_id=event_id, before=before, limit=limit
    )
    return [AttemptRecord.from_row(row) async for row in found]


async def retry_delivery(connection: Connection, *, endpoint_id: UUID, shard: int, event_id: UUID) -> bool:
    """Send one event again; False when the endpoint's party has no such event."""
    row = await _QUERIES.send_again(connection, endpoint_id=endpoint_id, shard=shard, event_id=event_id)
    return row is not None


async def add_events(connection: Connection, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Insert `event_rows` with their deliveries in one statement."""
    await _QUERIES.insert_events(connection, events=list(rows), now=now)


async def add_test_event(
    connection: Connection,
    event: EventRecord,
    *,
    shard: int,
    endpoint_id: UUID,
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


async def list_newest_events(
    connection: Connection,
    *,
    party_id: str | None,
    types: Sequence[str] | None,
    before: UUID,
    limit: int,
) -> list[EventRecord]:
    """Events with id < before, newest first."""
    found = _QUERIES.list_newest_events(
        connection,
        party_id=party_id,
        types=None if types is None else list(types),
        before=before,
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
