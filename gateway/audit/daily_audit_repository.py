"""What the daily audit reads of the gateway's tables: sessions page by page, accounts, what is under way.

Owns: the queries and the size of a page. Must not know: which sessions are asked for, what a finding says.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from uuid import UUID

from gateway.audit.psp_comparison import UnderWay
from gateway.audit.system_audit_repository import checks_of, under_way_of
from gateway.database import Connection, named_queries
from gateway.ids import shard_of

_sql = named_queries("gateway", "daily_audit.sql")
PAGE: Final = 5000
_CHECKS: Final = checks_of(_sql)


async def read_shard(connection: Connection, shard: int, *, after: UUID) -> AsyncIterator[list[UUID]]:
    """The sessions of a shard with ids after this one, a page at a time."""
    while True:
        found = [
            row["id"]
            async for row in _sql.sessions_in_shard(connection, shard=shard, after=after, limit=PAGE)
        ]
        if found:
            yield found
        if len(found) < PAGE:
            return
        after = found[-1]


async def find_failed_checks(connection: Connection, sessions: Sequence[UUID]) -> dict[str, Sequence[UUID]]:
    """Those of these sessions that fail a check, by the check's name; every check is named."""
    keys = _keys(sessions)
    return {
        name: [row["session_id"] async for row in check(connection, **keys)]
        for name, check in _CHECKS.items()
    }


async def find_open(connection: Connection, sessions: Sequence[UUID]) -> list[UUID]:
    """Those of these sessions that may still change."""
    return [row["id"] async for row in _sql.open_sessions(connection, **_keys(sessions))]


async def sum_cleared(connection: Connection, sessions: Sequence[UUID]) -> dict[tuple[UUID, str], int]:
    """Captured and cleared of each session, less what was refunded or disputed, by currency; minor units."""
    return {
        (row["session_id"], row["currency"]): row["minor"]
        async for row in _sql.cleared_of(connection, **_keys(sessions))
    }


async def list_accounts(connection: Connection, *, share: int, shares: int) -> list[tuple[str, str]]:
    """The funded accounts of a share: party and currency."""
    return [
        (row["party_id"], row["currency"])
        async for row in _sql.accounts_of_share(connection, share=share, shares=shares)
    ]


async def sum_under_way(connection: Connection, open_sessions: Sequence[UUID]) -> dict[str, UnderWay]:
    """What has begun and is not in every book yet, by currency; transfers are clearing's."""
    return await under_way_of(_sql.under_way(connection, **_keys(open_sessions)))


def _keys(sessions: Sequence[UUID]) -> dict[str, Any]:
    return {"shards": [shard_of(one) for one in sessions], "ids": list(sessions)}
