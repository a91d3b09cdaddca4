"""What hubs say of the parties behind them, in PostgreSQL.

Owns: translation between rows and values. Must not know: HTTP, or what follows from a status.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "ocpi_hub_clients.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubClientRecord:
    """One role of a party behind a hub, and whether the hub reaches it; `party_id` is a slug."""

    party_id: str
    role: str
    status: str
    last_updated: datetime


async def save_client(
    connection: Connection, client: HubClientRecord, *, peer_id: UUID, now: datetime
) -> bool | None:
    """Keep what a hub says of a client: True when it is new, None when what is kept is newer."""
    created: bool | None = await _sql.save_client(
        connection,
        peer_id=peer_id,
        party_id=client.party_id,
        role=client.role,
        status=client.status,
        last_updated=client.last_updated,
        now=now,
    )
    return created


async def list_clients_of_party(
    connection: Connection, *, peer_id: UUID, party_id: str
) -> Sequence[HubClientRecord]:
    """The roles of a party behind a hub; empty where the hub has said nothing of it."""
    rows = _sql.clients_of_party(connection, peer_id=peer_id, party_id=party_id)
    return [HubClientRecord(**dict(row)) async for row in rows]


async def list_clients(connection: Connection) -> list[dict[str, Any]]:
    """Every client of every registered hub, as a person looks at them."""
    return [dict(row) async for row in _sql.list_clients(connection)]
