"""Long-lived processes: they stop when asked, finish what they hold, and follow the market in an outage."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.clock import MarketClock
from gateway.database import Pool, create_pool
from gateway.errors import DatabaseUnreachableError
from gateway.migrations import migrate
from gateway.partners.market_clock_repository import market_anchor_reader
from sandbox.postgres.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "PATH": os.defpath,
    "DATABASE_URL": "postgresql://app@db/networkcore",
    "NETWORKCORE_PSP_API_KEY": "sk_test_sandbox",
    "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_sandbox",
}
FINISHES = """
    import asyncio, sys
    from gateway.cli.process import run_process
    async def body(settings, stop):
        print("up", flush=True)
        await stop.wait()
        print("finishing", flush=True)
        await asyncio.sleep(float(sys.argv[1]))
        print("finished", flush=True)
    run_process(body)
"""


def start(seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FINISHES), str(seconds)],
        cwd=ROOT,
        env=SETTINGS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_signaled_to_stop_finishes_what_it_holds(number: signal.Signals) -> None:
    process = start(0.2)
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert (output, errors, process.returncode) == ("finishing\nfinished\n", "", 0)


def test_a_process_that_is_signaled_twice_stops_at_once() -> None:
    process = start(60)
    assert process.stdout is not None
    process.terminate()
    assert process.stdout.readline() == "finishing\n"
    process.terminate()
    output, errors = process.communicate(timeout=20)
    assert (output, errors, process.returncode) == ("", "", 0)


@pytest.mark.parametrize("command", ["serve", "work"])
def test_a_process_with_a_wrong_setting_does_not_start_and_says_so_in_one_line(command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gateway", command],
        cwd=ROOT,
        env=SETTINGS | {"NETWORKCORE_PORT": "http"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("networkcore: NETWORKCORE_PORT is invalid: ")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="networkcore-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def set_market(pool: Pool, business_at: datetime) -> None:
    await pool.execute(
        "INSERT INTO gateway.market_clock (business_at, anchored_at, rate) VALUES ($1, now(), 0) "
        "ON CONFLICT (singleton) DO UPDATE SET business_at = $1, anchored_at = now(), rate = 0",
        business_at,
    )


async def reached(clock: MarketClock, business_at: datetime) -> None:
    async with asyncio.timeout(15):
        while clock.now() != business_at:
            await asyncio.sleep(0.01)


async def test_the_market_clock_follows_its_row_and_outlives_the_database(place: Path) -> None:
    server = EmbeddedPostgres(place / "data")
    await asyncio.to_thread(server.start)
    day = datetime(2026, 10, 29, 6, 0, tzinfo=UTC)
    try:
        await migrate(server.dsn)
        pool = await create_pool(server.dsn, min_size=1, max_size=4)
        clock = MarketClock(read_anchor=market_anchor_reader(pool), refresh_seconds=0.01)
        following = asyncio.create_task(clock.run())
        await set_market(pool, day)
        await reached(clock, day)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert clock.now() == day
        await asyncio.to_thread(server.start)
        await set_market(pool, day + timedelta(hours=1))
        await reached(clock, day + timedelta(hours=1))
        assert not following.done()
        # An orderly stop ends open connections in another way than a kill.
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(0.2)
        assert not following.done()
        following.cancel()
        await asyncio.wait([following])
        pool.terminate()
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_process_that_starts_before_its_database_waits_for_it(place: Path) -> None:
    server = EmbeddedPostgres(place / "data")
    opening = asyncio.create_task(create_pool(server.dsn, min_size=1, max_size=1, wait_seconds=30))
    await asyncio.sleep(0.3)
    assert not opening.done()
    try:
        await asyncio.to_thread(server.start)
        pool = await opening
        assert await pool.fetchval("SELECT 1") == 1
        await pool.close()
    finally:
        await asyncio.to_thread(server.stop)


async def test_patience_ends_and_is_not_spent_on_a_rejection(place: Path) -> None:
    async with EmbeddedPostgres(place / "data", durable=False) as server:
        began = asyncio.get_running_loop().time()
        with pytest.raises(DatabaseUnreachableError, match='database "elsewhere" does not exist'):
            await create_pool(server.dsn.replace("/networkcore?", "/elsewhere?"), wait_seconds=30)
        assert asyncio.get_running_loop().time() - began < 10
    with pytest.raises(DatabaseUnreachableError, match="cannot connect to PostgreSQL at the local socket"):
        await create_pool(server.dsn, wait_seconds=0.3)
