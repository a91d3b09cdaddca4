"""Revocation statuses of registered contract certificates, renewed before they end, so that no vehicle waits.

Owns: when it runs. Must not know where a status comes from or what it means.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.database import Pool
from pnc.service import PlugAndChargeService

_INTERVAL: Final = timedelta(minutes=1)


@dataclass(slots=True, kw_only=True)
class RevocationStatusJob:
    """Refreshes the statuses that end soon, once a minute."""

    pool: Pool
    clock: Clock
    plug_and_charge: PlugAndChargeService
    environment: str
    name: str = "revocation_status"
    _next_run_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Run one round. Returns how many chains were checked."""
        wall_now = self.clock.wall_now()
        if self._next_run_at is not None and wall_now < self._next_run_at:
            return 0
        refreshed = await self.plug_and_charge.refresh_statuses(
            self.pool, environment=self.environment, now=self.clock.now()
        )
        self._next_run_at = wall_now + _INTERVAL
        return refreshed
