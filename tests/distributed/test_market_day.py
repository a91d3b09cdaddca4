"""A market day on a Citus cluster: calls, captures, clearing, webhooks, payouts, statements, audit."""

import asyncio
from pathlib import Path

import pytest

from gateway.distribution.service import distribute
from gateway.distribution.statement_check import check_statements
from gateway.migrations import migrate
from tests.fakes.citus import RunningCluster, distributed_database, needs_citus
from tests.fakes.market_day import proved_day

pytestmark = [needs_citus, pytest.mark.slow]


@pytest.mark.timeout(900)
async def test_a_market_day_ends_with_its_proof(open_tmp_path: Path) -> None:
    async with distributed_database() as dsn:
        await proved_day(open_tmp_path / "day", RunningCluster(dsn))
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
