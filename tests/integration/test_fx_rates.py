"""Exchange rates from file to lock: imported once, fetched daily, and sessions that waited are cleared."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from clearing.audit import audit_ledger
from clearing.errors import ClearingConflictError, InvalidAmountError
from clearing.exchange_rates.ecb_files import read_rates
from clearing.exchange_rates.service import FxExecution
from clearing.fx import RateTable
from clearing.reporting.settlement_sla import read_settlement_sla
from clearing.services import ClearingServices, build_clearing
from gateway import outbound
from gateway.adapters.ecb_feed import MAX_BYTES, EcbFeed, NoFile
from gateway.api.business_metrics import render
from gateway.cli.status import read_status
from gateway.database import Pool, transaction
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.fx_rates import RETRY, FxRatesJob, last_publication
from gateway.jobs.rate_alerts import list_rate_alerts
from gateway.jobs.rate_retry import RateRetryJob
from gateway.retry_policy import RetryPolicy
from tests.fakes import clearing_fixtures as world
from tests.fakes.command import networkcore
from tests.integration.test_clearing_job import hand_over, open_books
from tests.unit.clearing.test_ecb_files import as_csv, as_xml, as_zip

ROOT = Path(__file__).parents[2]
THURSDAY, FRIDAY = date(2026, 11, 12), date(2026, 11, 13)
SATURDAY_SALE = datetime(2026, 11, 14, 18, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 16, 9, 0, tzinfo=UTC)  # Monday morning: Friday's are the last published
FILE = {THURSDAY: {"CHF": "0.9210", "GBP": "0.8340"}, FRIDAY: {"CHF": "0.9222", "GBP": "0.8350"}}


@dataclass
class Hands:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


Reply = Callable[[], web.Response]


def gives(content: bytes, status: int = 200) -> Reply:
    return lambda: web.Response(body=content, status=status)


@dataclass
class Bank:
    """A publisher that answers as a test says; the last reply stays."""

    replies: list[Reply] = field(default_factory=lambda: [gives(as_xml(FILE))])
    asked: int = 0
    delay_s: float = 0.0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        return (self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])()


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
async def feed(bank: Bank) -> AsyncIterator[EcbFeed]:
    app = web.Application()
    app.router.add_get("/rates.xml", bank.answer)
    async with TestServer(app) as server, outbound.session(allow_private=True) as client:
        yield EcbFeed(
            client=client,
            url=str(server.make_url("/rates.xml")),
            retry=RetryPolicy.of_seconds(0, max_attempts=3),
            timeout_s=0.5,
        )


@dataclass
class System:
    pool: Pool
    service: ClearingServices
    clock: Hands
    shard: FxRatesJob
    waits: RateRetryJob
    clearing: ClearingJob

    async def import_rates(self, content: bytes) -> int:
        """As `networkcore fx import` does it."""
        async with transaction(self.pool) as connection:
            rates = read_rates(content, today=self.clock.at.date())
            return len(
                (await self.service.exchange_rates.import_rates(connection, rates, now=self.clock.at)).new
            )

    async def table(self) -> RateTable:
        async with self.pool.acquire() as connection:
            return await self.service.exchange_rates.table(connection)

    async def states(self) -> list[str]:
        async with self.pool.acquire() as connection:
            found = await connection.fetch("SELECT state FROM gateway.session ORDER BY id")
        return [row["state"] for row in found]

    async def minutes_later(self, minutes: int = 2) -> None:
        self.clock.at += timedelta(minutes=minutes)


@pytest.fixture
async def system(pool: Pool, feed: EcbFeed) -> System:
    """A CPO paid in francs sells in euros; the bundled rates end two weeks ago."""
    service, clock = build_clearing(), Hands()
    async with transaction(pool) as connection:
        await open_books(connection, service)
        await service.reference_data.register_party(
            connection, replace(world.NL_CPO, settlement_currency="CHF"), now=clock.at
        )
    return System(
        pool=pool,
        service=service,
        clock=clock,
        shard=FxRatesJob(pool=pool, clock=clock, clearing=service, feed=feed),
        waits=RateRetryJob(pool=pool, clock=clock),
        clearing=ClearingJob(pool=pool, clock=clock, sessions=service.sessions, batch_size=10, chain=0),
    )


async def sell(system: System, *numbers: int, sale_at: datetime = SATURDAY_SALE) -> None:
    async with system.pool.acquire() as connection:
        await hand_over(connection, [world.session(number, sale_at=sale_at) for number in numbers])


async def test_a_file_imported_twice_has_nothing_new(system: System) -> None:
    assert await system.import_rates(as_csv(FILE)) == 4
    assert await system.import_rates(as_csv(FILE)) == 0
    assert await system.import_rates(as_xml(FILE)) == 0


async def test_a_changed_past_rate_is_rejected_and_the_rest_of_its_file_imported(system: System) -> None:
    await system.import_rates(as_csv({THURSDAY: FILE[THURSDAY]}))
    changed = {THURSDAY: {"CHF": "0.9211", "GBP": "0.8340"}, FRIDAY: FILE[FRIDAY]}
    assert await system.import_rates(as_csv(changed)) == 2
    table = await system.table()
    assert table.of("CHF")[THURSDAY].rate == Decimal("0.9210")
    assert table.of("CHF")[FRIDAY].rate == Decimal("0.9222")


async def test_concurrent_imports_are_checked_one_after_the_other(system: System) -> None:
    files = [as_csv({FRIDAY: {"CHF": figure}}) for figure in ("0.9222", "0.9223", "0.9222")]
    counts = await asyncio.gather(*(system.import_rates(content) for content in files))
    assert sorted(counts) == [0, 0, 1]
    async with system.pool.acquire() as connection:
        known = await connection.fetchval(
            "SELECT count(*) FROM clearing.fx_rate WHERE rate_date = $1", FRIDAY
        )
    assert known == 1


async def test_rates_too_old_for_any_capture_are_left_out(system: System) -> None:
    history = as_csv({date(2020, 3, 2): {"CHF": "1.0648"}, **FILE})
    assert await system.import_rates(as_zip(history)) == 4
    assert (await system.table()).of("CHF").get(date(2020, 3, 2)) is None


async def test_a_session_in_exception_for_a_rate_is_cleared_once_it_is_imported_at_fridays_rate(
    system: System,
) -> None:
    await sell(system, 1, 2)
    await system.clearing.run_once()
    assert await system.states() == ["exception", "exception"]
    assert await system.waits.run_once() == 0  # no rate came in since
    await system.minutes_later()
    assert await system.import_rates(as_csv(FILE)) == 4
    assert await system.waits.run_once() == 2
    assert await system.waits.run_once() == 0
    await system.clearing.run_once()
    assert await system.states() == ["cleared", "cleared"]
    async with system.pool.acquire() as connection:
        locks = await connection.fetch("SELECT DISTINCT rate, rate_date, source FROM clearing.fx_lock")
        left = await connection.fetchval(
            "SELECT count(*) FROM clearing.session_exception WHERE resolved_at IS NULL"
        )
        report = await audit_ledger(connection, now=system.clock.at)
    assert [tuple(row) for row in locks] == [(Decimal("0.9222"), FRIDAY, "ECB")]
    assert left == 0
    assert report.ok, report.findings


async def test_a_session_whose_rate_did_not_come_waits_for_the_next_import(system: System) -> None:
    await sell(system, 1)
    await system.clearing.run_once()
    await system.minutes_later()
    await system.import_rates(as_csv({FRIDAY: {"GBP": "0.8350"}}))  # not the one it needs
    handed = 0
    for _ in range(6):
        handed += await system.waits.run_once()
        await system.clearing.run_once()
        assert await system.states() == ["exception"]
        await system.minutes_later()
    assert handed == 2  # once, and once more for a batch that was under way; not again and again
    await system.import_rates(as_csv({FRIDAY: {"CHF": "0.9222"}}))
    assert await system.waits.run_once() == 1


async def test_a_session_in_exception_for_a_vat_rate_is_not_handed_over_again(system: System) -> None:
    await sell(system, 1)
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET tax_jurisdiction = 'ES-CN'")
    await system.import_rates(as_csv(FILE))
    await system.clearing.run_once()
    await system.minutes_later()
    async with system.pool.acquire() as connection:
        assert (
            await connection.fetchval("SELECT reason FROM clearing.session_exception") == "rate_unavailable"
        )
        await connection.execute("UPDATE clearing.fx_rate SET imported_at = $1", system.clock.at)
    assert await system.waits.run_once() == 0


# The shard


async def test_the_job_fetches_once_for_each_publication(system: System, bank: Bank) -> None:
    assert await system.shard.run_once() == 4
    for _ in range(3):
        await system.minutes_later(119)
        assert await system.shard.run_once() == 0
    assert bank.asked == 1
    await system.minutes_later(3)  # 15:00 UTC is 16:00 in Frankfurt, where Monday's comes out
    bank.replies = [gives(as_xml({**FILE, date(2026, 11, 16): {"CHF": "0.9230", "GBP": "0.8360"}}))]
    assert await system.shard.run_once() == 2
    await system.minutes_later(60)
    await system.shard.run_once()
    assert bank.asked == 2


async def test_of_many_workers_one_fetches(system: System, bank: Bank, feed: EcbFeed) -> None:
    others = [
        FxRatesJob(pool=system.pool, clock=system.clock, clearing=system.service, feed=feed) for _ in range(4)
    ]
    assert sum(await asyncio.gather(*(job.run_once() for job in others))) == 4
    assert bank.asked == 1


async def test_a_day_that_is_not_in_the_file_yet_is_fetched_at_growing_intervals(
    system: System, bank: Bank
) -> None:
    bank.replies = [gives(as_xml({THURSDAY: FILE[THURSDAY]})), gives(as_xml(FILE))]
    assert await system.shard.run_once() == 2
    await system.minutes_later(1)
    assert await system.shard.run_once() == 0
    assert bank.asked == 1
    await system.minutes_later(1)
    assert await system.shard.run_once() == 2
    assert [
        (RETRY.delay_after(failures) or timedelta(0)).total_seconds() / 60 for failures in (1, 2, 3, 6, 1000)
    ] == [
        2,
        4,
        8,
        60,
        60,
    ]


@pytest.mark.parametrize(
    ("reply", "problem", "asked"),
    [
        (gives(b"<html>busy</html>"), "has no rates", 1),
        (gives(b"\x00\xff" * 500), "is not UTF-8", 1),
        (gives(b"0" * (MAX_BYTES + 1)), f"more than {MAX_BYTES} bytes", 1),
        (gives(b"oh", status=500), "status 500", 3),
        (gives(b"gone", status=404), "status 404", 1),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "status 302", 1),
        (gives(as_xml({date(2026, 11, 17): {"CHF": "0.92"}})), "in the future", 1),
    ],
)
async def test_what_is_no_file_changes_nothing_and_is_fetched_again(
    system: System, bank: Bank, reply: Reply, problem: str, asked: int
) -> None:
    before = (await system.table()).newest
    bank.replies = [reply]
    assert await system.shard.run_once() == 0
    assert bank.asked == asked
    assert (await system.table()).newest == before
    async with system.pool.acquire() as connection:
        [row] = await connection.fetch("SELECT * FROM clearing.rate_feed")
    assert problem in row["problem"]
    assert (row["failures"], row["answered_at"]) == (1, None)
    bank.replies = [gives(as_xml(FILE))]
    await system.minutes_later()
    assert await system.shard.run_once() == 4
    async with system.pool.acquire() as connection:
        [row] = await connection.fetch("SELECT * FROM clearing.rate_feed")
    assert (row["failures"], row["problem"], row["answered_at"]) == (0, "", system.clock.at)


async def test_a_slow_server_times_out(feed: EcbFeed, bank: Bank) -> None:
    bank.delay_s = 5
    assert await replace(
        feed, retry=RetryPolicy.of_seconds(0, max_attempts=2), timeout_s=0.1
    ).fetch() == NoFile(problem="no answer within 0.1 s", passing=True)
    assert bank.asked == 2


async def test_an_address_of_ones_own_network_is_not_fetched_in_production(feed: EcbFeed, bank: Bank) -> None:
    async with outbound.session(allow_private=False) as client:
        found = await EcbFeed(
            client=client, url=feed.url, retry=RetryPolicy.of_seconds(0, max_attempts=1)
        ).fetch()
    assert isinstance(found, NoFile)
    assert bank.asked == 0


async def test_no_server_is_no_file() -> None:
    async with aiohttp.ClientSession() as client:
        found = await EcbFeed(
            client=client, url="http://127.0.0.1:1/", retry=RetryPolicy.of_seconds(0, max_attempts=1)
        ).fetch()
    assert found == NoFile(problem="unreachable (ClientConnectorError)", passing=True)


def test_the_ecb_publishes_at_four_on_target_days() -> None:
    at_four = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
    assert last_publication(at_four) == date(2026, 11, 20)
    assert last_publication(at_four - timedelta(minutes=1)) == date(2026, 11, 19)
    assert last_publication(datetime(2026, 11, 22, 12, 0, tzinfo=UTC)) == date(2026, 11, 20)  # Sunday
    assert last_publication(datetime(2026, 4, 6, 18, 0, tzinfo=UTC)) == date(2026, 4, 2)  # Easter Monday
    assert last_publication(datetime(2060, 1, 4, 12, 0, tzinfo=UTC)) == date(2060, 1, 2)  # no calendar


# What is seen of it


async def test_an_old_rate_is_an_alert_where_exchange_is_in_use(
    system: System, bank: Bank, database_url: str
) -> None:
    async with system.pool.acquire() as connection:
        assert await list_rate_alerts(connection, now=NOW) == []
    await sell(system, 1)
    await system.clearing.run_once()
    bank.replies = [gives(b"oh", status=503)]
    await system.shard.run_once()
    status = await read_status(database_url, wall_now=NOW)
    assert status.settlement_sla["exchange_rate_age_days"] == 17  # 30 October to 16 November
    assert (
        "the newest exchange rate is 17 days old, above 7 sessions wait: networkcore fx import; "
        "the last fetch: status 503"
    ) in status.alerts
    await system.import_rates(as_csv(FILE))
    async with system.pool.acquire() as connection:
        assert await list_rate_alerts(connection, now=NOW) == []
        sla = await read_settlement_sla(connection, now=NOW)
    assert sla.newest_rate == FRIDAY
    assert b"networkcore_exchange_rate_age_days 3.0\n" in render(sla, oldest_event_at=None, now=NOW)


async def test_a_rate_beyond_the_step_needs_confirmation_and_is_an_alert(system: System, bank: Bank) -> None:
    bank.replies = [gives(as_xml({FRIDAY: {"CHF": "9.222", "GBP": "0.8350"}}))]
    assert await system.shard.run_once() == 1
    async with system.pool.acquire() as connection:
        [alert] = await list_rate_alerts(connection, now=NOW)
    assert "1 rates rejected, first CHF of 2026-11-13: more than 20 % from 0.9194 of 2026-10-30" in alert


# Commands


def fx(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return networkcore("fx", *arguments, database_url=database_url, environment={"COLUMNS": "120"})


def test_the_command_imports_shows_and_rejects_in_one_line(database_url: str, tmp_path: Path) -> None:
    good, bad, slipped = tmp_path / "good.csv", tmp_path / "bad.csv", tmp_path / "slipped.csv"
    good.write_bytes(as_csv(FILE))
    bad.write_bytes(b"Date,CHF\n2026-11-13,0,93\n")
    slipped.write_bytes(as_csv({date(2026, 11, 16): {"CHF": "9.22"}}))
    dry = fx(database_url, "import", "--dry-run", str(good))
    assert (dry.returncode, "dry run: nothing is stored" in dry.stdout) == (0, True)
    both = fx(database_url, "import", str(good), str(bad))
    assert (both.returncode, both.stdout) == (2, "")
    assert both.stderr == (
        "networkcore: bad.csv, line 2: has 3 columns, expected 2: it was cut; fetch the file from the ECB "
        "again\n"
    )
    first = fx(database_url, "import", str(good))  # neither of the two before left anything
    (row,) = [line for line in first.stdout.splitlines() if "good.csv" in line]
    assert (first.returncode, row.split()[1::2]) == (0, ["good.csv", "4", "0", "0", "0"])
    rejected = fx(database_url, "import", str(slipped))
    assert rejected.returncode == 1
    assert "--accept CHF:2026-11-16" in rejected.stdout
    assert fx(database_url, "import", str(slipped), "--accept", "CHF:2026-11-16").returncode == 0
    for wrong in ("CHF", "CHF:2026-02-30", "GBP:2026-11-16"):
        assert fx(database_url, "import", str(slipped), "--accept", wrong).returncode == 2
    weekend = fx(database_url, "rates", "--currency", "GBP", "--on", "2026-11-15")
    assert "0.8350" in weekend.stdout
    assert "2026-11-13" in weekend.stdout
    late = fx(database_url, "rates", "--on", "2026-12-15")
    assert "older than 7 days" in " ".join(late.stdout.split())
    unknown = fx(database_url, "rates", "--currency", "QQQ")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)


async def test_a_position_is_closed_once_per_reference_and_not_at_a_mistyped_rate(system: System) -> None:
    await system.import_rates(as_csv(FILE))
    await sell(system, 1, 2)
    await system.clearing.run_once()
    exchange = system.service.exchange_rates

    async def execute(sold: int, bought: int, reference: str, *, off_market: bool = False) -> bool:
        proposal = FxExecution(
            base="EUR", quote="CHF", sold_minor=sold, bought_minor=bought, reference=reference
        )
        async with transaction(system.pool) as connection:
            return await exchange.execute(connection, proposal, now=system.clock.at, off_market=off_market)

    async with system.pool.acquire() as connection:
        [open_one] = await exchange.list_positions(connection)
    sold, given = open_one.total.sold_minor, open_one.total.bought_minor
    assert sold > 0
    with pytest.raises(ClearingConflictError, match=r"more than 20 % off the reference rate 0\.922200"):
        await execute(sold, given * 10, "B1")
    with pytest.raises(InvalidAmountError, match="the reference is empty"):
        await execute(sold, given, " ")
    assert await execute(sold, given + 3, "B1")
    assert not await execute(sold, given + 3, "B1")  # though nothing is left of the position
    with pytest.raises(ClearingConflictError, match="booked already with other figures"):
        await execute(sold, given + 4, "B1")
    with pytest.raises(ClearingConflictError, match="holds 0"):
        await execute(1, 1, "B2")
    async with system.pool.acquire() as connection:
        [closed] = await exchange.list_positions(connection)
        report = await audit_ledger(connection, now=system.clock.at)
    assert (closed.total.sold_minor, closed.total.bought_minor, closed.result_minor) == (0, 0, 3)
    assert report.ok, report.findings


async def test_positions_and_executions_on_the_command_line(system: System, database_url: str) -> None:
    await system.import_rates(as_csv(FILE))
    await sell(system, 1)
    await system.clearing.run_once()
    shown = fx(database_url, "positions")
    assert (shown.returncode, "EUR-CHF" in shown.stdout) == (0, True), shown.stderr
    asked = ("execute", "EUR", "CHF", "--sold-minor", "100", "--bought-minor", "92", "--reference", "B1")
    booked = fx(database_url, *asked, "--off-market")
    assert (booked.returncode, booked.stdout) == (0, "booked: 1.00 EUR for 0.92 CHF\n"), booked.stderr
    again = fx(database_url, *asked, "--off-market")
    assert again.stdout == "B1 was booked before, 1.00 EUR for 0.92 CHF: nothing was done\n"
    wrong = fx(database_url, "execute", "EUR", "EUR", *asked[3:])
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
