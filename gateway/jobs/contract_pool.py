"""Contract pool events that were stored and not applied yet, and old ones that are deleted.

Owns: when it looks, and when pools are asked. Must not know what an event leads to. An event is applied by
the request that brings it; what is left here is of a process that ended, or was asked for by a person.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.plug_and_charge.contract_pool_lookup import ContractPoolLookupService
from gateway.plug_and_charge.contract_pool_service import ContractPoolService

_INTERVAL: Final = timedelta(seconds=10)
_DELETION_INTERVAL: Final = timedelta(minutes=10)


@dataclass(slots=True, kw_only=True)
class ContractPoolJob:
    """Applies pending events every 10 s, and looks up the next contracts of a pool that is asked.

    Several workers may do so at once: each event is applied once.
    """

    clock: Clock
    pools: ContractPoolService
    lookups: ContractPoolLookupService | None = None
    name: str = "contract_pool"
    _next_run_at: datetime | None = field(default=None)
    _next_deletion_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Run one round. Returns how many events were applied or deleted."""
        wall_now = self.clock.wall_now()
        if self._next_run_at is not None and wall_now < self._next_run_at:
            return 0
        self._next_run_at = wall_now + _INTERVAL
        done = await self.pools.apply_pending()
        if self.lookups is not None:
            done += await self.lookups.look_up_due()
        if self._next_deletion_at is None or wall_now >= self._next_deletion_at:
            self._next_deletion_at = wall_now + _DELETION_INTERVAL
            done += await self.pools.delete_old_events()
        return done
