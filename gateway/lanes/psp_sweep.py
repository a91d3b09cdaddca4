"""The PSP's own list of events, read now and then: what a lost webhook would have told is told here.

Owns: the round and its overlap. Must not know what an event means.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.payments.psp import OutcomeUnknown
from gateway.payments.service import PaymentService

_EVERY: Final = timedelta(minutes=10)
_OVERLAP: Final = timedelta(hours=1)
_FIRST_LOOK: Final = timedelta(days=7)  # a process that starts can't know for how long nobody listened
_LIMIT: Final = 10_000
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class PspSweepLane:
    """Keeps every event that the PSP lists and no webhook brought."""

    clock: Clock
    payments: PaymentService
    every: timedelta = _EVERY
    name: str = "psp_sweep"
    _next: datetime | None = field(default=None)
    _since: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round. Returns how many events were new."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + self.every
        started = self.clock.now()
        found = await self.payments.psp.events_since(
            since=(self._since or started - _FIRST_LOOK) - _OVERLAP, limit=_LIMIT
        )
        if isinstance(found, OutcomeUnknown):
            _log.warning("psp_sweep_unanswered", reason=found.reason)
            return 0
        kept = 0
        for body in found:
            try:
                event = self.payments.psp.parse_event(body)
            except Exception:  # noqa: BLE001 - the boundary of one event: the others must be kept
                _log.exception("psp_event_unreadable", body=body[:200])
                continue
            kept += await self.payments.hearing.keep_event(event, body)
        if kept:
            _log.warning("psp_webhooks_were_lost", events=kept)
        self._since = started
        return kept
