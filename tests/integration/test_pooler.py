"""Gateway and workers behind PgBouncer in transaction mode, with the configuration of deploy/pgbouncer.

Set TEST_PGBOUNCER to the program, 1.21 or later, to run this.
"""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from rich.console import Console

from gateway.migrations import migrate
from sandbox.market.context import start_clock
from sandbox.market.day import running_market
from sandbox.market.dev_market import OPENS_AT
from sandbox.market.plan import plan_day
from sandbox.market.progress import NotesOnly
from sandbox.market.setup import open_market
from sandbox.postgres.embedded import EmbeddedPostgres
from sandbox.postgres.files import server_files, server_user
from tests.crash.processes import failures, free_port
from tests.crash.test_capture_killed import charge, settled, summary

ROOT = Path(__file__).parents[2]
PGBOUNCER = os.environ.get("TEST_PGBOUNCER", "")
CLIENTS, SESSIONS_EACH = 4, 4


class Pooled(EmbeddedPostgres):
    """A server whose address is its pooler's."""

    def __init__(self, folder: Path, port: int, *, prepared: bool) -> None:
        super().__init__(folder, durable=False)
        self._folder, self._port, self._prepared = folder, port, prepared
        self._pooler: subprocess.Popen[bytes] | None = None

    @property
    def direct_dsn(self) -> str:
        return super().dsn

    @property
    def dsn(self) -> str:
        return f"postgresql://networkcore@127.0.0.1:{self._port}/networkcore"

    def start(self) -> None:
        super().start()
        if self._pooler is None:
            asyncio.run(self._set_role())
            self._pooler = self._start_pooler()

    def stop(self) -> None:
        if self._pooler is not None:
            self._pooler.send_signal(signal.SIGINT)
            self._pooler.wait(timeout=20)
        super().stop()

    async def _set_role(self) -> None:
        connection = await asyncpg.connect(self.direct_dsn)
        try:
            await connection.execute((ROOT / "deploy/pgbouncer/roles.sql").read_text(encoding="utf-8"))
        finally:
            await connection.close()

    def _start_pooler(self) -> subprocess.Popen[bytes]:
        user = server_user()
        files = server_files(self._folder)
        text = (ROOT / "deploy/pgbouncer/pgbouncer.ini").read_text(encoding="utf-8")
        for name, value in (
            ("listen_port", str(self._port)),
            ("max_prepared_statements", "500" if self._prepared else "0"),
            ("auth_type", "trust"),
            ("auth_file", str(self._folder / "users.txt")),
            ("networkcore", f"host={files.socket_dir} port=5432 dbname=networkcore"),
        ):
            text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
            assert count == 1, name
        ini, users = self._folder / "pgbouncer.ini", self._folder / "users.txt"
        ini.write_text(f"{text}logfile = {self._folder / 'pgbouncer.log'}\n", encoding="utf-8")
        users.write_text('"networkcore" ""\n', encoding="utf-8")
        for path in (ini, users):
            os.chown(path, user.uid, user.gid)
        drop = {"user": user.uid, "group": user.gid} if user.dropped else {}
        return subprocess.Popen([PGBOUNCER, "-q", str(ini)], cwd="/", **drop)  # type: ignore[call-overload,no-any-return]


@asynccontextmanager
async def charged_through(server: Pooled, folder: Path, settings: dict[str, str]) -> AsyncIterator[Any]:
    """Sessions charged on a stack behind the pooler; their states, the audit, and the logs' defects."""

    async def migrate_past(_dsn: str) -> None:
        await migrate(server.direct_dsn)

    async with running_market(
        folder / "stack",
        day=plan_day(sessions=24, seed=1),
        workers=2,
        migrate=migrate_past,
        progress=NotesOnly(Console(stderr=True)),
        database=server,
        settings={
            "NETWORKCORE_DIRECT_DATABASE_URL": server.direct_dsn,
            "NETWORKCORE_DATABASE_SESSION_SETTINGS": "false",
            **settings,
        },
    ) as (context, stack):
        await open_market(context)
        await start_clock(context, OPENS_AT)
        platform = f"Bearer {stack.plan.admin_api_key}"
        headers = {"Authorization": f"Bearer {context.keys['parkingapp']}"}
        async with aiohttp.ClientSession(stack.gateway_url, headers=headers) as session:

            async def client(number: int) -> list[str]:
                return [await charge(session, f"{number}-{turn}", platform) for turn in range(SESSIONS_EACH)]

            made = await asyncio.gather(*(client(number) for number in range(CLIENTS)))
            shown = [await settled(session, one) for several in made for one in several]
        books = await summary({"base_url": stack.gateway_url, "admin_api_key": stack.plan.admin_api_key})
        logs = sorted(stack.log_dir.glob("[gw]*.log"))
        yield shown, books["audit"], failures(*logs)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not PGBOUNCER, reason="TEST_PGBOUNCER names no program of PgBouncer")
@pytest.mark.parametrize(
    ("prepared", "cached"),
    [(True, "100"), (False, "0")],
    ids=["prepared statements", "a pooler without prepared statements"],
)
async def test_everything_works_behind_a_pooler_in_transaction_mode(
    open_tmp_path: Path, *, prepared: bool, cached: str
) -> None:
    folder = open_tmp_path / f"pooled-{cached}"
    server = Pooled(folder / "postgres", free_port(), prepared=prepared)
    folder.mkdir()
    settings = {"NETWORKCORE_DATABASE_STATEMENT_CACHE_SIZE": cached}
    async with charged_through(server, folder, settings) as (shown, audit, defects):
        timeouts = {}
        connection = await asyncpg.connect(server.dsn, statement_cache_size=int(cached))
        try:
            for name in ("statement_timeout", "lock_timeout", "search_path"):
                timeouts[name] = await connection.fetchval("SELECT current_setting($1)", name)
        finally:
            await connection.close()
    assert {one["capture"]["amount"] for one in shown} == {918}
    assert audit["findings"] == []
    assert defects == []
    assert timeouts == {"statement_timeout": "30s", "lock_timeout": "10s", "search_path": "pg_catalog"}


def test_the_poolers_configuration_and_role_have_what_the_gateway_would_set() -> None:
    ini = (ROOT / "deploy/pgbouncer/pgbouncer.ini").read_text(encoding="utf-8")
    assert "pool_mode = transaction" in ini
    prepared = re.search(r"(?m)^max_prepared_statements = (\d+)$", ini)
    assert prepared is not None
    assert int(prepared[1]) > 0
    roles = (ROOT / "deploy/pgbouncer/roles.sql").read_text(encoding="utf-8")
    source = (ROOT / "gateway/database.py").read_text(encoding="utf-8")
    body = source[source.index("def _server_settings") : source.index("async def close_pool")]
    set_at_connect = set(re.findall(r'"(\w+)": ', body)) - {"application_name"}  # PgBouncer passes that on
    assert set(re.findall(r"ALTER ROLE CURRENT_USER SET (\w+)", roles)) == set_at_connect
