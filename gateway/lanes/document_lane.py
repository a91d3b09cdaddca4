"""Documents in the background: drivers' as sessions are cleared, those between parties by their cadence.

Owns: when. Must not know: what makes a document right, its number, its content. All are safe to repeat and to
run side by side: what is issued stays as it is, and a transaction that fails takes no number.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from clearing.parties.party import PLATFORM_ID
from clearing.service import ClearingService
from clearing.store import driver_documents as driver_store
from clearing.store import journal
from clearing.work import driver_documents, issuing
from clearing.work.issuing import DuePeriod
from gateway.clock import Clock
from gateway.database import Pool, transaction

# A period is documented some hours after its end, so that no worker's clock still lies within it.
GRACE: Final = timedelta(hours=6)
AGAIN: Final = timedelta(hours=24)
MAX_PERIODS: Final = 100
MAX_ROUNDS: Final = 100
CLOSED_BY: Final = "close_books_after_days"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDocumentLane:
    """Follows the journal: a transaction for each batch, the chains in turn."""

    pool: Pool
    clock: Clock
    name: str = "driver documents"

    async def run_once(self) -> int:
        """One batch of each chain. Returns how many batches were documented.

        A batch that can't be documented holds up its own chain alone; the others are done before it is told.
        """
        async with self.pool.acquire() as connection:
            chains = await driver_store.chains(connection)
        done = 0
        failed: Exception | None = None
        for chain in chains:
            try:
                async with transaction(self.pool) as connection:
                    issued = await driver_documents.issue_next(connection, chain=chain, now=self.clock.now())
                done += issued is not None
            except Exception as error:  # noqa: BLE001 - the boundary of one chain; raised after the others
                failed = failed or error
        if failed is not None:
            raise failed
        return done


@dataclass(slots=True, kw_only=True)
class PartyDocumentLane:
    """Issues what the platform may write for each party's period when it is over; the books stay open."""

    pool: Pool
    clock: Clock
    clearing: ClearingService
    name: str = "party documents"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Issue what is due, once a day. Always 0: there is nothing to hurry for."""
        now = self.clock.now()
        if self._next_at is not None and now < self._next_at:
            return 0
        async with self.pool.acquire() as connection:
            platform = await self.clearing.party(connection, PLATFORM_ID)
        if platform is not None:
            zone = ZoneInfo(platform.time_zone)
            today = (now - GRACE).astimezone(zone).date()
            if await self._issue(today, now=now):
                midnight = datetime.combine(today + timedelta(days=1), time(), zone)
                self._next_at = midnight.astimezone(UTC) + GRACE
        return 0

    async def _issue(self, today: date, *, now: datetime) -> bool:
        """What was refused first, then period after period. False: more is due than one round takes."""
        async with transaction(self.pool) as connection:
            await issuing.wait_for_writers(connection)
        async with self.pool.acquire() as connection:
            periods = await issuing.refused(connection)
        for _ in range(MAX_ROUNDS):
            for period in periods:
                await self._issue_period(period, now=now)
            async with self.pool.acquire() as connection:
                periods = await issuing.due(connection, today=today, limit=MAX_PERIODS)
            if not periods:
                return True
        return False

    async def _issue_period(self, period: DuePeriod, *, now: datetime) -> None:
        async with transaction(self.pool) as connection:
            issued, refused = await issuing.issue(
                connection, start=period.start, end=period.end, now=now, parties=period.parties
            )
        for one in refused:
            _log.warning(
                "document_refused", supplier=one.supplier_id, customer=one.customer_id, reason=one.reason
            )
        if issued or refused:
            _log.info(
                "documents_issued",
                start=period.start.isoformat(),
                end=period.end.isoformat(),
                issued=len(issued),
                refused=len(refused),
            )


@dataclass(slots=True, kw_only=True)
class ClosingLane:
    """Closes each month `after` so many days, where an operator set it; else closing is a person's act."""

    pool: Pool
    clock: Clock
    clearing: ClearingService
    after: timedelta | None
    name: str = "closing"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Close the last month whose days of grace are over. Always 0."""
        now = self.clock.now()
        if self.after is None or (self._next_at is not None and now < self._next_at):
            return 0
        async with self.pool.acquire() as connection:
            platform = await self.clearing.party(connection, PLATFORM_ID)
        if platform is not None:
            zone = ZoneInfo(platform.time_zone)
            first = (now - self.after).astimezone(zone).date().replace(day=1)
            until = datetime.combine(first, time(), zone)
            async with transaction(self.pool) as connection:
                closed = await journal.closed_until(connection)
                is_open = closed is None or closed < until
                if is_open and await issuing.booked_before(connection, until=until):
                    await self.clearing.close_period(connection, until=until, by=CLOSED_BY, now=now)
            self._next_at = now + AGAIN
        return 0
