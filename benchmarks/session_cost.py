"""What a captured session costs the machine: commits, WAL and processor time by process, 8 and 32 clients.

At 32 clients also its statements: all but BEGIN, COMMIT and SET, in a load of their own after the others.

The whole system as in benchmarks/capture.py. Processor time is read from /proc, so that other work on the
machine changes it little; each figure is a load's, minus what the idle system used in the same time. The
baseline of each row is the same figure for one TPC-B transaction of pgbench in the same run, on a durable
PostgreSQL of its own.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg

from benchmarks import capture
from benchmarks.table import Row
from sandbox.postgres.embedded import EmbeddedPostgres

CLIENTS: Final = (8, 32)
_GOALS: Final[Mapping[str, float]] = {"commits": 6.0, "WAL": 12.0, "processor time": 6.0}
_GOAL_STATEMENTS: Final = 12.0
# Three UPDATE, a SELECT and an INSERT: PostgreSQL's manual, pgbench, what its transaction is.
_TPC_B_STATEMENTS: Final = 5.0
_STATEMENTS: Final = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
WHERE toplevel AND query !~* '^\\s*(begin|commit|rollback|start|set)\\M'"""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# What a process is, by an argument of its command line; the server's begin with its name.
_KINDS: Final = (
    ("postgres", "PostgreSQL"),
    ("sandbox-psp", "sandbox PSP"),
    ("work", "worker"),
    ("serve", "gateway"),
)
_OURS: Final = ("gateway", "PostgreSQL", "worker")  # the sandbox PSP is not a part of the product


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What was used up to a moment: commits, bytes of WAL, seconds of processor time by kind of process."""

    at: float
    commits: int
    wal_bytes: int
    processor_s: Mapping[str, float]


def run(*, quick: bool) -> list[Row]:
    """Commits, kilobytes of WAL and milliseconds of processor time a session."""
    seconds = 4.0 if quick else 15.0
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        transaction = asyncio.run(_transaction_cost(directory, seconds=seconds))
        with capture.dev_system(directory, counts_statements=True) as stack:
            return asyncio.run(_measure(stack, transaction, seconds=seconds))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _measure(stack: dict[str, Any], transaction: Mapping[str, float], *, seconds: float) -> list[Row]:
    headers = {"Authorization": f"Bearer {stack['api_keys']['parkingapp']}"}
    platform = {"Authorization": f"Bearer {stack['admin_api_key']}"}
    connection = await asyncpg.connect(stack["database_url"])
    rows: list[Row] = []
    async with aiohttp.ClientSession(stack["base_url"], headers=headers) as session:

        async def load(clients: int, length: float) -> capture.Measured:
            return await capture.load(
                session, seconds=length, clients=clients, pause=capture.no_pause, completing=platform
            )

        await _count_statements(connection, tracked="none")
        await load(8, 2.0)
        await asyncio.sleep(3.0)
        before = await _counters(connection)
        await asyncio.sleep(seconds / 2)
        idle = _used(before, await _counters(connection))
        for clients in CLIENTS:
            before = await _counters(connection)
            measured = await load(clients, seconds)
            await asyncio.sleep(3.0)  # what follows a session: webhooks, clearing, deliveries
            used = _used(before, await _counters(connection))
            rows += _rows(clients, used, idle, measured.sessions, transaction)
        await _count_statements(connection, tracked="top")
        await asyncio.sleep(seconds / 2)
        idle_rate = await connection.fetchval(_STATEMENTS) / (seconds / 2)
        await _count_statements(connection, tracked="top")
        began = time.perf_counter()
        measured = await load(max(CLIENTS), seconds)
        await asyncio.sleep(3.0)
        made = await connection.fetchval(_STATEMENTS) - idle_rate * (time.perf_counter() - began)
        rows.append(_statements_row(made / measured.sessions))
    await connection.close()
    return rows


async def _count_statements(connection: "asyncpg.Connection[asyncpg.Record]", *, tracked: str) -> None:
    """Let the server count statements from now on (`top`), or none: the other figures pay nothing for it."""
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    await connection.execute(f"ALTER SYSTEM SET pg_stat_statements.track = '{tracked}'")
    await connection.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(0.5)
    await connection.execute("SELECT pg_stat_statements_reset()")


def _statements_row(per_session: float) -> Row:
    return Row(
        name=f"statements, {max(CLIENTS)} clients",
        value=per_session,
        unit="a session",
        baseline_name="a TPC-B transaction",
        baseline_value=_TPC_B_STATEMENTS,
        ratio=per_session / _TPC_B_STATEMENTS,
        goal=_GOAL_STATEMENTS,
    )


def _rows(
    clients: int,
    used: Mapping[str, float],
    idle: Mapping[str, float],
    sessions: int,
    transaction: Mapping[str, float],
) -> Iterator[Row]:
    per = {
        name: max(0.0, (value - idle.get(name, 0.0) * used["seconds"] / idle["seconds"]) / sessions)
        for name, value in used.items()
    }
    ours = sum(per.get(kind, 0.0) for kind in _OURS)
    figures = [
        ("commits", per["commits"], "a session", transaction["commits"]),
        ("WAL", per["wal_bytes"] / 1000, "KB a session", transaction["wal_bytes"] / 1000),
        ("processor time", ours * 1000, "ms a session", transaction["PostgreSQL"] * 1000),
        *(
            (
                f"processor time, {kind}",
                per.get(kind, 0.0) * 1000,
                "ms a session",
                transaction["PostgreSQL"] * 1000,
            )
            for _, kind in _KINDS
        ),
    ]
    for name, value, unit, baseline in figures:
        yield Row(
            name=f"{name}, {clients} clients",
            value=value,
            unit=unit,
            baseline_name="a TPC-B transaction",
            baseline_value=baseline,
            ratio=value / baseline,
            goal=_GOALS.get(name) if clients == max(CLIENTS) else None,
        )


async def _counters(connection: "asyncpg.Connection[asyncpg.Record]") -> Counters:
    row = await connection.fetchrow(
        "SELECT pg_stat_clear_snapshot(), "
        "(SELECT sum(xact_commit)::bigint FROM pg_stat_database) AS commits, "
        "pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS wal_bytes"
    )
    if row is None:
        raise RuntimeError("the server has no statistics")
    return Counters(
        at=time.perf_counter(),
        commits=row["commits"],
        wal_bytes=row["wal_bytes"],
        processor_s=processor_seconds(os.getpid()),
    )


def _used(before: Counters, after: Counters) -> dict[str, float]:
    """What was used between two moments, by name."""
    return {
        "seconds": after.at - before.at,
        "commits": after.commits - before.commits,
        "wal_bytes": after.wal_bytes - before.wal_bytes,
        **{kind: seconds - before.processor_s.get(kind, 0.0) for kind, seconds in after.processor_s.items()},
    }


def processor_seconds(root: int) -> dict[str, float]:
    """Seconds of processor time of a process' descendants, living and reaped, by what they are."""
    found: dict[str, float] = {}
    for pid, parts in _descendants(root):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        is_server = "postgres" in words[0]
        kind = next(
            (name for word, name in _KINDS if word in words or (is_server and word == "postgres")), "others"
        )
        used = sum(int(part) for part in parts[11:15]) / _TICKS  # utime, stime, and those of reaped children
        found[kind] = found.get(kind, 0.0) + used
    return found


def _descendants(root: int) -> Iterator[tuple[int, list[str]]]:
    stats: dict[int, list[str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(encoding="ascii", errors="replace")
            except OSError:  # it has ended
                continue
            stats[int(folder.name)] = text.rsplit(")", 1)[1].split()
    ours = {root}
    while True:
        more = {pid for pid, parts in stats.items() if int(parts[1]) in ours} - ours
        if not more:
            break
        ours |= more
    for pid in ours - {root}:
        yield pid, stats[pid]


async def _transaction_cost(directory: Path, *, seconds: float) -> dict[str, float]:
    """What one TPC-B transaction costs the server, by the same counters."""
    with EmbeddedPostgres(directory / "tpcb-cost") as server:
        await asyncio.to_thread(capture.pgbench, "-i", "-q", "-s", "10", server.dsn)
        connection = await asyncpg.connect(server.dsn)
        before = await _counters(connection)
        arguments = ("-c", "8", "-j", "2", "-T", str(int(seconds)), server.dsn)
        output = await asyncio.to_thread(capture.pgbench, *arguments)
        await asyncio.sleep(1.0)
        used = _used(before, await _counters(connection))
        await connection.close()
    line = next(line for line in output.splitlines() if "transactions actually processed" in line)
    done = int(line.rsplit(" ", 1)[1].partition("/")[0])
    return {name: value / done for name, value in used.items()}
