"""Clearing when the journal is full: the clearing job, a balance, and a month's statement.

Owns: what fills the journal, and the three measurements on it. Must not know: how the job does without.
"""

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import timedelta

from benchmarks.clearing_job import BATCH, clear, clear_all, rate_of, shard_connections
from benchmarks.clearing_market import NOW, captured_sessions, open_books
from benchmarks.table import Row
from clearing.captured_session import CapturedSession
from clearing.connection import Connection
from clearing.ledger import service as ledger_service
from clearing.services import ClearingServices, build_clearing
from gateway.migrations import migrate

GOAL_BALANCE_MS = 5.0
GOAL_OF_EMPTY = 0.9
GOAL_GROWTH = 1.5
TURNS = 4
TRANSFERS_A_SESSION = 8
SESSIONS_A_BATCH = (
    100  # of what came before: smaller batches than the job's, so that there are more deltas to sum
)
# Subjects that no session has: a number as an id. The server makes them, so that memory here stays small.
ENTRIES = """
    INSERT INTO clearing.entry (shard, subject_id, kind, batch_id, booked_at, currency, gross_minor, hash)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'topup', lpad(to_hex(n / $2::integer), 32, '0')::uuid,
        $3::timestamptz, 'EUR', 1, decode(repeat('00', 32), 'hex')
    FROM generate_series(1, $1::integer) AS n"""
TRANSFERS = """
    INSERT INTO clearing.transfer
        (shard, subject_id, kind, ordinal, debit_account, credit_account, amount_minor, currency)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'topup', ordinal, 'session:transit', 'vat:NL:output', 1,
        'EUR'
    FROM generate_series(1, $1::integer) AS n, generate_series(1, 8) AS ordinal"""
PAYABLES = """
    INSERT INTO clearing.payable
        (shard, subject_id, kind, party_id, amount_minor, currency, due_date, state, disbursement_id)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'topup', party, 1, 'EUR', '2026-08-14', 'scheduled',
        lpad(to_hex(n / 1000), 32, '0')::uuid
    FROM generate_series(1, $1::integer) AS n, unnest(ARRAY['NL-ABC', 'superapp']) AS party"""
# Each batch with a delta for each of twenty accounts.
BATCHES = """
    INSERT INTO clearing.batch (id, chain, position, booked_at, entry_count, transfer_count, blinding_key,
        merkle_root, previous_hash, hash)
    SELECT lpad(to_hex(n), 32, '0')::uuid, 9999, n + 1, $3::timestamptz + n * interval '1 millisecond',
        $2::integer, 8 * $2::integer, zero, zero, zero, zero
    FROM generate_series(0, $1::integer / $2::integer) AS n, decode(repeat('00', 32), 'hex') AS zero"""
DELTAS = """
    INSERT INTO clearing.account_delta (account, currency, batch_id, booked_at, debit_minor, credit_minor)
    SELECT account, 'EUR', id, booked_at, 0, transfer_count
    FROM clearing.batch, unnest('{vat:NL:output,session:transit}'::text[] || (
        SELECT array_agg(format('cpo:NL-%s:payable', n)) FROM generate_series(1, 18) AS n)) AS account
    WHERE chain = 9999"""
HOTTEST = ("vat:NL:output", "EUR")
PAYEE = "cpo:NL-ABC:payable"


async def measure_full(dsn: str, *, empty_dsn: str, batches: int, preload: int, lines: int) -> list[Row]:
    """The shard at `preload` transfers, the hottest balance, and a statement of `lines` lines."""
    service = build_clearing()
    await migrate(empty_dsn)
    async with shard_connections(dsn) as connections, shard_connections(empty_dsn) as empty:
        await _fill(connections[0], preload=preload)
        return [
            await _loaded(connections, empty, batches=batches, preload=preload),
            await _balance(connections[0]),
            *await _statement(connections, service, lines=lines),
        ]


async def _fill(connection: Connection, *, preload: int) -> None:
    subjects, long_before = preload // TRANSFERS_A_SESSION, NOW - timedelta(days=60)
    for statement in (ENTRIES, BATCHES):
        await connection.execute(statement, subjects, SESSIONS_A_BATCH, long_before, timeout=3600)
    for statement in (TRANSFERS, PAYABLES):
        await connection.execute(statement, subjects, timeout=3600)
    await connection.execute(DELTAS, timeout=3600)
    # Clean up after the load first, so that the job is not charged for it.
    await connection.execute("VACUUM (ANALYZE)", timeout=3600)
    await connection.execute("CHECKPOINT", timeout=600)


async def _loaded(
    full: Sequence[Connection], empty: Sequence[Connection], *, batches: int, preload: int
) -> Row:
    """The shard with `preload` transfers there before, and with none, in turns: other load meets both."""
    full_service, empty_service = build_clearing(), build_clearing()
    async with empty[0].transaction():
        await open_books(empty_service, empty[0])
    sessions = captured_sessions(BATCH * (batches + 1), first=50_000_000)
    await clear(full[0], full_service, sessions[:BATCH])
    await clear(empty[0], empty_service, sessions[:BATCH])
    size = max(1, batches // TURNS) * BATCH
    full_s = empty_s = 0.0
    for start in range(BATCH, len(sessions), size):
        part = sessions[start : start + size]
        full_s += len(part) / await rate_of(full, full_service, part)
        empty_s += len(part) / await rate_of(empty, empty_service, part)
    return Row(
        name=f"clearing job with {preload:,} transfers there before",
        value=BATCH * batches / full_s,
        unit="sessions/s",
        baseline_name="with an empty journal, in turns",
        baseline_value=BATCH * batches / empty_s,
        ratio=empty_s / full_s,
        goal=GOAL_OF_EMPTY * BATCH * batches / empty_s,
    )


async def _balance(connection: Connection) -> Row:
    """The slowest of two hundred but ten: the balance of the hottest account beside summing its transfers."""
    account, currency = HOTTEST
    samples = []
    for _ in range(200):
        began = time.perf_counter()
        await ledger_service.list_balances(connection, prefix=account)
        samples.append(1000 * (time.perf_counter() - began))
    began = time.perf_counter()
    await connection.fetchval(
        "SELECT sum(amount_minor) FROM clearing.transfer WHERE credit_account = $1 AND currency = $2",
        account,
        currency,
    )
    summed = 1000 * (time.perf_counter() - began)
    p95 = sorted(samples)[189]
    return Row(
        name="balance of the hottest account, p95",
        value=p95,
        unit="ms",
        baseline_name="summing its transfers",
        baseline_value=summed,
        ratio=p95 / summed,
        goal=GOAL_BALANCE_MS,
    )


async def _statement(
    connections: Sequence[Connection], service: ClearingServices, *, lines: int
) -> list[Row]:
    """A month's statement with its proofs.

    Its speed, and the memory that it needs compared with one of a tenth.
    """
    few = lines // 10
    await clear_all(connections, service, _of_one_payee(few, first=70_000_000), chain=1)
    small, small_peak = await _traced(connections[0], chain_lines=few)
    await clear_all(connections, service, _of_one_payee(lines - few, first=80_000_000), chain=1)
    whole, whole_peak = await _traced(connections[0], chain_lines=lines)
    began = time.perf_counter()
    streamed, size = await _stream(connections[0])
    elapsed = time.perf_counter() - began
    began = time.perf_counter()
    bare = await connections[0].fetch("SELECT * FROM clearing.transfer WHERE credit_account = $1", PAYEE)
    reading = len(bare) / (time.perf_counter() - began)
    return [
        Row(
            name=f"statement of {streamed:,} lines with proofs ({size / 1e6:,.0f} MB), streamed",
            value=streamed / elapsed,
            unit="lines/s",
            baseline_name="the bare lines, all at once",
            baseline_value=reading,
            ratio=streamed / elapsed / reading,
        ),
        Row(
            name=f"memory of the statement of {whole:,} lines at most",
            value=whole_peak,
            unit="MB",
            baseline_name=f"of {small:,} lines",
            baseline_value=small_peak,
            ratio=whole_peak / small_peak,
            goal=GOAL_GROWTH * small_peak,
        ),
    ]


def _of_one_payee(count: int, *, first: int) -> Iterator[Sequence[CapturedSession]]:
    """Sessions of one CPO, made a batch at a time: every fifth of the market's numbers is its."""
    for start in range(0, count, BATCH):
        yield captured_sessions(min(BATCH, count - start), first=first + 5 * start, step=5)


async def _traced(connection: Connection, *, chain_lines: int) -> tuple[int, float]:
    """How many lines the statement has, and the MB that streaming it needed at its peak."""
    tracemalloc.start()
    try:
        found, _ = await _stream(connection)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if found < chain_lines:
        raise RuntimeError(f"the statement has {found} lines of at least {chain_lines}")
    return found, peak / 1e6


async def _stream(connection: Connection) -> tuple[int, int]:
    """Lines of the account and bytes of the whole, each read and dropped."""
    count = size = 0
    async with connection.transaction(isolation="repeatable_read"):
        parts = ledger_service.list_statement_lines(
            connection, account=PAYEE, currency="EUR", since=NOW, until=NOW + timedelta(days=1)
        )
        async for part in parts:
            count += part.count(f'"{PAYEE}"')
            size += len(part)
    return count, size
