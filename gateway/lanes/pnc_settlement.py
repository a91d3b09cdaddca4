"""What follows a Plug & Charge session: its decision ends, and the operator hears of the settlement.

Owns: which decisions are looked at, when, and the retention of old ones. Must not know certificates or how
money is taken: payments says where a session stands, pnc keeps what was decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import parse_id
from gateway.notify import events
from gateway.notify.events import EventType, NewEvent
from gateway.payments.orders import NotFoundError, SessionView
from gateway.payments.pnc_settlement import session_is_over, settlement_object
from gateway.payments.service import PaymentService
from gateway.store import pnc_settlement
from pnc import settlement
from pnc.authorization import Decision
from pnc.messages import SettlementStatus
from pnc.settlement import Retention

_EVERY: Final = timedelta(seconds=2)
_PAGE: Final = 500
_PAGES: Final = 10
_SWEEP_EVERY: Final = timedelta(minutes=10)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class PncSettlementLane:
    """Walks the unsettled decisions page by page, a bounded part at a time, and starts again at the end.

    Several workers may walk at once: each decision is closed, told and swept once, whoever comes first.
    """

    pool: Pool
    clock: Clock
    payments: PaymentService
    environment: str
    retention: Retention = field(default_factory=Retention)
    name: str = "pnc_settlement"
    _after: Decision | None = field(default=None)
    _next: datetime | None = field(default=None)
    _next_sweep: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round. Returns how many decisions were closed, told or swept."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + _EVERY
        done = 0
        for _ in range(_PAGES):
            found = await settlement.unsettled(
                self.pool, environment=self.environment, after=self._after, limit=_PAGE
            )
            for decision in await self._over(found):
                done += await self._follow(decision)
            self._after = found[-1] if len(found) == _PAGE else None
            if self._after is None:
                break
        return done + await self._sweep(wall)

    async def _over(self, found: Sequence[Decision]) -> list[Decision]:
        """Those whose session is over: running ones cost a share of one query, no more."""
        named = {parse_id("auth", decision.authorization_id or ""): decision for decision in found}
        if not named:
            return []
        async with self.pool.acquire() as connection:
            over = await pnc_settlement.over(connection, list(named))
        return [decision for identifier, decision in named.items() if identifier in over]

    async def _follow(self, decision: Decision) -> int:
        view = await self._view(decision)
        if view is None or not session_is_over(view):
            return 0
        shown = settlement_object(view, now=self.clock.now())
        if shown is None:  # over, and the money is not there yet
            return int(await settlement.close(self.pool, decision, now=self.clock.now()))
        event = NewEvent(
            type=EventType.PLUG_AND_CHARGE_SETTLED,
            party_id=decision.operator_id,
            object_id=shown.id,
            data=shown.as_json(),
            lane=view.session.lane,
        )
        async with transaction(self.pool) as connection:
            status = SettlementStatus(shown.status)
            if not await settlement.settle(connection, decision, status=status, now=self.clock.now()):
                return 0
            await events.record(connection, [event], now=self.clock.now())
        return 1

    async def _view(self, decision: Decision) -> SessionView | None:
        """Where the decision's session stands. Only the operator's own: the decision names both."""
        authorization_id = parse_id("auth", decision.authorization_id or "")
        try:
            authorized = await self.payments.get_authorization(
                party_id=decision.operator_id, authorization_id=authorization_id, admin=True
            )
            return await self.payments.get_session(
                party_id=decision.operator_id, session_id=authorized.session.id
            )
        except NotFoundError:
            _log.error("decision_without_session", decision=str(decision.id))
            return None

    async def _sweep(self, wall: datetime) -> int:
        if self._next_sweep is not None and wall < self._next_sweep:
            return 0
        gone = await settlement.sweep(
            self.pool, environment=self.environment, retention=self.retention, now=self.clock.now()
        )
        if gone == 0:
            self._next_sweep = wall + _SWEEP_EVERY
        return gone
