"""Holds that need attention, and the policies for sessions without a CDR, in PostgreSQL.

Owns: the translation between values and rows. Must not know: what is done about a hold, the clock.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.records import MissingCdrAction, MissingCdrPolicy, StaleSession

_sql = named_queries("gateway", "holds.sql")


async def list_holds_ending(
    connection: Connection, *, shards: Sequence[int], before: datetime, now: datetime, batch: int
) -> Sequence[tuple[int, UUID]]:
    """Holds that end before `before`: shard and authorization id, the longest unchecked first."""
    rows = _sql.holds_ending(connection, shards=list(shards), before=before, now=now, batch=batch)
    return [(row["shard"], row["id"]) async for row in rows]


async def list_actions_waiting(
    connection: Connection, *, shards: Sequence[int], since: datetime, now: datetime, batch: int
) -> Sequence[tuple[int, UUID]]:
    """Authorizations that wait for the cardholder since `since`."""
    rows = _sql.actions_waiting(connection, shards=list(shards), since=since, now=now, batch=batch)
    return [(row["shard"], row["id"]) async for row in rows]


async def list_stale_sessions(
    connection: Connection,
    *,
    shards: Sequence[int],
    now: datetime,
    patience: timedelta,
    lost_by: datetime,
    batch: int,
) -> Sequence[StaleSession]:
    """Holds of sessions that no CDR has ended in the time of their policy, else in `patience`."""
    rows = _sql.stale_sessions(
        connection, shards=list(shards), now=now, patience=patience, lost_by=lost_by, batch=batch
    )
    return [
        StaleSession(shard=row["shard"], authorization_id=row["id"], action=MissingCdrAction(row["action"]))
        async for row in rows
    ]


async def claim_check(
    connection: Connection, *, shard: int, authorization_id: UUID, now: datetime, again_at: datetime
) -> bool:
    """Claim the check of an authorization until `again_at`. False: another worker has claimed it."""
    row = await _sql.claim_check(connection, shard=shard, id=authorization_id, now=now, again_at=again_at)
    return row is not None


async def load_policy(connection: Connection, *, party_id: str) -> MissingCdrPolicy | None:
    """A party's own policy."""
    row = await _sql.missing_cdr_policy(connection, party_id=party_id)
    if row is None:
        return None
    return MissingCdrPolicy(action=MissingCdrAction(row["action"]), after_days=row["after_days"])


async def set_policy(connection: Connection, policy: MissingCdrPolicy, *, party_id: str) -> None:
    """Set a party's policy."""
    await _sql.set_missing_cdr_policy(
        connection, party_id=party_id, action=policy.action.value, after_days=policy.after_days
    )
