"""The PSP's own list of events, read every few minutes: it replaces webhooks that were lost.

Owns: the round and its overlap. Must not know what an event means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.payments.psp.failures import PspOutcomeUnknown
from gateway.payments.psp.port import PspEvent
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
        missed: list[tuple[int, PspEvent, bytes]] = []
        listed = 0
        async for page in self.payments.psp.event_pages_since(
            since=(self._since or started - _FIRST_PERIOD) - _OVERLAP, limit=_LIMIT
        ):
            if isinstance(page, PspOutcomeUnknown):
                _log.warning("psp_poll_unanswered", reason=page.reason)
                return 0
            missed += await self._missed(page, after=listed)
            listed += len(page)
        kept = 0
        for _, event, body in sorted(missed, key=lambda one: (one[1].created, -one[0])):  # the oldest first
            kept += await self.payments.psp_events.keep_event(event, body)
        if kept:
            _log.warning("psp_webhooks_were_lost", events=kept)
        self._since = started
        return kept

    async def _missed(self, page: Sequence[bytes], *, after: int) -> list[tuple[int, PspEvent, bytes]]:
        """Those of a page that no webhook brought, each with its place in the list and what is kept of it.

        Nothing else of the page stays in memory: a list of many pages is mostly known.
        """
        psp = self.payments.psp
        read: dict[str, tuple[int, PspEvent, bytes]] = {}
        for place, body in enumerate(page, start=after):
            try:
                event = psp.parse_event(body)
            except Exception:  # noqa: BLE001 - the boundary of one event: the others must be kept
                _log.exception("psp_event_unreadable", body=body[:200])
                continue
            read[event.id] = (place, event, psp.kept_body(body, whole=event.problem is not None))
        new = await self.payments.psp_events.find_new([event for _, event, _ in read.values()])
        return [read[event.id] for event in new]
