"""Contract pools that are asked, in PostgreSQL: whom, and how far the present round has come.

Owns: the translation between values and rows. Must not know what an answer leads to.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries
from gateway.webhooks.repository import SecretRecord

_QUERIES: Final[Any] = named_queries("gateway", "contract_pool_lookup.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLookupRecord(FromRow):
    """How a feed's pool is asked. `after_emaid`: contracts up to it were looked up in this round."""

    feed_id: UUID
    url: str
    token_url: str
    audience: str
    client_id: str
    client_secret: bytes = field(repr=False)
    encryption_key: str | None
    after_emaid: str
    next_at: datetime
    finished_at: datetime | None
    failures: int
    problem: str
    party_id: str
    protocol: str

    @property
    def secret(self) -> SecretRecord:
        """The client's secret as it is stored."""
        return SecretRecord(key=self.encryption_key, content=self.client_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPoolLookup:
    """How a pool is asked: its address, and the OAuth client of the party."""

    url: str
    token_url: str
    audience: str
    client_id: str


async def put_lookup(
    connection: Connection, lookup: NewPoolLookup, *, feed_id: UUID, secret: SecretRecord, next_at: datetime
) -> None:
    """Have a feed's pool asked from now on, or change how. `next_at` is wall time."""
    await _QUERIES.put_lookup(
        connection,
        feed_id=feed_id,
        url=lookup.url,
        token_url=lookup.token_url,
        audience=lookup.audience,
        client_id=lookup.client_id,
        client_secret=secret.content,
        encryption_key=secret.key,
        next_at=next_at,
    )


async def delete_lookup(connection: Connection, feed_id: UUID) -> None:
    """Have a feed's pool asked no more."""
    await _QUERIES.delete_lookup(connection, feed_id=feed_id)


async def find_lookup(connection: Connection, feed_id: UUID) -> PoolLookupRecord | None:
    """How a feed's pool is asked, if it is."""
    row = await _QUERIES.find_lookup(connection, feed_id=feed_id)
    return None if row is None else PoolLookupRecord.from_row(row)


async def lease_lookup(
    connection: Connection, *, wall_now: datetime, leased_until: datetime
) -> PoolLookupRecord | None:
    """The lookup that has been due the longest, with its party and protocol."""
    row = await _QUERIES.lease_lookup(connection, wall_now=wall_now, leased_until=leased_until)
    return None if row is None else PoolLookupRecord.from_row(row)


async def move_lookup(
    connection: Connection,
    lookup: PoolLookupRecord,
    *,
    after_emaid: str,
    next_at: datetime,
    finished_at: datetime | None = None,
) -> bool:
    """Record how far a round has come; False when it was moved by somebody else."""
    moved = await _QUERIES.move_lookup(
        connection,
        feed_id=lookup.feed_id,
        before_emaid=lookup.after_emaid,
        url=lookup.url,
        after_emaid=after_emaid,
        next_at=next_at,
        finished_at=finished_at,
    )
    return moved is not None


async def postpone_lookup(
    connection: Connection, lookup: PoolLookupRecord, *, next_at: datetime, problem: str
) -> None:
    """Record why a pool gave no answer, and when it is asked again from where the round is."""
    await _QUERIES.postpone_lookup(
        connection,
        feed_id=lookup.feed_id,
        before_emaid=lookup.after_emaid,
        url=lookup.url,
        next_at=next_at,
        problem=problem,
    )


async def list_encrypted_with_other_key(
    connection: Connection, *, key: str | None
) -> list[tuple[UUID, SecretRecord]]:
    """Lookups whose secret this key has not encrypted, locked until the transaction ends."""
    rows = _QUERIES.lookups_encrypted_with_other_key(connection, key=key)
    return [
        (row["feed_id"], SecretRecord(key=row["encryption_key"], content=row["client_secret"]))
        async for row in rows
    ]


async def put_lookup_secret(connection: Connection, feed_id: UUID, secret: SecretRecord) -> None:
    """Write a lookup's secret encrypted anew."""
    await _QUERIES.put_lookup_secret(
        connection, feed_id=feed_id, client_secret=secret.content, encryption_key=secret.key
    )
