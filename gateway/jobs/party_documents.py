"""Documents between parties, issued by each pair's cadence.

Owns: when. Must not know: what makes a document right, its number, its content. Safe to repeat and to run
side by side: what is issued stays as it is, and a transaction that fails uses no number.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from clearing.documents import invoice_service
from clearing.documents.invoice_service import DuePeriod
from clearing.parties.party import PLATFORM_ID
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction

# A period is documented some hours after its end, so that no worker's clock still lies within it.
GRACE: Final = timedelta(hours=6)
MAX_PERIODS: Final = 100
MAX_ROUNDS: Final = 100
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class PartyDocumentJob:
    """Issues what the platform may write for each party's period when it is over; the books stay open."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    name: str = "party_documents"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Issue what is due, once a day, and what waited for data as soon as they are there.

        Always 0: there is nothing to hurry for.
        """
        now = self.clock.now()
        await self._retry_changed(now=now)
        if self._next_at is not None and now < self._next_at:
            return 0
        async with self.pool.acquire() as connection:
            platform = await self.clearing.reference_data.find_party(connection, PLATFORM_ID)
        if platform is not None:
            zone = ZoneInfo(platform.time_zone)
            today = (now - GRACE).astimezone(zone).date()
            if await self._issue(today, now=now):
                midnight = datetime.combine(today + timedelta(days=1), time(), zone)
                self._next_at = midnight.astimezone(UTC) + GRACE
        return 0

    async def _retry_changed(self, *, now: datetime) -> None:
        async with self.pool.acquire() as connection:
            periods = await invoice_service.list_periods_to_retry(connection)
        for period in periods:
            await self._issue_period(period, now=now)

    async def _issue(self, today: date, *, now: datetime) -> bool:
        """What was rejected first, then period after period. False: more is due than one round processes."""
        async with transaction(self.pool) as connection:
            await invoice_service.wait_for_writers(connection)
        async with self.pool.acquire() as connection:
            periods = await invoice_service.list_periods_with_exceptions(connection)
        for _ in range(MAX_ROUNDS):
            for period in periods:
                await self._issue_period(period, now=now)
            async with self.pool.acquire() as connection:
                periods = await invoice_service.list_due(connection, today=today, limit=MAX_PERIODS)
            if not periods:
                return True
        return False

    async def _issue_period(self, period: DuePeriod, *, now: datetime) -> None:
        async with transaction(self.pool) as connection:
            issued, rejected = await invoice_service.issue(
                connection, start=period.start, end=period.end, now=now, parties=period.parties
            )
        for one in rejected:
            _log.warning(
                "document_rejected", supplier=one.supplier_id, customer=one.customer_id, reason=one.reason
            )
        if issued or rejected:
            _log.info(
                "documents_issued",
                start=period.start.isoformat(),
                end=period.end.isoformat(),
                issued=len(issued),
                rejected=len(rejected),
            )
