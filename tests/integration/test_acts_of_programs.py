"""Acts of jobs and of commands that read: each names who it was."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.acts.act import JobAct, acting
from gateway.acts.tables import WATCHED
from gateway.cli.main import networkcore
from gateway.database import Pool, transaction
from gateway.jobs.job import Job
from gateway.jobs.job_acts import WRITE_NO_WATCHED_TABLE
from gateway.worker import run_jobs
from tests.integration.test_acts import acts

ADD = "INSERT INTO gateway.party VALUES ($1, 'cpo', now())"
READ = "kind = 'read'"


@dataclass
class OneRound:
    """A job that adds a party once, then ends the worker."""

    pool: Pool
    stop: asyncio.Event
    name: str = "some_job"

    async def run_once(self) -> int:
        async with transaction(self.pool) as connection:
            await connection.execute(ADD, self.name)
        async with transaction(self.pool) as connection:  # of no watched table: no act
            await connection.execute(
                "INSERT INTO gateway.tariff_snapshot SELECT * FROM gateway.tariff_snapshot"
            )
            await connection.execute("CREATE TEMPORARY TABLE scratch AS SELECT 1")
        self.stop.set()
        return 0


async def run(*jobs: Job, stop: asyncio.Event) -> None:
    await asyncio.wait_for(run_jobs(jobs, stop=stop, poll_s=0.01), 30)


async def test_what_a_job_changes_names_the_job_and_its_other_work_is_no_act(pool: Pool) -> None:
    before = len(await acts(pool))
    stop = asyncio.Event()
    await run(OneRound(pool=pool, stop=stop), stop=stop)
    (made,) = (await acts(pool))[before:]
    assert (made["principal"], made["operation"]) == ("job:some_job", "job some_job")
    assert (made["kind"], made["object_table"], made["object_id"]) == ("created", "gateway.party", "some_job")
    async with transaction(pool) as connection:
        await connection.execute(ADD, "by-hand")
    assert (await acts(pool))[-1]["principal"] is None  # the job is over


async def test_jobs_side_by_side_are_named_apart(pool: Pool) -> None:
    stop = asyncio.Event()
    await run(*(OneRound(pool=pool, stop=stop, name=name) for name in ("one", "two", "three")), stop=stop)
    found = {act["object_id"]: act["principal"] for act in await acts(pool, "object_table = 'gateway.party'")}
    assert {name: found[name] for name in ("one", "two", "three")} == {
        "one": "job:one",
        "two": "job:two",
        "three": "job:three",
    }


def test_jobs_without_a_name_write_no_table_whose_changes_are_acts() -> None:
    """Of a partner's account only the limit is watched, which no payment changes."""
    root = Path(__file__).parents[2]
    watched = {table.name for table in WATCHED} - {"gateway.partner_account", "gateway.partner_funding"}
    named = [
        "gateway/sql/payments.sql",
        "gateway/sql/psp_requests.sql",
        "gateway/sql/refunds.sql",
        "gateway/sql/disputes.sql",
        "gateway/sql/tasks.sql",
        "gateway/sql/ocpi_cdrs.sql",
        "clearing/sql/ledger.sql",
        "clearing/sql/driver_document.sql",
    ]
    for path in named:
        text = (root / path).read_text(encoding="utf-8")
        for table in watched:
            for verb in ("INSERT INTO", "UPDATE", "DELETE FROM"):
                assert f"{verb} {table} " not in text, (path, table)
    assert len(WRITE_NO_WATCHED_TABLE) == 9


def command(database_url: str, *arguments: str) -> Result:
    return CliRunner().invoke(networkcore, arguments, env={"DATABASE_URL": database_url})


@pytest.mark.parametrize(
    ("arguments", "operation"),
    [
        (
            ["books", "journal", "2026-10", "--output", "OUT"],
            "books journal",
        ),
        (
            [
                *("clearing", "settlement-statement", "--since", "2026-10-01", "--until", "2026-11-01"),
                *("--output", "OUT"),
            ],
            "clearing settlement-statement",
        ),
        (
            [
                *("clearing", "account-statement", "psp:cash", "--currency", "EUR"),
                *("--since", "2026-10-01T00:00:00Z", "--until", "2026-11-01T00:00:00Z"),
            ],
            "clearing account-statement",
        ),
        (["trace", "ses_01jd2w3x4y5z6a7b8c9d0e1f2g"], "trace"),
        (["ocpi", "tokens", "list"], "ocpi tokens list"),
        (["people", "list"], "people"),
        (["personal-data", "export", "--email", "nobody@example.org"], "personal-data export"),
        (["contract-pool", "events", "DE-AAA"], "contract-pool events"),
    ],
)
async def test_a_command_that_shows_personal_data_or_the_books_leaves_an_act(
    pool: Pool, database_url: str, tmp_path: Path, arguments: list[str], operation: str
) -> None:
    given = [str(tmp_path / "out") if one == "OUT" else one for one in arguments]
    done = await asyncio.to_thread(command, database_url, *given)
    assert "Missing" not in done.output, done.output
    assert "No such" not in done.output, done.output
    (made,) = await acts(pool, READ)
    assert made["operation"] == f"networkcore {operation}"
    assert made["principal"].startswith("user:")
    shown = await asyncio.to_thread(command, database_url, "acts", "--json")
    assert f"networkcore {operation}" in {act["operation"] for act in json.loads(shown.output)}


async def test_figures_without_persons_leave_none(pool: Pool, database_url: str) -> None:
    for arguments in (["fx", "rates"], ["exceptions", "list"], ["exceptions", "limits"]):
        await asyncio.to_thread(command, database_url, *arguments)
    assert await acts(pool, READ) == []


async def test_a_database_that_takes_no_writes_is_read_and_says_so(pool: Pool, database_url: str) -> None:
    name = database_url.split("?", maxsplit=1)[0].rpartition("/")[2]
    await pool.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    done = await asyncio.to_thread(command, database_url, "ocpi", "tokens", "list")
    assert done.exit_code == 0, done.output
    assert "no act is recorded of this reading" in done.output


async def test_a_block_of_a_job_ends_with_it(pool: Pool) -> None:
    with acting(JobAct(name="x")):
        async with transaction(pool) as connection:
            await connection.execute(ADD, "within")
    made = [act for act in await acts(pool) if act["object_id"] == "within"]
    assert [act["principal"] for act in made] == ["job:x"]
    assert made[0]["acted_at"] <= datetime.now(UTC)
