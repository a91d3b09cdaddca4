"""A restore to a point in time, rehearsed: base backup, archived log, load, loss, restore-check, audit."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
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
from sandbox.postgres.files import (
    OWNER_ROLE,
    PORT,
    binaries,
    server_files,
    server_user,
)
from sandbox.processes.exit_with_parent import tied_command
from tests.crash.processes import ROOT, failures, free_port, run_command, running, settings, wait_for
from tests.crash.test_capture_killed import ORDER, USAGE, charge, insist, settled

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(500)]
PRICE = 918  # of each session, in minor units
BUSINESS_NOW = "SELECT business_at + (now() - anchored_at) * rate FROM gateway.market_clock"


@pytest.fixture
def folder(open_tmp_path: Path) -> Path:
    path = open_tmp_path / "drill"
    path.mkdir()
    return path


def owned(path: Path, mode: int = 0o700) -> Path:
    """A directory of the server's user."""
    path.mkdir(mode=mode, exist_ok=True)
    user = server_user()
    os.chown(path, user.uid, user.gid)
    return path


def base_backup(primary: Path, target: Path) -> None:
    """What `pgbackrest backup` does: a copy of the running cluster; the log since is in the archive."""
    user, files = server_user(), server_files(primary)
    command = [
        str(binaries(files, user=user) / "pg_basebackup"),
        "--pgdata",
        str(target),
        "--dbname",
        f"host={files.socket_dir} port={PORT} user={OWNER_ROLE}",
        "--checkpoint",
        "fast",
        "--wal-method",
        "none",
    ]
    drop = (user.uid, user.gid) if user.dropped else None
    subprocess.run(
        tied_command(command, death_signal=signal.SIGKILL, user=drop),
        check=True,
        capture_output=True,
        env={"PATH": os.defpath, "LC_ALL": "C"},
    )


def restored(backup: Path, archive: Path, root: Path, *, to: datetime) -> EmbeddedPostgres:
    """A new cluster from the copy and the archive, up to a point in time."""
    owned(root)
    shutil.copytree(backup, root / "cluster", copy_function=shutil.copy2)
    user = server_user()
    for path in (root / "cluster", *(root / "cluster").rglob("*")):
        os.chown(path, user.uid, user.gid, follow_symlinks=False)
    (root / "cluster").chmod(0o700)
    (root / "cluster" / "recovery.signal").touch()
    os.chown(root / "cluster" / "recovery.signal", user.uid, user.gid)
    return EmbeddedPostgres(
        root,
        settings={
            "restore_command": f'cp "{archive}/%f" "%p"',
            "recovery_target_time": to.isoformat(),
            "recovery_target_action": "promote",
        },
    )


async def ask(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def archived(dsn: str) -> None:
    """Close the present segment of the log and wait until it is in the archive."""
    segment = await ask(dsn, "SELECT pg_walfile_name(pg_switch_wal())")
    while (await ask(dsn, "SELECT last_archived_wal FROM pg_stat_archiver") or "") < segment:
        await asyncio.sleep(0.1)


class Life:
    """What happened before the loss: the sessions, and the point that is restored to."""

    kept: list[str]
    lost: list[str]
    held: str  # authorized before the point, captured after it
    lost_hold: str
    refunded: str
    point: datetime
    business_point: datetime
    keys: dict[str, str]
    stack: dict[str, Any]


async def live(folder: Path, archive: Path) -> Life:
    """A market in use: three sessions, a backup, two more, the point, then what the restore will lose."""
    life = Life()
    server = EmbeddedPostgres(
        folder / "primary",
        settings={"archive_mode": "on", "archive_command": f'cp "%p" "{archive}/%f"'},
    )
    async with running_market(
        folder / "stack",
        day=plan_day(sessions=24, seed=1),
        workers=1,
        migrate=migrate,
        progress=NotesOnly(Console(stderr=True)),
        database=server,
    ) as (context, stack):
        await open_market(context)
        await start_clock(context, OPENS_AT)
        life.keys = dict(context.keys)
        life.stack = {"sandbox_psp_url": stack.psp_url, "admin_api_key": stack.plan.admin_api_key}
        platform = f"Bearer {stack.plan.admin_api_key}"
        headers = {"Authorization": f"Bearer {life.keys['parkingapp']}"}
        async with aiohttp.ClientSession(stack.gateway_url, headers=headers) as session:
            life.kept = [await charge(session, f"kept-{turn}", platform) for turn in range(3)]
            await asyncio.to_thread(base_backup, folder / "primary", folder / "backups" / "base")
            life.kept += [await charge(session, f"later-{turn}", platform) for turn in range(2)]
            for identifier in life.kept:
                await settled(session, identifier)
            life.held = await hold(session, "held")
            await asyncio.sleep(1.2)
            life.point = await ask(server.dsn, "SELECT now()")
            life.business_point = await ask(server.dsn, BUSINESS_NOW)
            await asyncio.sleep(1.2)
            life.lost = [await charge(session, f"lost-{turn}", platform) for turn in range(2)]
            await complete(session, life.held, "held", platform)
            life.lost_hold = await hold(session, "lost-hold")
            life.refunded = life.kept[-1]
            body = {"session": life.refunded, "amount": 118, "reason": "requested_by_driver"}
            await insist(session, "/v1/refunds", body, "refund", platform)
            for identifier in [*life.lost, life.held]:
                await settled(session, identifier)
            await archived(server.dsn)
    return life


async def hold(session: aiohttp.ClientSession, name: str) -> str:
    authorization = await insist(session, "/v1/authorizations", {**ORDER, "session_ref": name}, f"a-{name}")
    return str(authorization["session"])


async def complete(session: aiohttp.ClientSession, identifier: str, name: str, platform: str) -> None:
    await insist(session, f"/v1/sessions/{identifier}/complete", USAGE, f"c-{name}", platform)


@contextmanager
def sandbox_psp(folder: Path, gateway_url: str) -> Iterator[None]:
    """The PSP, which has lost nothing: its own state, its own port."""
    plan = json.loads((folder / "stack" / "stack.json").read_text(encoding="utf-8"))
    arguments = [
        "sandbox-psp",
        "--port",
        str(plan["psp_port"]),
        "--state",
        str(folder / "stack" / "psp.sqlite"),
    ]
    arguments += ["--api-key", "sk_test_sandbox", "--webhook-url", f"{gateway_url}/v1/psp/webhooks"]
    arguments += ["--webhook-secret-file", str(folder / "stack" / "psp_webhook_secret")]
    with running(ROOT, *arguments, "--webhook-events", "gateway", log=folder / "psp.log"):
        yield


@asynccontextmanager
async def processes(folder: Path, name: str, environment: dict[str, str]) -> AsyncIterator[str]:
    """Gateway and worker; its address once the gateway answers."""
    url = f"http://127.0.0.1:{environment['NETWORKCORE_PORT']}"
    with ExitStack() as stack:
        for command in ("serve", "work"):
            stack.enter_context(
                running(ROOT, command, log=folder / f"{name}-{command}.log", environment=environment)
            )
        await wait_for(url, path="/healthz")
        yield url


async def idle(dsn: str) -> None:
    """Wait until the worker has nothing to do."""
    while await ask(dsn, "SELECT count(*) FROM gateway.task WHERE exception_at IS NULL"):
        await asyncio.sleep(0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """The restored installation: what it is started with, and the check that is run."""

    folder: Path
    life: Life
    dsn: str
    environment: dict[str, str]
    url: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.life.keys['parkingapp']}"}

    def check(self, *options: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        point, sent = self.life.business_point.isoformat(), str(self.folder / "sent")
        arguments = ["restore-check", "--restored-to", point, "--sent-files", sent, *options]
        return run_command(*arguments, environment=environment)

    async def expect(self, paths: dict[str, int]) -> None:
        async with aiohttp.ClientSession(self.url, headers=self.headers) as session:
            for path, status in paths.items():
                async with session.get(path) as response:
                    assert response.status == status, path
                    assert status != 503 or int(response.headers["Retry-After"]) >= 1


async def check_while_closed(drill: Drill) -> None:
    """Nobody is served, nothing works; the check brings back what others saw, once."""
    closed = drill.environment | {"NETWORKCORE_RECOVERY_MODE": "closed"}
    open_edge = drill.check(environment=drill.environment)
    assert open_edge.returncode == 2
    assert "NETWORKCORE_RECOVERY_MODE=closed" in open_edge.stderr
    async with processes(drill.folder, "closed", closed):
        await drill.expect({"/v1/sessions": 503, "/ocpi/versions": 503, "/readyz": 503, "/healthz": 200})
        first = drill.check("--adopt", "--json", environment=closed)
        again = drill.check("--adopt", "--json", environment=closed)
    assert first.returncode == 1, first.stderr
    steps = {step["step"]: step for step in json.loads(first.stdout)["steps"]}
    assert len(steps["holds"]["done"]) == 1
    assert drill.life.lost_hold in steps["holds"]["done"][0]
    assert sum("becomes its session's capture" in one for one in steps["charges"]["done"]) == 2
    assert len(steps["charges"]["waits"]) == 1  # its session runs, and its end takes the charge over
    assert "still runs" in steps["charges"]["waits"][0]
    assert steps["refunds"]["done"]
    assert not steps["refunds"]["waits"]
    assert steps["webhooks"]["done"]
    repeated = {step["step"]: step for step in json.loads(again.stdout)["steps"]}
    assert not [name for name in ("holds", "refunds", "webhooks") if repeated[name]["done"]]


async def repeat_what_was_lost(drill: Drill) -> list[Any]:
    """The edge is open again: partners repeat what they miss, under the same keys. The sessions, settled."""
    life, platform = drill.life, f"Bearer {drill.life.stack['admin_api_key']}"
    names = {"lost-0": life.lost[0], "lost-1": life.lost[1], "held": life.held, "lost-hold": life.lost_hold}
    async with aiohttp.ClientSession(drill.url, headers=drill.headers) as session:
        for name, identifier in names.items():
            await complete(session, identifier, name, platform)
        shown = [await settled(session, identifier) for identifier in [*life.kept, *names.values()]]
        async with session.get("/v1/events?type=platform.restored") as response:
            assert len((await response.json())["data"]) == 1
    await idle(drill.dsn)
    return shown


async def test_what_others_saw_after_the_point_is_back_and_the_books_agree_with_the_psp(folder: Path) -> None:
    archive = owned(folder / "archive")
    owned(folder / "backups")
    (folder / "sent").mkdir()
    life = await live(folder, archive)
    database = restored(folder / "backups" / "base", archive, folder / "restored", to=life.point)
    port = free_port()
    drill = Drill(
        folder=folder,
        life=life,
        dsn=database.dsn,
        environment=settings({**life.stack, "database_url": database.dsn}, folder / "stack", port),
        url=f"http://127.0.0.1:{port}",
    )
    with database, sandbox_psp(folder, drill.url):
        await wait_for(life.stack["sandbox_psp_url"], path="/_sandbox/clock")
        known = await ask(database.dsn, "SELECT count(*) FROM gateway.session")
        assert known == len(life.kept) + 1, "the point was not restored to"
        await check_while_closed(drill)
        working = drill.environment | {"NETWORKCORE_RECOVERY_MODE": "working"}
        async with processes(folder, "working", working):
            await idle(database.dsn)
            await drill.expect({"/v1/sessions": 503, "/ocpi/versions": 401})
        async with processes(folder, "open", drill.environment):
            await wait_for(drill.url)
            shown = await repeat_what_was_lost(drill)
        audit = run_command("audit", "--json", environment=drill.environment)
        async with (
            aiohttp.ClientSession(life.stack["sandbox_psp_url"]) as session,
            session.get("/_sandbox/summary") as response,
        ):
            theirs = await response.text()
    assert {one["capture"]["amount"] for one in shown} == {PRICE}
    assert audit.returncode == 0, audit.stdout
    assert str(PRICE * len(shown)) in theirs  # each was charged once
    assert failures(*sorted(folder.glob("*-serve.log")), *sorted(folder.glob("*-work.log"))) == []
