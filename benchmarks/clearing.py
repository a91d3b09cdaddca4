"""The clearing job: captured sessions to committed journal, on a durable PostgreSQL of its own.

Baseline is the raw ceiling of the same run: one writer that copies the very same rows with no logic, into
tables with the same keys, checks and indexes, one durable commit a batch.
"""

import asyncio
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import asyncpg

from benchmarks import pgledger
from benchmarks.clearing_full import measure_full
from benchmarks.clearing_job import BATCH, clear, rate_of, rest_the_collector, shard_connections
from benchmarks.clearing_market import captured_sessions, open_books
from benchmarks.table import Row
from clearing.connection import Connection
from clearing.services import build_clearing
from gateway.jobs.clearing import IN_FLIGHT
from gateway.migrations import migrate
from sandbox.postgres.embedded import EmbeddedPostgres

GOAL_SESSIONS_PER_SECOND = 8000.0
GOAL_OF_CEILING = 0.5
TABLES = ("entry", "transfer", "payable", "fx_lock", "account_delta")


def run(*, quick: bool) -> list[Row]:
    """Sessions a second with every step, beside the raw ceiling, alone and in several processes.

    Then pgledger where it is available, and the same shard, a balance and a statement on a full journal.
    """
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(directory / "postgres") as server:
            batches = 4 if quick else 24
            alone, ceiling = asyncio.run(_measure(server.dsn, batches=batches))
            rows = [_beside_ceiling(f"1 process, {IN_FLIGHT} batches of {BATCH} in flight", alone, ceiling)]
            for count in (2, 4):
                before = asyncio.run(_deadlocks(server.dsn))
                together = _side_by_side(server.dsn, count=count, batches=batches)
                if asyncio.run(_deadlocks(server.dsn)) != before:
                    raise RuntimeError(f"{count} processes side by side ended in a deadlock")
                rows.append(
                    _beside_ceiling(f"{count} processes, a chain each, no deadlock", together, ceiling)
                )
            transfers = asyncio.run(_transfers_a_session(server.dsn))
            rows += asyncio.run(
                pgledger.beside(server.dsn, job_transfers_per_second=alone * transfers, quick=quick)
            )
            preload, lines = (200_000, 10_000) if quick else (10_000_000, 100_000)
            with EmbeddedPostgres(directory / "empty") as empty:
                rows += asyncio.run(
                    measure_full(
                        server.dsn, empty_dsn=empty.dsn, batches=batches, preload=preload, lines=lines
                    )
                )
            return rows
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _beside_ceiling(how: str, value: float, ceiling: float) -> Row:
    return Row(
        name=f"clearing job, {how}",
        value=value,
        unit="sessions/s",
        baseline_name="1 writer, the same rows copied with no logic",
        baseline_value=ceiling,
        ratio=value / ceiling,
        goal=max(GOAL_SESSIONS_PER_SECOND, GOAL_OF_CEILING * ceiling),
    )


async def _deadlocks(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        found: int = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return found
    finally:
        await connection.close()


async def _transfers_a_session(dsn: str) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        found: float = await connection.fetchval(
            """SELECT (SELECT count(*) FROM clearing.transfer)::float8
                / (SELECT count(*) FROM clearing.entry WHERE kind = 'capture')"""
        )
        return found
    finally:
        await connection.close()


def _side_by_side(dsn: str, *, count: int, batches: int) -> float:
    """Sessions a second of `count` processes that start together, from the first start to the last end."""
    start_at = time.time() + 3.0 + 0.002 * BATCH * batches / 10
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as processes:
        first = 1_000_000 * count
        spans = list(
            processes.map(
                _work,
                [dsn] * count,
                range(first, first + 100_000 * count, 100_000),
                [batches] * count,
                [start_at] * count,
            )
        )
    return BATCH * batches * count / (max(end for _, end in spans) - min(began for began, _ in spans))


def _work(dsn: str, first: int, batches: int, start_at: float) -> tuple[float, float]:
    return asyncio.run(_work_alone(dsn, first, batches, start_at))


async def _work_alone(dsn: str, first: int, batches: int, start_at: float) -> tuple[float, float]:
    service, chain = build_clearing(), 1 + first // 100_000 % 100
    sessions = captured_sessions(BATCH * (batches + 1), first=first)
    async with shard_connections(dsn) as connections:
        await clear(connections[0], service, sessions[:BATCH], chain=chain)
        rest_the_collector()
        await asyncio.sleep(max(0.0, start_at - time.time()))
        began = time.time()
        await rate_of(connections, service, sessions[BATCH:], chain=chain)
        return began, time.time()


async def _measure(dsn: str, *, batches: int) -> tuple[float, float]:
    """The shard in this process, and the ceiling: both in sessions a second."""
    await migrate(dsn)
    async with shard_connections(dsn) as connections:
        service = build_clearing()
        async with connections[0].transaction():
            await open_books(service, connections[0])
        sessions = captured_sessions(BATCH * (batches + 1))
        await clear(connections[0], service, sessions[:BATCH])
        rest_the_collector()
        shard = await rate_of(connections, service, sessions[BATCH:])
        return shard, await _ceiling(connections[0], sessions=len(sessions))


async def _ceiling(connection: Connection, *, sessions: int) -> float:
    """Sessions a second when their rows are only copied.

    Same tables, keys and indexes, one commit a batch.
    """
    rows: dict[str, list[tuple[object, ...]]] = {}
    columns: dict[str, list[str]] = {}
    for table in TABLES:
        found = await connection.fetch(f"SELECT * FROM clearing.{table}")  # noqa: S608 - names of this file
        columns[table] = list(found[0].keys())
        rows[table] = [tuple(row.values()) for row in found]
        await connection.execute(f"CREATE TABLE raw_{table} (LIKE clearing.{table} INCLUDING ALL)")
    batches = sessions // BATCH
    began = time.perf_counter()
    for number in range(batches):
        async with connection.transaction():
            for table in TABLES:
                size = -(-len(rows[table]) // batches)
                part = rows[table][number * size : (number + 1) * size]
                await connection.copy_records_to_table(f"raw_{table}", columns=columns[table], records=part)
    return sessions / (time.perf_counter() - began)
