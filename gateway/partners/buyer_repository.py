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
    """Name who buys a session. False: it is no buyer of the party, or the session is cleared or cancelled."""
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
