"""Three-decimal currencies over the PSP: paid in whole tens, the remainder the next day, as forecast."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.captured_session import shard_of
from clearing.payouts.minimum_increment import (
    minimum_increment_minor,
    remainder_entries,
    unpayable_remainder_minor,
)
from clearing.payouts.netting import DueSum, HoldReason, hold_reason
from clearing.settlement_statements.verification import verify_settlement_statement
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world
from tests.integration.test_disbursements import NOW, THURSDAY, System, of
from tests.integration.test_settlement_statements import write

KUWAIT = replace(world.NL_CPO, settlement_currency="KWD")


@pytest.mark.parametrize(
    ("rail", "currency", "step"),
    [
        ("psp", "KWD", 10),
        ("psp", "BHD", 10),
        ("psp", "JOD", 10),
        ("psp", "EUR", 1),
        ("psp", "ISK", 1),
        ("bank", "KWD", 1),
    ],
)
def test_only_three_decimals_over_the_psp_move_in_tens(rail: str, currency: str, step: int) -> None:
    assert minimum_increment_minor(rail, currency) == step


@given(minor=st.integers(1, 10**15), currency=st.sampled_from(["KWD", "TND", "EUR", "JPY"]))
def test_the_amount_paid_and_the_remainder_sum_to_what_was_due(minor: int, currency: str) -> None:
    left = unpayable_remainder_minor(minor, rail="psp", currency=currency)
    assert 0 <= left < minimum_increment_minor("psp", currency)
    assert (minor - left) % minimum_increment_minor("psp", currency) == 0


def test_a_remainder_is_owed_again_and_moves_nothing_in_sum() -> None:
    """1.003 KWD due: 1.000 paid, 0.003 the next day (Stripe: the last digit of three decimals is 0)."""
    subject = world.session_id(7)
    held, back = remainder_entries(
        KUWAIT, disbursement_id=subject, currency="KWD", paid_on=date(2026, 10, 15), due_minor=1003, minor=3
    )
    assert [entry.payables[0].amount_minor for entry in (held, back)] == [-3, 3]
    assert back.payables[0].due_date == date(2026, 10, 16)
    assert held.transfers[0].reversed() == back.transfers[0]
    assert held.shard == shard_of(subject)


def test_less_than_the_increment_waits_with_its_reason() -> None:
    due = DueSum(party_id="NL-ABC", currency="KWD", period=date(2026, 10, 15), amount_minor=9, count=1)
    assert hold_reason(due, KUWAIT) is HoldReason.BELOW_INCREMENT
    assert hold_reason(replace(due, amount_minor=10), KUWAIT) is None


@pytest.fixture
async def system(pool: Pool) -> System:
    opened = System(pool)
    await opened.open()
    async with transaction(pool) as connection:
        for party in (KUWAIT, replace(world.SUPERAPP, settlement_currency="KWD")):
            await opened.service.reference_data.register_party(connection, party, now=NOW)
        agreed = world.agreement(KUWAIT, version=2)
        await opened.service.reference_data.put_agreement(connection, agreed, now=NOW)
    return opened


async def test_a_party_is_paid_in_tens_and_its_remainders_add_up_as_forecast(system: System) -> None:
    await system.terms(world.NL_CPO, reserve_bps=1000, reserve_days=5)
    for day, numbers in ((0, (1, 2, 3)), (1, (4,)), (2, (5, 6)), (6, (7,))):
        sold = world.SALE_AT + timedelta(days=day)
        await system.clear(
            *numbers,
            cpo=KUWAIT,
            sale_at=sold,
            captured_minor=6057,
            tariff_json=world.tariff_json(KUWAIT, price="0.5006"),
            psp_fee_minor=0,
        )
    seen = await system.forecast(NOW)
    paid: defaultdict[tuple[str, date], int] = defaultdict(int)
    for day in range(30):
        now = THURSDAY + timedelta(days=day)
        paid_on_day = await system.plan(now)
        for payment in paid_on_day:
            assert payment.currency == "KWD"
            assert payment.amount_minor % 10 == 0
            await system.pay(payment, now)
            paid[payment.party_id, payment.period] += payment.amount_minor
        for payment in [one for one in paid_on_day if one.party_id == "NL-ABC"]:
            proved = verify_settlement_statement(await write(system, payment))
            assert proved.payout_minor == payment.amount_minor
    assert paid
    assert dict(paid) == {key: minor for key, minor in seen.items() if minor}
    await system.proved()
    async with system.pool.acquire() as connection:
        left = await connection.fetch(
            "SELECT party_id, sum(amount_minor) AS minor FROM clearing.payable WHERE state = 'open' "
            "GROUP BY party_id"
        )
        kept = await connection.fetchval(
            "SELECT count(*) FROM clearing.entry WHERE kind = 'remainder_carried'"
        )
        lines = await system.service.disbursements.forecast(connection, now=THURSDAY + timedelta(days=30))
    assert kept > 2
    assert {row["party_id"]: 0 < row["minor"] < 10 for row in left} == dict.fromkeys(
        {row["party_id"] for row in left}, True
    )
    assert {line.hold for line in lines} <= {HoldReason.BELOW_INCREMENT}


async def test_a_rejected_disbursement_is_planned_again_in_tens(system: System) -> None:
    await system.clear(
        1,
        cpo=KUWAIT,
        captured_minor=6057,
        tariff_json=world.tariff_json(KUWAIT, price="0.5006"),
        psp_fee_minor=0,
    )
    first = of(await system.plan(THURSDAY), KUWAIT)
    async with transaction(system.pool) as connection:
        await system.payouts.place_hold(
            connection, "NL-ABC", reason="x", since=date(2026, 10, 15), until=None, by="anna"
        )
        (cancelled,) = await system.payouts.cancel_unpayable(connection, now=THURSDAY, party_id="NL-ABC")
        (hold,) = await connection.fetch("SELECT id FROM clearing.payout_hold")
        await system.payouts.lift_hold(connection, hold["id"], by="anna", now=THURSDAY)
    again = of(await system.plan(THURSDAY), KUWAIT)
    assert cancelled.id == first.id
    assert (again.amount_minor, again.amount_minor % 10) == (first.amount_minor, 0)
    await system.proved()
