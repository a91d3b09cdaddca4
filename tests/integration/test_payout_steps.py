"""Three-decimal currencies over the PSP: paid in whole tens, the remainder the next day, as forecast."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.payouts.disbursement import DueSum, HoldReason, hold_reason
from clearing.payouts.statement_proof import verify_payment
from clearing.payouts.steps import remainder, remainder_entries, step_minor
from clearing.session import lane_of
from gateway.database import Pool, transaction
from tests.fakes import clearing_world as world
from tests.integration.test_payment_statements import write
from tests.integration.test_settlement import NOW, THURSDAY, House, of

KUWAIT = replace(world.NL_CPO, settlement_currency="KWD")


@pytest.mark.parametrize(
    ("rail", "currency", "step"),
    [("psp", "KWD", 10), ("psp", "BHD", 10), ("psp", "JOD", 10), ("psp", "EUR", 1), ("psp", "ISK", 1),
     ("bank", "KWD", 1)],
)  # fmt: skip
def test_only_three_decimals_over_the_psp_move_in_tens(rail: str, currency: str, step: int) -> None:
    assert step_minor(rail, currency) == step


@given(minor=st.integers(1, 10**15), currency=st.sampled_from(["KWD", "TND", "EUR", "JPY"]))
def test_what_is_paid_and_what_stays_is_what_was_due(minor: int, currency: str) -> None:
    left = remainder(minor, rail="psp", currency=currency)
    assert 0 <= left < step_minor("psp", currency)
    assert (minor - left) % step_minor("psp", currency) == 0


def test_a_remainder_is_owed_again_and_moves_nothing_in_sum() -> None:
    """1.003 KWD due: 1.000 paid, 0.003 the next day (Stripe: the last digit of three decimals is 0)."""
    subject = world.session_id(7)
    held, back = remainder_entries(
        KUWAIT, disbursement_id=subject, currency="KWD", paid_on=date(2026, 10, 15), due_minor=1003, minor=3
    )
    assert [entry.payables[0].amount_minor for entry in (held, back)] == [-3, 3]
    assert back.payables[0].due_date == date(2026, 10, 16)
    assert held.transfers[0].reversed() == back.transfers[0]
    assert held.lane == lane_of(subject)


def test_less_than_a_step_waits_with_its_reason() -> None:
    due = DueSum(party_id="NL-ABC", currency="KWD", period=date(2026, 10, 15), amount_minor=9, count=1)
    assert hold_reason(due, KUWAIT) is HoldReason.BELOW_STEP
    assert hold_reason(replace(due, amount_minor=10), KUWAIT) is None


@pytest.fixture
async def house(pool: Pool) -> House:
    opened = House(pool)
    await opened.open()
    async with transaction(pool) as connection:
        for party in (KUWAIT, replace(world.SUPERAPP, settlement_currency="KWD")):
            await opened.service.register_party(connection, party, now=NOW)
        agreed = world.agreement(KUWAIT, version=2)
        await opened.service.put_agreement(connection, agreed, now=NOW)
    return opened


async def test_a_party_is_paid_in_tens_and_its_remainders_add_up_as_forecast(house: House) -> None:
    await house.terms(world.NL_CPO, reserve_bps=1000, reserve_days=5)
    for day, numbers in ((0, (1, 2, 3)), (1, (4,)), (2, (5, 6)), (6, (7,))):
        sold = world.SALE_AT + timedelta(days=day)
        await house.clear(
            *numbers,
            cpo=KUWAIT,
            sale_at=sold,
            captured_minor=6057,
            tariff_json=world.tariff_json(KUWAIT, price="0.5006"),
            psp_fee_minor=0,
        )
    seen = await house.forecast(NOW)
    paid: defaultdict[tuple[str, date], int] = defaultdict(int)
    for day in range(30):
        now = THURSDAY + timedelta(days=day)
        paid_on_day = await house.plan(now)
        for payment in paid_on_day:
            assert payment.currency == "KWD"
            assert payment.amount_minor % 10 == 0
            await house.pay(payment, now)
            paid[payment.party_id, payment.period] += payment.amount_minor
        for payment in [one for one in paid_on_day if one.party_id == "NL-ABC"]:
            proved = verify_payment(await write(house, payment))
            assert proved.payout_minor == payment.amount_minor
    assert paid
    assert dict(paid) == {key: minor for key, minor in seen.items() if minor}
    await house.proved()
    async with house.pool.acquire() as connection:
        left = await connection.fetch(
            "SELECT party_id, sum(amount_minor) AS minor FROM clearing.payable WHERE state = 'open' "
            "GROUP BY party_id"
        )
        kept = await connection.fetchval("SELECT count(*) FROM clearing.entry WHERE kind = 'remainder_hold'")
        lines = await house.service.forecast(connection, now=THURSDAY + timedelta(days=30))
    assert kept > 2
    assert {row["party_id"]: 0 < row["minor"] < 10 for row in left} == dict.fromkeys(
        {row["party_id"] for row in left}, True
    )
    assert {line.hold for line in lines} <= {HoldReason.BELOW_STEP}


async def test_a_refused_payment_is_planned_again_in_tens(house: House) -> None:
    await house.clear(
        1,
        cpo=KUWAIT,
        captured_minor=6057,
        tariff_json=world.tariff_json(KUWAIT, price="0.5006"),
        psp_fee_minor=0,
    )
    first = of(await house.plan(THURSDAY), KUWAIT)
    async with transaction(house.pool) as connection:
        await house.desk.hold(
            connection, "NL-ABC", reason="x", since=date(2026, 10, 15), until=None, by="anna"
        )
        (withdrawn,) = await house.desk.withdraw_stopped(connection, now=THURSDAY, party_id="NL-ABC")
        (hold,) = await connection.fetch("SELECT id FROM clearing.payout_hold")
        await house.desk.lift_hold(connection, hold["id"], by="anna", now=THURSDAY)
    again = of(await house.plan(THURSDAY), KUWAIT)
    assert withdrawn.id == first.id
    assert (again.amount_minor, again.amount_minor % 10) == (first.amount_minor, 0)
    await house.proved()
