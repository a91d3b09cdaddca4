"""The bank's and the PSP's word against our books: twice, out of order, merged, split, unknown."""

import io
from datetime import date, datetime, timedelta

import pytest

from clearing.desks.bank_rail import BankRail
from clearing.desks.reconciler import PspLine, Reconciler
from clearing.errors import StateConflictError
from clearing.iso20022 import camt
from clearing.iso20022.camt import BankLine
from clearing.parties.bank_details import BankDetails, PostalAddress
from clearing.payouts.disbursement import Disbursement
from clearing.reconciliation.report import OpenDifference
from gateway.database import Pool, create_pool, transaction
from gateway.migrations import load_migrations, migrate
from tests.fakes import bank
from tests.fakes import clearing_world as world
from tests.integration.test_settlement import BANK, NOW, THURSDAY, House, of

DEBTOR = BankDetails(name="Platform AG", iban=bank.IBAN, address=PostalAddress(town="Zürich", country="CH"))
RECONCILER = Reconciler()
LATER = THURSDAY + timedelta(days=10)


@pytest.fixture
async def house(pool: Pool) -> House:
    opened = House(pool)
    await opened.open()
    async with transaction(pool) as connection:
        for party in ("NL-ABC", "superapp"):
            version = await opened.desk.submit_bank_details(connection, party, BANK, by="anna", now=NOW)
            await opened.desk.decide_bank_details(connection, party, version, confirm=True, by="ben", now=NOW)
    return opened


def lines(content: bytes) -> list[BankLine]:
    return [line for line in camt.read(io.BytesIO(content)) if isinstance(line, BankLine)]


async def draw(house: House) -> tuple[BankRail, list[Disbursement], str]:
    planned = await house.plan(THURSDAY)
    rail = BankRail(house.service, house.desk, debtor=DEBTOR)
    async with transaction(house.pool) as connection:
        file = await rail.draw_file(connection, execution_date=date(2026, 10, 15), now=THURSDAY)
    assert file is not None
    return rail, planned, file.message_id


async def tell(house: House, rail: BankRail, content: bytes) -> tuple[int, int, int]:
    """A statement, worked in whole: payments settled, returned, and lines that were new."""
    async with transaction(house.pool) as connection:
        answer = await rail.statement(connection, lines(content), now=THURSDAY)
        new = await RECONCILER.record_bank_lines(connection, lines(content), now=THURSDAY)
    return answer.settled, answer.returned, new


async def run(house: House, *, now: datetime = LATER) -> list[OpenDifference]:
    async with transaction(house.pool) as connection:
        await RECONCILER.run(connection, now=now)
    async with house.pool.acquire() as connection:
        return [one async for one in RECONCILER.differences(connection, today=now.date())]


def debit(payment: Disbursement, amount: str, **more: str) -> str:
    return bank.entry(amount, bank.detail(payment.end_to_end_id, amount), **more)


async def test_a_worker_killed_between_file_written_and_recorded_sends_the_same_file(house: House) -> None:
    await house.clear(1)
    rail, planned, message_id = await draw(house)
    async with transaction(house.pool) as connection:
        first = await rail.files_to_send(
            connection
        )  # written here; the worker dies before it is marked as sent
    async with transaction(house.pool) as connection:
        again = await rail.files_to_send(connection)
        assert await rail.draw_file(connection, execution_date=date(2026, 10, 15), now=THURSDAY) is None
    assert [file.message_id for file in first] == [message_id]
    assert first == again
    for payment in planned:
        assert payment.end_to_end_id.encode() in first[0].content
    async with transaction(house.pool) as connection:
        await rail.mark_sent(connection, message_id, now=THURSDAY)
        assert await rail.files_to_send(connection) == []


async def test_a_payment_that_no_bank_takes_fails_alone_and_holds_nobody_else_up(house: House) -> None:
    await house.clear(1)
    planned = await house.plan(THURSDAY)
    async with transaction(house.pool) as connection:  # a new account, confirmed after the plan
        other = BankDetails(name="X", iban="DE89370400440532013000", address=BANK.address)
        version = await house.desk.submit_bank_details(connection, "NL-ABC", other, by="anna", now=NOW)
        await house.desk.decide_bank_details(connection, "NL-ABC", version, confirm=True, by="ben", now=NOW)
    rail = BankRail(house.service, house.desk, debtor=DEBTOR)
    async with transaction(house.pool) as connection:
        file = await rail.draw_file(connection, execution_date=date(2026, 10, 15), now=THURSDAY)
        states = dict(await connection.fetch("SELECT party_id, state FROM clearing.disbursement"))
    assert file is not None
    assert of(planned, world.SUPERAPP).end_to_end_id.encode() in file.content
    assert of(planned, world.NL_CPO).end_to_end_id.encode() not in file.content
    assert states == {"NL-ABC": "withdrawn", "superapp": "requested"}
    again = of(await house.plan(THURSDAY + timedelta(hours=2)), world.NL_CPO)
    assert again.destination == other.iban
    await house.proved()


async def test_a_rejection_opens_the_payables_again_and_a_second_report_changes_nothing(house: House) -> None:
    await house.clear(1)
    rail, planned, message_id = await draw(house)
    cpo = of(planned, world.NL_CPO)
    report = bank.status_report(
        message_id, group="PART", batches=[("B", None, [(cpo.end_to_end_id, "RJCT", "AC04")])]
    )
    for expected in (1, 0):
        async with transaction(house.pool) as connection:
            answer = await rail.status_report(connection, io.BytesIO(report), now=THURSDAY)
        assert (answer.rejected, answer.settled) == (expected, 0)
    await house.proved()
    with pytest.raises(StateConflictError, match="no payment file"):
        async with transaction(house.pool) as connection:
            await rail.status_report(connection, io.BytesIO(bank.status_report("OTHER")), now=THURSDAY)


async def test_a_statement_told_twice_and_out_of_order_pays_once_and_leaves_no_difference(
    house: House,
) -> None:
    await house.clear(1)
    rail, planned, _ = await draw(house)
    cpo, app = of(planned, world.NL_CPO), of(planned, world.SUPERAPP)
    first = bank.statement(debit(cpo, "4.00", reference="E1"))
    second = bank.statement(debit(app, "0.40", reference="E2"), statement_id="S2")
    assert await tell(house, rail, second) == (1, 0, 1)
    assert await tell(house, rail, first) == (1, 0, 1)
    assert await tell(house, rail, second) == (0, 0, 0)
    assert [one for one in await run(house) if one.leg == "book_bank"] == []
    await house.proved()


async def test_a_payment_split_into_two_lines_is_matched_by_its_sum(house: House) -> None:
    await house.clear(1)
    rail, planned, message_id = await draw(house)
    cpo, app = of(planned, world.NL_CPO), of(planned, world.SUPERAPP)
    report = bank.status_report(message_id, group="ACSC")
    async with transaction(house.pool) as connection:
        assert (await rail.status_report(connection, io.BytesIO(report), now=THURSDAY)).settled == 2
    await tell(house, rail, bank.statement(debit(cpo, "1.50"), debit(app, "0.40")))
    half = [one for one in await run(house) if one.leg == "book_bank"]
    assert [(one.type, one.amount_minor, one.owner) for one in half] == [("amount", -250, "finance")]
    await tell(house, rail, bank.statement(debit(cpo, "2.50"), statement_id="S2"))
    assert [one for one in await run(house, now=LATER + timedelta(days=1)) if one.leg == "book_bank"] == []


async def test_two_payments_merged_into_one_line_are_matched_by_the_references_it_names(house: House) -> None:
    await house.clear(1)
    rail, planned, message_id = await draw(house)
    report = bank.status_report(message_id, group="ACSC")
    async with transaction(house.pool) as connection:
        await rail.status_report(connection, io.BytesIO(report), now=THURSDAY)
    named = " ".join(payment.end_to_end_id for payment in planned)
    await tell(house, rail, bank.statement(bank.entry("4.40", info=named)))
    assert [one for one in await run(house) if one.leg == "book_bank"] == []


async def test_an_unknown_line_is_never_silent(house: House) -> None:
    rail = BankRail(house.service, house.desk, debtor=DEBTOR)
    await tell(
        house,
        rail,
        bank.statement(bank.entry("12.34", info="who is this?"), bank.entry("5.00", direction="CRDT")),
    )
    found = await run(house, now=THURSDAY)
    assert {(one.type, one.amount_minor) for one in found} == {("unknown_line", 1234), ("unknown_line", -500)}
    assert all(one.owner and "suspense" in one.proposal for one in found)
    later = await run(house, now=LATER)
    assert {one.age_days for one in later} == {10}


async def test_a_return_in_the_statement_opens_the_payables_and_holds_the_party(house: House) -> None:
    await house.clear(1)
    rail, planned, _ = await draw(house)
    cpo = of(planned, world.NL_CPO)
    await tell(house, rail, bank.statement(debit(cpo, "4.00"), debit(of(planned, world.SUPERAPP), "0.40")))
    assert [one for one in await run(house, now=THURSDAY) if one.leg == "book_bank"] == []
    back = bank.entry(
        "4.00", bank.detail(cpo.end_to_end_id, "4.00", direction="CRDT", reason="AC04"), direction="CRDT"
    )
    assert await tell(house, rail, bank.statement(back, statement_id="S9")) == (0, 1, 1)
    assert await tell(house, rail, bank.statement(back, statement_id="S9")) == (0, 0, 0)
    assert [one for one in await run(house) if one.leg == "book_bank"] == []
    await house.proved()


async def test_the_three_sides_agree_or_say_which_does_not(house: House) -> None:
    await house.clear(1, 2, 3)
    day = date(2026, 10, 13)

    def psp(name: str, kind: str, reference: str, minor: int) -> PspLine:
        return PspLine(
            id=name, kind=kind, reference=reference, amount_minor=minor, currency="EUR", occurred_on=day,
            fee_minor=34 if kind == "charge" else 0,
        )  # fmt: skip

    told = [
        psp("txn_1", "charge", "pi_1", 605), psp("txn_2", "charge", "pi_2", 600),
        psp("txn_4", "charge", "pi_4", 700), psp("txn_5", "payout", "po_1", -1205),
    ]  # fmt: skip
    rail = BankRail(house.service, house.desk, debtor=DEBTOR)
    for _ in range(2):
        async with transaction(house.pool) as connection:
            await RECONCILER.record_psp_lines(connection, told, now=NOW)
    await tell(house, rail, bank.statement(bank.entry("12.05", direction="CRDT", info="STRIPE po_1")))
    found = {(one.leg, one.reference): (one.type, one.amount_minor) for one in await run(house)}
    assert found == {
        ("book_psp", "pi_2"): ("amount", 5),
        ("book_psp", "pi_3"): ("missing_right", 605),
        ("book_psp", "pi_4"): ("missing_left", -700),
    }
    async with transaction(house.pool) as connection:
        await RECONCILER.record_psp_lines(connection, [psp("txn_3", "charge", "pi_3", 605)], now=NOW)
        result = await RECONCILER.run(connection, now=LATER)
    assert (result.differences, result.resolved) == (2, 1)


async def test_a_clock_that_was_set_back_leaves_nothing_unread(house: House) -> None:
    assert await run(house, now=LATER + timedelta(days=100)) == []
    await house.clear(1)
    (found,) = await run(house, now=LATER)
    assert (found.reference, found.type) == ("pi_1", "missing_right")


async def test_what_was_open_before_fees_were_compared_is_not_a_fee_to_book_again(
    empty_database_url: str,
) -> None:
    """As it was: whoever agreed to the proposal booked the PSP's fee a second time."""
    every = load_migrations()
    await migrate(
        empty_database_url,
        migrations=[one for one in every if one.package != "clearing" or one.version < 37],
    )
    pool = await create_pool(empty_database_url, min_size=1, max_size=2, application="test")
    try:
        house = House(pool)
        await house.open()
        await house.clear(1)
        reconciler = Reconciler()
        async with transaction(pool) as connection:
            await reconciler.run(connection, now=NOW)
            booked = await connection.fetchval("SELECT fee_minor FROM clearing.reconciliation_item")
            await connection.execute("UPDATE clearing.reconciliation_item SET fee_minor = 0")
        assert booked > 0
        await migrate(empty_database_url, migrations=every)
        async with transaction(pool) as connection:
            told = PspLine(
                id="txn_1", kind="charge", reference="pi_1", amount_minor=605, currency="EUR",
                occurred_on=NOW.date(), fee_minor=booked,
            )  # fmt: skip
            await reconciler.record_psp_lines(connection, [told], now=NOW)
            result = await reconciler.run(connection, now=NOW)
        assert (result.matched, result.differences) == (2, 0)
    finally:
        await pool.close()
