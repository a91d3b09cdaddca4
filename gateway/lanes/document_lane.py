"""Documents in the background: each driver's as its session is cleared, those between parties by the month.

Owns: when. Must not know: what makes a document right, its number, its content. Both are safe to repeat and
to run side by side: what is issued stays as it is, and a transaction that fails takes no number.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from clearing.parties.party import PLATFORM_ID
from clearing.service import ClearingService
from clearing.store import driver_documents as driver_store
from clearing.store import journal
from clearing.work import documents, driver_documents
from gateway.clock import Clock
from gateway.database import Pool, transaction

# A month is closed some hours after its end, so that no worker's clock still lies within it.
GRACE: Final = timedelta(hours=6)
# What was refused, such as a supplier that has not agreed to self-billing yet, is tried again.
AGAIN: Final = timedelta(hours=24)
CLOSED_BY: Final = "monthly documents"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDocumentLane:
    """Follows the journal: a transaction for each batch, the chains in turn."""

    pool: Pool
    clock: Clock
    name: str = "driver documents"

    async def run_once(self) -> int:
        """One batch of each chain. Returns how many batches were documented."""
        async with self.pool.acquire() as connection:
            chains = await driver_store.chains(connection)
        done = 0
        for chain in chains:
            async with transaction(self.pool) as connection:
                issued = await driver_documents.issue_next(connection, chain=chain, now=self.clock.now())
            done += issued is not None
        return done


@dataclass(slots=True, kw_only=True)
class PartyDocumentLane:
    """Closes a month when it is over, and issues what the platform may write for it."""

    pool: Pool
    clock: Clock
    clearing: ClearingService
    name: str = "party documents"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Issue the last month's documents. Always 0: there is nothing to hurry for."""
        now = self.clock.now()
        if self._next_at is not None and now < self._next_at:
            return 0
        async with self.pool.acquire() as connection:
            platform = await self.clearing.party(connection, PLATFORM_ID)
        if platform is not None:
            zone = ZoneInfo(platform.time_zone)
            month = last_month((now - GRACE).astimezone(zone).date())
            if await self._closed(month, zone, now=now):
                await self._issue(month, now=now)
            next_end = datetime.combine(_first_after_next(month[1]), time(), zone) + GRACE
            self._next_at = min(next_end, now + AGAIN)
        return 0

    async def _closed(self, month: tuple[date, date], zone: ZoneInfo, *, now: datetime) -> bool:
        """Close the month, by itself, since every writer waits meanwhile. False: nothing was booked in it."""
        since = datetime.combine(month[0], time(), zone)
        until = datetime.combine(month[1] + timedelta(days=1), time(), zone)
        async with transaction(self.pool) as connection:
            if not await documents.booked_within(connection, since=since, until=until):
                return False
            closed_until = await journal.closed_until(connection)
            if closed_until is None or closed_until < until:
                await self.clearing.close_period(connection, until=until, by=CLOSED_BY, now=now)
        return True

    async def _issue(self, month: tuple[date, date], *, now: datetime) -> None:
        async with transaction(self.pool) as connection:
            issued, refused = await documents.issue(connection, start=month[0], end=month[1], now=now)
        for one in refused:
            _log.warning(
                "document_refused", supplier=one.supplier_id, customer=one.customer_id, reason=one.reason
            )
        _log.info("documents_issued", start=month[0].isoformat(), issued=len(issued), refused=len(refused))


def last_month(day: date) -> tuple[date, date]:
    """The first and last day of the month before the one of `day`."""
    end = day.replace(day=1) - timedelta(days=1)
    return end.replace(day=1), end


def _first_after_next(end: date) -> date:
    """The first day after the month that follows the one ending on `end`."""
    following = end + timedelta(days=1)
    return (following + timedelta(days=31)).replace(day=1)
