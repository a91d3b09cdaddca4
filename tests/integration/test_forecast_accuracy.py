"""The forecast of each day, kept and held against what was paid: off by nothing, or reported by how much."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clearing.payouts import forecast_service
from clearing.payouts.forecast_service import ForecastError
from clearing.reporting.settlement_sla import read_settlement_sla
from gateway.api.business_metrics import render
from gateway.cli.status import settlement_sla_alerts, settlement_sla_json, settlement_sla_lines
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world
from tests.integration.test_disbursements import System

MONDAY = datetime(2026, 10, 12, 1, 0, tzinfo=UTC)


@pytest.fixture
async def system(pool: Pool) -> System:
    opened = System(pool)
    await opened.open()
    return opened


async def snapshot(system: System, now: datetime) -> bool:
    async with transaction(system.pool) as connection:
        return await forecast_service.store_snapshot(connection, system.service.disbursements, now=now)


async def errors(system: System, now: datetime) -> dict[str, ForecastError]:
    async with transaction(system.pool) as connection:
        await forecast_service.measure(connection, now=now)
        return {one.ahead: one for one in await forecast_service.list_errors(connection, now=now)}


async def play(system: System, days: int) -> datetime:
    """A session a day, forecast at one in the morning, paid at eight; a reserve and a minimum on the way."""
    await system.terms(world.NL_CPO, reserve_bps=1000, reserve_days=3)
    now = MONDAY
    for number in range(1, days + 1):
        assert await snapshot(system, now)
        sale = now + timedelta(hours=11)
        for payment in await system.plan(now + timedelta(hours=7)):
            await system.pay(payment, now + timedelta(hours=7))
        await system.clear(number, now=sale + timedelta(minutes=2), sale_at=sale)
        now += timedelta(days=1)
    return now


async def test_the_forecast_of_the_day_before_is_paid_to_the_minor_unit(system: System) -> None:
    async with transaction(system.pool) as connection:
        superapp = replace(world.SUPERAPP, minimum_payout_minor=100)
        await system.service.reference_data.register_party(connection, superapp, now=MONDAY)
    now = await play(system, 10)
    found = await errors(system, now)
    assert found["day"].error_minor == 0
    assert found["day"].paid_minor > 2000
    assert found["day"].payments > 5
    await system.proved()


async def test_a_payment_that_is_not_made_or_was_not_forecast_counts_in_full(system: System) -> None:
    await system.clear(1)
    await snapshot(system, datetime(2026, 10, 14, 1, tzinfo=UTC))
    later = datetime(2026, 10, 20, 1, tzinfo=UTC)
    missed = (await errors(system, later))["day"]  # 4.00 and 0.40 were due on the 15th
    assert (missed.error_minor, missed.paid_minor) == (440, 0)
    await system.clear(2)  # after the forecast was made
    for payment in await system.plan(datetime(2026, 10, 15, 8, tzinfo=UTC)):
        await system.pay(payment, datetime(2026, 10, 15, 8, tzinfo=UTC))
    late = (await errors(system, later))["day"]
    assert (late.error_minor, late.paid_minor) == (440, 880)
    async with system.pool.acquire() as connection:
        sla = await read_settlement_sla(connection, now=later)
    text = render(sla, oldest_event_at=None, now=later).decode()
    assert 'networkcore_forecast_error_minor_units{ahead="day",currency="EUR"} 440.0' in text
    assert 'networkcore_forecast_error_ratio{ahead="day",currency="EUR"} 0.5' in text
    assert "differed by 440 EUR" in " ".join(settlement_sla_alerts(sla))
    assert any(
        "440 EUR" in line for line in settlement_sla_lines(settlement_sla_json(sla, oldest_event_at=None))
    )


async def test_a_day_is_forecast_once_and_a_day_without_a_forecast_is_not_measured(system: System) -> None:
    await system.clear(1)
    for payment in await system.plan(datetime(2026, 10, 15, 8, tzinfo=UTC)):
        await system.pay(payment, datetime(2026, 10, 15, 8, tzinfo=UTC))
    assert await errors(system, datetime(2026, 10, 20, 1, tzinfo=UTC)) == {}
    day = datetime(2026, 10, 16, 1, tzinfo=UTC)
    assert await snapshot(system, day)
    assert not await snapshot(system, day + timedelta(hours=5))


async def test_terms_ahead_is_counted_in_clearing_days(system: System) -> None:
    await system.clear(1)  # a sale of Tuesday, due on Thursday
    await snapshot(system, datetime(2026, 10, 13, 20, tzinfo=UTC))
    async with system.pool.acquire() as connection:
        days = await connection.fetch(
            "SELECT party_id, days_ahead FROM clearing.forecast_snapshot ORDER BY 1"
        )
    assert [tuple(row) for row in days] == [("NL-ABC", 2), ("superapp", 2)]
    for payment in await system.plan(datetime(2026, 10, 15, 8, tzinfo=UTC)):
        await system.pay(payment, datetime(2026, 10, 15, 8, tzinfo=UTC))
    found = (await errors(system, datetime(2026, 10, 20, 1, tzinfo=UTC)))["terms"]
    assert (found.error_minor, found.paid_minor, found.payments) == (0, 440, 2)
