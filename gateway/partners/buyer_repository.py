"""Buyers and the buyer of a session as rows. Owns: these rows. Must not know: who a buyer is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import shard_of

_QUERIES: Final[Any] = named_queries("gateway", "buyers.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerRecord:
    """A buyer of a party; what it is called is in clearing."""

    id: str
    created_at: datetime


async def add_buyer(connection: Connection, buyer_id: str, *, party_id: str, now: datetime) -> None:
    """Store a buyer; one that is stored stays as it is."""
    await _QUERIES.insert_buyer(connection, id=buyer_id, party_id=party_id, now=now)


async def find_buyer(connection: Connection, buyer_id: str, *, party_id: str) -> BuyerRecord | None:
    """A party's buyer."""
    row = await _QUERIES.find_buyer(connection, id=buyer_id, party_id=party_id)
    return None if row is None else BuyerRecord(id=row["id"], created_at=row["created_at"])


async def list_buyers(
    connection: Connection, *, party_id: str, before: str | None, limit: int
) -> Sequence[BuyerRecord]:
    """A party's buyers, the newest first, from after `before`."""
    found = _QUERIES.list_buyers(connection, party_id=party_id, before=before, row_limit=limit)
    return [BuyerRecord(id=row["id"], created_at=row["created_at"]) async for row in found]


async def set_buyer(
    connection: Connection, session_id: UUID, buyer_id: str, *, party_id: str, now: datetime
) -> bool:
    """Name who buys a session that the caller has locked. False: it is no buyer of the party."""
    found = await _QUERIES.set_buyer(
        connection,
        shard=shard_of(session_id),
        session_id=session_id,
        buyer_id=buyer_id,
        party_id=party_id,
        now=now,
    )
    return found is not None


async def lock_session(connection: Connection, session_id: UUID, *, party_id: str) -> str | None:
    """The state of a party's session, locked until the transaction ends; None: there is none."""
    state: str | None = await _QUERIES.lock_session(
        connection, shard=shard_of(session_id), session_id=session_id, party_id=party_id
    )
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSession:
    """A session whose receipt has a link: whose it is, its state, and the link's token."""

    party_id: str
    state: str
    ended_at: datetime | None
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLink:
    """The link to a session's documents in the name of a buyer that its driver named."""

    buyer_id: str
    token: str


async def find_session_buyer(connection: Connection, session_id: UUID) -> str | None:
    """Who buys a session; None: nobody was named."""
    found: str | None = await _QUERIES.buyer_of(connection, shard=shard_of(session_id), session_id=session_id)
    return found


async def add_named_buyer(
    connection: Connection, buyer_id: str, *, party_id: str, named_sha256: bytes, now: datetime
) -> str:
    """The id of a party's buyer that was named with this content: a stored one's, else `buyer_id`."""
    found: str = await _QUERIES.insert_named_buyer(
        connection, id=buyer_id, party_id=party_id, named_sha256=named_sha256, now=now
    )
    return found


async def find_named_session(connection: Connection, session_id: UUID) -> NamedSession | None:
    """A session whose receipt has a link; None: it has none."""
    row = await _QUERIES.named_session(connection, shard=shard_of(session_id), session_id=session_id)
    return None if row is None else NamedSession(**dict(row))


async def add_invoice_link(
    connection: Connection, session_id: UUID, link: InvoiceLink, *, now: datetime
) -> None:
    """Store the link of a session that the caller has locked; it has none yet."""
    await _QUERIES.insert_invoice_link(
        connection,
        shard=shard_of(session_id),
        session_id=session_id,
        buyer_id=link.buyer_id,
        token=link.token,
        now=now,
    )


async def find_invoice_link(connection: Connection, session_id: UUID) -> InvoiceLink | None:
    """The link to a session's documents in the name of who was named by the receipt's link."""
    row = await _QUERIES.invoice_link(connection, shard=shard_of(session_id), session_id=session_id)
    return None if row is None else InvoiceLink(**dict(row))
