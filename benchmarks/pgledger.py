"""pgledger beside the clearing job: a public SQL ledger in the same PostgreSQL, in the same run.

Its SQL is not part of this repository. PGLEDGER_SQL names the files to load, in their order and with the
path separator between them; without it the rows are omitted. Each transfer is a transaction of its own, as
its interface has it; connections work side by side.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.table import Row

VARIABLE = "PGLEDGER_SQL"
CONNECTIONS = 8
SPREAD_ACCOUNTS = 1000
GOAL_TIMES = 10.0


async def beside(dsn: str, *, job_transfers_per_second: float, quick: bool) -> list[Row]:
    """Its transfers a second on two hot accounts and over many, beside those of the clearing job."""
    paths = [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
    if not paths:
        print(f"pgledger is omitted: {VARIABLE} names no file with its SQL")
        return []
    files = [await asyncio.to_thread(Path(path).read_text, encoding="utf-8") for path in paths]
    async with asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        for sql in files:
            await pool.execute(sql)
        accounts = [
            await pool.fetchval("SELECT id FROM pgledger_create_account($1, 'EUR')", f"account {number}")
            for number in range(SPREAD_ACCOUNTS)
        ]
        seconds = 2.0 if quick else 10.0
        return [
            Row(
                name=f"transfers of the clearing job beside pgledger, {kind} accounts",
                value=job_transfers_per_second,
                unit="transfers/s",
                baseline_name=f"pgledger, {CONNECTIONS} connections",
                baseline_value=other,
                ratio=job_transfers_per_second / other,
                goal=GOAL_TIMES * other if kind == "hot" else None,
            )
            for kind, used in (("hot", accounts[:2]), ("spread", accounts))
            if (other := await _rate(pool, used, seconds=seconds))
        ]


async def _rate(pool: Any, accounts: list[Any], *, seconds: float) -> float:
    end = time.perf_counter() + seconds

    async def work(place: int) -> int:
        done = 0
        async with pool.acquire() as connection:
            while time.perf_counter() < end:
                source = (place * 7919 + done * 2) % len(accounts)
                target = (source + 1) % len(accounts)
                await connection.fetchrow(
                    "SELECT * FROM pgledger_create_transfer($1, $2, 1.00)",
                    accounts[min(source, target)],
                    accounts[max(source, target)],
                )
                done += 1
        return done

    began = time.perf_counter()
    counts = await asyncio.gather(*(work(place) for place in range(CONNECTIONS)))
    return sum(counts) / (time.perf_counter() - began)
