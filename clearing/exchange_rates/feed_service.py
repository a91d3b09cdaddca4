"""The feed of published rates: leased by one worker at a time, its fetches recorded.

Owns: what the gateway reads and records of it. Must not know: who fetches, what a file holds. Every function
takes the connection; none commits.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from clearing.connection import Connection
from clearing.exchange_rates import repository
from clearing.exchange_rates.rate_feed import RateFetch, WaitingSession


async def find_newest_rate(connection: Connection) -> date | None:
    """The last day with a rate."""
    return await repository.find_newest_rate(connection)


async def uses_exchange(connection: Connection) -> bool:
    """Whether any session was cleared in two currencies, or waits for a rate."""
    return await repository.uses_exchange(connection)


async def lease_feed(
    connection: Connection, source: str, *, until: datetime, wall_now: datetime
) -> int | None:
    """The right to fetch until an instant; the failures in a row so far. None: not due, or leased."""
    return await repository.lease_feed(connection, source, until=until, wall_now=wall_now)


async def record_fetch(
    connection: Connection,
    source: str,
    fetch: RateFetch,
    *,
    next_at: datetime,
    answered: bool,
    wall_now: datetime,
) -> None:
    """Record how a fetch ended and when the next one is due; `answered`: the source sent a file."""
    await repository.record_fetch(
        connection, source, fetch, next_at=next_at, answered=answered, wall_now=wall_now
    )


async def find_last_fetch(connection: Connection, source: str) -> RateFetch | None:
    """How the last fetch of a source ended."""
    return await repository.find_last_fetch(connection, source)


async def list_sessions_waiting_for_rates(
    connection: Connection, *, margin: timedelta, after: WaitingSession | None, limit: int
) -> Sequence[WaitingSession]:
    """A page of sessions that a missing rate stopped before the last import, in the order of their key.

    `margin` covers a batch that was under way at the import.
    """
    return await repository.list_sessions_waiting_for_rates(
        connection, margin=margin, after=after, limit=limit
    )
