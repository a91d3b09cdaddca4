"""Bad days of settlement on a real PostgreSQL: each ends with the proof, and the forecast came true."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.calendar import Calendars, ClosingDays
from clearing.errors import ClearingConflictError
from clearing.ledger import service as ledger_service
from clearing.parties.bank_details import BankDetails, PostalAddress
from clearing.parties.party import Party
from clearing.parties.payout_terms import Cadence, PayoutTerms
from clearing.payouts.administration import PayoutAdministration
from clearing.payouts.disbursement import (
    Disbursement,
    DisbursementState,
    Paid,
    RailOutcomeUnknown,
    Rejected,
)
from clearing.payouts.netting import HoldReason
from clearing.reference_data import bundled_data
from clearing.services import build_clearing
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world
from tests.fakes.parties import add_parties

NOW = world.SALE_AT + timedelta(hours=1)
THURSDAY = datetime(2026, 10, 15, 8, 0, tzinfo=UTC)
FRIDAY = THURSDAY + timedelta(days=1)
BANK = BankDetails(
    name="NL-ABC B.V.",
    iban="NL91ABNA0417164300",
    bic="ABNANL2A",
    address=PostalAddress(town="Amsterdam", country="NL"),
)


class System:
    """Clearing with its payouts on one database, step by step."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.service = build_clearing()
        self.payouts = self.service.payouts

    async def open(self) -> None:
        async with transaction(self.pool) as connection:
            await self.service.reference_data.import_bundled_rates(connection, now=NOW)
            for party in world.PARTIES.values():
                await self.service.reference_data.register_party(connection, party, now=NOW)
            await self.service.reference_data.put_agreement(
                connection, world.agreement(world.NL_CPO), now=NOW
            )

    async def clear(self, *numbers: int, now: datetime = NOW, **changes: object) -> None:
        async with transaction(self.pool) as connection:
            sessions = [world.session(number, **changes) for number in numbers]
            batch = await self.service.sessions.clear_batch(connection, sessions, now=now, batch_id=uuid4())
        assert len(batch.cleared) == len(numbers), batch.uncleared

    async def terms(self, party: Party, **changes: object) -> None:
        async with transaction(self.pool) as connection:
            await self.payouts.put_terms(connection, party.id, PayoutTerms(**changes), by="anna", now=NOW)  # type: ignore[arg-type]

    async def plan(self, now: datetime) -> list[Disbursement]:
        async with transaction(self.pool) as connection:
            return list(await self.service.disbursements.plan(connection, now=now))

    async def begin(self, payment: Disbursement, now: datetime) -> Disbursement | None:
        async with transaction(self.pool) as connection:
            return await self.service.disbursements.begin(connection, payment.id, now=now)

    async def answer(
        self, payment: Disbursement, outcome: Paid | Rejected | RailOutcomeUnknown, now: datetime
    ) -> Disbursement:
        async with transaction(self.pool) as connection:
            return await self.service.disbursements.record_outcome(connection, payment.id, outcome, now=now)

    async def pay(self, payment: Disbursement, now: datetime) -> Disbursement:
        assert await self.begin(payment, now) is not None
        return await self.answer(payment, Paid(rail_reference=f"tr_{payment.id.hex}"), now)

    async def refund(self, number: int, minor: int, now: datetime) -> None:
        async with transaction(self.pool) as connection:
            await self.service.sessions.refund(
                connection, world.session_id(number), minor=minor, reference=f"re_{number}", now=now
            )

    async def forecast(self, now: datetime, days: int = 60) -> dict[tuple[str, date], int]:
        """What the calendar says will be paid by party and day: held sums are carried to the next."""
        async with self.pool.acquire() as connection:
            lines = await self.service.disbursements.forecast(connection, now=now, days=days)
        paid: defaultdict[tuple[str, date], int] = defaultdict(int)
        carried: defaultdict[str, int] = defaultdict(int)
        for line in lines:
            if line.hold is not None:
                carried[line.party_id] += line.amount_minor
            else:
                paid[line.party_id, line.due_date] += line.amount_minor + carried.pop(line.party_id, 0)
        return dict(paid)

    async def proved(self) -> None:
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            report = await audit_ledger(connection, now=NOW)
        assert report.ok, (report.findings, report.proof)


async def open_due(pool: Pool, cpos: Sequence[Party]) -> System:
    """A market in which each of these CPOs and the partner of every driver is to be paid."""
    system = System(pool)
    await system.open()
    async with transaction(pool) as connection:
        for party in cpos:
            await system.service.reference_data.register_party(connection, party, now=NOW)
            await system.service.reference_data.put_agreement(connection, world.agreement(party), now=NOW)
        await add_parties(connection, {party.id: party.kind.value for party in (*cpos, world.SUPERAPP)})
        sessions = [world.session(number, party) for number, party in enumerate(cpos)]
        await system.service.sessions.clear_batch(
            connection, sessions, now=NOW, batch_id=world.session_id(999)
        )
    return system


@pytest.fixture
async def system(pool: Pool) -> System:
    opened = System(pool)
    await opened.open()
    return opened


def of(planned: list[Disbursement], party: Party) -> Disbursement:
    (found,) = [one for one in planned if one.party_id == party.id]
    return found


async def test_a_transfer_that_fails_for_insufficient_balance_is_planned_again_and_paid_once(
    system: System,
) -> None:
    await system.terms(world.NL_CPO, reserve_bps=1000, reserve_days=30)
    await system.clear(1)
    first = of(await system.plan(THURSDAY), world.NL_CPO)
    assert first.amount_minor == 360  # 4.00 less the reserve of 10 %
    await system.begin(first, THURSDAY)
    failed = await system.answer(first, Rejected(code="balance_insufficient", detail="no funds"), THURSDAY)
    assert failed.state is DisbursementState.FAILED
    await system.proved()
    assert [
        one for one in await system.plan(THURSDAY) if one.party_id == "NL-ABC"
    ] == []  # not within the hour
    again = of(await system.plan(THURSDAY + timedelta(hours=2)), world.NL_CPO)
    assert (again.amount_minor, again.end_to_end_id != first.end_to_end_id) == (360, True)  # withheld once
    await system.pay(again, THURSDAY + timedelta(hours=2))
    await system.proved()


async def test_an_answer_that_was_lost_after_taking_effect_pays_nobody_twice(system: System) -> None:
    await system.clear(1)
    payment = of(await system.plan(THURSDAY), world.NL_CPO)
    await system.begin(payment, THURSDAY)
    lost = await system.answer(payment, RailOutcomeUnknown(detail="timeout"), THURSDAY)
    assert lost.state is DisbursementState.OUTCOME_UNKNOWN
    assert await system.begin(payment, THURSDAY) is None  # not before its time
    assert [
        one for one in await system.plan(FRIDAY) if one.party_id == "NL-ABC"
    ] == []  # its payables stay tied
    asked = await system.begin(payment, FRIDAY)
    assert asked is not None
    assert (asked.attempts, asked.end_to_end_id) == (2, payment.end_to_end_id)  # the same key
    paid = await system.answer(asked, Paid(rail_reference="tr_1"), FRIDAY)
    assert paid.state is DisbursementState.PAID
    await system.proved()


async def test_a_payout_returned_five_days_later_is_owed_again_and_held(system: System) -> None:
    await system.clear(1)
    payment = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    later = THURSDAY + timedelta(days=5)
    async with transaction(system.pool) as connection:
        assert await system.payouts.record_return(
            connection, payment.id, reason="AC04 closed account", now=later
        )
    async with transaction(system.pool) as connection:
        assert not await system.payouts.record_return(connection, payment.id, reason="again", now=later)
    await system.proved()
    assert [one for one in await system.plan(later) if one.party_id == "NL-ABC"] == []
    async with system.pool.acquire() as connection:
        lines = await system.service.disbursements.forecast(connection, now=later, party_id="NL-ABC")
        held = await connection.fetchrow("SELECT id, reason FROM clearing.payout_hold")
    assert [(line.amount_minor, line.hold) for line in lines] == [(400, HoldReason.ON_HOLD)]
    assert "AC04" in held["reason"]
    async with transaction(system.pool) as connection:
        await system.payouts.lift_hold(connection, held["id"], by="anna", now=later)
    again = of(await system.plan(later + timedelta(hours=2)), world.NL_CPO)
    assert (again.amount_minor, again.end_to_end_id != payment.end_to_end_id) == (400, True)
    await system.proved()


async def test_changed_bank_details_hold_the_payout_until_a_second_person_approves(system: System) -> None:
    await system.clear(1)
    async with transaction(system.pool) as connection:
        version = await system.payouts.submit_bank_details(connection, "NL-ABC", BANK, by="Anna", now=NOW)
    assert [one for one in await system.plan(THURSDAY) if one.party_id == "NL-ABC"] == []
    async with system.pool.acquire() as connection:
        lines = await system.service.disbursements.forecast(connection, now=THURSDAY, party_id="NL-ABC")
    assert {line.hold for line in lines} == {HoldReason.BANK_DETAILS}
    with pytest.raises(ClearingConflictError):
        async with transaction(system.pool) as connection:
            await system.payouts.decide_bank_details(
                connection, "NL-ABC", version, approve=True, by="anna", now=NOW
            )
    async with transaction(system.pool) as connection:
        await system.payouts.decide_bank_details(
            connection, "NL-ABC", version, approve=True, by="Ben", now=NOW
        )
    payment = of(await system.plan(THURSDAY), world.NL_CPO)
    assert (payment.rail, payment.destination) == ("bank", BANK.iban)
    async with system.pool.acquire() as connection:  # the PSP's shard never sees a bank payment
        to_psp = await system.service.disbursements.begin_due(connection, now=THURSDAY, limit=100)
    assert payment.id not in {one.id for one in to_psp}


async def test_a_large_disbursement_waits_for_two_approvals(system: System) -> None:
    await system.terms(world.NL_CPO, approval_above_minor=300)
    await system.clear(1)
    payment = of(await system.plan(THURSDAY), world.NL_CPO)
    assert await system.begin(payment, THURSDAY) is None
    for person, count in (("anna", 1), ("Anna", 1), ("ben", 2)):
        async with transaction(system.pool) as connection:
            assert await system.payouts.approve(connection, payment.id, by=person, now=THURSDAY) == (count, 2)
    async with system.pool.acquire() as connection:
        assert payment.id not in {one.id for one in await system.payouts.list_awaiting_approval(connection)}
    assert (await system.pay(payment, THURSDAY)).state is DisbursementState.PAID


async def test_a_deregistered_party_is_paid_below_its_minimum_and_its_receivable_ages(system: System) -> None:
    async with transaction(system.pool) as connection:
        minimum = replace(world.NL_CPO, minimum_payout_minor=10_000)
        await system.service.reference_data.register_party(connection, minimum, now=NOW)
    await system.clear(1, 2)
    assert [one for one in await system.plan(THURSDAY) if one.party_id == "NL-ABC"] == []
    await system.terms(world.NL_CPO, deregistered_on=date(2026, 10, 16))
    payment = of(await system.plan(FRIDAY), world.NL_CPO)
    assert payment.amount_minor == 800
    await system.pay(payment, FRIDAY)
    # A dispute after payout, with the party gone: the claim stands, ages, and is nobody else's.
    async with transaction(system.pool) as connection:
        await system.service.sessions.open_dispute(
            connection, world.session_id(1), minor=605, fee_minor=0, reference="dp_1", now=FRIDAY
        )
    later = FRIDAY + timedelta(days=40)
    assert [one for one in await system.plan(later) if one.party_id == "NL-ABC"] == []
    async with system.pool.acquire() as connection:
        receivables = await system.service.receivables.list_receivables(connection, now=later)
    (receivable,) = [one for one in receivables if one.party_id == "NL-ABC"]
    assert receivable.receivable_minor > 0
    assert receivable.age_days >= 39
    await system.proved()


async def test_a_calendar_changed_after_scheduling_moves_open_due_dates_with_the_reason(
    system: System,
) -> None:
    await system.clear(1, 2)
    await system.refund(2, 100, NOW)
    bundled = bundled_data.calendars()
    closed = [
        ClosingDays(
            name=calendar.name,
            days=calendar.days | {date(2026, 10, 15)},
            first_year=calendar.first_year,
            last_year=calendar.last_year,
        )
        for name in bundled_data.CALENDAR_NAMES
        for calendar in [bundled._by_name[name]]
    ]
    payouts = PayoutAdministration(system.service.reference_data, calendars=Calendars(closed))
    async with transaction(system.pool) as connection:
        moved = await payouts.reschedule(connection, reason="day of mourning, TARGET notice 7/2026", now=NOW)
    async with transaction(system.pool) as connection:
        assert await payouts.reschedule(connection, reason="again", now=NOW) == 0
        changes = await connection.fetch("SELECT * FROM clearing.due_date_change WHERE kind = 'capture'")
    assert moved >= 4
    assert {(row["old_date"], row["new_date"]) for row in changes} == {
        (date(2026, 10, 15), date(2026, 10, 16))
    }
    assert {row["reason"] for row in changes} == {"day of mourning, TARGET notice 7/2026"}
    await system.proved()


async def test_a_reserve_is_withheld_and_released_on_its_day_as_forecast(system: System) -> None:
    await system.terms(world.NL_CPO, reserve_bps=1050, reserve_days=10)
    await system.clear(1, 2, 3)
    await system.clear(4, sale_at=world.SALE_AT + timedelta(days=1))
    seen = await system.forecast(NOW)
    paid: dict[tuple[str, date], int] = {}
    for day in range(20):
        now = THURSDAY + timedelta(days=day)
        for payment in await system.plan(now):
            await system.pay(payment, now)
            paid[payment.party_id, payment.period] = payment.amount_minor
    assert paid == seen
    # 12.00 + 4.00: 10.5 % of each is 1.26 and 0.42, back ten days after each.
    assert [minor for (party, _), minor in sorted(paid.items()) if party == "NL-ABC"] == [1074, 358, 126, 42]
    await system.proved()
    async with system.pool.acquire() as connection:
        (reserve,) = await ledger_service.list_balances(connection, prefix="reserve:")
    assert reserve.minor == 0


@pytest.mark.parametrize(
    ("sale_at", "begins"),
    [
        # Thursday 22 October is due on Monday 26: Amsterdam's clocks went back on the Sunday, so that day
        # begins an hour later in UTC than a summer's day.
        (datetime(2026, 10, 22, 12, 0, tzinfo=UTC), datetime(2026, 10, 25, 23, 0, tzinfo=UTC)),
        # Wednesday 30 December is due on Monday 4 January: Thursday is the first clearing day, Friday none.
        (datetime(2026, 12, 30, 12, 0, tzinfo=UTC), datetime(2027, 1, 3, 23, 0, tzinfo=UTC)),
        # The last hour of the year in Amsterdam is the old year's: due on Tuesday 5 January.
        (datetime(2026, 12, 31, 22, 59, tzinfo=UTC), datetime(2027, 1, 4, 23, 0, tzinfo=UTC)),
        # Tuesday 23 March 2027 is due on Thursday 25; the clocks go forward on the Sunday after.
        (datetime(2027, 3, 23, 12, 0, tzinfo=UTC), datetime(2027, 3, 24, 23, 0, tzinfo=UTC)),
        # Thursday 25 March 2027: Easter lies between, and summer time: Wednesday 31 begins at 22 UTC.
        (datetime(2027, 3, 25, 12, 0, tzinfo=UTC), datetime(2027, 3, 30, 22, 0, tzinfo=UTC)),
    ],
    ids=["clocks go back", "year's end", "the year's last hour", "before summer time", "Easter"],
)
async def test_around_dst_and_the_years_end_a_party_is_paid_from_its_own_midnight_on(
    system: System, sale_at: datetime, begins: datetime
) -> None:
    await system.clear(1, sale_at=sale_at, now=sale_at + timedelta(minutes=1))
    forecast = await system.forecast(sale_at + timedelta(minutes=1))
    assert await system.plan(begins - timedelta(seconds=1)) == []
    payment = of(await system.plan(begins), world.NL_CPO)
    assert forecast[payment.party_id, payment.period] == payment.amount_minor
    assert payment.period == (begins + timedelta(hours=2)).date()
    await system.pay(payment, begins)
    await system.proved()


async def test_weekly_terms_close_on_their_weekday(system: System) -> None:
    await system.terms(world.NL_CPO, cadence=Cadence.WEEKLY, cadence_day=7)
    await system.clear(1)
    async with system.pool.acquire() as connection:
        lines = await system.service.disbursements.forecast(connection, now=NOW, party_id="NL-ABC")
    # Sales of Tuesday 13 October close on Sunday 18; two clearing days after that is Tuesday 20.
    assert [line.due_date for line in lines] == [date(2026, 10, 20)]


async def test_two_planners_at_once_plan_each_payment_once(system: System) -> None:
    await system.clear(*range(20))
    planned = await asyncio.gather(*(system.plan(THURSDAY) for _ in range(4)))
    assert sorted(len(one) for one in planned) == [0, 0, 0, 2]
    await system.proved()
