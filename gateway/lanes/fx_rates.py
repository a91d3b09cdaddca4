"""Exchange rates kept fresh, and the sessions that waited for them handed to clearing again.

Owns: when the ECB is asked, and that what it can't say changes nothing. Must not know: the file's format, how
a rate is judged. The rates known stay in force until they are too old, whatever goes wrong here.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final
from uuid import UUID

import structlog

from clearing import reference
from clearing.calendar import ClosingDays
from clearing.connection import named_queries as clearing_queries
from clearing.desks.rate_desk import Judgement, RateDesk
from clearing.ecb import SOURCE, read_rates
from clearing.errors import CalendarExhaustedError, UnreadableRatesError
from clearing.fx import FRANKFURT
from clearing.service import ClearingService
from gateway.clock import Clock
from gateway.database import Connection, Pool, named_queries, transaction
from gateway.ecb_feed import EcbFeed, NoFile
from gateway.ids import new_id

EVERY: Final = timedelta(minutes=1)
PUBLISHED_AT: Final = time(16, 0)  # Frankfurt, on TARGET days
LEASE: Final = timedelta(minutes=5)
FIRST_PAUSE: Final = timedelta(minutes=2)
LONGEST_PAUSE: Final = timedelta(hours=1)
_MOST_FAILURES: Final = 1000
# A batch that read the rates before they came in may park a session after.
MARGIN: Final = timedelta(minutes=1)
AT_ONCE: Final = 500
_WEEKEND: Final = 5
ALARM_DAYS: Final = 5  # Good Friday to Tuesday after Easter is the longest pause of the ECB
_feed = clearing_queries("rate_feed")
_after = named_queries("gateway", "after_capture.sql")
_log = structlog.get_logger(__name__)


def last_publication(now: datetime) -> date:
    """The last TARGET day whose rates the ECB has published by `now`, 16:00 in Frankfurt.

    Beyond the bundled calendar every weekday counts: then it is asked in vain on a holiday.
    """
    (target,) = (one for one in reference.closing_days() if one.name == "target")
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


def pause_after(failures: int) -> timedelta:
    """The wait after so many vain questions in a row: 2 minutes, doubled, at most an hour."""
    return min(FIRST_PAUSE * (1 << min(max(failures - 1, 0), 10)), LONGEST_PAUSE)


@dataclass(slots=True, kw_only=True)
class FxRatesLane:
    """Asks `feed` once the ECB has published what is not known yet; of many workers one does."""

    pool: Pool
    clock: Clock
    clearing: ClearingService
    feed: EcbFeed
    name: str = "fx_rates"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One look a minute, one question where it is time. Returns how many rates were new."""
        wall = self.clock.wall_now()
        if self._next_at is not None and wall < self._next_at:
            return 0
        self._next_at = wall + EVERY
        async with self.pool.acquire() as connection:
            newest = await _feed.newest_rate(connection)
            if newest is not None and newest >= last_publication(self.clock.now()):
                return 0
            failures = await _feed.lease(connection, source=SOURCE, until=wall + LEASE, wall_now=wall)
        return 0 if failures is None else await self._ask(failures)

    async def _ask(self, failures: int) -> int:
        found = await self.feed.fetch()
        if isinstance(found, NoFile):
            return await self._failed(failures, found.problem)
        now = self.clock.now()
        try:
            # Reading the whole history takes seconds.
            rates = await asyncio.to_thread(read_rates, found, today=now.astimezone(FRANKFURT).date())
        except UnreadableRatesError as error:
            return await self._failed(failures, str(error))
        async with transaction(self.pool) as connection:
            taken = await RateDesk(self.clearing).take(connection, rates, now=now)
            newest = await _feed.newest_rate(connection)
            fresh = newest is not None and newest >= last_publication(now)
            problem = _problem(taken, fresh=fresh, newest=newest)
            await self._conclude(connection, 0 if fresh else failures + 1, problem, answered=True)
        for one in taken.refused:
            _log.error(
                "rate_refused", currency=one.rate.quote, day=one.rate.rate_date.isoformat(), why=one.why
            )
        _log.info("rates_taken", new=len(taken.new), known=taken.known, refused=len(taken.refused))
        return len(taken.new)

    async def _failed(self, failures: int, problem: str) -> int:
        _log.warning("rates_not_fetched", problem=problem, failures=failures + 1)
        async with transaction(self.pool) as connection:
            await self._conclude(connection, failures + 1, problem, answered=False)
        return 0

    async def _conclude(self, connection: Connection, failures: int, problem: str, *, answered: bool) -> None:
        wall = self.clock.wall_now()
        await _feed.conclude(
            connection,
            source=SOURCE,
            next_at=wall + pause_after(failures) if failures else wall,
            failures=min(failures, _MOST_FAILURES),
            problem=problem[:500],
            answered=answered,
            wall_now=wall,
        )


def _problem(taken: Judgement, *, fresh: bool, newest: date | None) -> str:
    """What a person should know of a file that was read; empty: all is well."""
    waiting = [one for one in taken.refused if one.awaits_word]
    if waiting:
        rate = waiting[0].rate
        return f"{len(waiting)} rates refused, first {rate.quote} of {rate.rate_date}: {waiting[0].why}"
    return "" if fresh else f"the file ends on {newest}, the day's rates are not in it yet"


@dataclass(slots=True, kw_only=True)
class RateWaitLane:
    """Hands sessions set aside for want of a rate to clearing again once rates came in, however they came."""

    pool: Pool
    clock: Clock
    name: str = "rate wait"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One look a minute. Returns how many sessions go to clearing again."""
        wall = self.clock.wall_now()
        if self._next_at is not None and wall < self._next_at:
            return 0
        self._next_at = wall + EVERY
        handed, after = 0, (0, UUID(int=0))
        while True:
            async with transaction(self.pool) as connection:
                found = [row async for row in _feed.waiting_for_rates(
                    connection, margin=MARGIN, after_lane=after[0], after_id=after[1], limit=AT_ONCE
                )]  # fmt: skip
                for row in found:
                    handed += await self._again(connection, lane=row["lane"], session_id=row["session_id"])
            if len(found) < AT_ONCE:
                break
            after = (found[-1]["lane"], found[-1]["session_id"])
        if handed:
            _log.info("sessions_cleared_again_for_rates", sessions=handed)
        return handed

    async def _again(self, connection: Connection, *, lane: int, session_id: UUID) -> bool:
        """As a person would ask for it; False: it is on its way, or nothing is left to clear."""
        again = await _after.clear_again(
            connection,
            lane=lane,
            session_id=session_id,
            task_id=new_id(lane=lane),
            now=self.clock.now(),
            wall_now=self.clock.wall_now(),
        )
        return bool(again)


async def rate_alarms(connection: Connection, *, wall_now: datetime) -> list[str]:
    """What of the rates needs a person: one that awaits a word, or all too old where exchange is in use."""
    newest = await _feed.newest_rate(connection)
    age = 0 if newest is None else (wall_now.astimezone(FRANKFURT).date() - newest).days
    state = await _feed.last_answer(connection, source=SOURCE)
    problem = "" if state is None else state["problem"]
    if age > ALARM_DAYS and await _feed.is_exchanging(connection):
        why = f"; the last question: {problem}" if problem else ""
        return [
            f"the newest exchange rate is {age} days old, above 7 sessions wait: networkcore fx import{why}"
        ]
    return [f"exchange rates: {problem}"] if state is not None and problem and not state["failures"] else []
