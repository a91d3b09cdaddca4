"""What people decide is booked once, as proposed, above a limit by two; suspense, balances, debts."""

import asyncio
import io
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest

from clearing.desks import bank_position, decisions
from clearing.desks.bank_rail import BankRail
from clearing.desks.debt_desk import DebtDesk
from clearing.desks.decisions import Decision
from clearing.desks.reconciler import PspLine, Reconciler
from clearing.desks.resolution_desk import ResolutionDesk, SuspenseItem, Wish
from clearing.errors import StateConflictError
from clearing.iso20022 import camt
from clearing.reconciliation.deciding import DecisionState, Resolution
from clearing.reconciliation.report import OpenDifference
from gateway.database import Pool, transaction
from tests.fakes import bank
from tests.fakes import clearing_world as world
from tests.integration.test_settlement import BANK, NOW, THURSDAY, House, of

RECONCILER = Reconciler()
LATER = THURSDAY + timedelta(days=10)
DAY = date(2026, 10, 13)


class Counter(House):
    """The house with its reconciliation and the people who decide."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.people = ResolutionDesk(self.service)
        self.debts = DebtDesk(self.service)
        self.rail = BankRail(self.service, self.desk)

    async def psp(self, *lines: PspLine) -> None:
        async with transaction(self.pool) as connection:
            await RECONCILER.record_psp_lines(connection, lines, now=NOW)

    async def bank(self, *entries: str, statement_id: str = "S1", closing: str | None = None) -> None:
        balances = () if closing is None else (("CLBD", closing),)
        content = bank.statement(*entries, statement_id=statement_id, balances=balances or (("ITBD", "0"),))
        told = [one for one in camt.read(io.BytesIO(content)) if getattr(one, "code", "") != "ITBD"]
        async with transaction(self.pool) as connection:
            lines = [one for one in told if isinstance(one, camt.BankLine)]
            await self.rail.statement(connection, lines, now=THURSDAY)
            await RECONCILER.record_bank_lines(connection, told, now=THURSDAY)

    async def run(self, *, now: datetime = LATER) -> dict[str, OpenDifference]:
        async with transaction(self.pool) as connection:
            await RECONCILER.run(connection, now=now)
        async with self.pool.acquire() as connection:
            return {one.reference: one async for one in RECONCILER.differences(connection, today=now.date())}

    async def resolve(
        self, one: OpenDifference, how: Resolution, *, by: str = "anna", **more: object
    ) -> Decision:
        wish = Wish(resolution=how, reason="told by the bank", by=by, **more)  # type: ignore[arg-type]
        async with transaction(self.pool) as connection:
            return await self.people.resolve(connection, one.id, wish, now=LATER)

    async def agree(self, decision: Decision, *, by: str) -> Decision:
        async with transaction(self.pool) as connection:
            return await self.people.agree(connection, decision.id, by=by, now=LATER)

    async def balance(self, account: str, currency: str = "EUR") -> int:
        async with self.pool.acquire() as connection:
            found = await self.service.balances(connection, prefix=account)
        return sum(one.minor for one in found if one.account == account and one.currency == currency)


@pytest.fixture
async def counter(pool: Pool) -> Counter:
    opened = Counter(pool)
    await opened.open()
    return opened


def line(name: str, kind: str, reference: str, minor: int, fee: int = 0) -> PspLine:
    return PspLine(
        id=name, kind=kind, reference=reference, amount_minor=minor, currency="EUR", occurred_on=DAY,
        fee_minor=fee,
    )  # fmt: skip


def credit(amount: str, info: str = "") -> str:
    return bank.entry(amount, direction="CRDT", info=info)


async def test_a_payout_of_the_psp_is_booked_on_its_way_and_on_the_bank_account(counter: Counter) -> None:
    await counter.clear(1, 2)
    await counter.psp(
        line("t1", "charge", "pi_1", 605, 34), line("t2", "charge", "pi_2", 605, 34),
        line("t3", "payout", "po_1", -1000),
    )  # fmt: skip
    assert await counter.run(now=THURSDAY) == {}
    assert await counter.balance("psp:stripe:receivable") == -(1210 - 68 - 1000)
    assert await counter.balance("psp:stripe:transit") == -1000
    await counter.bank(credit("10.00", "STRIPE po_1"), closing="10.00")
    for _ in range(2):
        assert await counter.run(now=LATER + timedelta(hours=1)) == {}
    assert await counter.balance("psp:stripe:transit") == 0
    assert await counter.balance("bank:settlement") == -1000
    await counter.proved()


async def test_a_payout_that_fails_comes_back_to_the_psps_balance(counter: Counter) -> None:
    await counter.psp(line("t1", "payout", "po_1", -1000), line("t2", "payout_failure", "po_1", 1000))
    assert await counter.run() == {}
    assert await counter.balance("psp:stripe:transit") == 0
    assert await counter.balance("psp:stripe:receivable") == 0
    await counter.proved()


async def test_payouts_merged_into_one_line_split_or_told_twice_are_booked_once(counter: Counter) -> None:
    await counter.psp(*(line(f"t{number}", "payout", f"po_{number}", -1000) for number in (1, 2, 3)))
    statement = (credit("20.00", "STRIPE po_1 po_2"), credit("6.00", "STRIPE po_3"))
    await counter.bank(*statement)
    await counter.bank(credit("4.00", "STRIPE po_3"), statement_id="S2")
    await counter.bank(*statement)
    for _ in range(2):
        assert await counter.run() == {}
    assert await counter.balance("psp:stripe:transit") == 0
    assert await counter.balance("bank:settlement") == -3000
    await counter.proved()


async def test_coins_that_the_bank_does_not_pay_out_are_its_expense(counter: Counter) -> None:
    forint = replace(line("t1", "payout", "po_1", -10_050), currency="HUF")
    await counter.psp(forint)
    await counter.bank(bank.entry("100.00", direction="CRDT", info="po_1", currency="HUF"))
    assert await counter.run() == {}
    assert await counter.balance("psp:stripe:transit", "HUF") == 0
    assert await counter.balance("platform:bank:expense", "HUF") == -50
    await counter.proved()


async def test_a_payout_is_known_by_hand_before_the_psp_tells_it(counter: Counter) -> None:
    await counter.bank(credit("10.00", "acquirer, no reference"))
    (one,) = (await counter.run()).values()
    await counter.resolve(one, Resolution.PSP_PAYOUT)
    assert await counter.balance("psp:stripe:transit") == 1000
    await counter.psp(line("t1", "payout", "po_1", -1000))
    (late,) = (await counter.run()).values()
    assert (late.reference, late.type) == ("po_1", "missing_right")
    assert await counter.balance("psp:stripe:transit") == 0
    await counter.resolve(late, Resolution.PSP_PAYOUT)
    assert await counter.run() == {}
    assert await counter.balance("psp:stripe:transit") == 0
    await counter.proved()


async def test_who_undoes_a_lower_limit_still_decides_under_it(counter: Counter) -> None:
    async with transaction(counter.pool) as connection:
        await decisions.set_limit(connection, "EUR", 100, by="carl", now=NOW)
        for limit in (500, 9_000):  # in steps, too
            await decisions.set_limit(connection, "EUR", limit, by="anna", now=NOW)
    await counter.bank(credit("2.00"))
    (one,) = (await counter.run()).values()
    assert (await counter.resolve(one, Resolution.OWN_FUNDS, by="anna")).needs_second
    async with transaction(counter.pool) as connection:
        assert (await decisions.known_limits(connection, by="anna"))["EUR"] == 100
        assert (await decisions.known_limits(connection, by="ben"))["EUR"] == 9_000


async def test_two_people_who_agree_at_once_book_once(counter: Counter) -> None:
    await counter.bank(credit("500.00"))
    (one,) = (await counter.run()).values()
    proposed = await counter.resolve(one, Resolution.OWN_FUNDS)
    both = await asyncio.gather(*(counter.agree(proposed, by=name) for name in ("ben", "carl")))
    assert {made.state for made in both} == {DecisionState.BOOKED}
    assert len({made.decided_by for made in both}) == 1
    assert await counter.balance("bank:settlement") == -50_000
    await counter.proved()


async def test_the_audit_notices_suspense_and_decisions_that_were_tampered_with(counter: Counter) -> None:
    await counter.bank(credit("50.00"))
    (one,) = (await counter.run()).values()
    await counter.resolve(one, Resolution.SUSPENSE)
    await counter.proved()
    async with transaction(counter.pool) as connection:
        await connection.execute("UPDATE clearing.suspense_item SET left_minor = 4999")
        await connection.execute(
            "UPDATE clearing.booking_decision SET state = 'refused', decided_by = 'eve', decided_at = now()"
        )
        report = await counter.service.audit(connection, now=NOW)
    assert {finding.check for finding in report.findings} == {"suspense_unequal", "decisions_unposted"}


async def test_unknown_money_goes_to_suspense_and_leaves_it_when_its_owner_is_found(counter: Counter) -> None:
    await counter.bank(credit("50.00", "who is this?"), bank.entry("12.00", info="cable repair"))
    found = await counter.run()
    incoming = next(one for one in found.values() if one.amount_minor == -5000)
    outgoing = next(one for one in found.values() if one.amount_minor == 1200)
    first = await counter.resolve(incoming, Resolution.SUSPENSE)
    again = await counter.resolve(outgoing, Resolution.SUSPENSE)
    assert (first.state, again.state) == (DecisionState.BOOKED, DecisionState.BOOKED)
    assert (first.amount_minor, again.amount_minor) == (5000, -1200)
    assert await counter.balance("suspense") == 3800
    assert await counter.run() == {}
    await counter.proved()
    async with transaction(counter.pool) as connection:
        items = await counter.people.suspense(connection, now=LATER)
        assert [(one.left_minor, one.owner, one.age_days) for one in items] == [
            (left, "finance", 10) for left in sorted((5000, -1200), key=lambda m: str(_id(items, m)))
        ]
        wish = Wish(resolution=Resolution.COLLECTION, reason="paid its debt", by="anna", party_id="NL-ABC")
        part = await counter.people.clear(connection, first.id, wish, minor=3000, now=LATER)
        fee = Wish(resolution=Resolution.FEE, reason="bank charge", by="anna")
        await counter.people.clear(connection, again.id, fee, minor=None, now=LATER)
        with pytest.raises(StateConflictError, match="2000 EUR are left"):
            await counter.people.clear(connection, first.id, wish, minor=2001, now=LATER)
        items = await counter.people.suspense(connection, now=LATER)
    assert part.state is DecisionState.BOOKED
    assert [one.left_minor for one in items] == [2000]
    assert await counter.balance("suspense") == 2000
    assert await counter.balance("platform:bank:expense") == -1200
    assert await counter.balance("cpo:NL-ABC:payable") == 3000
    await counter.proved()


def _id(items: list[SuspenseItem], minor: int) -> UUID:
    return next(one.id for one in items if one.left_minor == minor)


async def test_two_sums_in_suspense_that_are_one_movement_end_each_other(counter: Counter) -> None:
    await counter.clear(1)
    (missing,) = (await counter.run()).values()  # captured, and unknown to the PSP
    async with transaction(counter.pool) as connection:
        await decisions.set_limit(connection, "EUR", 10**6, by="zoe", now=NOW)
    out = await counter.resolve(missing, Resolution.SUSPENSE)
    await counter.psp(line("t1", "charge", "pi_1", 605, 34))
    (late,) = (await counter.run()).values()
    assert late.type == "duplicate"
    back = await counter.resolve(late, Resolution.SUSPENSE)
    assert await counter.balance("suspense") == 0
    async with transaction(counter.pool) as connection:
        assert len(await counter.people.suspense(connection, now=LATER)) == 2
        with pytest.raises(StateConflictError, match="cancel each other"):
            await counter.people.offset(connection, out.id, out.id, reason="late", by="anna", now=LATER)
        for first, second in ((out.id, back.id), (back.id, out.id)):
            if await counter.people.suspense(connection, now=LATER):
                await counter.people.offset(connection, first, second, reason="late", by="anna", now=LATER)
        assert await counter.people.suspense(connection, now=LATER) == []
    assert await counter.balance("psp:stripe:receivable") == -571
    await counter.proved()


async def test_above_the_limit_nothing_is_booked_until_a_second_person_agrees(counter: Counter) -> None:
    await counter.bank(credit("100.01", "too large for one"))
    (one,) = (await counter.run()).values()
    proposed = await counter.resolve(one, Resolution.OWN_FUNDS)
    assert (proposed.state, proposed.needs_second) == (DecisionState.PROPOSED, True)
    assert await counter.balance("bank:settlement") == 0
    assert one.reference in await counter.run()
    for same in ("anna", " ANNA "):
        with pytest.raises(StateConflictError, match="somebody else"):
            await counter.agree(proposed, by=same)
    booked = await counter.agree(proposed, by="ben")
    assert (booked.state, booked.proposed_by, booked.decided_by) == (DecisionState.BOOKED, "anna", "ben")
    assert await counter.agree(proposed, by="carl") == booked
    assert await counter.balance("bank:settlement") == -10001
    assert await counter.run() == {}
    await counter.proved()


async def test_a_limit_that_was_set_counts_and_zero_asks_two_people_for_everything(counter: Counter) -> None:
    async with transaction(counter.pool) as connection:
        await decisions.set_limit(connection, "EUR", 0, by="anna", now=NOW)
    await counter.bank(credit("0.01"))
    (one,) = (await counter.run()).values()
    assert (await counter.resolve(one, Resolution.WRITE_OFF)).needs_second


async def test_nobody_raises_the_limit_for_themselves(counter: Counter) -> None:
    async with transaction(counter.pool) as connection:
        await decisions.set_limit(connection, "EUR", 10**9, by="Anna", now=NOW)
    await counter.bank(credit("900.00"), credit("800.00"))
    first, second = (await counter.run()).values()
    assert (await counter.resolve(first, Resolution.WRITE_OFF, by="anna")).needs_second
    assert not (await counter.resolve(second, Resolution.WRITE_OFF, by="ben")).needs_second
    await counter.proved()


async def test_parts_of_a_large_sum_in_suspense_are_not_small(counter: Counter) -> None:
    await counter.bank(credit("900.00"))
    (one,) = (await counter.run()).values()
    held = await counter.agree(await counter.resolve(one, Resolution.SUSPENSE), by="ben")
    wish = Wish(resolution=Resolution.OWN_FUNDS, reason="a little of it", by="anna")
    async with transaction(counter.pool) as connection:
        part = await counter.people.clear(connection, held.id, wish, minor=100, now=LATER)
    assert part.needs_second
    assert await counter.balance("suspense") == 90_000


async def test_what_changed_since_it_was_proposed_is_not_booked(counter: Counter) -> None:
    await counter.psp(line("t1", "adjustment", "adj_1", 20_000))
    (one,) = (await counter.run()).values()
    proposed = await counter.resolve(one, Resolution.SUSPENSE)
    await counter.psp(line("t2", "adjustment", "adj_1", -5_000))
    await counter.run()
    with pytest.raises(StateConflictError, match="has changed"):
        await counter.agree(proposed, by="ben")
    assert await counter.balance("suspense") == 0
    async with transaction(counter.pool) as connection:
        refused = await counter.people.refuse(connection, proposed.id, by="ben", now=LATER)
    assert refused.state is DecisionState.REFUSED
    with pytest.raises(StateConflictError, match="refused can't agree"):
        await counter.agree(proposed, by="ben")
    await counter.proved()


async def test_the_same_decision_twice_books_once_and_another_on_the_same_is_refused(
    counter: Counter,
) -> None:
    await counter.bank(credit("150.00"))
    (one,) = (await counter.run()).values()
    first = await counter.resolve(one, Resolution.OWN_FUNDS)
    assert (await counter.resolve(one, Resolution.OWN_FUNDS)).id == first.id
    with pytest.raises(StateConflictError, match="wants it booked as own_funds"):
        await counter.resolve(one, Resolution.SUSPENSE)
    await counter.agree(first, by="ben")
    with pytest.raises(StateConflictError, match="is open"):
        await counter.resolve(one, Resolution.OWN_FUNDS)
    assert await counter.balance("bank:settlement") == -15000


async def test_fees_are_compared_line_by_line_and_booked_as_fees(counter: Counter) -> None:
    await counter.clear(1, 2)
    await counter.psp(
        line("t1", "charge", "pi_1", 605, 34), line("t2", "charge", "pi_2", 605, 40),
        line("t3", "stripe_fee", "", -200), line("t4", "payout", "po_1", -500, 25),
    )  # fmt: skip
    found = await counter.run()
    assert {(one.type, one.amount_minor) for one in found.values() if one.leg == "book_psp"} == {
        ("fee", 6), ("fee", 200), ("fee", 25),
    }  # fmt: skip
    expense = await counter.balance("platform:psp:expense")
    for one in found.values():
        if one.leg == "book_psp":
            assert '"as": "fee"' in one.proposal
            assert (await counter.resolve(one, Resolution.FEE)).state is DecisionState.BOOKED
    assert await counter.balance("platform:psp:expense") == expense - 231
    assert await counter.balance("psp:stripe:receivable") == -(1210 - 74 - 200 - 525)
    assert [one for one in (await counter.run()).values() if one.leg == "book_psp"] == []
    await counter.proved()


async def test_a_fee_that_the_psp_gives_back_leaves_the_proof_whole(counter: Counter) -> None:
    await counter.clear(1)
    await counter.psp(line("t1", "charge", "pi_1", 605, 30))
    (one,) = (await counter.run()).values()
    assert (one.type, one.amount_minor) == ("fee", -4)
    await counter.resolve(one, Resolution.FEE)
    await counter.proved()


async def test_disputes_refunds_and_top_ups_stand_line_by_line(counter: Counter) -> None:
    await counter.clear(1)
    async with transaction(counter.pool) as connection:
        await counter.service.open_dispute(
            connection, world.session_id(1), minor=605, fee_minor=2000, reference="du_1", now=NOW
        )
        await counter.service.win_dispute(connection, world.session_id(1), reference="du_1", now=NOW)
        await counter.service.record_treasury(
            connection, kind="topup", currency="EUR", minor=5000, reference="T-1", now=NOW
        )
        refunded = PspLine(
            id="refund:1", kind="refund", reference="re_1", amount_minor=-100, currency="EUR", occurred_on=DAY
        )
        await RECONCILER.record_book_lines(connection, [refunded], now=NOW)
    await counter.psp(
        line("t1", "charge", "pi_1", 605, 34), line("t2", "adjustment", "du_1", -605, 2000),
        line("t3", "adjustment", "du_1", 605), line("t4", "topup", "topup:T-1", 5000),
        line("t5", "refund", "re_1", -100),
    )  # fmt: skip
    assert await counter.run() == {}
    await counter.psp(line("t6", "adjustment", "du_2", -605, 1500))
    (one,) = (await counter.run(now=LATER + timedelta(days=1))).values()
    assert (one.type, one.amount_minor, one.owner) == ("missing_left", 605, "payments")


async def test_a_line_without_a_reference_names_what_it_is_likely_to_be(counter: Counter) -> None:
    await counter.psp(line("t1", "payout", "po_1", -700), line("t2", "payout", "po_2", -505))
    await counter.bank(credit("12.05", "acquirer settlement"))
    found = await counter.run()
    (unknown,) = [one for one in found.values() if one.type == "unknown_line"]
    assert sorted(unknown.likely) == ["po_1", "po_2"]
    with pytest.raises(StateConflictError, match="no match"):
        await counter.resolve(unknown, Resolution.MATCH, alike=("po_1",))
    booked = await counter.resolve(unknown, Resolution.MATCH, alike=("po_1", "po_2"))
    assert (booked.state, booked.amount_minor) == (DecisionState.BOOKED, 0)
    assert await counter.balance("psp:stripe:transit") == 0
    assert await counter.balance("bank:settlement") == -1205
    assert await counter.run() == {}
    await counter.proved()


async def test_the_banks_closing_balance_is_our_books_or_a_difference_of_its_own(counter: Counter) -> None:
    async with transaction(counter.pool) as connection:
        version = await counter.desk.submit_bank_details(connection, "NL-ABC", BANK, by="anna", now=NOW)
        await counter.desk.decide_bank_details(connection, "NL-ABC", version, confirm=True, by="ben", now=NOW)
    await counter.clear(1)
    payment = of(await counter.plan(THURSDAY), world.NL_CPO)
    async with transaction(counter.pool) as connection:
        await counter.service.begin_disbursement(connection, payment.id, now=THURSDAY)
    paid = bank.entry("4.00", bank.detail(payment.end_to_end_id, "4.00"))
    await counter.bank(paid, closing="996.00")
    found = await counter.run()
    opening = found["balance:EUR"]
    assert (opening.type, opening.amount_minor, opening.owner) == ("balance", -100_000, "treasury")
    proposed = await counter.resolve(opening, Resolution.OWN_FUNDS)
    await counter.agree(proposed, by="ben")
    assert "balance:EUR" not in await counter.run()
    assert await counter.balance("bank:settlement") == -99_600
    async with counter.pool.acquire() as connection:
        (position,) = await bank_position.positions(connection)
    assert (position.books_minor, position.bank_minor, position.unexplained_minor) == (99_600, 99_600, 0)
    await counter.proved()


async def test_a_statement_that_is_missing_is_told_and_never_booked(counter: Counter) -> None:
    await counter.bank(closing="100.00")
    later = bank.statement(statement_id="S2", balances=(("CLBD", "150.00"),))
    told = [
        replace(one, on=date(2026, 10, 17))
        for one in camt.read(io.BytesIO(later))
        if isinstance(one, camt.BankBalance)
    ]
    async with transaction(counter.pool) as connection:
        await RECONCILER.record_bank_lines(connection, told, now=THURSDAY)
    found = await counter.run()
    (gap,) = [one for one in found.values() if one.type == "statement_gap"]
    assert gap.amount_minor == -5000
    with pytest.raises(StateConflictError, match="statement is missing"):
        await counter.resolve(gap, Resolution.WRITE_OFF)


async def test_a_missing_statement_is_told_until_it_is_taken_in(counter: Counter) -> None:
    """As it was: the next statement that follows the later one hid the gap before it."""
    await counter.bank(closing="100.00")
    for day, closing in ((17, "150.00"), (18, "150.00")):
        later = bank.statement(statement_id=f"S{day}", balances=(("CLBD", closing),))
        told = [
            replace(one, on=date(2026, 10, day))
            for one in camt.read(io.BytesIO(later))
            if isinstance(one, camt.BankBalance)
        ]
        async with transaction(counter.pool) as connection:
            await RECONCILER.record_bank_lines(connection, told, now=THURSDAY)
    gaps = [one for one in (await counter.run()).values() if one.type == "statement_gap"]
    assert [(one.amount_minor, one.since) for one in gaps] == [(-5000, date(2026, 10, 15))]
    found = bank.entry("50.00", direction="CRDT", day="2026-10-16", info="the missing one")
    missing = [one for one in camt.read(io.BytesIO(bank.statement(found))) if isinstance(one, camt.BankLine)]
    async with transaction(counter.pool) as connection:
        await RECONCILER.record_bank_lines(connection, missing, now=THURSDAY)
    assert [one for one in (await counter.run()).values() if one.type == "statement_gap"] == []


async def test_what_has_settled_itself_is_not_booked_by_a_late_second_person(counter: Counter) -> None:
    await counter.bank(credit("500.00", "acquirer po_9"))
    (one,) = (await counter.run()).values()
    proposed = await counter.resolve(one, Resolution.SUSPENSE)
    assert proposed.needs_second
    await counter.psp(line("t1", "payout", "po_9", -50_000))
    assert await counter.run() == {}
    with pytest.raises(StateConflictError, match="no longer open"):
        await counter.agree(proposed, by="ben")
    assert await counter.balance("suspense") == 0
    await counter.proved()


async def _in_debt(counter: Counter, *, days: int) -> datetime:
    """NL-ABC is paid, then refunds the session: it owes 4.00."""
    await counter.clear(1)
    await counter.pay(of(await counter.plan(THURSDAY), world.NL_CPO), THURSDAY)
    await counter.refund(1, 605, THURSDAY)
    return THURSDAY + timedelta(days=days)


async def test_a_debt_is_aged_and_written_off_by_two_people_only(counter: Counter) -> None:
    now = await _in_debt(counter, days=61)
    async with transaction(counter.pool) as connection:
        (debt,) = await counter.debts.debts(connection, now=now, party_id="NL-ABC")
        assert (debt.debt_minor, dict(debt.buckets)["61-90"]) == (400, 400)
        order = {"currency": "EUR", "reason": "gone", "by": "anna"}
        with pytest.raises(StateConflictError, match="older than 90"):
            await counter.debts.write_off(connection, "NL-ABC", now=now, **order)
        later = now + timedelta(days=30)
        proposed = await counter.debts.write_off(connection, "NL-ABC", now=later, **order)
    assert proposed.needs_second
    with pytest.raises(StateConflictError, match="somebody else"):
        await counter.agree(proposed, by="anna")
    await counter.agree(proposed, by="ben")
    assert await counter.balance("cpo:NL-ABC:payable") == 0
    assert await counter.balance("platform:debt:expense") == -400
    await counter.proved()
    async with transaction(counter.pool) as connection:
        assert await counter.debts.debts(connection, now=now, party_id="NL-ABC") == []


async def test_a_debt_that_was_paid_meanwhile_is_not_written_off(counter: Counter) -> None:
    now = await _in_debt(counter, days=100)
    async with transaction(counter.pool) as connection:
        proposed = await counter.debts.write_off(
            connection, "NL-ABC", currency="EUR", reason="gone", by="anna", now=now
        )
    await counter.bank(credit("4.00", "our debt, NL-ABC"))
    (line_,) = [one for one in (await counter.run()).values() if one.type == "unknown_line"]
    collected = await counter.resolve(line_, Resolution.COLLECTION, party_id="NL-ABC")
    assert collected.state is DecisionState.BOOKED
    assert await counter.balance("cpo:NL-ABC:payable") == 0
    with pytest.raises(StateConflictError, match="stands at 0 EUR"):
        await counter.agree(proposed, by="ben")
    await counter.proved()


async def test_a_debt_is_set_against_a_claim_in_another_currency_only_with_consent(counter: Counter) -> None:
    await _in_debt(counter, days=1)
    async with transaction(counter.pool) as connection:
        swiss = replace(world.NL_CPO, settlement_currency="CHF")
        await counter.service.register_party(connection, swiss, now=NOW)
    await counter.clear(2, 3)
    claim = await counter.balance("cpo:NL-ABC:payable", "CHF")
    now = datetime(2026, 10, 16, 9, tzinfo=THURSDAY.tzinfo)
    order = {"currency": "EUR", "from_currency": "CHF", "reason": "offset", "by": "anna", "now": now}
    async with transaction(counter.pool) as connection:
        with pytest.raises(StateConflictError, match="has not agreed"):
            await counter.debts.compensate(connection, "NL-ABC", **order)  # type: ignore[arg-type]
        await counter.debts.agree_to_compensation(
            connection, "NL-ABC", agreed_on=date(2026, 10, 1), evidence="contract 7, annex B", by="anna"
        )
        booked = await counter.debts.compensate(connection, "NL-ABC", **order)  # type: ignore[arg-type]
    assert booked.state is DecisionState.BOOKED
    assert booked.amount_minor == 400
    assert await counter.balance("cpo:NL-ABC:payable", "EUR") == 0
    assert 0 < await counter.balance("cpo:NL-ABC:payable", "CHF") < claim
    await counter.proved()
    async with transaction(counter.pool) as connection:
        with pytest.raises(StateConflictError, match="owes 0 EUR"):
            await counter.debts.compensate(connection, "NL-ABC", **order)  # type: ignore[arg-type]
