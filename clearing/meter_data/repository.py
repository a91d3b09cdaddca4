"""Keys of meters, policies and claimed records in PostgreSQL.

Owns: rows to values and back. Must not know: which key counts, or what a verdict means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.meter_data.findings import MeterPolicy
from clearing.meter_data.registered_key import (
    MeterIdentity,
    MeterKeySource,
    MeterKeyState,
    MeterPolicyRecord,
    RegisteredKey,
)

_sql = named_queries("meter_data")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordName:
    """What names one record of a CPO's meters, and the SHA-256 of its payload."""

    source: str
    page: str
    payload_sha256: bytes


async def lock_party(connection: Connection, party_id: str) -> None:
    """Lock the party against other changes of its keys until the transaction ends."""
    await _sql.lock_party(connection, party_id=party_id)


async def insert_key(connection: Connection, key: RegisteredKey) -> None:
    """Store a key."""
    meter, gateway, point = key.identity.parts
    await _sql.insert_key(
        connection,
        id=key.id,
        party_id=key.party_id,
        meter_serial=key.identity.meter_serial,
        gateway_serial=key.identity.gateway_serial,
        charge_point_id=key.identity.charge_point_id,
        meter_key=meter,
        gateway_key=gateway,
        point_key=point,
        curve=key.curve,
        der=key.der,
        source=key.source.value,
        state=key.state.value,
        valid_from=key.valid_from,
        valid_to=key.valid_to,
        entered_by=key.entered_by,
        entered_at=key.entered_at,
    )


async def list_keys_of(
    connection: Connection, party_id: str, identities: Sequence[MeterIdentity]
) -> list[RegisteredKey]:
    """The party's keys, save rejected ones, that share a part with one of the identities."""
    meters, gateways, points = zip(*(identity.parts for identity in identities), strict=True)
    found = _sql.keys_of_identities(
        connection, party_id=party_id, meters=list(meters), gateways=list(gateways), points=list(points)
    )
    return [_key(row) for row in await rows(found)]


async def has_key(connection: Connection, party_id: str, *, at: datetime) -> bool:
    """Whether any key of the party counts at an instant."""
    found: bool = await _sql.has_key(connection, party_id=party_id, at=at)
    return found


async def list_keys(
    connection: Connection,
    *,
    party_id: str | None,
    state: MeterKeyState | None,
    before: UUID | None,
    limit: int,
) -> list[RegisteredKey]:
    """Keys, the latest entered first, those with an id below `before`."""
    found = _sql.keys(
        connection,
        party_id=party_id,
        state=None if state is None else state.value,
        before=before,
        row_limit=limit,
    )
    return [_key(row) for row in await rows(found)]


async def lock_key(connection: Connection, key_id: UUID) -> RegisteredKey | None:
    """One key, locked until the transaction ends."""
    row = await _sql.lock_key(connection, id=key_id)
    return None if row is None else _key(row)


async def decide_key(
    connection: Connection, key_id: UUID, *, state: MeterKeyState, by: str, now: datetime
) -> None:
    """Record the decision on a proposed key."""
    await _sql.decide_key(connection, id=key_id, state=state.value, by=by, now=now)


async def end_key(connection: Connection, key_id: UUID, *, valid_to: datetime) -> None:
    """The key counts until then."""
    await _sql.end_key(connection, id=key_id, valid_to=valid_to)


async def set_policy(
    connection: Connection,
    party_id: str,
    policy: MeterPolicy,
    *,
    valid_from: datetime,
    by: str,
    now: datetime,
) -> None:
    """Set the policy from an instant on; set again for the same instant, it is replaced."""
    await _sql.set_policy(
        connection, party_id=party_id, policy=policy.value, valid_from=valid_from, by=by, now=now
    )


async def find_policy(connection: Connection, party_id: str, *, at: datetime) -> MeterPolicy | None:
    """The policy in force at an instant, None where none was set."""
    found: str | None = await _sql.policy_at(connection, party_id=party_id, at=at)
    return None if found is None else MeterPolicy(found)


async def list_policies(connection: Connection, party_id: str) -> list[MeterPolicyRecord]:
    """A party's policies, the latest first; a thousand at most."""
    return [
        MeterPolicyRecord(**dict(row.items()) | {"policy": MeterPolicy(row["policy"])})
        for row in await rows(_sql.policies(connection, party_id=party_id))
    ]


async def claim_records(
    connection: Connection,
    party_id: str,
    names: Sequence[RecordName],
    *,
    session_id: UUID,
    cdr_id: str,
    now: datetime,
) -> list[str]:
    """Claim records for a session. Returns the pages that another session has claimed before."""
    found = _sql.claim_records(
        connection,
        party_id=party_id,
        sources=[name.source for name in names],
        pages=[name.page for name in names],
        digests=[name.payload_sha256 for name in names],
        session_id=session_id,
        cdr_id=cdr_id,
        now=now,
    )
    return [row["page"] for row in await rows(found)]


def _key(row: Mapping[str, Any]) -> RegisteredKey:
    return RegisteredKey(
        id=row["id"],
        party_id=row["party_id"],
        identity=MeterIdentity(
            meter_serial=row["meter_serial"],
            gateway_serial=row["gateway_serial"],
            charge_point_id=row["charge_point_id"],
        ),
        curve=row["curve"],
        der=bytes(row["der"]),
        source=MeterKeySource(row["source"]),
        state=MeterKeyState(row["state"]),
        valid_from=row["valid_from"],
        valid_to=row["valid_to"],
        entered_by=row["entered_by"],
        entered_at=row["entered_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
    )
