"""Statements of payments on a real PostgreSQL: every line, both balances, and nothing that can be altered."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.calendar import Calendars, ClosingDays
from clearing.errors import ClearingConflictError, ClearingInvariantViolation, StatementError
from clearing.ledger import service as ledger_service
from clearing.parties.agreement import LegalModel, Role
from clearing.payouts.administration import PayoutAdministration
from clearing.payouts.disbursement import (
    Disbursement,
    Paid,
    RailOutcomeUnknown,
    Rejected,
)
from clearing.reference_data import bundled_data
from clearing.settlement_statements import service
from clearing.settlement_statements.statement import canonical, seal
from clearing.settlement_statements.verification import (
    ProvedStatement,
    check_following,
    verify_settlement_statement,
)
from gateway.database import Pool, transaction
from gateway.ids import format_id
from tests.fakes import bank
from tests.fakes import clearing_fixtures as world
from tests.integration import test_reconciliation as reconciliation
from tests.integration.test_clearing_anything_goes import Walk
from tests.integration.test_disbursements import FRIDAY, NOW, THURSDAY, System, of

bank_system = reconciliation.system  # parties with confirmed bank accounts
SATURDAY = FRIDAY + timedelta(days=1)


@pytest.fixture
async def system(pool: Pool) -> System:
    opened = System(pool)
    await opened.open()
    return opened


async def write(
    system: System, payment: Disbursement | UUID, *, party_id: str | None = None, now: datetime = SATURDAY
) -> list[str]:
    """Issue and write a statement, as the API does."""
    identifier = payment if isinstance(payment, UUID) else payment.id
    async with transaction(system.pool) as connection:
        assert await service.issue(connection, identifier, party_id=party_id, now=now)
    async with transaction(system.pool, isolation="repeatable_read") as connection:
        run = await service.open_run(connection, identifier, now=now)
        texts = [record.text async for record in run.records(connection)]
    async with transaction(system.pool) as connection:
        await run.store_seal(connection)
    return texts


def lines_of(texts: list[str]) -> list[dict[str, Any]]:
    return [record for record in map(json.loads, texts) if record["type"] == "line"]


def closing_of(texts: list[str]) -> dict[str, Any]:
    (found,) = [record for record in map(json.loads, texts) if record["type"] == "closing"]
    return dict(found)


async def test_a_payment_is_stated_to_the_unit_and_proved(system: System) -> None:
    await system.clear(1, 2, 3)
    payment = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    texts = await write(system, payment)
    proved = verify_settlement_statement(texts)
    assert (proved.payout_minor, proved.lines, proved.opening_minor, proved.closing_minor) == (1200, 3, 0, 0)
    first = lines_of(texts)[0]
    # 6.05 by card: 5.00 and 21 % Dutch VAT; the CPO has 80 % of 5.00, a supply to the platform.
    assert first["price"] == {
        "gross_minor": 605,
        "net_minor": 500,
        "vat_minor": 105,
        "vat_rate": "21",
        "vat_of": "NL",
    }
    assert (first["part_minor"], first["deducted_minor"], first["owed_minor"]) == (400, 100, 400)
    assert (first["amount_minor"], first["due_date"], first["origin"]) == (400, "2026-10-15", "new")
    assert first["sale_at"] == "2026-10-13T14:00:00+02:00"
    assert [supply["leg"] for supply in first["supplies"]] == ["to_dealer"]
    assert await write(system, payment) == texts  # the same, whenever it is asked for


async def test_closing_is_the_next_opening_and_what_is_due_later_is_shown(system: System) -> None:
    await system.clear(1, 2)
    first = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    later = NOW + timedelta(days=1)  # Wednesday's sales are due on Friday, Thursday's on Monday
    await system.clear(3, sale_at=world.SALE_AT + timedelta(days=1), now=THURSDAY + timedelta(hours=1))
    await system.clear(4, 5, sale_at=world.SALE_AT + timedelta(days=2), now=THURSDAY + timedelta(hours=9))
    second = await system.pay(of(await system.plan(FRIDAY), world.NL_CPO), FRIDAY)
    assert later < THURSDAY
    # Asked for in the other order, the earlier one is frozen first all the same.
    two = verify_settlement_statement(await write(system, second))
    one = verify_settlement_statement(await write(system, first))
    check_following(one, two)
    assert (one.number, one.opening_minor, one.payout_minor, one.closing_minor) == (1, 0, 800, 0)
    assert (two.number, two.opening_minor, two.payout_minor, two.closing_minor) == (2, 0, 400, 800)
    proof = closing_of(await write(system, second))["proof"]
    assert (proof["new_minor"], proof["later_minor"]) == (400, 800)


async def test_a_receivable_that_was_carried_forward_is_within_the_opening(system: System) -> None:
    await system.clear(1)
    await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    await system.clear(2, sale_at=world.SALE_AT + timedelta(days=1), now=THURSDAY - timedelta(hours=1))
    await system.refund(1, 605, THURSDAY + timedelta(hours=3))  # after the payment: owed back, 4.00
    assert [one for one in await system.plan(FRIDAY) if one.party_id == "NL-ABC"] == []  # nets to nothing
    monday = FRIDAY + timedelta(days=3)
    await system.clear(3, sale_at=world.SALE_AT + timedelta(days=2), now=FRIDAY)
    payment = await system.pay(of(await system.plan(monday), world.NL_CPO), monday)
    texts = await write(system, payment)
    proved = verify_settlement_statement(texts)
    # Session 2 was booked before the first payment and stood in its closing.
    assert (proved.opening_minor, proved.payout_minor, proved.closing_minor) == (400, 400, 0)
    by_kind = {(line["kind"], line["origin"]): line["amount_minor"] for line in lines_of(texts)}
    assert by_kind == {("capture", "carried_forward"): 400, ("refund", "new"): -400, ("capture", "new"): 400}
    (refund,) = [line for line in lines_of(texts) if line["kind"] == "refund"]
    assert (refund["session"], refund["price"]["gross_minor"]) == (
        format_id("ses", world.session_id(1)),
        -605,
    )
    await system.proved()


async def test_a_converted_part_shows_its_lock_and_its_amount(system: System) -> None:
    async with transaction(system.pool) as connection:
        await system.service.reference_data.put_agreement(connection, world.agreement(world.CH_CPO), now=NOW)
    await system.clear(
        1, 2, cpo=world.CH_CPO, captured_minor=541, tariff_json=world.tariff_json(world.CH_CPO, vat="8.1")
    )
    async with transaction(system.pool) as connection:
        await system.service.sessions.refund(
            connection, world.session_id(2), minor=117, reference="re_2", now=NOW
        )
    payment = await system.pay(of(await system.plan(THURSDAY), world.SUPERAPP), THURSDAY)
    texts = await write(system, payment)
    assert verify_settlement_statement(texts).payout_minor == payment.amount_minor
    captured = [line for line in lines_of(texts) if line["kind"] == "capture"]
    assert len(captured) == 2
    for line in captured:
        assert (line["currency"], line["fx"]["base"], line["fx"]["quote"]) == ("CHF", "CHF", "EUR")
        assert (line["fx"]["source"], line["deducted_minor"]) == ("ECB", None)
        assert line["owed_minor"] == line["part_minor"] + line["part_vat_minor"]
    assert sum(line["amount_minor"] for line in lines_of(texts)) == payment.amount_minor


async def test_a_seller_in_its_own_name_sees_each_fee_that_it_pays(system: System) -> None:
    async with transaction(system.pool) as connection:
        agreed = world.agreement(
            world.NL_CPO, version=2, legal_model=LegalModel.DISCLOSED_AGENT, psp_cost_charged_to=Role.CPO
        )
        await system.service.reference_data.put_agreement(connection, agreed, now=NOW)
    await system.clear(1)
    payment = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    (line,) = lines_of(await write(system, payment))
    assert {supply["leg"]: supply["side"] for supply in line["supplies"]} == {
        "to_driver": "made",
        "fee": "received",
        "commission": "received",
    }
    assert (line["psp_fee_minor"], line["other_minor"]) == (34, 0)
    assert line["owed_minor"] == line["amount_minor"] == payment.amount_minor


async def test_a_reserve_is_withheld_on_one_statement_and_released_on_another(system: System) -> None:
    await system.terms(world.NL_CPO, reserve_bps=1000, reserve_days=5)
    await system.clear(1, 2)
    first = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    back = THURSDAY + timedelta(days=5)
    second = await system.pay(of(await system.plan(back), world.NL_CPO), back)
    held = lines_of(await write(system, first))
    assert [line["amount_minor"] for line in held if line["kind"] == "reserve_withheld"] == [-80]
    (released,) = lines_of(await write(system, second))
    assert (released["kind"], released["amount_minor"]) == ("reserve_release", 80)
    assert (released["session"], released["about"]) == (None, format_id("dis", first.id))
    assert verify_settlement_statement(await write(system, second)).closing_minor == 0


async def test_a_returned_disbursement_has_its_statement_and_is_shown_in_the_next(system: System) -> None:
    await system.clear(1, 2)
    first = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    before = await write(system, first)
    async with transaction(system.pool) as connection:
        await system.payouts.record_return(connection, first.id, reason="AC04 closed account", now=FRIDAY)
        held = await connection.fetchval("SELECT id FROM clearing.payout_hold")
        await system.payouts.lift_hold(connection, held, by="anna", now=FRIDAY)
    later = FRIDAY + timedelta(hours=2)
    await system.clear(3, sale_at=world.SALE_AT + timedelta(days=1), now=FRIDAY)
    second = await system.pay(of(await system.plan(later), world.NL_CPO), later)
    after = await write(system, first)
    assert after[:-1] == before[:-1]  # all but what became of it
    assert json.loads(after[-1])["state"] == "returned"
    texts = await write(system, second)
    proof = closing_of(texts)["proof"]
    assert proof == {
        "opening_minor": 0,
        "new_minor": 400,
        "returned_minor": 800,
        "carried_forward_minor": 0,
        "later_minor": 0,
        "payout_minor": 1200,
        "closing_minor": 0,
    }
    assert "AC04" in json.loads(texts[0])["holds"][0]["reason"]
    assert verify_settlement_statement(texts).payout_minor == second.amount_minor
    await system.proved()


async def test_a_payment_that_was_not_made_has_no_statement(system: System) -> None:
    await system.clear(1)
    payment = of(await system.plan(THURSDAY), world.NL_CPO)
    with pytest.raises(ClearingConflictError, match="planned"):
        await write(system, payment)
    await system.begin(payment, THURSDAY)
    await system.answer(payment, Rejected(code="x", detail="y"), THURSDAY)
    with pytest.raises(ClearingConflictError, match="failed"):
        await write(system, payment)
    async with transaction(system.pool) as connection:
        assert not await service.issue(connection, payment.id, party_id="superapp", now=NOW)
        assert not await service.issue(connection, uuid4(), party_id=None, now=NOW)


async def test_what_is_committed_late_falls_into_the_next_statement(system: System) -> None:
    await system.clear(1)
    first = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    assert verify_settlement_statement(await write(system, first)).closing_minor == 0
    # Booked before the payment by its own clock, but committed after the statement was written.
    await system.clear(2, now=THURSDAY - timedelta(minutes=1))
    second = await system.pay(of(await system.plan(FRIDAY), world.NL_CPO), FRIDAY)
    texts = await write(system, second)
    assert [line["origin"] for line in lines_of(texts)] == ["new"]
    proved = verify_settlement_statement(texts)
    assert (proved.opening_minor, proved.payout_minor, proved.closing_minor) == (0, 400, 0)


async def test_stored_rows_that_were_changed_are_never_stated_again(system: System) -> None:
    await system.clear(1)
    payment = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    await write(system, payment)
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE clearing.entry SET energy_kwh = 11 WHERE kind = 'capture'")
    with pytest.raises(ClearingInvariantViolation, match="was issued as"):
        await write(system, payment)


async def test_the_audit_finds_a_statement_that_was_changed(system: System) -> None:
    await system.clear(1)
    payment = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    await write(system, payment)
    await system.proved()
    async with transaction(system.pool) as connection:
        await system.payouts.record_return(connection, payment.id, reason="AC04", now=FRIDAY)
    await system.proved()
    async with transaction(system.pool) as connection:
        await connection.execute("UPDATE clearing.settlement_statement SET opening_minor = 1")
        await connection.execute("UPDATE clearing.returned_payable SET amount_minor = 399")
        report = await audit_ledger(connection, now=NOW)
    found = {finding.check for finding in report.findings}
    assert found >= {"statements_unequal", "returned_unequal"}


async def proved_texts(system: System) -> AsyncIterator[list[str]]:
    await system.clear(*range(1, 6))
    payment = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    yield await write(system, payment)


async def test_no_figure_can_be_altered_and_the_line_is_named(system: System) -> None:
    async for texts in proved_texts(system):
        assert isinstance(verify_settlement_statement(texts), ProvedStatement)
        for place, text in enumerate(texts):
            for old, new in alterations(text):
                changed = [*texts]
                changed[place] = text.replace(old, new, 1)
                with pytest.raises(StatementError) as rejected:
                    verify_settlement_statement(changed)
                assert rejected.value.line == place + 1, (old, new)


def alterations(text: str) -> list[tuple[str, str]]:
    """Each figure of a record, once, with another digit; its seal; a space."""
    record = json.loads(text)
    found = [
        (f'"{name}":{value}', f'"{name}":{value + 1}')
        for name, value in record.items()
        if isinstance(value, int)
    ]
    for name in ("price", "proof"):
        found += [
            (f'"{key}":{value}', f'"{key}":{value - 1}')
            for key, value in (record.get(name) or {}).items()
            if isinstance(value, int)
        ]
    return [*found, ('{"', '{ "'), (record["sha256"], "0" * 64)]


async def test_a_forged_seal_does_not_match_the_journal(system: System) -> None:
    async for texts in proved_texts(system):
        forged = resealed(
            texts,
            lambda record: (
                record | {"amount_minor": 500, "owed_minor": 500, "other_minor": 100, "deducted_minor": 0}
                if record.get("line") == 2
                else record
            ),
        )
        with pytest.raises(StatementError, match=r"nets 500 for CDR .* but the journal has 400") as rejected:
            verify_settlement_statement(forged)
        assert rejected.value.line == 3
        fewer = [text for text in texts if json.loads(text).get("line") != 5]
        with pytest.raises(StatementError):
            verify_settlement_statement(resealed(fewer, lambda record: record))
        with pytest.raises(StatementError, match="cut off"):
            verify_settlement_statement(texts[:-2])


def resealed(texts: list[str], change: Any) -> list[str]:
    """The statement as one would forge it: every seal made again."""
    before, found = "", []
    for text in texts:
        record = change(json.loads(text))
        record.pop("sha256")
        before = seal(before, record)
        found.append(canonical({**record, "sha256": before}))
    return found


async def test_a_statement_of_one_party_names_no_other(system: System) -> None:
    await system.clear(1, 2)
    planned = await system.plan(THURSDAY)
    payment = await system.pay(of(planned, world.NL_CPO), THURSDAY)
    text = "\n".join(await write(system, payment))
    assert "superapp" not in text
    assert "platform:fee" not in text
    partner = await system.pay(of(planned, world.SUPERAPP), THURSDAY)
    shown = lines_of(await write(system, partner))
    assert {supply["leg"] for line in shown for supply in line["supplies"]} == {"commission"}
    assert {line["deducted_minor"] for line in shown} == {None}


async def test_a_bank_payment_names_its_file_and_the_banks_line_once_matched(bank_system: System) -> None:
    system = bank_system
    await system.clear(1, 2)
    rail, planned, message_id = await reconciliation.draw(system)
    payment = of(planned, world.NL_CPO)
    statement = bank.statement(reconciliation.debit(payment, "8.00", reference="LINE-1"))
    assert (await reconciliation.tell(system, rail, statement))[0] == 1
    before = await write(system, payment)
    paid = next(record for record in map(json.loads, before) if record["type"] == "payment")
    assert (paid["rail"], paid["file"], paid["amount_minor"]) == ("bank", message_id, 800)
    assert paid["destination"] == f"…{payment.destination[-4:]}"
    assert payment.destination not in "\n".join(before)  # the account itself stays out
    assert json.loads(before[-1])["bank_line"] is None
    await reconciliation.run(system)
    after = await write(system, payment)
    status = json.loads(after[-1])
    assert (status["state"], status["bank_day"]) == ("paid", "2026-10-15")
    assert status["bank_line"] is not None
    assert after[:-1] == before[:-1]
    assert verify_settlement_statement(after).payout_minor == 800


async def test_two_payments_that_end_at_one_instant_follow_each_other(system: System) -> None:
    await system.clear(1)
    one = of(await system.plan(THURSDAY), world.NL_CPO)
    await system.begin(one, THURSDAY)
    await system.answer(one, RailOutcomeUnknown(detail="timeout"), THURSDAY)
    await system.clear(2, sale_at=world.SALE_AT + timedelta(days=1), now=THURSDAY)
    two = of(await system.plan(FRIDAY), world.NL_CPO)
    for payment in (one, two):
        assert await system.begin(payment, FRIDAY) is not None
    for payment in (two, one):  # the later one is reported first
        await system.answer(payment, Paid(rail_reference=f"tr_{payment.id.hex}"), FRIDAY)
    proved = sorted(
        [verify_settlement_statement(await write(system, payment)) for payment in (one, two)],
        key=lambda found: found.number,
    )
    check_following(*proved)
    assert [found.payout_minor for found in proved] == [400, 400]
    assert (proved[0].opening_minor, proved[0].closing_minor, proved[1].closing_minor) == (0, 400, 0)


async def test_two_who_ask_at_once_get_one_statement(system: System) -> None:
    await system.clear(*range(1, 9))
    payment = await system.pay(of(await system.plan(THURSDAY), world.NL_CPO), THURSDAY)
    found = await asyncio.gather(*(write(system, payment) for _ in range(4)))
    assert len({verify_settlement_statement(texts).sha256 for texts in found}) == 1
    async with system.pool.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM clearing.settlement_statement") == 1


async def test_a_rescheduled_date_is_shown_with_its_reason(system: System) -> None:
    await system.clear(1)
    closed = [
        ClosingDays(
            name=calendar.name,
            days=calendar.days | {THURSDAY.date()},
            first_year=calendar.first_year,
            last_year=calendar.last_year,
        )
        for name in bundled_data.CALENDAR_NAMES
        for calendar in [bundled_data.calendars()._by_name[name]]
    ]
    payouts = PayoutAdministration(system.service.reference_data, calendars=Calendars(closed))
    async with transaction(system.pool) as connection:
        await payouts.reschedule(connection, reason="day of mourning", now=NOW)
    payment = await system.pay(of(await system.plan(FRIDAY), world.NL_CPO), FRIDAY)
    (line,) = lines_of(await write(system, payment))
    assert (line["due_date"], line["moved"]) == (
        "2026-10-16",
        [{"from": "2026-10-15", "to": "2026-10-16", "reason": "day of mourning"}],
    )


async def test_every_unit_paid_in_a_busy_fortnight_is_on_one_statement_only(system: System) -> None:
    """Sales, refunds, a dispute won and lost, reserves, a receivable.

    Each statement follows the one before.
    """
    await system.terms(world.NL_CPO, reserve_bps=700, reserve_days=4)
    payments: list[Disbursement] = []
    for day in range(14):
        at = THURSDAY + timedelta(days=day)
        await system.clear(
            *range(day * 10 + 1, day * 10 + 1 + day % 4 + 1),
            sale_at=world.SALE_AT + timedelta(days=day),
            now=at,
        )
        if day % 3 == 1:
            await system.refund(day * 10 + 1, 100 + day, at)
        if day in {2, 6}:
            async with transaction(system.pool) as connection:
                await system.service.sessions.open_dispute(
                    connection,
                    world.session_id(day * 10 + 1),
                    minor=605,
                    fee_minor=15,
                    reference=f"dp_{day}",
                    now=at,
                )
        if day == 4:
            async with transaction(system.pool) as connection:
                await system.service.sessions.win_dispute(
                    connection, world.session_id(21), reference="dp_2", now=at
                )
        planned = [one for one in await system.plan(at + timedelta(hours=8)) if one.party_id == "NL-ABC"]
        payments += [await system.pay(one, at + timedelta(hours=8)) for one in planned]
    assert len(payments) > 5
    written = [await write(system, payment) for payment in reversed(payments)][::-1]
    proved = [verify_settlement_statement(texts) for texts in written]
    for earlier, later in pairwise(proved):
        check_following(earlier, later)
    assert [found.payout_minor for found in proved] == [payment.amount_minor for payment in payments]
    keys = [
        (line["subject_id"], line["kind"], line["reference"]) for texts in written for line in lines_of(texts)
    ]
    assert len(keys) == len(set(keys))
    async with system.pool.acquire() as connection:
        (account,) = await ledger_service.list_balances(connection, prefix="cpo:NL-ABC:payable")
    assert proved[-1].closing_minor == account.minor
    await system.proved()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_every_disbursement_has_a_proved_statement(pool: Pool, seed: int) -> None:
    walk = Walk(seed)
    async with transaction(pool) as connection:
        await walk.open(connection)
    for _ in range(60):
        async with transaction(pool) as connection:
            await walk.step(connection)
    async with pool.acquire() as connection:
        paid = await connection.fetch(
            "SELECT id, party_id, currency, amount_minor FROM clearing.disbursement"
            " WHERE state = 'paid' ORDER BY id"
        )
    assert len(paid) > 5
    system = System(pool)
    walk.random.shuffle(paid)
    found: dict[tuple[str, str], list[ProvedStatement]] = {}
    seen: set[tuple[str, ...]] = set()
    for row in paid:
        texts = await write(system, row["id"], now=walk.now)
        proved = verify_settlement_statement(texts)
        assert proved.payout_minor == row["amount_minor"]
        found.setdefault((row["party_id"], row["currency"]), []).append(proved)
        for line in lines_of(texts):
            key = (row["party_id"], line["subject_id"], line["kind"], line["reference"])
            assert key not in seen, "on two statements"
            seen.add(key)
            if line["supplies"]:
                assert line["owed_minor"] is not None, line
    for statements in found.values():
        statements.sort(key=lambda one: one.number)
        assert [one.number for one in statements] == list(range(1, len(statements) + 1))
        for earlier, later in pairwise(statements):
            check_following(earlier, later)
