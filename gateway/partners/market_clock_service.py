"""Business time of a sandbox, set from outside.

Owns: that business time never runs back. Must not know HTTP, or who follows the clock.
"""

from dataclasses import dataclass
from datetime import datetime

from gateway.clock import Clock, MarketAnchor
from gateway.database import Pool, transaction
from gateway.partners import market_clock_repository
from gateway.partners.errors import PartnerConflictError


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketClockService:
    """Sets the market's clock."""

    pool: Pool
    clock: Clock

    async def set(self, *, business_at: datetime, rate: int) -> None:
        """Let business time run from `business_at`, `rate` seconds a second; 0 stands still.

        Raises:
            PartnerConflictError: business time is later already.
        """
        anchor = MarketAnchor(business_at=business_at, anchored_at=self.clock.wall_now(), rate=rate)
        async with transaction(self.pool) as connection:
            done = await market_clock_repository.set_market_clock(connection, anchor)
        if not done:
            raise PartnerConflictError("Business time is already later; it can't be set back")
