"""Contract pools in PostgreSQL: feeds, the events they received, and the last one applied to each contract.

Owns: the translation between values and rows. Must not know what an event leads to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries
from gateway.ids import new_id
from gateway.webhooks.repository import SecretRecord
from pnc.contract_pool import PoolChange, PoolEvent, PoolPosition

_QUERIES: Final[Any] = named_queries("gateway", "contract_pool.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFeedRecord(FromRow):
    """A party's feed: how its pool's events are proved and read, and what a new contract pays with."""

    id: UUID
    party_id: str
    protocol: str
    secret: bytes = field(repr=False)
    encryption_key: str | None
    authorities: str
    new_contracts: str
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFeedState(FromRow):
    """A feed without its secret, and how many of its events are in which state."""

    id: UUID
    party_id: str
    protocol: str
    authorities: str
    new_contracts: str
    enabled: bool
    created_at: datetime
    updated_at: datetime
    pending: int
    waiting: int
    applied: int
    superseded: int
    ignored: int
    last_received_at: datetime | None
    oldest_waiting_at: datetime | None
    lookup_url: str | None
    lookup_client_id: str | None
    looked_up_at: datetime | None
    lookup_problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEventRecord(FromRow):
    """An event as it was received, and what became of it."""

    id: UUID
    feed_id: UUID
    event_id: UUID
    name: str
    change: str | None
    emaid: str
    vehicle: str
    certificate: str | None
    state: str
    reason: str
    detail: str
    occurred_at: datetime
    received_at: datetime
    decided_at: datetime | None

    @property
    def event(self) -> PoolEvent:
        """The event as the pool reported it."""
        return PoolEvent(
            event_id=self.event_id,
            name=self.name,
            change=None if self.change is None else PoolChange(self.change),
            emaid=self.emaid,
            vehicle=self.vehicle,
            occurred_at=self.occurred_at,
            certificate=self.certificate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPoolFeed:
    """A feed as its party sets it up; the secret is encrypted already."""

    party_id: str
    protocol: str
    authorities: str
    new_contracts: str
    enabled: bool


async def put_feed(
    connection: Connection, feed: NewPoolFeed, *, feed_id: UUID, secret: SecretRecord, now: datetime
) -> PoolFeedRecord:
    """Create a party's feed, or change it."""
    row = await _QUERIES.put_feed(
        connection,
        id=feed_id,
        party_id=feed.party_id,
        protocol=feed.protocol,
        secret=secret.content,
        encryption_key=secret.key,
        authorities=feed.authorities,
        new_contracts=feed.new_contracts,
        enabled=feed.enabled,
        now=now,
    )
    return PoolFeedRecord.from_row(row)


async def find_feed(connection: Connection, party_id: str) -> PoolFeedRecord | None:
    """A party's feed."""
    row = await _QUERIES.feed_of_party(connection, party_id=party_id)
    return None if row is None else PoolFeedRecord.from_row(row)


async def load_feed(connection: Connection, feed_id: UUID) -> PoolFeedRecord:
    """The feed of an event."""
    return PoolFeedRecord.from_row(await _QUERIES.feed_by_id(connection, id=feed_id))


async def list_feeds(connection: Connection, *, party_id: str | None = None) -> list[PoolFeedState]:
    """Every feed, or a party's, with the states of its events."""
    return [PoolFeedState.from_row(row) async for row in _QUERIES.feed_states(connection, party_id=party_id)]


async def insert_event(
    connection: Connection, event: PoolEvent, *, feed_id: UUID, now: datetime
) -> UUID | None:
    """Store an event to be applied; None when the pool has sent it before."""
    row = await _QUERIES.insert_event(
        connection,
        id=new_id(),
        feed_id=feed_id,
        event_id=event.event_id,
        name=event.name,
        change=event.change,
        emaid=event.emaid,
        vehicle=event.vehicle,
        certificate=event.certificate,
        occurred_at=event.occurred_at,
        now=now,
    )
    return None if row is None else row["id"]


async def lock_pending(connection: Connection, event_id: UUID) -> PoolEventRecord | None:
    """A pending event, locked until the transaction ends; None when it is decided already."""
    row = await _QUERIES.lock_event(connection, id=event_id)
    return None if row is None else PoolEventRecord.from_row(row)


async def decide(
    connection: Connection, event_id: UUID, *, state: str, reason: str, detail: str, now: datetime
) -> None:
    """Record what became of an event."""
    await _QUERIES.decide_event(connection, id=event_id, state=state, reason=reason, detail=detail, now=now)


async def list_pending(connection: Connection, *, limit: int) -> list[UUID]:
    """Events to be applied, the oldest first."""
    return [row["id"] async for row in _QUERIES.pending_events(connection, limit=limit)]


async def list_events(
    connection: Connection, *, feed_id: UUID, state: str | None, before: UUID | None, limit: int
) -> list[PoolEventRecord]:
    """A feed's events, the latest first."""
    rows = _QUERIES.list_events(connection, feed_id=feed_id, state=state, before=before, limit=limit)
    return [PoolEventRecord.from_row(row) async for row in rows]


async def find_event(
    connection: Connection, event_id: UUID, *, party_id: str | None
) -> PoolEventRecord | None:
    """One event, of a party's feed when given."""
    row = await _QUERIES.event_of_party(connection, id=event_id, party_id=party_id)
    return None if row is None else PoolEventRecord.from_row(row)


async def dismiss_event(connection: Connection, event_id: UUID, *, detail: str, now: datetime) -> bool:
    """Leave a waiting event as it is for good; False when it does not wait."""
    return await _QUERIES.dismiss_event(connection, id=event_id, detail=detail, now=now) is not None


async def retry_event(connection: Connection, event_id: UUID) -> bool:
    """Have a waiting event applied again; False when it does not wait."""
    return await _QUERIES.retry_event(connection, id=event_id) is not None


async def lock_position(connection: Connection, *, feed_id: UUID, emaid: str) -> PoolPosition | None:
    """The last event applied to a contract; nobody else applies one until the transaction ends."""
    await _QUERIES.lock_contract(connection, feed_id=feed_id, emaid=emaid)
    return await find_position(connection, feed_id=feed_id, emaid=emaid)


async def find_position(connection: Connection, *, feed_id: UUID, emaid: str) -> PoolPosition | None:
    """The last event applied to a contract."""
    row = await _QUERIES.load_position(connection, feed_id=feed_id, emaid=emaid)
    if row is None:
        return None
    return PoolPosition(
        change=PoolChange(row["change"]),
        vehicle=row["vehicle"],
        occurred_at=row["occurred_at"],
        blocked_revision=row["blocked_revision"],
    )


async def put_position(connection: Connection, position: PoolPosition, *, feed_id: UUID, emaid: str) -> None:
    """Record the last event applied to a contract."""
    await _QUERIES.put_position(
        connection,
        feed_id=feed_id,
        emaid=emaid,
        change=position.change.value,
        vehicle=position.vehicle,
        occurred_at=position.occurred_at,
        blocked_revision=position.blocked_revision,
    )


async def delete_old_events(connection: Connection, *, received_before: datetime, limit: int) -> int:
    """Delete events that were decided, a batch; returns how many."""
    return int(await _QUERIES.delete_old_events(connection, received_before=received_before, limit=limit))


async def list_encrypted_with_other_key(
    connection: Connection, *, key: str | None
) -> Sequence[tuple[UUID, SecretRecord]]:
    """Feeds whose secret this key has not encrypted, locked until the transaction ends."""
    rows = _QUERIES.feeds_encrypted_with_other_key(connection, key=key)
    return [(row["id"], SecretRecord(key=row["encryption_key"], content=row["secret"])) async for row in rows]


async def put_feed_secret(connection: Connection, feed_id: UUID, secret: SecretRecord) -> None:
    """Write a feed's secret encrypted anew."""
    await _QUERIES.put_feed_secret(connection, id=feed_id, secret=secret.content, encryption_key=secret.key)
