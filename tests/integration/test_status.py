"""`networkcore status`: quiet when all is well, and an alert for each thing that needs a person."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from clearing.services import build_clearing
from gateway.cli.status import read_status, status_json
from gateway.clock import MarketAnchor
from gateway.database import Pool
from gateway.ids import format_id, new_id, shard_of
from gateway.partners.market_clock_repository import set_market_clock
from tests.fakes.command import networkcore

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def run(database_url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return networkcore("status", *options, database_url=database_url)


async def add_task(pool: Pool, *, run_at: datetime, exception_at: datetime | None = None) -> UUID:
    session_id = new_id()
    await pool.execute(
        "INSERT INTO gateway.task (shard, id, kind, session_id, run_at, exception_at, last_error, attempts) "
        "VALUES ($1, $2, 'clear_session', $3, $4, $5, $6, 3)",
        shard_of(session_id),
        new_id(shard=shard_of(session_id)),
        session_id,
        run_at,
        exception_at,
        None if exception_at is None else "tariff prices nothing",
    )
    return session_id


def test_a_quiet_system_has_no_alert(database_url: str) -> None:
    result = run(database_url)
    assert result.returncode == 0, result.stderr
    assert "nothing needs a person" in result.stdout
    found = json.loads(run(database_url, "--json").stdout)
    assert found["ok"] is True
    assert found["tasks"] == []


def test_pending_migrations_are_an_alert(empty_database_url: str) -> None:
    result = run(empty_database_url, "--json")
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert found["pending_migrations"]
    assert "run networkcore migrate" in found["alerts"][0]


async def test_work_on_time_is_shown_and_is_no_alert(pool: Pool, database_url: str) -> None:
    await add_task(pool, run_at=NOW - timedelta(minutes=1))
    await add_task(pool, run_at=NOW + timedelta(hours=1))
    status = await read_status(database_url, wall_now=NOW)
    (task,) = status.tasks
    assert (task["kind"], task["waiting"], task["due"], task["exceptions"]) == ("clear_session", 2, 1, 0)
    assert status.alerts == ()


async def test_late_tasks_and_exceptions_are_alerts_that_name_the_session(
    pool: Pool, database_url: str
) -> None:
    await add_task(pool, run_at=NOW - timedelta(minutes=6))
    stopped = await add_task(pool, run_at=NOW, exception_at=NOW)
    status = await read_status(database_url, wall_now=NOW)
    assert status.alerts == (
        (
            "Tasks that stopped after repeated failures: 1, the oldest since 2026-11-22 12:00 UTC: "
            "networkcore exceptions list --kind failed_task"
        ),
        "clear_session tasks are overdue since 2026-11-22 11:54 UTC: is a worker running?",
    )
    (shown,) = status.exceptions
    assert shown["detail"] == f"{format_id('ses', stopped)}: tariff prices nothing"
    assert status.exception_counts == {"failed_task": 1}
    json.dumps(status_json(status))
    result = run(database_url)
    assert result.returncode == 1
    assert "tariff prices nothing" in result.stdout


async def test_ages_are_counted_at_the_markets_business_time(pool: Pool, database_url: str) -> None:
    async with pool.acquire() as connection:
        await build_clearing().reference_data.import_bundled_rates(connection, now=NOW)
    assert (await read_status(database_url, wall_now=NOW)).settlement_sla["exchange_rate_age_days"] == 23
    anchor = MarketAnchor(business_at=datetime(2026, 11, 1, 12, tzinfo=UTC), anchored_at=NOW, rate=0)
    async with pool.acquire() as connection:
        assert await set_market_clock(connection, anchor)
    assert (await read_status(database_url, wall_now=NOW)).settlement_sla["exchange_rate_age_days"] == 2
