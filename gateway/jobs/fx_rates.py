"""Exchange rates kept fresh: imported from the ECB once they are published.

Owns: when the file is fetched, and that a fetch without a file changes nothing. Must not know: the file's
format, how a rate is judged. The rates known stay in force until they are too old, whatever goes wrong here.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final

import structlog

from clearing.calendar import ClosingDays
from clearing.errors import CalendarExhaustedError, UnreadableRatesError
from clearing.exchange_rates import feed_service
from clearing.exchange_rates.ecb_files import SOURCE, read_rates
from clearing.exchange_rates.rate_check import RateCheck
from clearing.exchange_rates.rate_feed import RateFetch
from clearing.fx import FRANKFURT
from clearing.reference_data import bundled_data
from clearing.services import ClearingServices
from gateway.adapters.ecb_feed import EcbFeed, NoFile
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.retry_policy import RetryPolicy

EVERY: Final = timedelta(minutes=1)
PUBLISHED_AT: Final = time(16, 0)  # Frankfurt, on TARGET days
LEASE: Final = timedelta(minutes=5)
RETRY: Final = RetryPolicy.doubling(timedelta(minutes=2), longest=timedelta(hours=1))
_MOST_FAILURES: Final = 1000
_WEEKEND: Final = 5
_log = structlog.get_logger(__name__)


def last_publication(now: datetime) -> date:
    """The last TARGET day whose rates the ECB has published by `now`, 16:00 in Frankfurt.

    Beyond the bundled calendar every weekday counts: then a fetch on a holiday finds nothing new.
    """
    (target,) = (one for one in bundled_data.closing_days() if one.name == "target")
    local = now.astimezone(FRANKFURT)
    day = local.date() if local.time() >= PUBLISHED_AT else local.date() - timedelta(days=1)
    while not _is_open(target, day):
        day -= timedelta(days=1)
    return day


def _is_open(target: ClosingDays, day: date) -> bool:
    try:
        return target.is_open(day)
    except CalendarExhaustedError:
        return day.weekday() < _WEEKEND


@dataclass(slots=True, kw_only=True)
class FxRatesJob:
    """Fetches the file once the ECB has published newer rates; of many workers one does."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    feed: EcbFeed
    name: str = "fx_rates"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One check a minute, one fetch where it is due. Returns how many rates were new."""
        wall = self.clock.wall_now()
        if self._next_at is not None and wall < self._next_at:
            return 0
        self._next_at = wall + EVERY
        async with self.pool.acquire() as connection:
            newest = await feed_service.find_newest_rate(connection)
            if newest is not None and newest >= last_publication(self.clock.now()):
                return 0
            failures = await feed_service.lease_feed(connection, SOURCE, until=wall + LEASE, wall_now=wall)
        return 0 if failures is None else await self._import(failures)

    async def _import(self, failures: int) -> int:
        found = await self.feed.fetch()
        if isinstance(found, NoFile):
            return await self._record_failure(failures, found.problem)
        now = self.clock.now()
        try:
            # Parsing the whole history lasts seconds.
            rates = await asyncio.to_thread(read_rates, found, today=now.astimezone(FRANKFURT).date())
        except UnreadableRatesError as error:
            return await self._record_failure(failures, str(error))
        async with transaction(self.pool) as connection:
            checked = await self.clearing.exchange_rates.import_rates(connection, rates, now=now)
            newest = await feed_service.find_newest_rate(connection)
            fresh = newest is not None and newest >= last_publication(now)
            problem = _problem(checked, fresh=fresh, newest=newest)
            await self._record_fetch(connection, 0 if fresh else failures + 1, problem, answered=True)
        for one in checked.rejected:
            _log.error(
                "rate_rejected", currency=one.rate.quote, day=one.rate.rate_date.isoformat(), why=one.why
            )
        _log.info("rates_imported", new=len(checked.new), known=checked.known, rejected=len(checked.rejected))
        return len(checked.new)

    async def _record_failure(self, failures: int, problem: str) -> int:
        _log.warning("rates_not_fetched", problem=problem, failures=failures + 1)
        async with transaction(self.pool) as connection:
            await self._record_fetch(connection, failures + 1, problem, answered=False)
        return 0

    async def _record_fetch(
        self, connection: Connection, failures: int, problem: str, *, answered: bool
    ) -> None:
        wall = self.clock.wall_now()
        await feed_service.record_fetch(
            connection,
            SOURCE,
            RateFetch(problem=problem[:500], failures=min(failures, _MOST_FAILURES)),
            next_at=(RETRY.next_attempt_at(failures, now=wall) or wall) if failures else wall,
            answered=answered,
            wall_now=wall,
        )


def _problem(checked: RateCheck, *, fresh: bool, newest: date | None) -> str:
    """What a person should know of a file that was read; empty: all is well."""
    waiting = [one for one in checked.rejected if one.needs_confirmation]
    if waiting:
        rate = waiting[0].rate
        return f"{len(waiting)} rates rejected, first {rate.quote} of {rate.rate_date}: {waiting[0].why}"
    return "" if fresh else f"the file ends on {newest}, the day's rates are not in it yet"
