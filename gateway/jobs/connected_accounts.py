"""Connected accounts read again at the PSP: what replaces an event that was lost.

Owns: the round and how old an answer may be. Must not know what follows from an answer. The PSP lists the
events of connected accounts to nobody but themselves, so a lost one can't be found in its list.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.payouts.connected_account_service import ConnectedAccountService

_EVERY: Final = timedelta(minutes=5)
_ACTIVE_AFTER: Final = timedelta(hours=24)
_OTHER_AFTER: Final = timedelta(hours=1)
_BATCH: Final = 200


@dataclass(slots=True, kw_only=True)
class ConnectedAccountJob:
    """Reads accounts that can be paid once a day, others once an hour; so many in a round."""

    clock: Clock
    accounts: ConnectedAccountService
    name: str = "connected_accounts"
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """A round, unless the last one was a moment ago. Returns 0: a round is never followed at once."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + _EVERY
        stale = await self.accounts.list_parties_to_read(
            active_after=_ACTIVE_AFTER, other_after=_OTHER_AFTER, limit=_BATCH
        )
        await self.accounts.refresh(stale, older_than=_OTHER_AFTER)
        return 0
