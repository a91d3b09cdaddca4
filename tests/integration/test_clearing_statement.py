"""Statements prove themselves offline, and closed periods keep every balance."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner

from clearing.audit import audit_ledger
from clearing.errors import ClearingConflictError, ClosedPeriodError, StatementError
from clearing.ledger import service as ledger_service
from clearing.ledger.account_statement import verify
from clearing.services import ClearingServices, build_clearing
from gateway.cli.verify import command
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)
ACCOUNT = "cpo:NL-ABC:payable"


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        for party in world.PARTIES.values():
            await opened.reference_data.register_party(connection, party, now=NOW)
        for cpo in (world.NL_CPO, world.DE_CPO):
            await opened.reference_data.put_agreement(connection, world.agreement(cpo), now=NOW)
    return opened


async def clear(
    pool: Pool, service: ClearingServices, numbers: range, *, minutes: int, chain: int = 0
) -> None:
    sessions = [world.session(number) for number in numbers]
    sessions += [
        world.session(
            number + 10_000,
            cpo=world.DE_CPO,
            captured_minor=595,
            tariff_json=world.tariff_json(world.DE_CPO, vat="19"),
        )
        for number in numbers
    ]
    async with transaction(pool) as connection:
        batch = await service.sessions.clear_batch(
            connection, sessions, now=NOW + timedelta(minutes=minutes), batch_id=uuid4(), chain=chain
        )
        assert not batch.uncleared, batch.uncleared


async def statement(pool: Pool, service: ClearingServices, *, since: int = 0, until: int = 100) -> list[str]:
    async with transaction(pool, isolation="repeatable_read") as connection:
        return [
            line
            async for line in ledger_service.list_statement_lines(
                connection,
                account=ACCOUNT,
                currency="EUR",
                since=NOW + timedelta(minutes=since),
                until=NOW + timedelta(minutes=until),
            )
        ]


async def test_a_statement_over_several_batches_and_chains_is_proved(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, range(7), minutes=1)
    await clear(pool, service, range(7, 12), minutes=2, chain=1)
    await clear(pool, service, range(12, 20), minutes=3)
    async with transaction(pool) as connection:
        await service.sessions.refund(
            connection, world.session_id(3), minor=605, reference="re", now=NOW + timedelta(minutes=4)
        )
    found = verify(await statement(pool, service))
    assert (found.opening_minor, found.closing_minor, found.lines, found.batches) == (0, 19 * 400, 21, 4)
    later = verify(await statement(pool, service, since=3))
    assert (later.opening_minor, later.closing_minor) == (12 * 400, 19 * 400)


async def test_a_batch_that_was_overtaken_is_booked_with_the_one_before_it(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, range(7), minutes=3)
    await clear(pool, service, range(7, 12), minutes=1)
    await clear(pool, service, range(12, 15), minutes=2, chain=1)
    assert verify(await statement(pool, service)).closing_minor == 15 * 400
    assert verify(await statement(pool, service, since=3)).opening_minor == 3 * 400
    async with pool.acquire() as connection:
        booked = await connection.fetch(
            "SELECT DISTINCT b.chain, b.position, b.booked_at, e.booked_at AS of_entries, "
            "d.booked_at AS of_deltas "
            "FROM clearing.batch AS b JOIN clearing.entry AS e ON e.batch_id = b.id "
            "JOIN clearing.account_delta AS d ON d.batch_id = b.id ORDER BY 1, 2"
        )
        report = await audit_ledger(connection, now=NOW)
    minutes = [(row["booked_at"] - NOW) // timedelta(minutes=1) for row in booked]
    assert minutes == [3, 3, 2]
    assert all(row["booked_at"] == row["of_entries"] == row["of_deltas"] for row in booked)
    assert report.ok


async def test_a_statement_does_not_show_what_belongs_to_others(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, range(3), minutes=1)
    text = "\n".join(await statement(pool, service))
    assert "superapp" not in text
    assert "DE-XYZ" not in text
    assert "platform:fee" not in text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"minor":400', '"minor":401'),
        ('"kind":"capture"', '"kind":"refund"'),
        ('"position":1', '"position":2'),
        ('"closing_minor":1200', '"closing_minor":1199'),
        ('"opening_minor":0', '"opening_minor":1'),
        ('"cdr_id":"CDR-', '"cdr_id":"XDR-'),
        ('["left",', '["right",'),
        ('"debit":"session:transit"', '"debit":"suspense"'),
        ('"format":"clearing-statement-1"', '"format":"other"'),
    ],
)
async def test_no_figure_of_a_statement_can_be_changed(
    pool: Pool, service: ClearingServices, old: str, new: str
) -> None:
    await clear(pool, service, range(3), minutes=1)
    lines = await statement(pool, service)
    assert verify(lines).closing_minor == 1200
    changed = "\n".join(lines).replace(old, new, 1)
    assert changed != "\n".join(lines)
    with pytest.raises(StatementError):
        verify(changed.splitlines())


async def test_no_line_of_a_statement_can_be_omitted_or_repeated(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, range(3), minutes=1)
    await clear(pool, service, range(3, 6), minutes=2)
    lines = await statement(pool, service)
    assert len(lines) == 4
    head, first, second, foot = lines
    broken = [
        [head, first, second],
        [first, second, foot],
        [head, first, second, foot, foot],
        [head, second, foot],
        [head, first, first, second, foot],
        [head, second, first, foot],
        [head, "[]", foot],
        [head, "{", foot],
    ]
    for left in broken:
        with pytest.raises(StatementError):
            verify(left)


async def test_the_command_proves_a_file_and_says_where_it_fails(
    pool: Pool, service: ClearingServices, tmp_path: Path
) -> None:
    await clear(pool, service, range(3), minutes=1)
    path = tmp_path / "statement.json"
    path.write_text("\n".join(await statement(pool, service)))
    proved = CliRunner().invoke(command, [str(path), "--json"])
    assert proved.exit_code == 0
    assert json.loads(proved.output)["closing_minor"] == 1200
    assert "closing  12.00" in CliRunner().invoke(command, [str(path)]).output
    path.write_text(path.read_text().replace('"minor":400', '"minor":4000', 1))
    rejected = CliRunner().invoke(command, [str(path)])
    assert rejected.exit_code == 1
    assert "NOT VERIFIED: line 2" in rejected.output


async def test_closing_stores_balances_and_rejects_back_dating(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, range(5), minutes=1)
    end = NOW + timedelta(minutes=10)
    async with transaction(pool) as connection:
        before = await ledger_service.list_balances(connection)
        await ledger_service.close_period(connection, until=end, by="test", now=end)
        await ledger_service.close_period(
            connection, until=end, by="test", now=end
        )  # the same again is a no-op
        assert await ledger_service.list_balances(connection) == before
        with pytest.raises(ClearingConflictError, match="closed up to"):
            await ledger_service.close_period(
                connection, until=end - timedelta(seconds=1), by="test", now=end
            )
        with pytest.raises(ClearingConflictError, match="still to come"):
            await ledger_service.close_period(
                connection, until=end + timedelta(seconds=1), by="test", now=end
            )
    with pytest.raises(ClosedPeriodError):
        await clear(pool, service, range(5, 6), minutes=9)
    await clear(
        pool, service, range(5, 8), minutes=10
    )  # a late CDR after the closing is booked in the open period
    async with transaction(pool) as connection:
        second = NOW + timedelta(minutes=20)
        await ledger_service.close_period(connection, until=second, by="test", now=second)
        later = await ledger_service.list_balances(connection)
        after = {(found.account, found.currency): found.minor for found in later}
        then = {
            (found.account, found.currency): found.minor
            for found in await ledger_service.list_balances(connection, at=end - timedelta(seconds=1))
        }
    assert after[ACCOUNT, "EUR"] == 8 * 400
    assert then[ACCOUNT, "EUR"] == 5 * 400
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await audit_ledger(connection, now=NOW)
    assert report.ok, report.findings


async def test_a_duplicate_after_the_closing_posts_nothing(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, range(1), minutes=1)
    end = NOW + timedelta(minutes=10)
    async with transaction(pool) as connection:
        await ledger_service.close_period(connection, until=end, by="test", now=end)
        duplicate = replace(world.session(0), captured_at=end)
        batch = await service.sessions.clear_batch(connection, [duplicate], now=end, batch_id=uuid4())
    assert (len(batch.cleared), len(batch.already)) == (0, 1)
