"""Which sessions have ended and what they cost, for many authorizations at once; receipts' links; late EVSEs.

Owns: the queries. Must not know: who needs the answer and what follows from it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from clearing.pricing.tariff import TariffSnapshot
from gateway.database import Connection, named_queries
from gateway.ids import shard_of
from gateway.payments.requests import ChargePoint

_QUERIES: Final[Any] = named_queries("gateway", "plug_and_charge.sql")


async def list_ended_sessions(connection: Connection, authorization_ids: Sequence[UUID]) -> set[UUID]:
    """Return the authorizations whose session has ended or has no hold left."""
    rows = _QUERIES.ended_sessions(
        connection, shards=[shard_of(identifier) for identifier in authorization_ids], ids=authorization_ids
    )
    return {row["id"] async for row in rows}


async def load_amounts(
    connection: Connection, authorization_ids: Sequence[UUID]
) -> dict[UUID, tuple[int, str]]:
    """Return what each authorization costs, in minor units, and its currency; unknown ones are left out."""
    rows = _QUERIES.amounts_of_authorizations(
        connection, shards=[shard_of(identifier) for identifier in authorization_ids], ids=authorization_ids
    )
    return {row["id"]: (row["amount_minor"], row["currency"]) async for row in rows}


async def name_evse(
    connection: Connection,
    *,
    shard: int,
    session_id: UUID,
    point: ChargePoint,
    snapshot: TariffSnapshot,
    now: datetime,
) -> bool:
    """Bind a session to the EVSE that its station named and to its tariff; False where it has ended."""
    named = await _QUERIES.name_evse(
        connection,
        shard=shard,
        session_id=session_id,
        location_id=point.location_id,
        evse_id=point.evse_id,
        evse_uid=point.evse_uid,
        evse_power_w=point.evse_power_w,
        power_type=point.power_type,
        tariff_sha256=snapshot.sha256,
        tariff_version=snapshot.version.value,
        tariff_canonical=snapshot.canonical,
        currency=snapshot.currency,
        now=now,
    )
    return named is not None
