"""The two calls of a session on a Citus cluster: queries to shards, and processor time of each node.

Where CITUS_DSN names a coordinator whose nodes run on this machine. The PSP is a stand-in in this process, so
that the figures are the database's alone. Baseline of the same run: the same calls on a plain database of the
coordinator's server.
"""

import asyncio
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks.table import Row
from gateway.database import close_pool, create_pool
from gateway.migrations import migrate
from tests.fakes.api import Api, open_api
from tests.fakes.citus import CITUS_DSN, Node, create_database, distributed_database, nodes

_USAGE: Final = {
    "started_at": "2026-10-29T08:05:00Z",
    "ended_at": "2026-10-29T08:50:00Z",
    "energy_wh": 18_500,
}
_ON_SHARD: Final = re.compile(r"\b(?:gateway|clearing|pnc)\.[a-z_]+_\d{6}\b")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_IDLE_SECONDS: Final = 10.0
GOAL_QUERIES_PER_STATEMENT: Final = 1.2


def run(*, quick: bool) -> list[Row]:
    """Measure; no rows without a cluster."""
    return asyncio.run(_run(10 if quick else 100)) if CITUS_DSN else []


async def _run(count: int) -> list[Row]:
    found = await nodes()
    async with create_database(found[0]) as plain:
        await migrate(plain)
        alone = await _play(plain, found, count=count)
    async with distributed_database() as dsn:
        spread = await _play(dsn, found, count=count)
    statements, at_coordinator = spread["statements"] / count, 1000 * spread["node_0"]
    return [
        Row(
            name="Citus: queries to shards, a session's two calls",
            value=spread["on_shard"] / count,
            unit="queries",
            baseline_name="statements",
            baseline_value=statements,
            ratio=spread["on_shard"] / count / statements,
            goal=GOAL_QUERIES_PER_STATEMENT * statements,
        ),
        Row(
            name="Citus: copies between the parts of its statements",
            value=spread.get("copied", 0.0) / count,
            unit="copies",
            baseline_name="statements",
            baseline_value=statements,
            ratio=spread.get("copied", 0.0) / count / statements,
        ),
        Row(
            name="Citus: processor time of the coordinator, a session's two calls",
            value=at_coordinator,
            unit="ms",
            baseline_name="one PostgreSQL",
            baseline_value=1000 * alone["node_0"],
            ratio=spread["node_0"] / alone["node_0"],
        ),
        Row(
            name="Citus: processor time of all nodes, a session's two calls",
            value=1000 * _all(spread),
            unit="ms",
            baseline_name="one PostgreSQL",
            baseline_value=1000 * alone["node_0"],
            ratio=_all(spread) / alone["node_0"],
        ),
    ]


def _all(figures: dict[str, float]) -> float:
    return sum(value for name, value in figures.items() if name.startswith("node_"))


async def _play(dsn: str, found: list[Node], *, count: int) -> dict[str, float]:
    """Authorize and complete; figures of a session, but counts of all."""
    counts: Counter[str] = Counter()

    def note(_connection: Any, message: Any) -> None:
        text = message.message
        if text.startswith("issuing ") and not re.match(
            r"issuing (BEGIN|COMMIT|ROLLBACK|PREPARE TRANSACTION|SAVEPOINT|RELEASE|SET )", text
        ):
            counts["on_shard" if _ON_SHARD.search(text) else "copied"] += 1

    async def listen(connection: Any) -> None:
        connection.add_log_listener(note)

    pool = await create_pool(dsn, min_size=1, max_size=1, setup=listen)
    async with pool.acquire() as connection:
        connection.add_query_logger(lambda _query: counts.update(statements=1))
    async with open_api(pool) as api:
        for number in range(5):  # connections, caches and plans
            await _session(api, f"w{number}")
        async with pool.acquire() as connection:
            await connection.execute("SET citus.log_remote_commands = on; SET client_min_messages = notice")
        counts.clear()
        for number in range(min(count, 20)):
            await _session(api, f"c{number}")
        figures: dict[str, float] = {name: value * count / min(count, 20) for name, value in counts.items()}
        async with pool.acquire() as connection:
            await connection.execute("SET citus.log_remote_commands = off")
        idle = await _idle_shares(found)
        before = [await _processor_seconds(node) for node in found]
        began = time.perf_counter()
        for number in range(count):
            await _session(api, f"t{number}")
        elapsed = time.perf_counter() - began
        for place, node in enumerate(found):
            used = await _processor_seconds(node) - before[place] - idle[place] * elapsed
            figures[f"node_{place}"] = used / count
    await close_pool(pool)
    return figures


async def _idle_shares(found: list[Node]) -> list[float]:
    """What each server uses of a core for its own: the daemons of Citus look after each database."""
    before = [await _processor_seconds(node) for node in found]
    await asyncio.sleep(_IDLE_SECONDS)
    return [
        (await _processor_seconds(node) - used) / _IDLE_SECONDS
        for node, used in zip(found, before, strict=True)
    ]


async def _session(api: Api, name: str) -> None:
    made = await api.authorize(key=f"a{name}", session_ref=f"R{name}")
    path = f"/v1/sessions/{made.json['session']}/complete"
    done = await api.call("POST", path, {"usage": _USAGE}, key=f"c{name}")
    if done.status != 200:
        raise RuntimeError(f"the session was not captured: {done.text}")


async def _processor_seconds(node: Node) -> float:
    """What a server on this machine has used: its first process, those that ended, and those that run."""
    connection = await asyncpg.connect(node.dsn("postgres"))
    try:
        backend: int = await connection.fetchval("SELECT pg_backend_pid()")
        postmaster = int(_fields(backend)[1])
    finally:
        await connection.close()
    return _ticks(postmaster) / _TICKS_PER_SECOND


def _fields(process: int) -> list[str]:
    """What /proc says of a process, from its state on."""
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _ticks(postmaster: int) -> int:
    """Ticks of a server: its first process, those of its children that ended, and those that run."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*/stat"):
        pid = int(process.parent.name)
        try:
            fields = _fields(pid)
        except OSError:
            continue
        parent = int(fields[1])
        if pid == postmaster:
            ticks += sum(int(fields[place]) for place in (11, 12, 13, 14))  # its own and its children's
        elif parent == postmaster:
            ticks += int(fields[11]) + int(fields[12])
    return ticks
