"""Following up Plug & Charge sessions: their decisions end, and operators are notified of the settlement.

Owns: when the open decisions are looked at, and when expired ones are deleted. Must not know: certificates,
payments, what ends a decision.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.database import Pool
from gateway.plug_and_charge.settlement_notice import SettlementNoticeService
from pnc import decision_lifecycle
from pnc.authorization import AuthorizationDecision
from pnc.decision_lifecycle import RetentionPeriods

_INTERVAL: Final = timedelta(seconds=2)
_PAGE_SIZE: Final = 500
_PAGES_PER_ROUND: Final = 10
_DELETION_INTERVAL: Final = timedelta(minutes=10)


@dataclass(slots=True, kw_only=True)
class SettlementNoticeJob:
    """Reads the decisions without a settlement notice page by page, a bounded number of pages a round.

    Several workers may do so at once: each decision is closed, notified and deleted once.
    """

    pool: Pool
    clock: Clock
    notices: SettlementNoticeService
    environment: str
    retention: RetentionPeriods = field(default_factory=RetentionPeriods)
    name: str = "settlement_notice"
    _after: AuthorizationDecision | None = field(default=None)
    _next_run_at: datetime | None = field(default=None)
    _next_deletion_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Run one round. Returns how many decisions were closed, notified or deleted."""
        wall_now = self.clock.wall_now()
        if self._next_run_at is not None and wall_now < self._next_run_at:
            return 0
        self._next_run_at = wall_now + _INTERVAL
        done = 0
        for _ in range(_PAGES_PER_ROUND):
            page = await decision_lifecycle.list_decisions_without_notice(
                self.pool, environment=self.environment, after=self._after, limit=_PAGE_SIZE
            )
            for decision in await self.notices.select_ended(page):
                done += int(await self.notices.finish(decision))
            self._after = page[-1] if len(page) == _PAGE_SIZE else None
            if self._after is None:
                break
        return done + await self._delete_expired(wall_now)

    async def _delete_expired(self, wall_now: datetime) -> int:
        if self._next_deletion_at is not None and wall_now < self._next_deletion_at:
            return 0
        deleted = await decision_lifecycle.delete_expired(
            self.pool, environment=self.environment, retention=self.retention, now=self.clock.now()
        )
        if deleted == 0:
            self._next_deletion_at = wall_now + _DELETION_INTERVAL
        return deleted
