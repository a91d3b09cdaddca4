"""The clocks: business time follows the market and never goes back, wall time follows nothing."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import MarketAnchor, MarketClock, SystemClock
from gateway.errors import DatabaseUnreachableError

WALL = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BUSINESS = datetime(2026, 3, 28, 22, 0, tzinfo=UTC)


class Market:
    """Stands for the database: answers the anchor it holds, or the error it holds."""

    def __init__(self, answer: MarketAnchor | Exception | None) -> None:
        self.answer = answer
        self.reads = 0

    async def read(self) -> MarketAnchor | None:
        self.reads += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def anchor(*, business: datetime = BUSINESS, rate: int = 0) -> MarketAnchor:
    return MarketAnchor(business_at=business, anchored_at=datetime.now(UTC), rate=rate)


def test_system_clock_is_wall_time_in_utc() -> None:
    clock = SystemClock()
    before = datetime.now(UTC)
    assert before <= clock.now() <= clock.wall_now() <= datetime.now(UTC)
    assert clock.now().tzinfo is UTC


@given(st.integers(0, 3600), st.integers(0, 100_000))
def test_business_time_runs_rate_times_as_fast(rate: int, elapsed_s: int) -> None:
    held = MarketAnchor(business_at=BUSINESS, anchored_at=WALL, rate=rate)
    assert held.business_time(WALL + timedelta(seconds=elapsed_s)) == BUSINESS + timedelta(
        seconds=rate * elapsed_s
    )


def test_a_wall_clock_behind_the_anchor_does_not_turn_business_time_back() -> None:
    held = MarketAnchor(business_at=BUSINESS, anchored_at=WALL, rate=60)
    assert held.business_time(WALL - timedelta(seconds=5)) == BUSINESS


def test_business_time_is_in_utc_whatever_the_anchor_is_in() -> None:
    zone = timezone(timedelta(hours=2))
    held = MarketAnchor(business_at=BUSINESS.astimezone(zone), anchored_at=WALL, rate=0)
    assert held.business_time(WALL).utcoffset() == timedelta(0)


def test_naive_times_and_negative_rates_are_rejected() -> None:
    naive = BUSINESS.replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware"):
        MarketAnchor(business_at=naive, anchored_at=WALL, rate=1)
    with pytest.raises(ValueError, match="aware"):
        MarketAnchor(business_at=BUSINESS, anchored_at=naive, rate=1)
    with pytest.raises(ValueError, match="backwards"):
        MarketAnchor(business_at=BUSINESS, anchored_at=WALL, rate=-1)


async def test_before_a_market_opens_business_time_is_wall_time() -> None:
    clock = MarketClock(read_anchor=Market(None).read)
    await clock.refresh()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)


async def test_business_time_follows_the_market_and_wall_time_does_not() -> None:
    market = Market(anchor())
    clock = MarketClock(read_anchor=market.read)
    await clock.refresh()
    assert clock.now() == BUSINESS
    assert abs(clock.wall_now() - datetime.now(UTC)) < timedelta(seconds=1)
    market.answer = anchor(business=BUSINESS + timedelta(days=1))
    await clock.refresh()
    assert clock.now() == BUSINESS + timedelta(days=1)


async def test_business_time_never_goes_back_within_a_process() -> None:
    market = Market(anchor())
    clock = MarketClock(read_anchor=market.read)
    await clock.refresh()
    assert clock.now() == BUSINESS
    market.answer = anchor(business=BUSINESS - timedelta(hours=1))
    await clock.refresh()
    assert clock.now() == BUSINESS


async def test_an_outage_is_waited_out_and_the_last_anchor_stands() -> None:
    market = Market(anchor())
    clock = MarketClock(read_anchor=market.read, refresh_seconds=0.001)
    task = asyncio.create_task(clock.run())
    try:
        async with asyncio.timeout(5):
            while clock.now() != BUSINESS:
                await asyncio.sleep(0.001)
            market.answer, seen = DatabaseUnreachableError("gone"), market.reads
            while market.reads < seen + 3:
                await asyncio.sleep(0.001)
            assert clock.now() == BUSINESS
            market.answer = anchor(business=BUSINESS + timedelta(days=2))
            while clock.now() != BUSINESS + timedelta(days=2):
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def test_an_unexpected_error_of_the_reader_is_not_hidden() -> None:
    clock = MarketClock(read_anchor=Market(KeyError("column")).read, refresh_seconds=0.001)
    with pytest.raises(KeyError):
        await clock.run()
