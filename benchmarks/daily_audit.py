"""The audits of a ledger: all of it, and one new day of it from a checkpoint, on one durable PostgreSQL.

Sessions are cleared by the clearing job itself, so that every hash, payable and delta is real. The baseline
of the daily run is the full audit of the same ledger in the same run; the gateway's tables are empty, so that
what is measured is the ledger.
"""

import asyncio
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from asyncpg.pool import Pool

from benchmarks.clearing_job import BATCH, clear_all, rest_the_collector, shard_connections
from benchmarks.clearing_market import NOW, captured_sessions, open_books
from benchmarks.table import Row
from clearing.audit import audit_ledger
from clearing.connection import Connection
from clearing.daily_audit import service as ledger_audit
from clearing.daily_audit.checkpoint import DEFAULT_SHARES
from clearing.daily_audit.run import LedgerRun, StepPart
from clearing.services import ClearingServices, build_clearing
from gateway.database import create_pool, transaction
from gateway.migrations import migrate
from sandbox.postgres.embedded import EmbeddedPostgres

OLDER, DAY = 300_000, 3_000  # as 10 million and a day of 100,000
GOAL_SECONDS = 60.0


def run(*, quick: bool) -> list[Row]:
    """Seconds of the full audit, of the run that seals the first checkpoint, and of a day's run."""
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    rest_the_collector()
    try:
        with EmbeddedPostgres(directory / "postgres") as server:
            return asyncio.run(_measure(server.dsn, scale=30 if quick else 1))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _measure(dsn: str, *, scale: int) -> list[Row]:
    await migrate(dsn)
    older, day = OLDER // scale, DAY // scale
    service = build_clearing()
    pool = await create_pool(
        dsn, min_size=1, max_size=2, application="benchmark", statement_timeout_ms=3_600_000
    )
    try:
        async with shard_connections(dsn) as connections:
            async with connections[0].transaction():
                await open_books(service, connections[0])
            await _clear(connections, service, count=older, first=0)
            await connections[0].execute("VACUUM (ANALYZE)", timeout=3600)
            first, _ = await _daily(pool)
            await _clear(connections, service, count=day, first=older)
            daily, done = await _daily(pool)
            full = await _full(pool)
    finally:
        await pool.close()
    return _rows(first=first, daily=daily, full=full, older=older, day=day, done=done)


async def _clear(connections: list[Connection], service: ClearingServices, *, count: int, first: int) -> None:
    """Clear sessions from number `first` on, made a batch at a time so that memory stays small."""
    batches = (
        captured_sessions(min(BATCH, count - start), first=first + start) for start in range(0, count, BATCH)
    )
    await clear_all(connections, service, batches)


async def _daily(pool: Pool) -> tuple[float, LedgerRun]:
    """Seconds of a run over the ledger, its checkpoint sealed. RuntimeError if it finds anything."""
    began = time.perf_counter()
    async with pool.acquire() as connection:
        run = await ledger_audit.open_run(connection, shares=DEFAULT_SHARES)
        for step in ledger_audit.steps(run):
            await ledger_audit.prove_step(connection, run, step)
        for shard in ledger_audit.shards(run):
            await ledger_audit.prove_shard(connection, run, shard)
    async with transaction(pool, isolation="repeatable_read") as connection:
        report, _ = await ledger_audit.finish(connection, run, now=NOW)
    if not report.ok:
        raise RuntimeError(f"the audit found {report.findings[:3]}")
    async with transaction(pool) as connection:
        await ledger_audit.seal_run(connection, run, caller={}, sealed_at=datetime.now(UTC))
    return time.perf_counter() - began, run


async def _full(pool: Pool) -> float:
    began = time.perf_counter()
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await audit_ledger(connection, now=NOW)
    if not report.ok:
        raise RuntimeError(f"the audit found {report.findings[:3]}")
    return time.perf_counter() - began


def _rows(*, first: float, daily: float, full: float, older: int, day: int, done: LedgerRun) -> list[Row]:
    again = done.entries[StepPart.AGAIN]
    rate = (older + day) / full
    return [
        Row(
            name=f"full audit of {older + day:,} sessions",
            value=rate,
            unit="sessions/s",
            baseline_name="the run that seals the first checkpoint",
            baseline_value=older / first,
            ratio=rate / (older / first),
        ),
        Row(
            name=f"daily audit, {day:,} sessions new, {again:,} of {older:,} again",
            value=daily,
            unit="s",
            baseline_name="full audit",
            baseline_value=full,
            ratio=daily / full,
            goal=GOAL_SECONDS,
        ),
    ]
