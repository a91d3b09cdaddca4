"""The clearing lane: captured sessions to committed journal, on a durable PostgreSQL of its own.

Baseline is the raw ceiling of the same run: one writer that copies the very same rows with no logic. Balances
and a statement are measured on the journal that the lane wrote.
"""

import asyncio
import gc
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import asyncpg

from benchmarks import pgledger
from benchmarks.clearing_market import NOW, captured_sessions, open_books
from benchmarks.table import Row
from clearing.connection import Connection
from clearing.service import ClearingService
from clearing.session import CapturedSession
from gateway.migrations import migrate
from gateway.sandbox.embedded_postgres import EmbeddedPostgres

BATCH = 1000
IN_FLIGHT = 3  # batches of one process: one computes while PostgreSQL writes the others
GOAL_SESSIONS_PER_SECOND = 8000.0
GOAL_BALANCE_MS = 5.0
GOAL_OF_EMPTY = 0.9
# Subjects that no session has: a number as an id. The server makes them, so that memory here stays small.
PRELOAD_ENTRIES = """
    INSERT INTO clearing.entry
        (lane, subject_id, kind, batch_id, booked_at, currency, gross_minor, hash)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'topup', gen_random_uuid(), now(), 'EUR', 1,
        decode(repeat('00', 32), 'hex')
    FROM generate_series(1, $1::integer) AS n"""
PRELOAD_TRANSFERS = """
    INSERT INTO clearing.transfer
        (lane, subject_id, kind, ordinal, debit_account, credit_account, amount_minor, currency)
    SELECT (n / 8) & 63, lpad(to_hex(n / 8), 32, '0')::uuid, 'topup', n % 8,
        'session:transit', 'vat:NL:output', 1, 'EUR'
    FROM generate_series(1, $1::integer) AS n"""
TABLES = ("entry", "transfer", "payable", "fx_lock", "account_delta")
HOTTEST = ("vat:NL:output", "EUR")


def run(*, quick: bool) -> list[Row]:
    """Sessions a second with every step, beside the raw ceiling; the hottest balance.

    A streamed statement.
    """
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(directory / "postgres") as server:
            batches = 4 if quick else 24
            rows = asyncio.run(_measure(server.dsn, batches=batches))
            alone = rows[0].value
            for count in (2, 4):
                together = _side_by_side(server.dsn, count=count, batches=batches)
                rows.append(
                    Row(
                        name=f"clearing lane, {count} processes, a chain each",
                        value=together,
                        unit="sessions/s",
                        baseline_name="1 process",
                        baseline_value=alone,
                        ratio=together / alone,
                        goal=GOAL_SESSIONS_PER_SECOND,
                    )
                )
            transfers = asyncio.run(_transfers_a_session(server.dsn))
            rows += asyncio.run(
                pgledger.beside(server.dsn, lane_transfers_per_second=alone * transfers, quick=quick)
            )
            preload = 200_000 if quick else 10_000_000
            rows += asyncio.run(_measure_full(server.dsn, batches=batches, preload=preload, empty=alone))
            return rows
    finally:
        shutil.rmtree(directory, ignore_errors=True)


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
    service, chain = ClearingService(), 1 + first // 100_000 % 100
    sessions = captured_sessions(BATCH * (batches + 1), first=first)
    async with _connections(dsn) as connections:
        await _clear(connections[0], service, sessions[:BATCH], chain=chain)
        _rest_the_collector()
        await asyncio.sleep(max(0.0, start_at - time.time()))
        began = time.time()
        await _lane(connections, service, sessions[BATCH:], chain=chain)
        return began, time.time()


@asynccontextmanager
async def _connections(dsn: str) -> AsyncIterator[list[Connection]]:
    async with AsyncExitStack() as stack:
        opened = [await asyncpg.connect(dsn) for _ in range(IN_FLIGHT)]
        for connection in opened:
            stack.push_async_callback(connection.close)
        yield list(opened)


async def _lane(
    connections: Sequence[Connection],
    service: ClearingService,
    sessions: Sequence[CapturedSession],
    *,
    chain: int = 0,
) -> float:
    """Clear the sessions as the gateway does, a batch in flight on each connection; sessions a second."""
    batches = iter(range(0, len(sessions), BATCH))

    async def work(connection: Connection) -> None:
        for start in batches:
            await _clear(connection, service, sessions[start : start + BATCH], chain=chain)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))
    return len(sessions) / (time.perf_counter() - began)


async def _measure(dsn: str, *, batches: int) -> list[Row]:
    await migrate(dsn)
    async with _connections(dsn) as connections:
        connection, service = connections[0], ClearingService()
        async with connection.transaction():
            await open_books(service, connection)
        sessions = captured_sessions(BATCH * (batches + 1))
        await _clear(connection, service, sessions[:BATCH])
        _rest_the_collector()
        lane = await _lane(connections, service, sessions[BATCH:])
        ceiling = await _ceiling(connection, sessions=len(sessions))
        return [
            Row(
                name=f"clearing lane, 1 process, {IN_FLIGHT} batches of {BATCH} in flight",
                value=lane,
                unit="sessions/s",
                baseline_name="the same rows copied with no logic",
                baseline_value=ceiling,
                ratio=lane / ceiling,
                goal=GOAL_SESSIONS_PER_SECOND,
            ),
            await _statement(connection, service),
        ]


async def _measure_full(dsn: str, *, batches: int, preload: int, empty: float) -> list[Row]:
    connection = await asyncpg.connect(dsn)
    try:
        service = ClearingService()
        return [
            await _loaded(connection, service, batches=batches, preload=preload, empty=empty),
            await _balance(connection, service),
        ]
    finally:
        await connection.close()


def _rest_the_collector() -> None:
    """What a worker process does at its start: a batch makes no cycles, so looking for them is wasted."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


async def _clear(
    connection: Connection, service: ClearingService, sessions: Sequence[CapturedSession], *, chain: int = 0
) -> None:
    async with connection.transaction():
        batch = await service.clear_batch(connection, sessions, now=NOW, batch_id=uuid4(), chain=chain)
    if len(batch.cleared) != len(sessions):
        raise RuntimeError(f"{len(batch.parked)} of {len(sessions)} sessions were parked: {batch.parked[:1]}")


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


async def _loaded(
    connection: Connection, service: ClearingService, *, batches: int, preload: int, empty: float
) -> Row:
    """The lane again, with `preload` transfers of other subjects in the journal before it."""
    await connection.execute(PRELOAD_ENTRIES, preload // 8, timeout=3600)
    await connection.execute(PRELOAD_TRANSFERS, preload, timeout=3600)
    # What the load itself left behind is not the lane's to pay.
    await connection.execute("VACUUM (ANALYZE) clearing.entry, clearing.transfer", timeout=3600)
    await connection.execute("CHECKPOINT", timeout=600)
    sessions = captured_sessions(BATCH * (batches + 1), first=50_000_000)
    await _clear(connection, service, sessions[:BATCH])
    began = time.perf_counter()
    for start in range(BATCH, len(sessions), BATCH):
        await _clear(connection, service, sessions[start : start + BATCH])
    loaded = BATCH * batches / (time.perf_counter() - began)
    return Row(
        name=f"clearing lane with {preload:,} transfers there before",
        value=loaded,
        unit="sessions/s",
        baseline_name="with an empty journal",
        baseline_value=empty,
        ratio=loaded / empty,
        goal=GOAL_OF_EMPTY * empty,
    )


async def _balance(connection: Connection, service: ClearingService) -> Row:
    """The slowest of a hundred but five: the balance of the hottest account beside summing its transfers."""
    account, currency = HOTTEST
    samples = []
    for _ in range(100):
        began = time.perf_counter()
        await service.balances(connection, prefix=account)
        samples.append(1000 * (time.perf_counter() - began))
    began = time.perf_counter()
    await connection.fetchval(
        "SELECT sum(amount_minor) FROM clearing.transfer WHERE credit_account = $1 AND currency = $2",
        account,
        currency,
    )
    summed = 1000 * (time.perf_counter() - began)
    p95 = sorted(samples)[94]
    return Row(
        name="balance of the hottest account, p95",
        value=p95,
        unit="ms",
        baseline_name="summing its transfers",
        baseline_value=summed,
        ratio=p95 / summed,
        goal=GOAL_BALANCE_MS,
    )


async def _statement(connection: Connection, service: ClearingService) -> Row:
    """Lines a second of a statement with its proofs, beside reading the same lines bare."""
    account, currency = "cpo:NL-ABC:payable", "EUR"
    count = 0
    began = time.perf_counter()
    async with connection.transaction(isolation="repeatable_read"):
        until = NOW + timedelta(days=1)
        lines = service.statement(connection, account=account, currency=currency, since=NOW, until=until)
        async for line in lines:
            count += line.count('"blind"')
    rate = count / (time.perf_counter() - began)
    began = time.perf_counter()
    bare = await connection.fetch("SELECT * FROM clearing.transfer WHERE credit_account = $1", account)
    reading = len(bare) / (time.perf_counter() - began)
    return Row(
        name="statement with proofs, streamed",
        value=rate,
        unit="lines/s",
        baseline_name="the bare lines, all at once",
        baseline_value=reading,
        ratio=rate / reading,
    )
