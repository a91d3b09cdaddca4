"""The market's business clock as a row.

Owns: setting it, forward only. Must not know who follows it.
"""

from typing import Any, Final

from gateway.clock import MarketAnchor
from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "market_clock.sql")


async def set_market_clock(connection: Connection, anchor: MarketAnchor) -> bool:
    """Let business time run from `anchor`; False when that would turn it back."""
    row = await _QUERIES.set_market_clock(
        connection, business_at=anchor.business_at, anchored_at=anchor.anchored_at, rate=anchor.rate
    )
    return row is not None
