"""Real worker processes: one is killed, one paused until it is too late, one comes, one stops; all is done.

The tasks ask for nothing, so that they are deleted by whoever takes them: what counts here is who may.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from gateway.ids import ALL_SHARDS, new_id
from gateway.jobs.shard_ownership import LEASE
from tests.crash.processes import PATIENCE_S, ROOT


@contextmanager
def worker(url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`networkcore work` with a PSP that nobody answers at."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NETWORKCORE_DATABASE_URL": url,
        "NETWORKCORE_PSP_API_KEY": "sk_test_worker",
        "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_of_a_worker",
        "NETWORKCORE_PSP_BASE_URL": "http://127.0.0.1:9",
    }
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "work"], cwd=ROOT, env=environment, stdout=errors, stderr=errors
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(30)


class Watch:
    """What a person sees of the shards."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def owned(self) -> dict[int, int]:
        """How many shards each process owns, by its process id."""
        rows = await self.connection.fetch(
            "SELECT w.name, count(*) AS shards FROM gateway.shard_lease AS l "
            "JOIN gateway.worker AS w ON w.id = l.owner WHERE l.until > now() GROUP BY 1"
        )
        return {int(row["name"].rpartition(":")[2]): row["shards"] for row in rows}

    async def wait(self, condition: Callable[[], Awaitable[bool]]) -> float:
        """Wait until it is so; how many seconds it took."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(0.1)
        return time.monotonic() - began

    async def until_owned(self, *shares: tuple[subprocess.Popen[bytes], int]) -> float:
        wanted = {process.pid: share for process, share in shares}

        async def so() -> bool:
            return await self.owned() == wanted

        return await self.wait(so)

    async def leave_in_every_shard(self) -> None:
        await self.connection.executemany(
            "INSERT INTO gateway.task (shard, id, kind, run_at) VALUES ($1, $2, 'capture_session', $3)",
            [(shard, new_id(shard=shard), datetime.now(UTC)) for shard in ALL_SHARDS],
        )

    async def until_done(self) -> float:
        async def so() -> bool:
            return not await self.connection.fetchval("SELECT count(*) FROM gateway.task")

        return await self.wait(so)

    async def value(self, query: str) -> Any:
        return await self.connection.fetchval(query)


async def test_workers_die_sleep_wake_and_stop_and_every_shard_has_an_owner_soon(
    database_url: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(database_url)
    watch = Watch(connection)
    logs = [tmp_path / name for name in ("first.log", "second.log", "third.log")]
    try:
        with worker(database_url, logs[0]) as first:
            await watch.until_owned((first, 64))
            with worker(database_url, logs[1]) as second:
                await watch.until_owned((first, 32), (second, 32))

                first.kill()
                await watch.leave_in_every_shard()
                await watch.until_done()
                took = await watch.until_owned((second, 64))
                assert took < LEASE.total_seconds() + 15, "the dead worker's shards had no owner for too long"
                assert await watch.value("SELECT sum(taken_over) FROM gateway.shard_lease") == 32

                second.send_signal(signal.SIGSTOP)
                with worker(database_url, logs[2]) as third:
                    await watch.leave_in_every_shard()
                    await watch.until_done()
                    await watch.until_owned((third, 64))
                    second.send_signal(signal.SIGCONT)
                    await watch.until_owned((second, 32), (third, 32))
                    assert "shard_leases_lost" in logs[1].read_text(encoding="utf-8")
                    await watch.leave_in_every_shard()
                    await watch.until_done()

                    third.terminate()
                    assert await asyncio.to_thread(third.wait, PATIENCE_S) == 0
                    await watch.until_owned((second, 64))
                    # Given back, not taken over: nobody waited for a lease to end.
                    assert await watch.value("SELECT sum(taken_over) FROM gateway.shard_lease") == 32 + 64
                    assert await watch.value("SELECT count(*) FROM gateway.worker WHERE until > now()") == 1
    finally:
        await connection.close()
    for log in logs:
        assert "Traceback" not in log.read_text(encoding="utf-8")
