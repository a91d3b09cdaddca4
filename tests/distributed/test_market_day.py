"""A market day on a Citus cluster: calls, captures, clearing, webhooks, payouts, statements, audit."""

import asyncio
from pathlib import Path

import pytest
from rich.console import Console

from gateway.distribution.service import distribute
from gateway.distribution.statement_check import check_statements
from gateway.migrations import migrate
from sandbox.market.day import running_market
from sandbox.market.payout_phase import close_market
from sandbox.market.plan import plan_day
from sandbox.market.progress import NotesOnly
from sandbox.market.proof import prove
from sandbox.market.runner import run_day
from sandbox.market.setup import open_market
from tests.fakes.citus import RunningCluster, distributed_database, needs_citus

pytestmark = [needs_citus, pytest.mark.slow]


@pytest.mark.timeout(900)
async def test_a_market_day_ends_with_its_proof(open_tmp_path: Path) -> None:
    async with distributed_database() as dsn:
        async with running_market(
            open_tmp_path / "day",
            day=plan_day(sessions=24, seed=9),
            workers=2,
            migrate=migrate,
            progress=NotesOnly(Console(stderr=True)),
            database=RunningCluster(dsn),
        ) as (context, _stack):
            await open_market(context)
            await run_day(context)
            result = await close_market(context)
        proof = prove(result.evidence)
        assert proof.ok, proof
        checked = await check_statements(dsn)
        assert [one for one in checked if one.is_at_fault] == []


@pytest.mark.timeout(300)
async def test_a_distribution_that_died_is_completed_and_a_finished_one_changes_nothing() -> None:
    async with distributed_database(distributed=False) as dsn:
        lines: list[str] = []

        def die(line: str) -> None:
            lines.append(line)
            if line.startswith("distributed") and len([x for x in lines if x.startswith("distributed")]) == 7:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await distribute(dsn, report=die, shards=4)
        done = await distribute(dsn, report=lines.append, shards=4)
        assert done.by_shard >= 20
        assert sorted(x for x in lines if x.startswith("distributed")) == sorted(
            {x for x in lines if x.startswith("distributed")}
        )
        again: list[str] = []
        assert await distribute(dsn, report=again.append) == done
        assert not [x for x in again if x.startswith(("distributed", "dropped", "added"))]
        assert await asyncio.wait_for(migrate(dsn), timeout=60) == []
