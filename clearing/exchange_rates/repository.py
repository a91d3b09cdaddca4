"""The feed of published rates, and what waits for rates, in PostgreSQL.

Owns: rows to values and back. Must not know: when rates are fetched, which rates are accepted.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from clearing.captured_session import shard_of
from clearing.connection import Connection, named_queries, rows
from clearing.exchange_rates.rate_feed import RateFetch, WaitingSession

_sql = named_queries("exchange_rates")


async def lock_rates(connection: Connection) -> None:
    """One import at a time, until the transaction ends."""
    await _sql.lock_rates(connection)


async def find_newest_rate(connection: Connection) -> date | None:
    """The last day with a rate."""
    day: date | None = await _sql.newest_rate(connection)
    return day


async def uses_exchange(connection: Connection) -> bool:
    """Whether any session was cleared in two currencies, or waits for a rate."""
    uses: bool = await _sql.uses_exchange(connection)
    return uses


async def lease_feed(
    connection: Connection, source: str, *, until: datetime, wall_now: datetime
) -> int | None:
    """The right to fetch until an instant; the failures in a row so far. None: not due, or leased."""
    failures: int | None = await _sql.lease_feed(connection, source=source, until=until, wall_now=wall_now)
    return failures


async def record_fetch(
    connection: Connection,
    source: str,
    fetch: RateFetch,
    *,
    next_at: datetime,
    answered: bool,
    wall_now: datetime,
) -> None:
    """Record how a fetch ended and when the next one is due."""
    await _sql.record_fetch(
        connection,
        source=source,
        next_at=next_at,
        failures=fetch.failures,
        problem=fetch.problem,
        answered=answered,
        wall_now=wall_now,
    )


async def find_last_fetch(connection: Connection, source: str) -> RateFetch | None:
    """How the last fetch of a source ended."""
    row = await _sql.last_fetch(connection, source=source)
    return None if row is None else RateFetch(**dict(row.items()))


async def list_sessions_waiting_for_rates(
    connection: Connection, *, margin: timedelta, after: WaitingSession | None, limit: int
) -> Sequence[WaitingSession]:
    """A page of sessions that a missing rate stopped before the last import, in the order of their key."""
    found = await rows(
        _sql.waiting_for_rates(
            connection,
            margin=margin,
            after_shard=0 if after is None else after.shard,
            after_id=UUID(int=0) if after is None else after.session_id,
            limit=limit,
        )
    )
    return [WaitingSession(**dict(row.items())) for row in found]


async def list_booked_conversions(connection: Connection, subjects: Sequence[UUID]) -> frozenset[UUID]:
    """Which of these subjects have a conversion of the PSP booked."""
    shards = [shard_of(subject) for subject in subjects]
    found = await rows(_sql.booked_conversions(connection, shards=shards, subjects=list(subjects)))
    return frozenset(row["subject_id"] for row in found)
