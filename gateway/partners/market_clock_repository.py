"""The market's business clock as a row.

Owns: reading it, and setting it, forward only. Must not know who follows it.
"""

from typing import Any, Final

import asyncpg

from gateway.clock import AnchorReader, MarketAnchor
from gateway.database import UNREACHABLE, Connection, Pool, named_queries
from gateway.errors import DatabaseUnreachableError

_QUERIES: Final[Any] = named_queries("gateway", "market_clock.sql")


async def set_market_clock(connection: Connection, anchor: MarketAnchor) -> bool:
    """Let business time run from `anchor`; False when that would turn it back."""
    row = await _QUERIES.set_market_clock(
        connection, business_at=anchor.business_at, anchored_at=anchor.anchored_at, rate=anchor.rate
    )
    return row is not None


async def load_market_anchor(connection: Connection) -> MarketAnchor | None:
    """The anchor of a simulated market's business time; None where business time is wall time."""
    row = await _QUERIES.market_anchor(connection)
    if row is None:
        return None
    return MarketAnchor(business_at=row["business_at"], anchored_at=row["anchored_at"], rate=row["rate"])


def market_anchor_reader(pool: Pool) -> AnchorReader:
    """Return the reader that a MarketClock follows; it returns None before a market was opened.

    The reader raises DatabaseUnreachableError while the database is away.
    """

    async def read() -> MarketAnchor | None:
        try:
            async with pool.acquire(timeout=2.0) as connection:
                return await load_market_anchor(connection)
        except (*UNREACHABLE, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise DatabaseUnreachableError(str(error)) from error

    return read
