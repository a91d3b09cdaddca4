"""What people decide is booked once, as proposed, above a limit by two; suspense, balances, receivables."""

import asyncio
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest

from clearing.approvals import service
from clearing.approvals.request import ApprovalRequest
from clearing.approvals.rules import ApprovalState, Resolution
from clearing.audit import audit_ledger
from clearing.errors import ClearingConflictError
from clearing.iso20022.bank_entry import BankBalance, BankLine
from clearing.ledger import service as ledger_service
from clearing.reconciliation import bank_position_service
from clearing.reconciliation.report import OpenDifference
from clearing.reconciliation.resolution_service import ResolutionRequest
from clearing.reconciliation.service import PspLine, ReconciliationService
from clearing.reconciliation.suspense import SuspenseItem
from gateway.database import Pool, transaction
from tests.fakes import bank
from tests.fakes import clearing_fixtures as world
from tests.integration.test_disbursements import BANK, NOW, THURSDAY, System, of

RECONCILER = ReconciliationService()
LATER = THURSDAY + timedelta(days=10)
DAY = date(2026, 10, 13)


class Counter(System):
    """The system with its reconciliation and the people who decide."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.people = self.service.resolutions
        self.receivables = self.service.receivables
        self.rail = self.service.bank_transfers()

    async def psp(self, *lines: PspLine) -> None:
        async with transaction(self.pool) as connection:
            await RECONCILER.record_psp_lines(connection, lines, now=NOW)

    async def bank(self, *entries: str, statement_id: str = "S1", closing: str | None = None) -> None:
        balances = () if closing is None else (("CLBD", closing),)
        content = bank.statement(*entries, statement_id=statement_id, balances=balances or (("ITBD", "0"),))
        reported = [one for one in bank.stated(content) if getattr(one, "code", "") != "ITBD"]
        async with transaction(self.pool) as connection:
            lines = [one for one in reported if isinstance(one, BankLine)]
            await self.rail.import_statement(connection, lines, now=THURSDAY)
            await RECONCILER.record_bank_lines(connection, reported, now=THURSDAY)

    async def run(self, *, now: datetime = LATER) -> dict[str, OpenDifference]:
        async with transaction(self.pool) as connection:
            await RECONCILER.run(connection, now=now)
        async with self.pool.acquire() as connection:
            return {one.reference: one async for one in RECONCILER.differences(connection, today=now.date())}

    async def resolve(
        self, one: OpenDifference, how: Resolution, *, by: str = "anna", **more: object
    ) -> ApprovalRequest:
        request = ResolutionRequest(resolution=how, reason="reported by the bank", by=by, **more)  # type: ignore[arg-type]
        async with transaction(self.pool) as connection:
            return await self.people.resolve(connection, one.id, request, now=LATER)

    async def approve(self, decision: ApprovalRequest, *, by: str) -> ApprovalRequest:
        async with transaction(self.pool) as connection:
            return await self.people.approve(connection, decision.id, by=by, now=LATER)

    async def balance(self, account: str, currency: str = "EUR") -> int:
        async with self.pool.acquire() as connection:
            found = await ledger_service.list_balances(connection, prefix=account)
        return sum(one.minor for one in found if one.account == account and one.currency == currency)


@pytest.fixture
async def counter(pool: Pool) -> Counter:
    opened = Counter(pool)
    await opened.open()
    return opened


def line(name: str, kind: str, reference: str, minor: int, fee: int = 0) -> PspLine:
    return PspLine(
        id=name,
        kind=kind,
        reference=reference,
        amount_minor=minor,
        currency="EUR",
        occurred_on=DAY,
        fee_minor=fee,
    )


def credit(amount: str, info: str = "") -> str:
    return bank.entry(amount, direction="CRDT", info=info)


async def test_a_payout_of_the_psp_is_booked_on_its_way_and_on_the_bank_account(counter: Counter) -> None:
    await counter.clear(1, 2)
    await counter.psp(
        line("t1", "charge", "pi_1", 605, 34),
        line("t2", "charge", "pi_2", 605, 34),
        line("t3", "payout", "po_1", -1000),
    )
    assert await counter.run(now=THURSDAY) == {}
    assert await counter.balance("psp:stripe:receivable") == -(1210 - 68 - 1000)
    assert await counter.balance("psp:stripe:transit") == -1000
    await counter.bank(credit("10.00", "STRIPE po_1"), closing="10.00")
    for _ in range(2):
        assert await counter.run(now=LATER + timedelta(hours=1)) == {}
    assert await counter.balance("psp:stripe:transit") == 0
    assert await counter.balance("bank:settlement") == -1000
    await counter.proved()


async def test_a_payout_that_fails_returns_to_the_psps_balance(counter: Counter) -> None:
    await counter.psp(line("t1", "payout", "po_1", -1000), line("t2", "payout_failure", "po_1", 1000))
    assert await counter.run() == {}
    assert await counter.balance("psp:stripe:transit") == 0
    assert await counter.balance("psp:stripe:receivable") == 0
    await counter.proved()


async def test_payouts_merged_into_one_line_split_or_reported_twice_are_booked_once(counter: Counter) -> None:
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


async def test_minor_units_that_the_bank_does_not_pay_out_are_an_expense(counter: Counter) -> None:
    forint = replace(line("t1", "payout", "po_1", -10_050), currency="HUF")
    await counter.psp(forint)
    await counter.bank(bank.entry("100.00", direction="CRDT", info="po_1", currency="HUF"))
    assert await counter.run() == {}
    assert await counter.balance("psp:stripe:transit", "HUF") == 0
    assert await counter.balance("platform:bank:expense", "HUF") == -50
    await counter.proved()


async def test_a_payout_is_recorded_by_hand_before_the_psp_reports_it(counter: Counter) -> None:
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


async def test_the_person_who_raises_a_limit_again_stays_under_the_lower_one(counter: Counter) -> None:
    async with transaction(counter.pool) as connection:
        await service.set_limit(connection, "EUR", 100, by="carl", now=NOW)
        for limit in (500, 9_000):  # in steps, too
            await service.set_limit(connection, "EUR", limit, by="anna", now=NOW)
    await counter.bank(credit("2.00"))
    (one,) = (await counter.run()).values()
    assert (await counter.resolve(one, Resolution.OWN_FUNDS, by="anna")).requires_approval
    async with transaction(counter.pool) as connection:
        assert (await service.load_limits(connection, by="anna"))["EUR"] == 100
        assert (await service.load_limits(connection, by="ben"))["EUR"] == 9_000


async def test_two_people_who_approve_at_once_book_once(counter: Counter) -> None:
    await counter.bank(credit("500.00"))
    (one,) = (await counter.run()).values()
    proposed = await counter.resolve(one, Resolution.OWN_FUNDS)
    both = await asyncio.gather(*(counter.approve(proposed, by=name) for name in ("ben", "carl")))
    assert {made.state for made in both} == {ApprovalState.BOOKED}
    assert len({made.decided_by for made in both}) == 1
    assert await counter.balance("bank:settlement") == -50_000
    await counter.proved()


async def test_the_audit_finds_suspense_items_and_approval_requests_that_were_tampered_with(
    counter: Counter,
) -> None:
    await counter.bank(credit("50.00"))
    (one,) = (await counter.run()).values()
    await counter.resolve(one, Resolution.SUSPENSE)
    await counter.proved()
    async with transaction(counter.pool) as connection:
        await connection.execute("UPDATE clearing.suspense_item SET remaining_minor = 4999")
        await connection.execute(
            "UPDATE clearing.approval_request SET state = 'rejected', decided_by = 'eve', decided_at = now()"
        )
        report = await audit_ledger(connection, now=NOW)
    assert {finding.check for finding in report.findings} == {"suspense_unequal", "approvals_unposted"}


async def test_unknown_money_goes_to_suspense_and_is_cleared_when_identified(counter: Counter) -> None:
    await counter.bank(credit("50.00", "who is this?"), bank.entry("12.00", info="cable repair"))
    found = await counter.run()
    incoming = next(one for one in found.values() if one.amount_minor == -5000)
    outgoing = next(one for one in found.values() if one.amount_minor == 1200)
    first = await counter.resolve(incoming, Resolution.SUSPENSE)
    again = await counter.resolve(outgoing, Resolution.SUSPENSE)
    assert (first.state, again.state) == (ApprovalState.BOOKED, ApprovalState.BOOKED)
    assert (first.amount_minor, again.amount_minor) == (5000, -1200)
    assert await counter.balance("suspense") == 3800
    assert await counter.run() == {}
    await counter.proved()
    async with transaction(counter.pool) as connection:
        items = await counter.people.list_suspense(connection, now=LATER)
        assert [(one.remaining_minor, one.owner, one.age_days) for one in items] == [
            (left, "finance", 10) for left in sorted((5000, -1200), key=lambda m: str(_id(items, m)))
        ]
        request = ResolutionRequest(
            resolution=Resolution.RECEIVABLE_PAYMENT,
            reason="paid its receivable",
            by="anna",
            party_id="NL-ABC",
        )
        part = await counter.people.clear(connection, first.id, request, minor=3000, now=LATER)
        fee = ResolutionRequest(resolution=Resolution.FEE, reason="bank charge", by="anna")
        await counter.people.clear(connection, again.id, fee, minor=None, now=LATER)
        with pytest.raises(ClearingConflictError, match="2000 EUR of the item remain"):
            await counter.people.clear(connection, first.id, request, minor=2001, now=LATER)
        items = await counter.people.list_suspense(connection, now=LATER)
    assert part.state is ApprovalState.BOOKED
    assert [one.remaining_minor for one in items] == [2000]
    assert await counter.balance("suspense") == 2000
    assert await counter.balance("platform:bank:expense") == -1200
    assert await counter.balance("cpo:NL-ABC:payable") == 3000
    await counter.proved()


def _id(items: list[SuspenseItem], minor: int) -> UUID:
    return next(one.id for one in items if one.remaining_minor == minor)


async def test_two_suspense_items_of_one_transfer_offset_each_other(counter: Counter) -> None:
    await counter.clear(1)
    (missing,) = (await counter.run()).values()  # captured, and unknown to the PSP
    async with transaction(counter.pool) as connection:
        await service.set_limit(connection, "EUR", 10**6, by="zoe", now=NOW)
    out = await counter.resolve(missing, Resolution.SUSPENSE)
    await counter.psp(line("t1", "charge", "pi_1", 605, 34))
    (late,) = (await counter.run()).values()
    assert late.type == "duplicate"
    back = await counter.resolve(late, Resolution.SUSPENSE)
    assert await counter.balance("suspense") == 0
    async with transaction(counter.pool) as connection:
        assert len(await counter.people.list_suspense(connection, now=LATER)) == 2
        with pytest.raises(ClearingConflictError, match="offset each other only"):
            await counter.people.offset(connection, out.id, out.id, reason="late", by="anna", now=LATER)
        for first, second in ((out.id, back.id), (back.id, out.id)):
            if await counter.people.list_suspense(connection, now=LATER):
                await counter.people.offset(connection, first, second, reason="late", by="anna", now=LATER)
        assert await counter.people.list_suspense(connection, now=LATER) == []
    assert await counter.balance("psp:stripe:receivable") == -571
    await counter.proved()


async def test_above_the_limit_nothing_is_booked_until_a_second_person_approves(counter: Counter) -> None:
    await counter.bank(credit("100.01", "too large for one"))
    (one,) = (await counter.run()).values()
    proposed = await counter.resolve(one, Resolution.OWN_FUNDS)
    assert (proposed.state, proposed.requires_approval) == (ApprovalState.PENDING, True)
    assert await counter.balance("bank:settlement") == 0
    assert one.reference in await counter.run()
    for same in ("anna", " ANNA "):
        with pytest.raises(ClearingConflictError, match="another person"):
            await counter.approve(proposed, by=same)
    booked = await counter.approve(proposed, by="ben")
    assert (booked.state, booked.proposed_by, booked.decided_by) == (ApprovalState.BOOKED, "anna", "ben")
    assert await counter.approve(proposed, by="carl") == booked
    assert await counter.balance("bank:settlement") == -10001
    assert await counter.run() == {}
    await counter.proved()


async def test_a_limit_that_was_set_applies_and_zero_requires_approval_of_everything(
    counter: Counter,
) -> None:
    async with transaction(counter.pool) as connection:
        await service.set_limit(connection, "EUR", 0, by="anna", now=NOW)
    await counter.bank(credit("0.01"))
    (one,) = (await counter.run()).values()
    assert (await counter.resolve(one, Resolution.WRITE_OFF)).requires_approval


async def test_nobody_raises_the_limit_for_themselves(counter: Counter) -> None:
    async with transaction(counter.pool) as connection:
        await service.set_limit(connection, "EUR", 10**9, by="Anna", now=NOW)
    await counter.bank(credit("900.00"), credit("800.00"))
    first, second = (await counter.run()).values()
    assert (await counter.resolve(first, Resolution.WRITE_OFF, by="anna")).requires_approval
    assert not (await counter.resolve(second, Resolution.WRITE_OFF, by="ben")).requires_approval
    await counter.proved()


async def test_a_part_of_a_large_suspense_item_needs_approval_like_the_whole(counter: Counter) -> None:
    await counter.bank(credit("900.00"))
    (one,) = (await counter.run()).values()
    held = await counter.approve(await counter.resolve(one, Resolution.SUSPENSE), by="ben")
    request = ResolutionRequest(resolution=Resolution.OWN_FUNDS, reason="a little of it", by="anna")
    async with transaction(counter.pool) as connection:
        part = await counter.people.clear(connection, held.id, request, minor=100, now=LATER)
    assert part.requires_approval
    assert await counter.balance("suspense") == 90_000


async def test_what_changed_since_it_was_proposed_is_not_booked(counter: Counter) -> None:
    await counter.psp(line("t1", "adjustment", "adj_1", 20_000))
    (one,) = (await counter.run()).values()
    proposed = await counter.resolve(one, Resolution.SUSPENSE)
    await counter.psp(line("t2", "adjustment", "adj_1", -5_000))
    await counter.run()
    with pytest.raises(ClearingConflictError, match="has changed"):
        await counter.approve(proposed, by="ben")
    assert await counter.balance("suspense") == 0
    async with transaction(counter.pool) as connection:
        rejected = await counter.people.reject(connection, proposed.id, by="ben", now=LATER)
    assert rejected.state is ApprovalState.REJECTED
    with pytest.raises(ClearingConflictError, match="cannot approve an approval request that is rejected"):
        await counter.approve(proposed, by="ben")
    await counter.proved()


async def test_the_same_request_twice_books_once_and_another_for_the_same_object_is_rejected(
    counter: Counter,
) -> None:
    await counter.bank(credit("150.00"))
    (one,) = (await counter.run()).values()
    first = await counter.resolve(one, Resolution.OWN_FUNDS)
    assert (await counter.resolve(one, Resolution.OWN_FUNDS)).id == first.id
    with pytest.raises(ClearingConflictError, match="proposed to book it as own_funds"):
        await counter.resolve(one, Resolution.SUSPENSE)
    await counter.approve(first, by="ben")
    with pytest.raises(ClearingConflictError, match="is open"):
        await counter.resolve(one, Resolution.OWN_FUNDS)
    assert await counter.balance("bank:settlement") == -15000


async def test_fees_are_compared_line_by_line_and_booked_as_fees(counter: Counter) -> None:
    await counter.clear(1, 2)
    await counter.psp(
        line("t1", "charge", "pi_1", 605, 34),
        line("t2", "charge", "pi_2", 605, 40),
        line("t3", "stripe_fee", "", -200),
        line("t4", "payout", "po_1", -500, 25),
    )
    found = await counter.run()
    assert {(one.type, one.amount_minor) for one in found.values() if one.pair == "book_psp"} == {
        ("fee", 6),
        ("fee", 200),
        ("fee", 25),
    }
    expense = await counter.balance("platform:psp:expense")
    for one in found.values():
        if one.pair == "book_psp":
            assert '"as": "fee"' in one.proposal
            assert (await counter.resolve(one, Resolution.FEE)).state is ApprovalState.BOOKED
    assert await counter.balance("platform:psp:expense") == expense - 231
    assert await counter.balance("psp:stripe:receivable") == -(1210 - 74 - 200 - 525)
    assert [one for one in (await counter.run()).values() if one.pair == "book_psp"] == []
    await counter.proved()


async def test_a_fee_that_the_psp_refunds_leaves_the_proof_complete(counter: Counter) -> None:
    await counter.clear(1)
    await counter.psp(line("t1", "charge", "pi_1", 605, 30))
    (one,) = (await counter.run()).values()
    assert (one.type, one.amount_minor) == ("fee", -4)
    await counter.resolve(one, Resolution.FEE)
    await counter.proved()


async def test_disputes_refunds_and_top_ups_are_compared_line_by_line(counter: Counter) -> None:
    await counter.clear(1)
    async with transaction(counter.pool) as connection:
        await counter.service.sessions.open_dispute(
            connection, world.session_id(1), minor=605, fee_minor=2000, reference="du_1", now=NOW
        )
        await counter.service.sessions.win_dispute(connection, world.session_id(1), reference="du_1", now=NOW)
        await ledger_service.record_top_up(connection, currency="EUR", minor=5000, reference="T-1", now=NOW)
        refunded = PspLine(
            id="refund:1", kind="refund", reference="re_1", amount_minor=-100, currency="EUR", occurred_on=DAY
        )
        await RECONCILER.record_book_lines(connection, [refunded], now=NOW)
    await counter.psp(
        line("t1", "charge", "pi_1", 605, 34),
        line("t2", "adjustment", "du_1", -605, 2000),
        line("t3", "adjustment", "du_1", 605),
        line("t4", "topup", "topup:T-1", 5000),
        line("t5", "refund", "re_1", -100),
    )
    assert await counter.run() == {}
    await counter.psp(line("t6", "adjustment", "du_2", -605, 1500))
    (one,) = (await counter.run(now=LATER + timedelta(days=1))).values()
    assert (one.type, one.amount_minor, one.owner) == ("missing_left", 605, "payments")


async def test_a_line_without_a_reference_names_its_candidates(counter: Counter) -> None:
    await counter.psp(line("t1", "payout", "po_1", -700), line("t2", "payout", "po_2", -505))
    await counter.bank(credit("12.05", "acquirer settlement"))
    found = await counter.run()
    (unknown,) = [one for one in found.values() if one.type == "unknown_line"]
    assert sorted(unknown.candidates) == ["po_1", "po_2"]
    with pytest.raises(ClearingConflictError, match="do not match"):
        await counter.resolve(unknown, Resolution.MATCH, related_references=("po_1",))
    booked = await counter.resolve(unknown, Resolution.MATCH, related_references=("po_1", "po_2"))
    assert (booked.state, booked.amount_minor) == (ApprovalState.BOOKED, 0)
    assert await counter.balance("psp:stripe:transit") == 0
    assert await counter.balance("bank:settlement") == -1205
    assert await counter.run() == {}
    await counter.proved()


async def test_the_banks_closing_balance_is_our_books_or_a_difference_of_its_own(counter: Counter) -> None:
    async with transaction(counter.pool) as connection:
        version = await counter.payouts.submit_bank_details(connection, "NL-ABC", BANK, by="anna", now=NOW)
        await counter.payouts.decide_bank_details(
            connection, "NL-ABC", version, approve=True, by="ben", now=NOW
        )
    await counter.clear(1)
    payment = of(await counter.plan(THURSDAY), world.NL_CPO)
    async with transaction(counter.pool) as connection:
        await counter.service.disbursements.begin(connection, payment.id, now=THURSDAY)
    paid = bank.entry("4.00", bank.detail(payment.end_to_end_id, "4.00"))
    await counter.bank(paid, closing="996.00")
    found = await counter.run()
    opening = found["balance:EUR"]
    assert (opening.type, opening.amount_minor, opening.owner) == ("balance", -100_000, "treasury")
    proposed = await counter.resolve(opening, Resolution.OWN_FUNDS)
    await counter.approve(proposed, by="ben")
    assert "balance:EUR" not in await counter.run()
    assert await counter.balance("bank:settlement") == -99_600
    async with counter.pool.acquire() as connection:
        (position,) = await bank_position_service.list_positions(connection)
    assert (position.books_minor, position.bank_minor, position.unexplained_minor) == (99_600, 99_600, 0)
    await counter.proved()


async def test_a_missing_statement_is_a_difference_and_never_booked(counter: Counter) -> None:
    await counter.bank(closing="100.00")
    later = bank.statement(statement_id="S2", balances=(("CLBD", "150.00"),))
    reported = [
        replace(one, on=date(2026, 10, 17)) for one in bank.stated(later) if isinstance(one, BankBalance)
    ]
    async with transaction(counter.pool) as connection:
        await RECONCILER.record_bank_lines(connection, reported, now=THURSDAY)
    found = await counter.run()
    (gap,) = [one for one in found.values() if one.type == "statement_gap"]
    assert gap.amount_minor == -5000
    with pytest.raises(ClearingConflictError, match="statement is missing"):
        await counter.resolve(gap, Resolution.WRITE_OFF)


async def test_a_missing_statement_is_a_difference_until_it_is_imported(counter: Counter) -> None:
    """As it was: the next statement that follows the later one hid the gap before it."""
    await counter.bank(closing="100.00")
    for day, closing in ((17, "150.00"), (18, "150.00")):
        later = bank.statement(statement_id=f"S{day}", balances=(("CLBD", closing),))
        reported = [
            replace(one, on=date(2026, 10, day)) for one in bank.stated(later) if isinstance(one, BankBalance)
        ]
        async with transaction(counter.pool) as connection:
            await RECONCILER.record_bank_lines(connection, reported, now=THURSDAY)
    gaps = [one for one in (await counter.run()).values() if one.type == "statement_gap"]
    assert [(one.amount_minor, one.since) for one in gaps] == [(-5000, date(2026, 10, 15))]
    found = bank.entry("50.00", direction="CRDT", day="2026-10-16", info="the missing one")
    missing = [one for one in bank.stated(bank.statement(found)) if isinstance(one, BankLine)]
    async with transaction(counter.pool) as connection:
        await RECONCILER.record_bank_lines(connection, missing, now=THURSDAY)
    assert [one for one in (await counter.run()).values() if one.type == "statement_gap"] == []


async def test_a_difference_that_is_gone_is_not_booked_by_a_late_approval(counter: Counter) -> None:
    await counter.bank(credit("500.00", "acquirer po_9"))
    (one,) = (await counter.run()).values()
    proposed = await counter.resolve(one, Resolution.SUSPENSE)
    assert proposed.requires_approval
    await counter.psp(line("t1", "payout", "po_9", -50_000))
    assert await counter.run() == {}
    with pytest.raises(ClearingConflictError, match="no longer open"):
        await counter.approve(proposed, by="ben")
    assert await counter.balance("suspense") == 0
    await counter.proved()


async def _owing(counter: Counter, *, days: int) -> datetime:
    """NL-ABC is paid, then refunds the session: it owes 4.00."""
    await counter.clear(1)
    await counter.pay(of(await counter.plan(THURSDAY), world.NL_CPO), THURSDAY)
    await counter.refund(1, 605, THURSDAY)
    return THURSDAY + timedelta(days=days)


async def test_a_receivable_is_aged_and_written_off_by_two_people_only(counter: Counter) -> None:
    now = await _owing(counter, days=61)
    async with transaction(counter.pool) as connection:
        (receivable,) = await counter.receivables.list_receivables(connection, now=now, party_id="NL-ABC")
        assert (receivable.receivable_minor, dict(receivable.buckets)["61-90"]) == (400, 400)
        request = {"currency": "EUR", "reason": "gone", "by": "anna"}
        with pytest.raises(ClearingConflictError, match="older than 90"):
            await counter.receivables.write_off(connection, "NL-ABC", now=now, **request)
        later = now + timedelta(days=30)
        proposed = await counter.receivables.write_off(connection, "NL-ABC", now=later, **request)
    assert proposed.requires_approval
    with pytest.raises(ClearingConflictError, match="another person"):
        await counter.approve(proposed, by="anna")
    await counter.approve(proposed, by="ben")
    assert await counter.balance("cpo:NL-ABC:payable") == 0
    assert await counter.balance("platform:receivable:expense") == -400
    await counter.proved()
    async with transaction(counter.pool) as connection:
        assert await counter.receivables.list_receivables(connection, now=now, party_id="NL-ABC") == []


async def test_a_receivable_that_was_paid_meanwhile_is_not_written_off(counter: Counter) -> None:
    now = await _owing(counter, days=100)
    async with transaction(counter.pool) as connection:
        proposed = await counter.receivables.write_off(
            connection, "NL-ABC", currency="EUR", reason="gone", by="anna", now=now
        )
    await counter.bank(credit("4.00", "our receivable, NL-ABC"))
    (line_,) = [one for one in (await counter.run()).values() if one.type == "unknown_line"]
    collected = await counter.resolve(line_, Resolution.RECEIVABLE_PAYMENT, party_id="NL-ABC")
    assert collected.state is ApprovalState.BOOKED
    assert await counter.balance("cpo:NL-ABC:payable") == 0
    with pytest.raises(ClearingConflictError, match="is 0 EUR now"):
        await counter.approve(proposed, by="ben")
    await counter.proved()


async def test_a_receivable_is_set_off_in_another_currency_only_with_consent(counter: Counter) -> None:
    await _owing(counter, days=1)
    async with transaction(counter.pool) as connection:
        swiss = replace(world.NL_CPO, settlement_currency="CHF")
        await counter.service.reference_data.register_party(connection, swiss, now=NOW)
    await counter.clear(2, 3)
    claim = await counter.balance("cpo:NL-ABC:payable", "CHF")
    now = datetime(2026, 10, 16, 9, tzinfo=THURSDAY.tzinfo)
    request = {"currency": "EUR", "from_currency": "CHF", "reason": "offset", "by": "anna", "now": now}
    async with transaction(counter.pool) as connection:
        with pytest.raises(ClearingConflictError, match="has not consented"):
            await counter.receivables.set_off(connection, "NL-ABC", **request)  # type: ignore[arg-type]
        await counter.receivables.record_set_off_consent(
            connection, "NL-ABC", agreed_on=date(2026, 10, 1), evidence="contract 7, annex B", by="anna"
        )
        booked = await counter.receivables.set_off(connection, "NL-ABC", **request)  # type: ignore[arg-type]
    assert booked.state is ApprovalState.BOOKED
    assert booked.amount_minor == 400
    assert await counter.balance("cpo:NL-ABC:payable", "EUR") == 0
    assert 0 < await counter.balance("cpo:NL-ABC:payable", "CHF") < claim
    await counter.proved()
    async with transaction(counter.pool) as connection:
        with pytest.raises(ClearingConflictError, match="owes 0 EUR"):
            await counter.receivables.set_off(connection, "NL-ABC", **request)  # type: ignore[arg-type]


async def test_a_set_off_consent_ends_on_the_day_it_is_ended_and_only_once(counter: Counter) -> None:
    now = datetime(2026, 10, 16, 9, tzinfo=THURSDAY.tzinfo)
    request = {"currency": "EUR", "from_currency": "CHF", "reason": "offset", "by": "anna", "now": now}
    async with transaction(counter.pool) as connection:
        for day in (date(2026, 9, 1), date(2026, 10, 1)):
            await counter.receivables.record_set_off_consent(
                connection, "NL-ABC", agreed_on=day, evidence="contract 7, annex B", by="anna"
            )
        with pytest.raises(ClearingConflictError, match="no consent of 2026-08-31 in force"):
            await counter.receivables.end_set_off_consent(
                connection, "NL-ABC", agreed_on=date(2026, 8, 31), now=now
            )
        await counter.receivables.end_set_off_consent(
            connection, "NL-ABC", agreed_on=date(2026, 10, 1), now=now
        )
        with pytest.raises(ClearingConflictError, match="has not consented"):
            await counter.receivables.set_off(connection, "NL-ABC", **request)  # type: ignore[arg-type]
        with pytest.raises(ClearingConflictError, match="no consent of 2026-10-01 in force"):
            await counter.receivables.end_set_off_consent(
                connection, "NL-ABC", agreed_on=date(2026, 10, 1), now=now
            )
