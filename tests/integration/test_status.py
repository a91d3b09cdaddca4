"""`networkcore status`: quiet when all is well, and an alarm for each thing that needs a person."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from clearing.service import ClearingService
from gateway.clock import MarketAnchor
from gateway.commands.status import read_status, status_json
from gateway.database import Pool
from gateway.ids import format_id, lane_of, new_id
from gateway.store.market_clock import set_market_clock

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def run(database_url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "status", *options],
        cwd=ROOT, env={"PATH": os.defpath, "DATABASE_URL": database_url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


async def add_errand(pool: Pool, *, run_at: datetime, parked_at: datetime | None = None) -> UUID:
    session_id = new_id()
    await pool.execute(
        "INSERT INTO gateway.task (lane, id, kind, session_id, run_at, parked_at, last_error, attempts) "
        "VALUES ($1, $2, 'clear', $3, $4, $5, $6, 3)",
        lane_of(session_id),
        new_id(lane=lane_of(session_id)),
        session_id,
        run_at,
        parked_at,
        None if parked_at is None else "tariff prices nothing",
    )
    return session_id


def test_a_quiet_house_has_no_alarm(database_url: str) -> None:
    result = run(database_url)
    assert result.returncode == 0, result.stderr
    assert "nothing needs a person" in result.stdout
    told = json.loads(run(database_url, "--json").stdout)
    assert told["ok"] is True
    assert told["errands"] == []


def test_pending_migrations_are_an_alarm(empty_database_url: str) -> None:
    result = run(empty_database_url, "--json")
    assert result.returncode == 1
    told = json.loads(result.stdout)
    assert told["pending_migrations"]
    assert "run networkcore migrate" in told["alarms"][0]


async def test_work_on_time_is_shown_and_is_no_alarm(pool: Pool, database_url: str) -> None:
    await add_errand(pool, run_at=NOW - timedelta(minutes=1))
    await add_errand(pool, run_at=NOW + timedelta(hours=1))
    status = await read_status(database_url, wall_now=NOW)
    (errand,) = status.errands
    assert (errand["kind"], errand["waiting"], errand["due"], errand["parked"]) == ("clear", 2, 1, 0)
    assert status.alarms == ()


async def test_late_and_parked_work_is_an_alarm_that_names_the_session(pool: Pool, database_url: str) -> None:
    await add_errand(pool, run_at=NOW - timedelta(minutes=6))
    parked = await add_errand(pool, run_at=NOW, parked_at=NOW)
    status = await read_status(database_url, wall_now=NOW)
    assert status.alarms == (
        "1 clear errands gave up",
        "clear errands are due since 2026-11-22 11:54 UTC: does a worker run?",
    )
    assert status.parked[0]["session"] == format_id("ses", parked)
    json.dumps(status_json(status))
    result = run(database_url)
    assert result.returncode == 1
    assert "tariff prices nothing" in result.stdout


async def test_ages_are_counted_at_the_markets_business_time(pool: Pool, database_url: str) -> None:
    async with pool.acquire() as connection:
        await ClearingService().load_reference_data(connection, now=NOW)
    assert (await read_status(database_url, wall_now=NOW)).promise["exchange_rate_age_days"] == 23
    anchor = MarketAnchor(business_at=datetime(2026, 11, 1, 12, tzinfo=UTC), anchored_at=NOW, rate=0)
    async with pool.acquire() as connection:
        assert await set_market_clock(connection, anchor)
    assert (await read_status(database_url, wall_now=NOW)).promise["exchange_rate_age_days"] == 2
