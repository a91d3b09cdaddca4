"""The bank's and the PSP's word against our books: twice, out of order, merged, split, unknown."""

import io
from datetime import date, datetime, timedelta

import pytest

from clearing.bank_transfers import record_service
from clearing.bank_transfers.service import BankTransferService
from clearing.errors import ClearingConflictError
from clearing.iso20022.bank_entry import BankLine
from clearing.parties.bank_details import BankDetails, PostalAddress
from clearing.payouts.disbursement import Disbursement
from clearing.reconciliation.report import OpenDifference
from clearing.reconciliation.service import PspLine, ReconciliationService
from gateway.database import Pool, transaction
from tests.fakes import bank
from tests.fakes import clearing_fixtures as world
from tests.integration.test_disbursements import BANK, NOW, THURSDAY, System, of

DEBTOR = BankDetails(name="Platform AG", iban=bank.IBAN, address=PostalAddress(town="Zürich", country="CH"))
RECONCILER = ReconciliationService()
LATER = THURSDAY + timedelta(days=10)


@pytest.fixture
async def system(pool: Pool) -> System:
    opened = System(pool)
    await opened.open()
    async with transaction(pool) as connection:
        for party in ("NL-ABC", "superapp"):
            version = await opened.payouts.submit_bank_details(connection, party, BANK, by="anna", now=NOW)
            await opened.payouts.decide_bank_details(
                connection, party, version, approve=True, by="ben", now=NOW
            )
    return opened


def lines(content: bytes) -> list[BankLine]:
    return [line for line in bank.stated(content) if isinstance(line, BankLine)]


async def draw(system: System) -> tuple[BankTransferService, list[Disbursement], str]:
    planned = await system.plan(THURSDAY)
    rail = system.service.bank_transfers(debtor=DEBTOR)
    async with transaction(system.pool) as connection:
        file = (
            await rail.create_payment_file(connection, execution_date=date(2026, 10, 15), now=THURSDAY)
        ).file
    assert file is not None
    return rail, planned, file.message_id


async def tell(system: System, rail: BankTransferService, content: bytes) -> tuple[int, int, int]:
    """A statement, worked in whole: payments settled, returned, and lines that were new."""
    async with transaction(system.pool) as connection:
        answer = await rail.import_statement(connection, lines(content), now=THURSDAY)
        new = await RECONCILER.record_bank_lines(connection, lines(content), now=THURSDAY)
    return len(answer.paid), len(answer.returned), new


async def run(system: System, *, now: datetime = LATER) -> list[OpenDifference]:
    async with transaction(system.pool) as connection:
        await RECONCILER.run(connection, now=now)
    async with system.pool.acquire() as connection:
        return [one async for one in RECONCILER.differences(connection, today=now.date())]


def debit(payment: Disbursement, amount: str, **more: str) -> str:
    return bank.entry(amount, bank.detail(payment.end_to_end_id, amount), **more)


async def test_a_worker_killed_between_file_written_and_recorded_sends_the_same_file(system: System) -> None:
    await system.clear(1)
    rail, planned, message_id = await draw(system)
    async with transaction(system.pool) as connection:
        first = await record_service.find_unsent_file(
            connection
        )  # written; the worker dies before it is marked
    async with transaction(system.pool) as connection:
        again = await record_service.find_unsent_file(connection)
        created = await rail.create_payment_file(connection, execution_date=date(2026, 10, 15), now=THURSDAY)
        assert created.file is None
    assert first is not None
    assert first.message_id == message_id
    assert first == again
    for payment in planned:
        assert payment.end_to_end_id.encode() in first.content
    async with transaction(system.pool) as connection:
        await record_service.mark_sent(connection, message_id, now=THURSDAY)
        assert await record_service.find_unsent_file(connection) is None


async def test_a_disbursement_that_no_bank_accepts_fails_alone_and_delays_no_other(system: System) -> None:
    await system.clear(1)
    planned = await system.plan(THURSDAY)
    async with transaction(system.pool) as connection:  # a new account, confirmed after the plan
        other = BankDetails(name="X", iban="DE89370400440532013000", address=BANK.address)
        version = await system.payouts.submit_bank_details(connection, "NL-ABC", other, by="anna", now=NOW)
        await system.payouts.decide_bank_details(
            connection, "NL-ABC", version, approve=True, by="ben", now=NOW
        )
    rail = system.service.bank_transfers(debtor=DEBTOR)
    async with transaction(system.pool) as connection:
        file = (
            await rail.create_payment_file(connection, execution_date=date(2026, 10, 15), now=THURSDAY)
        ).file
        states = dict(await connection.fetch("SELECT party_id, state FROM clearing.disbursement"))
    assert file is not None
    assert of(planned, world.SUPERAPP).end_to_end_id.encode() in file.content
    assert of(planned, world.NL_CPO).end_to_end_id.encode() not in file.content
    assert states == {"NL-ABC": "cancelled", "superapp": "requested"}
    again = of(await system.plan(THURSDAY + timedelta(hours=2)), world.NL_CPO)
    assert again.destination == other.iban
    await system.proved()


async def test_a_rejection_opens_the_payables_again_and_a_second_report_changes_nothing(
    system: System,
) -> None:
    await system.clear(1)
    rail, planned, message_id = await draw(system)
    cpo = of(planned, world.NL_CPO)
    report = bank.status_report(
        message_id, group="PART", batches=[("B", None, [(cpo.end_to_end_id, "RJCT", "AC04")])]
    )
    for expected in (1, 0):
        async with transaction(system.pool) as connection:
            answer = await rail.import_status_report(connection, io.BytesIO(report), now=THURSDAY)
        assert (len(answer.failed), len(answer.paid)) == (expected, 0)
    await system.proved()
    with pytest.raises(ClearingConflictError, match="no payment file"):
        async with transaction(system.pool) as connection:
            await rail.import_status_report(connection, io.BytesIO(bank.status_report("OTHER")), now=THURSDAY)


async def test_a_statement_imported_twice_and_out_of_order_pays_once_and_leaves_no_difference(
    system: System,
) -> None:
    await system.clear(1)
    rail, planned, _ = await draw(system)
    cpo, app = of(planned, world.NL_CPO), of(planned, world.SUPERAPP)
    first = bank.statement(debit(cpo, "4.00", reference="E1"))
    second = bank.statement(debit(app, "0.40", reference="E2"), statement_id="S2")
    assert await tell(system, rail, second) == (1, 0, 1)
    assert await tell(system, rail, first) == (1, 0, 1)
    assert await tell(system, rail, second) == (0, 0, 0)
    assert [one for one in await run(system) if one.pair == "book_bank"] == []
    await system.proved()


async def test_a_payment_split_into_two_lines_is_matched_by_its_sum(system: System) -> None:
    await system.clear(1)
    rail, planned, message_id = await draw(system)
    cpo, app = of(planned, world.NL_CPO), of(planned, world.SUPERAPP)
    report = bank.status_report(message_id, group="ACSC")
    async with transaction(system.pool) as connection:
        answer = await rail.import_status_report(connection, io.BytesIO(report), now=THURSDAY)
        assert len(answer.paid) == 2
    await tell(system, rail, bank.statement(debit(cpo, "1.50"), debit(app, "0.40")))
    half = [one for one in await run(system) if one.pair == "book_bank"]
    assert [(one.type, one.amount_minor, one.owner) for one in half] == [("amount", -250, "finance")]
    await tell(system, rail, bank.statement(debit(cpo, "2.50"), statement_id="S2"))
    assert [one for one in await run(system, now=LATER + timedelta(days=1)) if one.pair == "book_bank"] == []


async def test_two_payments_merged_into_one_line_are_matched_by_the_references_it_names(
    system: System,
) -> None:
    await system.clear(1)
    rail, planned, message_id = await draw(system)
    report = bank.status_report(message_id, group="ACSC")
    async with transaction(system.pool) as connection:
        await rail.import_status_report(connection, io.BytesIO(report), now=THURSDAY)
    named = " ".join(payment.end_to_end_id for payment in planned)
    await tell(system, rail, bank.statement(bank.entry("4.40", info=named)))
    assert [one for one in await run(system) if one.pair == "book_bank"] == []


async def test_an_unknown_line_is_always_a_difference(system: System) -> None:
    rail = system.service.bank_transfers(debtor=DEBTOR)
    await tell(
        system,
        rail,
        bank.statement(bank.entry("12.34", info="who is this?"), bank.entry("5.00", direction="CRDT")),
    )
    found = await run(system, now=THURSDAY)
    assert {(one.type, one.amount_minor) for one in found} == {("unknown_line", 1234), ("unknown_line", -500)}
    assert all(one.owner and "suspense" in one.proposal for one in found)
    later = await run(system, now=LATER)
    assert {one.age_days for one in later} == {10}


async def test_a_return_in_the_statement_opens_the_payables_and_holds_the_party(system: System) -> None:
    await system.clear(1)
    rail, planned, _ = await draw(system)
    cpo = of(planned, world.NL_CPO)
    await tell(system, rail, bank.statement(debit(cpo, "4.00"), debit(of(planned, world.SUPERAPP), "0.40")))
    assert [one for one in await run(system, now=THURSDAY) if one.pair == "book_bank"] == []
    back = bank.entry(
        "4.00", bank.detail(cpo.end_to_end_id, "4.00", direction="CRDT", reason="AC04"), direction="CRDT"
    )
    assert await tell(system, rail, bank.statement(back, statement_id="S9")) == (0, 1, 1)
    assert await tell(system, rail, bank.statement(back, statement_id="S9")) == (0, 0, 0)
    assert [one for one in await run(system) if one.pair == "book_bank"] == []
    await system.proved()


async def test_the_three_sides_agree_or_give_a_difference(system: System) -> None:
    await system.clear(1, 2, 3)
    day = date(2026, 10, 13)

    def psp(name: str, kind: str, reference: str, minor: int) -> PspLine:
        return PspLine(
            id=name,
            kind=kind,
            reference=reference,
            amount_minor=minor,
            currency="EUR",
            occurred_on=day,
            fee_minor=34 if kind == "charge" else 0,
        )

    reported = [
        psp("txn_1", "charge", "pi_1", 605),
        psp("txn_2", "charge", "pi_2", 600),
        psp("txn_4", "charge", "pi_4", 700),
        psp("txn_5", "payout", "po_1", -1205),
    ]
    rail = system.service.bank_transfers(debtor=DEBTOR)
    for _ in range(2):
        async with transaction(system.pool) as connection:
            await RECONCILER.record_psp_lines(connection, reported, now=NOW)
    await tell(system, rail, bank.statement(bank.entry("12.05", direction="CRDT", info="STRIPE po_1")))
    found = {(one.pair, one.reference): (one.type, one.amount_minor) for one in await run(system)}
    assert found == {
        ("book_psp", "pi_2"): ("amount", 5),
        ("book_psp", "pi_3"): ("missing_right", 605),
        ("book_psp", "pi_4"): ("missing_left", -700),
    }
    async with transaction(system.pool) as connection:
        await RECONCILER.record_psp_lines(connection, [psp("txn_3", "charge", "pi_3", 605)], now=NOW)
        result = await RECONCILER.run(connection, now=LATER)
    assert (result.differences, result.resolved) == (2, 1)


async def test_a_clock_that_was_set_back_leaves_nothing_unread(system: System) -> None:
    assert await run(system, now=LATER + timedelta(days=100)) == []
    await system.clear(1)
    (found,) = await run(system, now=LATER)
    assert (found.reference, found.type) == ("pi_1", "missing_right")
