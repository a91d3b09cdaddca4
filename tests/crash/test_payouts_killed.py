"""Workers killed with -9 in the middle of a disbursement run: each party is paid once, to the unit."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.database import Pool
from tests.fakes import clearing_fixtures as world
from tests.integration.test_disbursements import open_due

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(200)]
CPOS = tuple(
    replace(world.NL_CPO, id=f"NL-{number:03}", connected_account=f"acct_{number}") for number in range(60)
)
KILLS, PATIENCE_S = 6, 60.0


async def unpaid(pool: Pool) -> int:
    async with pool.acquire() as connection:
        left: int = await connection.fetchval(
            "SELECT count(*) FROM clearing.payable AS p LEFT JOIN clearing.disbursement AS d "
            "ON d.id = p.disbursement_id WHERE d.state IS DISTINCT FROM 'paid'"
        )
    return left


async def test_workers_killed_while_paying_pay_each_party_once(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    system, rng = await open_due(pool, CPOS), random.Random(7)
    environment = os.environ | {"PAYING_SINCE": str(time.time())}
    command = [sys.executable, "-m", "tests.crash.paying", database_url, str(tmp_path)]
    for _ in range(KILLS):
        with subprocess.Popen(  # noqa: ASYNC220 - nothing else waits
            command, env=environment, stderr=subprocess.PIPE
        ) as worker:
            before = len(list(tmp_path.iterdir()))
            deadline = time.monotonic() + PATIENCE_S
            while len(list(tmp_path.iterdir())) == before and await unpaid(pool):
                assert worker.poll() is None, worker.stderr.read() if worker.stderr else None
                assert time.monotonic() < deadline
                await asyncio.sleep(0.005)
            await asyncio.sleep(rng.random() * 0.06)
            worker.kill()
    with subprocess.Popen(command, env=environment) as last:  # noqa: ASYNC220 - likewise
        deadline = time.monotonic() + PATIENCE_S
        while await unpaid(pool):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        last.kill()
    made = Counter(file.read_text() for file in tmp_path.iterdir())
    expected = {f"{party.connected_account} 400": 1 for party in CPOS} | {"acct_superapp 2400": 1}
    assert made == expected
    await system.proved()
