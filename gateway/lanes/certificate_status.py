"""Revocation statuses of registered contract certificates, renewed before they end, so that no vehicle waits.

Owns: when the round is made. Must not know who is asked or what an answer means.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.database import Pool
from pnc.service import PlugAndChargeService

_EVERY: Final = timedelta(minutes=1)


@dataclass(slots=True, kw_only=True)
class CertificateStatusLane:
    """Asks again about certificates whose status ends soon, once a minute."""

    pool: Pool
    clock: Clock
    plug_and_charge: PlugAndChargeService
    environment: str
    name: str = "certificate_status"
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round. Returns how many chains were asked about."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        asked = await self.plug_and_charge.refresh_statuses(
            self.pool, environment=self.environment, now=self.clock.now()
        )
        self._next = wall + _EVERY
        return asked
