"""The time by which a command dates what it does and measures ages.

Owns that choice for the whole command line: where the database holds the clock of a simulated market, a
command follows it like the gateway and the workers do; elsewhere business time is wall time. Must not know
what a command does with it.
"""

from datetime import datetime

from gateway.clock import Clock, MarketClock, SystemClock
from gateway.database import Connection
from gateway.partners.market_clock_repository import load_market_anchor


async def read_clock(connection: Connection) -> Clock:
    """The clock of the database that `connection` leads to, as it is set now."""
    clock = MarketClock(read_anchor=lambda: load_market_anchor(connection))
    await clock.refresh()
    return clock


async def business_now(connection: Connection) -> datetime:
    """Business time, aware, in UTC."""
    return (await read_clock(connection)).now()


def offline_now() -> datetime:
    """Wall time, aware, in UTC: the only time that a command without a database can know."""
    return SystemClock().wall_now()
