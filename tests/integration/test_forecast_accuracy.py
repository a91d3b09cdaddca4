"""The forecast of each day, kept and held against what was paid: off by nothing, or told by how much."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clearing.desks import forecast_desk
from clearing.desks.forecast_desk import ForecastError
from gateway.commands.status import promise_alarms, promise_json, promise_lines
from gateway.database import Pool, transaction
from gateway.http.promise import render
from gateway.store.promise import read_promise
from tests.fakes import clearing_world as world
from tests.integration.test_settlement import House

MONDAY = datetime(2026, 10, 12, 1, 0, tzinfo=UTC)


@pytest.fixture
async def house(pool: Pool) -> House:
    opened = House(pool)
    await opened.open()
    return opened


async def snapshot(house: House, now: datetime) -> bool:
    async with transaction(house.pool) as connection:
        return await forecast_desk.take_snapshot(connection, house.service, now=now)


async def errors(house: House, now: datetime) -> dict[str, ForecastError]:
    async with transaction(house.pool) as connection:
        await forecast_desk.measure(connection, now=now)
        return {one.ahead: one for one in await forecast_desk.errors(connection, now=now)}


async def play(house: House, days: int) -> datetime:
    """A session a day, forecast at one in the morning, paid at eight; a reserve and a minimum on the way."""
    await house.terms(world.NL_CPO, reserve_bps=1000, reserve_days=3)
    now = MONDAY
    for number in range(1, days + 1):
        assert await snapshot(house, now)
        sale = now + timedelta(hours=11)
        for payment in await house.plan(now + timedelta(hours=7)):
            await house.pay(payment, now + timedelta(hours=7))
        await house.clear(number, now=sale + timedelta(minutes=2), sale_at=sale)
        now += timedelta(days=1)
    return now


async def test_what_the_forecast_of_the_day_before_said_is_paid_to_the_minor_unit(house: House) -> None:
    async with transaction(house.pool) as connection:
        superapp = replace(world.SUPERAPP, minimum_payout_minor=100)
        await house.service.register_party(connection, superapp, now=MONDAY)
    now = await play(house, 10)
    found = await errors(house, now)
    assert found["day"].error_minor == 0
    assert found["day"].paid_minor > 2000
    assert found["day"].payments > 5
    await house.proved()


async def test_a_payment_that_is_not_made_or_was_not_forecast_counts_in_full(house: House) -> None:
    await house.clear(1)
    await snapshot(house, datetime(2026, 10, 14, 1, tzinfo=UTC))
    later = datetime(2026, 10, 20, 1, tzinfo=UTC)
    missed = (await errors(house, later))["day"]  # 4.00 and 0.40 were due on the 15th
    assert (missed.error_minor, missed.paid_minor) == (440, 0)
    await house.clear(2)  # after the forecast was made
    for payment in await house.plan(datetime(2026, 10, 15, 8, tzinfo=UTC)):
        await house.pay(payment, datetime(2026, 10, 15, 8, tzinfo=UTC))
    late = (await errors(house, later))["day"]
    assert (late.error_minor, late.paid_minor) == (440, 880)
    async with house.pool.acquire() as connection:
        promise = await read_promise(connection, now=later)
    text = render(promise, now=later).decode()
    assert 'networkcore_forecast_error_minor_units{ahead="day",currency="EUR"} 440.0' in text
    assert 'networkcore_forecast_error_ratio{ahead="day",currency="EUR"} 0.5' in text
    assert "off by 440 EUR" in " ".join(promise_alarms(promise, today=later.date()))
    assert any("440 EUR" in line for line in promise_lines(promise_json(promise)))


async def test_a_day_is_forecast_once_and_a_day_without_a_forecast_is_not_judged(house: House) -> None:
    await house.clear(1)
    for payment in await house.plan(datetime(2026, 10, 15, 8, tzinfo=UTC)):
        await house.pay(payment, datetime(2026, 10, 15, 8, tzinfo=UTC))
    assert await errors(house, datetime(2026, 10, 20, 1, tzinfo=UTC)) == {}
    day = datetime(2026, 10, 16, 1, tzinfo=UTC)
    assert await snapshot(house, day)
    assert not await snapshot(house, day + timedelta(hours=5))


async def test_terms_ahead_is_counted_in_clearing_days(house: House) -> None:
    await house.clear(1)  # a sale of Tuesday, due on Thursday
    await snapshot(house, datetime(2026, 10, 13, 20, tzinfo=UTC))
    async with house.pool.acquire() as connection:
        days = await connection.fetch(
            "SELECT party_id, days_ahead FROM clearing.forecast_snapshot ORDER BY 1"
        )
    assert [tuple(row) for row in days] == [("NL-ABC", 2), ("superapp", 2)]
    for payment in await house.plan(datetime(2026, 10, 15, 8, tzinfo=UTC)):
        await house.pay(payment, datetime(2026, 10, 15, 8, tzinfo=UTC))
    found = (await errors(house, datetime(2026, 10, 20, 1, tzinfo=UTC)))["terms"]
    assert (found.error_minor, found.paid_minor, found.payments) == (0, 440, 2)
