"""Closing a month: what stands open is listed with who ends it and how, and needs a second person."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from clearing.errors import ClearingConflictError
from clearing.ledger import service as ledger_service
from gateway.books.period_close_service import ClosingCheck, PeriodCloseService
from gateway.books.services import BookServices, build_books
from gateway.cli.books import command
from gateway.database import Pool, transaction
from gateway.jobs.period_close import PeriodCloseJob
from tests.fakes import bank
from tests.fakes.api import Hands
from tests.integration.test_books import MonthOfMarket

AFTER = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)


class Closing(MonthOfMarket):
    """A played month, and the services that close it on 3 November."""

    def __init__(self, pool: Pool, *, at: datetime = AFTER) -> None:
        super().__init__(pool)
        self.services: BookServices = build_books(pool, Hands(at=at), self.service)

    @property
    def closing(self) -> PeriodCloseService:
        return self.services.closing

    async def close(self, by: str) -> ClosingCheck:
        async with transaction(self.pool) as connection:
            return await self.closing.close_as(connection, "2026-10", by=by)

    async def kinds(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for one in (await self.closing.check("2026-10")).points:
            found.setdefault(one.kind, set()).add(one.subject)
            assert one.owner
            assert one.next_step
        return found


@pytest.fixture
async def month(pool: Pool) -> Closing:
    opened = Closing(pool)
    await opened.play()
    return opened


async def test_every_open_point_of_a_month_is_listed_with_who_ends_it_and_how(month: Closing) -> None:
    found = await month.kinds()
    assert found["unbooked_exchange"] == {"fx:EUR-CHF:position", "fx:CHF-EUR:position"}
    assert "NL-ABC" in found["undocumented_period"]
    assert "missing_statement" not in found  # nothing was paid by the bank
    content = bank.statement(bank.entry("1.00"), balances=(("CLBD", "99.00"),))
    async with transaction(month.pool) as connection:
        await month.service.bank_messages.import_message(
            connection, lambda: _stream(content), name="s", reported_by="anna", now=AFTER
        )
        await connection.execute(
            "INSERT INTO clearing.bank_message (sha256, name, kind, state, size_bytes, received_at, reason, "
            "reported_by) VALUES (repeat('b', 64), 'x', 'unknown', 'rejected', 1, $1, 'broken', 'inbox'), "
            "(repeat('c', 64), 'y', 'unknown', 'rejected', 1, $2, 'after the month', 'inbox')",
            AFTER - timedelta(days=20),
            AFTER,
        )
    found = await month.kinds()
    assert found["missing_statement"] == {"CH93...2957 EUR"}
    assert found["rejected_bank_message"] == {"b" * 64}


def _stream(content: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a test's opener
    import io  # noqa: PLC0415

    return io.BytesIO(content)


async def test_closing_with_open_points_needs_a_second_person(month: Closing) -> None:
    first = await month.close("anna")
    assert not first.closed
    assert first.request is not None
    assert first.request.requested_by == "anna"
    assert first.request.open_points == len(first.points) > 0
    with pytest.raises(ClearingConflictError, match="another person must confirm"):
        await month.close("Anna")
    second = await month.close("ben")
    assert second.closed
    async with transaction(month.pool) as connection:
        assert await ledger_service.find_closed_until(connection) == second.until
        row = await connection.fetchrow("SELECT * FROM clearing.period_close_request")
    assert (row["requested_by"], row["confirmed_by"]) == ("anna", "ben")
    assert (await month.closing.check("2026-10")).closed


async def test_a_period_without_an_open_point_is_closed_by_one_person_and_by_the_job(pool: Pool) -> None:
    month = Closing(pool)
    await month.open()
    assert (await month.close("anna")).closed
    later = Closing(pool, at=AFTER + timedelta(days=40))
    await later.clear(1, now=datetime(2026, 11, 5, 12, 0, tzinfo=UTC))
    assert (await later.closing.check("2026-11")).points
    job = PeriodCloseJob(
        pool=pool, clock=later.closing.clock, clearing=later.service, after=timedelta(days=5)
    )
    await job.run_once()
    async with transaction(pool) as connection:
        closed = await ledger_service.find_closed_until(connection)
    assert closed == (await month.closing.check("2026-10")).until
    async with transaction(pool) as connection:
        await connection.execute(
            "INSERT INTO clearing.document_progress (party_id, documented_to) "
            "SELECT id, '2026-11-30' FROM clearing.party WHERE kind <> 'platform'"
        )
    again = PeriodCloseJob(
        pool=pool, clock=later.closing.clock, clearing=later.service, after=timedelta(days=5)
    )
    await again.run_once()
    async with transaction(pool) as connection:
        closed = await ledger_service.find_closed_until(connection)
    assert closed == (await later.closing.check("2026-11")).until


async def test_a_period_that_has_not_ended_is_not_closed(pool: Pool) -> None:
    month = Closing(pool, at=datetime(2026, 10, 20, tzinfo=UTC))
    await month.open()
    with pytest.raises(ClearingConflictError, match="still to come"):
        await month.close("anna")


async def test_the_command_exports_lists_and_closes(
    month: Closing, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)

    async def run(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, command, list(arguments))
        return result.exit_code, result.output

    status, output = await run("journal", "2026-10", "--output", str(tmp_path), "--dialect", "fr")
    assert (status, "every hash recomputed" in output) == (0, True), output
    assert (tmp_path / "journal_2026-10-01_2026-10-31.csv").read_bytes().startswith("\ufeff".encode())
    status, output = await run("trial-balance", "2026-10", "--json")
    assert (status, '"account": "8400"' in output) == (0, True), output
    status, output = await run("vat-return", "2026-10")
    assert (status, "acquisition" in output) == (0, True), output
    status, output = await run("balances")
    assert (status, "cpo:NL-ABC:payable" in output) == (0, True), output
    status, output = await run("close", "2026-10", "--check")
    assert (status, "unbooked_exchange" in output) == (1, True), output
    status, output = await run("close", "2026-13", "--check")
    assert status != 0
    status, _ = await run("close", "2026-10")
    assert status == 2
