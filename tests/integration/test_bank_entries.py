"""A movement of the bank counts once, whichever of its messages arrive, in whichever order."""

import io
import os
from datetime import timedelta
from pathlib import Path

import pytest

from clearing.bank_transfers.message_importer import ImportedMessage
from clearing.payouts.disbursement import Disbursement
from clearing.reconciliation import bank_position_service
from clearing.reconciliation.report import OpenDifference
from clearing.reconciliation.service import ReconciliationService
from gateway.database import Pool, transaction
from tests.fakes import bank
from tests.fakes import clearing_fixtures as world
from tests.integration.test_bank_files import ACCOUNT, DUTCH, confirm
from tests.integration.test_disbursements import FRIDAY, THURSDAY, System, of
from tests.unit.clearing.test_bank_entries import notification

RECONCILER = ReconciliationService()


class Bank:
    """A system with one payment of 4.00 in the bank's hands."""

    def __init__(self, pool: Pool) -> None:
        self.system = System(pool)
        self.pool = pool

    async def open(self) -> None:
        await self.system.open()
        await confirm(self.system, DUTCH)
        await self.system.clear(1)
        self.payment: Disbursement = of(await self.system.plan(THURSDAY), world.NL_CPO)
        rail = self.system.service.bank_transfers(debtor=ACCOUNT)
        async with transaction(self.pool) as connection:
            made = await rail.create_payment_file(connection, execution_date=THURSDAY.date(), now=THURSDAY)
        assert made.file is not None
        self.message_id = made.file.message_id

    async def report(self, content: bytes) -> ImportedMessage:
        async with transaction(self.pool) as connection:
            found = await self.system.service.bank_messages.import_message(
                connection, lambda: io.BytesIO(content), name="test", reported_by="anna", now=FRIDAY
            )
        assert found.message.state == "imported", found.message.reason
        return found

    async def differences(self, *, days: int = 0) -> list[OpenDifference]:
        now = FRIDAY + timedelta(days=days)
        async with transaction(self.pool) as connection:
            await RECONCILER.run(connection, now=now)
        async with self.pool.acquire() as connection:
            found = [one async for one in RECONCILER.differences(connection, today=now.date())]
        # Without the opening balance, which a person books, and without the PSP, which reports nothing here.
        return [one for one in found if one.pair != "book_psp" and one.type != "balance"]

    async def items(self) -> list[tuple[str, int]]:
        async with self.pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT reference, amount_minor FROM clearing.reconciliation_item WHERE side = 'right' "
                "AND pair IN ('book_bank', 'psp_bank') ORDER BY occurred_on, reference"
            )
        return [(row["reference"], row["amount_minor"]) for row in rows]

    async def state(self) -> str:
        async with self.pool.acquire() as connection:
            found: str = await connection.fetchval(
                "SELECT state FROM clearing.disbursement WHERE id = $1", self.payment.id
            )
        return found


@pytest.fixture
async def counter(pool: Pool) -> Bank:
    opened = Bank(pool)
    await opened.open()
    return opened


def collective(*, reference: str = "BK-1") -> bytes:
    batch = "<Btch><MsgId>X</MsgId><NbOfTxs>1</NbOfTxs></Btch>"
    return bank.statement(bank.entry("4.00", batch, reference=reference))


def noticed(payment: Disbursement, *, reference: str = "BK-1") -> bytes:
    one = bank.detail(payment.end_to_end_id, "4.00", reference=f"{reference}-1")
    return notification(bank.entry("4.00", one, reference=reference))


@pytest.mark.parametrize("reference", ["BK-1", "ANOTHER"])
@pytest.mark.parametrize("first", ["statement", "notification"])
async def test_a_notification_and_its_entry_are_one_movement_in_either_order(
    counter: Bank, first: str, reference: str
) -> None:
    messages = [collective(), noticed(counter.payment, reference=reference)]
    if first == "notification":
        messages.reverse()
    before = await counter.report(messages[0])
    assert len(before.outcome.paid) == 0
    assert await counter.state() == "requested"
    after = await counter.report(messages[1])
    assert [one.id for one in after.outcome.paid] == [counter.payment.id]
    assert await counter.items() == [(counter.payment.end_to_end_id, -400)]
    assert await counter.differences() == []
    for content in messages:  # under another hash, as the bank sends it again
        again = await counter.report(content.replace(b"<MsgId>M1</MsgId>", b"<MsgId>M2</MsgId>"))
        assert again.message.new_lines == 0
    assert await counter.items() == [(counter.payment.end_to_end_id, -400)]
    await counter.system.proved()


async def test_the_cases_of_the_field_are_one_movement(counter: Bank) -> None:
    folder = os.environ.get("CASES_DIR")
    if not folder:
        pytest.skip("CASES_DIR is not set: the bank files are not at hand")
    async with transaction(counter.pool) as connection:
        await connection.execute(
            "UPDATE clearing.disbursement SET amount_minor = 1132 WHERE id = $1", counter.payment.id
        )
    for name in ("b054", "b053"):
        content = (Path(folder) / "bank" / f"{name}.xml").read_bytes()
        await counter.report(
            content.replace(b"NC62956f61efb05130b09c67c38d37ba54", counter.payment.end_to_end_id.encode())
        )
    assert sum(minor for _, minor in await counter.items()) == -1182
    async with transaction(counter.pool) as connection:
        (position,) = await bank_position_service.list_positions(connection)
    assert (position.bank_minor, position.theirs_in_flight_minor) == (98_818, -1182)


async def test_a_notification_that_no_statement_follows_is_a_difference_and_no_money(counter: Bank) -> None:
    await counter.report(noticed(counter.payment))
    assert await counter.differences() == []
    (lone,) = [one for one in await counter.differences(days=7) if one.type == "notice_alone"]
    assert (lone.owner, lone.amount_minor) == ("treasury", 400)
    assert await counter.items() == []
    await counter.report(collective())
    assert [one for one in await counter.differences(days=7) if one.type == "notice_alone"] == []


async def test_a_collective_entry_is_divided_by_the_batch_that_it_names(counter: Bank) -> None:
    batch = f"<Btch><PmtInfId>{counter.message_id[:28]}-1</PmtInfId><NbOfTxs>1</NbOfTxs></Btch>"
    found = await counter.report(bank.statement(bank.entry("4.00", batch, reference="E")))
    assert [one.id for one in found.outcome.paid] == [counter.payment.id]
    assert await counter.items() == [(counter.payment.end_to_end_id, -400)]
    await counter.report(noticed(counter.payment, reference="E"))
    assert await counter.items() == [(counter.payment.end_to_end_id, -400)]
    assert await counter.differences() == []


async def test_a_later_statement_that_itemizes_an_entry_replaces_its_only_line(counter: Bank) -> None:
    await counter.report(bank.statement(bank.entry("4.00", reference="E")))
    (open_line,) = await counter.differences()
    assert open_line.type == "unknown_line"
    one = bank.detail(counter.payment.end_to_end_id, "4.00")
    found = await counter.report(bank.statement(bank.entry("4.00", one, reference="E")))
    assert (found.message.settled, found.message.new_lines) == (1, 0)
    assert await counter.items() == [(counter.payment.end_to_end_id, -400)]
    assert await counter.differences() == []


async def test_one_bad_entry_is_one_difference_and_the_others_count(counter: Bank) -> None:
    good = bank.entry("4.00", bank.detail(counter.payment.end_to_end_id, "4.00"), reference="E")
    bad = bank.entry("1.001", reference="F")
    found = await counter.report(bank.statement(good, bad))
    assert found.message.settled == 1
    (fault,) = await counter.differences()
    assert (fault.type, fault.amount_minor, fault.owner) == ("unreadable_entry", 0, "treasury")
    assert "more decimals" in fault.detail
    await counter.report(bank.statement(good, bad, statement_id="S1", balances=(("CLBD", "1.00"),)))
    assert len(await counter.differences()) == 1


async def test_two_equal_payments_of_a_day_stay_two_whichever_messages_report_them(counter: Bank) -> None:
    """Two statements of the day and their notifications; the bank gives no reference of its own."""

    def one(payment: str) -> str:
        return bank.entry("4.00", bank.detail(payment, "4.00"))

    messages = [
        notification(one(counter.payment.end_to_end_id)),
        notification(one("ANOTHER")),
        bank.statement(one(counter.payment.end_to_end_id), statement_id="morning"),
        bank.statement(one("ANOTHER"), statement_id="evening"),
    ]
    for content in messages:
        await counter.report(content)
    ours, other = sorted(await counter.items(), key=lambda item: item[0].startswith("line:"))
    assert ours == (counter.payment.end_to_end_id, -400)
    assert other[1] == -400
    assert await counter.state() == "paid"
    for content in messages:
        again = await counter.report(content.replace(b"<MsgId>M1</MsgId>", b"<MsgId>M2</MsgId>"))
        assert again.message.new_lines == 0
    assert len(await counter.items()) == 2
    assert [one.type for one in await counter.differences(days=7)] == ["unknown_line"]
