"""The clocks: business time, which a market day may simulate, and wall time, which nothing may.

Owns what `now` means. Business time dates sessions, captures, payables and due days. Wall time serves
signatures, leases, timeouts and key expiry, whatever the market's clock says. Must not know SQL: the market's
anchor comes from a reader that the composition root passes in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn, Protocol, final

import structlog

from gateway.errors import DatabaseUnreachableError

_log = structlog.get_logger(__name__)
REFRESH_SECONDS: Final = 0.1
_READ_TIMEOUT_SECONDS: Final = 2.0


class Clock(Protocol):
    """What every service takes instead of reading the time itself."""

    def now(self) -> datetime:
        """Return business time, aware, in UTC."""

    def wall_now(self) -> datetime:
        """Return wall time, aware, in UTC."""


@final
class SystemClock:
    """Business time is wall time: the clock of production."""

    def now(self) -> datetime:
        """Return wall time, aware, in UTC."""
        return datetime.now(UTC)

    def wall_now(self) -> datetime:
        """Return wall time, aware, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketAnchor:
    """At wall time `anchored_at` it was `business_at`; then it runs `rate` times as fast (0: stands)."""

    business_at: datetime
    anchored_at: datetime
    rate: int

    def __post_init__(self) -> None:
        if self.business_at.tzinfo is None or self.anchored_at.tzinfo is None:
            raise ValueError("a market anchor needs aware datetimes")
        if self.rate < 0:
            raise ValueError(f"business time can't run backwards, rate is {self.rate}")

    def business_time(self, wall: datetime) -> datetime:
        """Return the business time at wall time `wall`, in UTC."""
        elapsed = max(wall - self.anchored_at, timedelta(0))
        return (self.business_at + elapsed * self.rate).astimezone(UTC)


AnchorReader = Callable[[], Awaitable[MarketAnchor | None]]


@final
class MarketClock:
    """A simulated business clock, kept by the market in the database and followed by every process.

    `run` refreshes the anchor until it is canceled; between refreshes, and while the database is away,
    business time goes on from the last anchor. Within a process it never goes back. Before the first anchor
    it is wall time.
    """

    def __init__(self, *, read_anchor: AnchorReader, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._read_anchor = read_anchor
        self._refresh_seconds = refresh_seconds
        self._anchor: MarketAnchor | None = None
        self._latest: datetime | None = None

    def now(self) -> datetime:
        """Return business time, aware, in UTC; never earlier than the last answer."""
        wall = self.wall_now()
        if self._anchor is None:
            return wall
        business = self._anchor.business_time(wall)
        if self._latest is None or business > self._latest:
            self._latest = business
        return self._latest

    def wall_now(self) -> datetime:
        """Return wall time, aware, in UTC."""
        return datetime.now(UTC)

    async def refresh(self) -> None:
        """Read the anchor once.

        Raises:
            TimeoutError: the read took longer than two seconds. Errors of the reader pass as they are.
        """
        async with asyncio.timeout(_READ_TIMEOUT_SECONDS):
            anchor = await self._read_anchor()
        if anchor is not None:
            self._anchor = anchor

    async def run(self) -> NoReturn:
        """Refresh until canceled. An unreachable database is logged once per outage and waited out."""
        unreachable = False
        while True:
            try:
                await self.refresh()
                unreachable = False
            except (OSError, TimeoutError, DatabaseUnreachableError) as error:
                if not unreachable:
                    _log.warning("market_clock_not_refreshed", error=str(error))
                unreachable = True
            await asyncio.sleep(self._refresh_seconds)
