"""Where the pulls of peers' lists stand, in PostgreSQL.

Owns: translation between rows and values. Must not know: HTTP, or what a list holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "ocpi_pulls.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRecord:
    """One list of one peer.

    `since` bounds the next run from below; a run under way has `run_until` and `next_url`, and `total` where
    the peer named one.
    """

    peer_id: UUID
    module: str
    since: datetime | None
    run_until: datetime | None
    next_url: str | None
    seen: int
    rejected: int
    failures: int
    total: int | None = None


async def plan(
    connection: Connection, *, peer_id: UUID, module: str, now: datetime, wall_now: datetime
) -> None:
    """Have a list pulled from now on; again and again changes nothing."""
    await _sql.plan_pull(connection, peer_id=peer_id, module=module, now=now, wall_now=wall_now)


async def plan_peer(
    connection: Connection, *, peer_id: UUID, modules: Sequence[str], now: datetime, due_at: datetime
) -> None:
    """Have those of `modules` that a peer offers pulled from `due_at` (wall time) on.

    Planned ones stay as they are.
    """
    await _sql.plan_peer(connection, peer_id=peer_id, modules=list(modules), now=now, due_at=due_at)


async def run_now(
    connection: Connection, *, peer_id: UUID, module: str, wall_now: datetime, whole: bool = False
) -> bool:
    """Make a planned pull due now; False when none is planned. `whole`: from the beginning of the list."""
    due = await _sql.run_pull_now(connection, peer_id=peer_id, module=module, wall_now=wall_now, whole=whole)
    return due is not None


async def rewind(connection: Connection, *, since: datetime, wall_now: datetime) -> int:
    """Have every list read again from `since` on, from now; returns how many."""
    return len([row async for row in _sql.rewind_pulls(connection, since=since, wall_now=wall_now)])


async def claim(connection: Connection, *, wall_now: datetime, leased_until: datetime) -> PullRecord | None:
    """The longest due pull of a registered peer, kept from others until `leased_until`."""
    return _pull(await _sql.claim_pull(connection, wall_now=wall_now, leased_until=leased_until))


async def load(connection: Connection, *, peer_id: UUID, module: str) -> PullRecord | None:
    """One pull."""
    return _pull(await _sql.load_pull(connection, peer_id=peer_id, module=module))


async def list_pulls(connection: Connection) -> list[dict[str, Any]]:
    """Every list of every registered peer, as a person looks at them."""
    return [dict(row) async for row in _sql.list_pulls(connection)]


async def advance(connection: Connection, pull: PullRecord, *, due_at: datetime, now: datetime) -> None:
    """Record that a page was read; in the transaction that keeps its objects."""
    await _sql.advance_pull(
        connection,
        peer_id=pull.peer_id,
        module=pull.module,
        run_until=pull.run_until,
        next_url=pull.next_url,
        seen=pull.seen,
        total=pull.total,
        rejected=pull.rejected,
        due_at=due_at,
        now=now,
    )


async def finish(
    connection: Connection, pull: PullRecord, *, since: datetime, due_at: datetime, now: datetime
) -> None:
    """Record that the last page was read; the next run begins at `since`."""
    await _sql.finish_pull(
        connection,
        peer_id=pull.peer_id,
        module=pull.module,
        since=since,
        seen=pull.seen,
        total=pull.total,
        rejected=pull.rejected,
        due_at=due_at,
        now=now,
    )


async def fail(
    connection: Connection,
    pull: PullRecord,
    *,
    reason: str,
    from_start: bool,
    list_short: bool,
    due_at: datetime,
    now: datetime,
) -> None:
    """Record a failure; the run resumes at its page, or from its start when that page no longer exists.

    `list_short`: the list ended before its end.
    """
    await _sql.fail_pull(
        connection,
        peer_id=pull.peer_id,
        module=pull.module,
        reason=reason,
        from_start=from_start,
        list_short=list_short,
        due_at=due_at,
        now=now,
    )


def _pull(row: Any) -> PullRecord | None:
    if row is None:
        return None
    return PullRecord(
        peer_id=row["peer_id"],
        module=row["module"],
        since=row["since"],
        run_until=row["run_until"],
        next_url=row["next_url"],
        seen=row["seen"],
        rejected=row["rejected"],
        failures=row["failures"],
        total=row["total"],
    )
