"""Pulls the lists of OCPI peers, one list at a time.

Owns: which list is next and for how long it is leased. Must not know how a page is read or kept.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.ocpi.pull_sync import EVERY, LEASE, PullSync
from gateway.ocpi.repository import pulls
from gateway.ocpi.services import OcpiServices

PAGES_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiPullJob:
    """Pulls the list that has been due the longest, up to a hundred pages of it."""

    services: OcpiServices
    name: str = "ocpi_pull"
    every: timedelta = EVERY

    async def run_once(self) -> int:
        """One list. Returns the objects read, at least 1 if a list was due."""
        wall_now = self.services.clock.wall_now()
        async with self.services.pool.acquire() as connection:
            pull = await pulls.claim(connection, wall_now=wall_now, leased_until=wall_now + LEASE)
        if pull is None:
            return 0
        return await PullSync(services=self.services, every=self.every).run(pull, pages=PAGES_AT_ONCE)
