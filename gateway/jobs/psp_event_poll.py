"""The PSP's own list of events, read every few minutes: it replaces webhooks that were lost.

Owns: the round and its overlap. Must not know what an event means.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.payments.psp.port import PspOutcomeUnknown
from gateway.payments.service import PaymentService

_EVERY: Final = timedelta(minutes=10)
_OVERLAP: Final = timedelta(hours=1)
_FIRST_PERIOD: Final = timedelta(
    days=7
)  # a process that starts can't know for how long no webhook was received
_LIMIT: Final = 10_000
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class PspEventPollJob:
    """Keeps every event that the PSP lists and no webhook brought."""

    clock: Clock
    payments: PaymentService
    every: timedelta = _EVERY
    name: str = "psp_event_poll"
    _next: datetime | None = field(default=None)
    _since: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round. Returns how many events were new."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + self.every
        started = self.clock.now()
        found = await self.payments.psp.list_events_since(
            since=(self._since or started - _FIRST_PERIOD) - _OVERLAP, limit=_LIMIT
        )
        if isinstance(found, PspOutcomeUnknown):
            _log.warning("psp_poll_unanswered", reason=found.reason)
            return 0
        kept = 0
        for body in found:
            try:
                event = self.payments.psp.parse_event(body)
            except Exception:  # noqa: BLE001 - the boundary of one event: the others must be kept
                _log.exception("psp_event_unreadable", body=body[:200])
                continue
            kept += await self.payments.psp_events.keep_event(event, body)
        if kept:
            _log.warning("psp_webhooks_were_lost", events=kept)
        self._since = started
        return kept
