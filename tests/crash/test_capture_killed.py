"""Workers, gateway and PostgreSQL killed with -9 under load: everything converges and the audit is clean."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]
CLIENTS, SESSIONS_EACH, PATIENCE_S = 4, 8, 120.0
ORDER = {
    "evse_id": "DE*RHN*E1*0001",
    "method": "card",
    "payment": {"type": "psp_payment_method", "payment_method": "pm_card_visa"},
    "estimate": {"energy_wh": 30_000, "duration_s": 3600},
}
USAGE = {
    "usage": {
        "started_at": "2026-10-29T08:05:00Z",
        "ended_at": "2026-10-29T08:50:00Z",
        "energy_wh": 18_500,
    }
}


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    command = [
        sys.executable,
        "-m",
        "gateway",
        "dev",
        "--json",
        "--workers",
        "2",
        "--state-dir",
        str(tmp_path),
    ]
    log = (tmp_path / "errors.txt").open("w", encoding="utf-8")
    with log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (tmp_path / "errors.txt").read_text(encoding="utf-8")
        yield json.loads(line), process.pid
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def descendants(parent: int) -> dict[int, str]:
    """Process ids and command lines of everything that a process has started."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        parents[int(entry.name)] = (int(stat.rpartition(")")[2].split()[1]), command)
    found = {parent}
    for _ in range(6):
        found |= {pid for pid, (above, _) in parents.items() if above in found}
    return {pid: parents[pid][1] for pid in found - {parent} if pid in parents}


def kill_one(parent: int, named: str) -> None:
    """Kill -9 one process of the stack by its command line; one that is just being restarted is spared."""
    pids = [pid for pid, command in sorted(descendants(parent).items()) if named in command]
    if pids:
        os.kill(pids[0], signal.SIGKILL)


async def insist(
    session: aiohttp.ClientSession, path: str, body: Any, key: str, authorization: str | None = None
) -> Any:
    """Ask under one key until there is an answer, as a partner does."""
    headers = {"Idempotency-Key": key} | ({"Authorization": authorization} if authorization else {})
    deadline = time.monotonic() + PATIENCE_S
    last: Any = None
    while time.monotonic() < deadline:
        try:
            timeout = aiohttp.ClientTimeout(total=15)
            async with session.post(path, json=body, headers=headers, timeout=timeout) as response:
                answer = await response.json()
                if response.status in {200, 201, 202}:
                    return answer
                assert response.status in {409, 429, 502, 503}, answer
                last = answer
        except (aiohttp.ClientError, TimeoutError) as error:
            last = error
        await asyncio.sleep(0.3)
    pytest.fail(f"{path} gave no answer: {last!r}")


async def charge(session: aiohttp.ClientSession, name: str, platform: str) -> str:
    """One session from hold to hand-in, whatever dies meanwhile; its id."""
    order = {**ORDER, "session_ref": name}  # one card at one EVSE: without it, a double tap
    authorization = await insist(session, "/v1/authorizations", order, f"a-{name}")
    identifier = str(authorization["session"])
    await insist(session, f"/v1/sessions/{identifier}/complete", USAGE, f"c-{name}", platform)
    return identifier


async def settled(session: aiohttp.ClientSession, identifier: str) -> Any:
    """The session once it is cleared."""
    deadline = time.monotonic() + PATIENCE_S
    shown: Any = None
    while time.monotonic() < deadline:
        try:
            async with session.get(f"/v1/sessions/{identifier}") as response:
                shown = await response.json()
                if shown.get("state") == "cleared":
                    return shown
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.3)
    pytest.fail(f"not cleared: {shown}")


async def play(stack: dict[str, Any], parent: int) -> list[Any]:
    rng = random.Random(7)
    headers = {"Authorization": f"Bearer {stack['api_keys']['parkingapp']}"}
    platform = f"Bearer {stack['admin_api_key']}"
    async with aiohttp.ClientSession(stack["base_url"], headers=headers) as session:

        async def client(number: int) -> list[str]:
            return [await charge(session, f"{number}-{turn}", platform) for turn in range(SESSIONS_EACH)]

        async def reaper() -> None:
            for named in ("gateway work", "postgres -D", "gateway serve", "gateway work", "postgres -D"):
                await asyncio.sleep(rng.uniform(0.5, 2.0))
                kill_one(parent, named)

        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(client(number)) for number in range(CLIENTS)]
            group.create_task(reaper())
        identifiers = [identifier for task in clients for identifier in task.result()]
        return [await settled(session, identifier) for identifier in identifiers]


async def summary(stack: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {stack['admin_api_key']}"}
    async with (
        aiohttp.ClientSession(stack["base_url"], headers=headers) as session,
        session.get("/v1/summary?audit=true") as response,
    ):
        return await response.json()


async def test_killed_under_load_everything_converges_and_the_audit_is_clean(
    dev: tuple[dict[str, Any], int],
) -> None:
    stack, parent = dev
    sessions = await play(stack, parent)
    assert len({session["id"] for session in sessions}) == CLIENTS * SESSIONS_EACH
    assert {session["capture"]["amount"] for session in sessions} == {918}
    audit = (await summary(stack))["audit"]
    assert audit["findings"] == []
    assert all(line["difference"] == 0 for line in audit["proof"])
    async with (
        aiohttp.ClientSession(stack["sandbox_psp_url"]) as session,
        session.get("/_sandbox/summary") as response,
    ):
        theirs = await response.json()
    assert str(918 * CLIENTS * SESSIONS_EACH) in json.dumps(theirs)
