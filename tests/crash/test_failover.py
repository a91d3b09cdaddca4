"""The primary database killed under load, its synchronous standby promoted: all goes on without a restart."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg
import pytest
from rich.console import Console

from gateway.database import create_pool
from gateway.errors import DatabaseUnreachableError
from gateway.migrations import migrate
from sandbox.market.context import start_clock
from sandbox.market.day import running_market
from sandbox.market.dev_market import OPENS_AT
from sandbox.market.plan import plan_day
from sandbox.market.progress import NotesOnly
from sandbox.market.setup import open_market
from sandbox.postgres.embedded import EmbeddedPostgres
from sandbox.postgres.files import PORT, blocking_ancestor, server_files, server_user
from tests.crash.test_capture_killed import charge, settled, summary

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(400)]
CLIENTS, SESSIONS_EACH, BEFORE = 4, 6, 6
PRICE = 918  # of each session, in minor units


class Cluster:
    """A primary and its synchronous standby, as a supervisor's server that never restarts either."""

    name = "PostgreSQL with a standby"

    def __init__(self, folder: Path) -> None:
        self.primary = EmbeddedPostgres(folder / "primary")
        self.standby = EmbeddedPostgres(folder / "standby", standby_of=self.primary)
        self._folder = folder
        self._running = False

    @property
    def dsn(self) -> str:
        """Both servers in one address, as DATABASE_URL names them."""
        folders = [server_files(self._folder / one).socket_dir for one in ("primary", "standby")]
        hosts = ",".join(quote(str(folder), safe="/") for folder in folders)
        return (
            f"postgresql://networkcore@/networkcore?host={hosts}&port={PORT},{PORT}"
            "&target_session_attrs=primary"
        )

    @property
    def log_path(self) -> Path:
        return self.primary.log_path

    @property
    def pid(self) -> int | None:
        return self.primary.pid

    @property
    def running(self) -> bool:
        return self._running

    def start(self) -> None:
        self.primary.start()
        self.standby.start()
        asyncio.run(self._require_the_standby())
        self._running = True

    def stop(self) -> None:
        self._running = False
        self.standby.stop()
        self.primary.stop()

    async def _require_the_standby(self) -> None:
        """Have every commit wait for the standby, and wait until it is there."""
        async with connected(self.primary) as connection:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            await connection.execute("SELECT pg_reload_conf()")
            while await connection.fetchval("SELECT sync_state FROM pg_stat_replication") != "sync":
                await asyncio.sleep(0.05)

    async def fail_over(self) -> None:
        """Kill the primary, then promote the standby."""
        pid = self.primary.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while self.primary.running:
            await asyncio.sleep(0.01)
        with pytest.raises(DatabaseUnreachableError):  # the standby alone is not taken for the primary
            await create_pool(self.dsn, wait_seconds=0.2)
        async with connected(self.standby) as connection:
            assert await connection.fetchval("SELECT pg_promote()")


@asynccontextmanager
async def connected(server: EmbeddedPostgres) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(server.dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def readiness(session: aiohttp.ClientSession) -> tuple[int, Any]:
    async with session.get("/readyz") as response:
        return response.status, await response.json()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    blocked = blocking_ancestor(tmp_path / "primary", user=server_user())
    if blocked is not None:  # root's temporary directories: the server runs as nobody
        for directory in (blocked, *tmp_path.relative_to(blocked).parents):
            (blocked / directory).chmod(0o755)
        tmp_path.chmod(0o755)
    return tmp_path


async def test_the_primary_dies_under_load_and_the_standby_takes_over_without_a_loss(folder: Path) -> None:
    cluster = Cluster(folder)
    async with running_market(
        folder / "stack",
        day=plan_day(sessions=24, seed=1),
        workers=1,
        migrate=migrate,
        progress=NotesOnly(Console(stderr=True)),
        database=cluster,
    ) as (context, stack):
        await open_market(context)
        await start_clock(context, OPENS_AT)
        processes = dict(stack.supervisor.pids)
        platform = f"Bearer {stack.plan.admin_api_key}"
        headers = {"Authorization": f"Bearer {context.keys['parkingapp']}"}
        async with aiohttp.ClientSession(stack.gateway_url, headers=headers) as session:
            answered: list[str] = []

            async def client(number: int) -> None:
                for turn in range(SESSIONS_EACH):
                    identifier = await charge(session, f"{number}-{turn}", platform)
                    answered.append(identifier)

            async def fail_over() -> None:
                while len(answered) < BEFORE:
                    await asyncio.sleep(0.01)
                await cluster.fail_over()

            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(client(number))
                group.create_task(fail_over())
            shown = [await settled(session, identifier) for identifier in answered]
            assert await readiness(session) == (
                200,
                {"status": "ok", "database": True, "database_writable": True},
            )
        assert stack.supervisor.pids == processes  # nothing was started again
        books = (await summary({"base_url": stack.gateway_url, "admin_api_key": stack.plan.admin_api_key}))[
            "audit"
        ]
        theirs = await context.psp.get("/_sandbox/summary")
        lines = [
            json.loads(line)
            for log in sorted(stack.log_dir.glob("*.log"))
            if log.name.startswith(("gateway", "worker"))
            for line in log.read_text(encoding="utf-8").splitlines()
            if line.startswith("{")
        ]
    failed = Counter(
        (line["job"], line["reason"].partition(":")[0]) for line in lines if line["event"] == "job_failed"
    )
    assert failed, "no job met the outage"
    assert max(failed.values()) <= 2, failed
    assert {"job_recovered"} <= {line["event"] for line in lines}
    assert not [line for line in lines if "exception" in line or line["event"] == "request_failed"]
    assert len({one["id"] for one in shown}) == CLIENTS * SESSIONS_EACH
    assert {one["capture"]["amount"] for one in shown} == {PRICE}
    assert books["findings"] == []
    assert all(line["difference"] == 0 for line in books["proof"])
    assert str(PRICE * CLIENTS * SESSIONS_EACH) in str(theirs)
