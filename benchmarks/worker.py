"""An idle worker: its processor time with its PostgreSQL's, and how soon it does what another process left.

The worker is the real process with all its jobs. Baselines in the same run: a bare loop that sends one
statement every 200 ms, which is what the look for a single kind of work costs; and work that is left
without a notice.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import Row
from gateway.database import Pool, create_pool
from gateway.ids import new_id, shard_of
from gateway.jobs.shard_lease_repository import notify_of_work
from gateway.jobs.work_notices import CHANNEL
from gateway.migrations import migrate
from sandbox.postgres.embedded import EmbeddedPostgres

GOAL_PERCENT = 1.0
GOAL_MS = 50.0
_WARM_UP_S = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
_BARE = """
import asyncio, asyncpg, sys
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    while True:
        await connection.fetchval("SELECT 1")
        await asyncio.sleep(0.2)
asyncio.run(main())
"""


def run(*, quick: bool) -> list[Row]:
    """Percent of one core while idle, and milliseconds until what another process left is done."""
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    seconds, trials = (8.0, 3) if quick else (40.0, 15)
    try:
        with EmbeddedPostgres(directory / "postgres") as server:
            asyncio.run(migrate(server.dsn))
            server_pid = server.pid or 0
            with _process("-c", _BARE, server.dsn) as bare:
                time.sleep(2.0)
                bare_percent = _share(lambda: _spent(bare.pid, server_pid), seconds)
            with _process("-m", "gateway", "work", environment=_settings(server.dsn)) as worker:
                asyncio.run(_until_idle(server.dsn))
                percent = _share(lambda: _spent(worker.pid, server_pid), seconds)
                noticed, looked = asyncio.run(_begun(server.dsn, trials=trials))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [
        Row(
            name="idle worker and its PostgreSQL",
            value=percent,
            unit="% of a core",
            baseline_name="one statement every 200 ms",
            baseline_value=bare_percent,
            ratio=percent / bare_percent,
            goal=GOAL_PERCENT,
        ),
        Row(
            name="work of another process, from its commit to its end",
            value=noticed,
            unit="ms",
            baseline_name="without a notice",
            baseline_value=looked,
            ratio=noticed / looked,
            goal=GOAL_MS,
        ),
    ]


def _settings(dsn: str) -> dict[str, str]:
    return {
        "NETWORKCORE_DATABASE_URL": dsn,
        "NETWORKCORE_PSP_API_KEY": "sk_test_benchmark",
        "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_benchmark",
        "NETWORKCORE_PSP_BASE_URL": "http://127.0.0.1:9",  # nobody answers: nothing is asked while idle
    }


@contextmanager
def _process(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, *arguments]
    process = subprocess.Popen(  # noqa: S603 - ourselves
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _spent(process: int, server: int) -> float:
    """Processor seconds of a process, and of a server with its children."""
    every = {process, server}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _fields(int(entry.name))[1:2] == [str(server)]:
            every.add(int(entry.name))
    return sum(sum(int(ticks) for ticks in _fields(one)[11:13]) for one in every) / _TICKS


def _fields(process: int) -> list[str]:
    """What /proc/PID/stat says after the name; empty where the process is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _share(spent: Callable[[], float], seconds: float) -> float:
    before, began = spent(), time.perf_counter()
    time.sleep(seconds)
    return 100 * (spent() - before) / (time.perf_counter() - began)


async def _until_idle(dsn: str) -> None:
    """Wait until the worker owns the shards, and then until its pauses are long."""
    pool = await create_pool(dsn, min_size=1, max_size=1, application="benchmark")
    query = "SELECT count(*) FROM gateway.shard_lease WHERE owner IS NOT NULL"
    try:
        while not await pool.fetchval(query):  # noqa: ASYNC110 - the database is what is watched
            await asyncio.sleep(0.2)
    finally:
        await pool.close()
    await asyncio.sleep(_WARM_UP_S)


async def _begun(dsn: str, *, trials: int) -> tuple[float, float]:
    """Medians in milliseconds: with a notice and without, an idle worker each time."""
    pool = await create_pool(dsn, min_size=1, max_size=1, application="benchmark")
    took: dict[bool, list[float]] = {True: [], False: []}
    try:
        for _ in range(trials):
            for notice in (True, False):
                await asyncio.sleep(4.0)  # the worker's pauses are long again
                took[notice].append(await _until_done(pool, notice=notice))
    finally:
        await pool.close()
    return statistics.median(took[True]), statistics.median(took[False])


async def _until_done(pool: Pool, *, notice: bool) -> float:
    """A task that asks for nothing: it is deleted as soon as a worker takes it."""
    identifier = new_id()
    began = time.perf_counter()
    async with pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.task (shard, id, kind, run_at) VALUES ($1, $2, 'capture_session', $3)",
            shard_of(identifier),
            identifier,
            datetime.now(UTC),
        )
        if notice:
            await notify_of_work(connection, channel=CHANNEL, sender="benchmark")
        while await connection.fetchval("SELECT count(*) FROM gateway.task"):  # noqa: ASYNC110 - the database is what is watched
            await asyncio.sleep(0.002)
    return 1000 * (time.perf_counter() - began)
