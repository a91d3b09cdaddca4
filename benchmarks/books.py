"""The journal as CSV, beside COPY TO of the same rows from the same tables in the same run.

Owns: what fills the journal, and both measurements. Must not know: other forms. No hash is recomputed.
"""

import asyncio
import resource
import shutil
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.clearing_market import NOW, open_books
from benchmarks.table import Row
from clearing.books.chart import bundled_chart
from clearing.books.journal import BooksForm, dialect
from clearing.books.journal_request import JournalRequest
from clearing.books.period import BooksPeriod
from clearing.books.service import BooksService
from clearing.services import build_clearing
from gateway.migrations import migrate
from sandbox.postgres.embedded import EmbeddedPostgres

GOAL_OF_COPY = 0.5
GOAL_MEMORY_MB = 200.0
TRANSFERS_AN_ENTRY = 8
ENTRIES_A_BATCH = 500
ENTRIES = """
    INSERT INTO clearing.entry (shard, subject_id, kind, batch_id, booked_at, currency, gross_minor, hash)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'topup', lpad(to_hex(n / $2::integer), 32, '0')::uuid,
        $3::timestamptz, 'EUR', 1, decode(repeat('00', 32), 'hex')
    FROM generate_series(0, $1::integer - 1) AS n"""
TRANSFERS = """
    INSERT INTO clearing.transfer
        (shard, subject_id, kind, ordinal, debit_account, credit_account, amount_minor, currency)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'topup', ordinal, 'session:transit',
        format('cpo:NL-%s:payable', n % 500), n + 1, 'EUR'
    FROM generate_series(0, $1::integer - 1) AS n, generate_series(0, 7) AS ordinal"""
BATCHES = """
    INSERT INTO clearing.batch (id, chain, position, booked_at, entry_count, transfer_count, blinding_key,
        merkle_root, previous_hash, hash)
    SELECT lpad(to_hex(n), 32, '0')::uuid, 9999, n + 1, $3::timestamptz + n * interval '1 millisecond',
        $2::integer, 8 * $2::integer, zero, zero, zero, zero
    FROM generate_series(0, $1::integer / $2::integer - 1) AS n, decode(repeat('00', 32), 'hex') AS zero"""
DELTAS = """
    INSERT INTO clearing.account_delta (account, currency, batch_id, booked_at, debit_minor, credit_minor)
    SELECT account, 'EUR', id, booked_at, 0, 1
    FROM clearing.batch, unnest('{session:transit}'::text[] || (
        SELECT array_agg(format('cpo:NL-%s:payable', n)) FROM generate_series(0, 499) AS n)) AS account
    WHERE chain = 9999 AND position <= 2"""
SAME_ROWS = """
    SELECT b.booked_at, e.kind, e.subject_id, e.reference, t.ordinal, t.debit_account, t.credit_account,
        t.amount_minor, t.currency, e.cpo_id, e.cdr_id, e.psp_object_id, b.chain, b.position
    FROM clearing.batch AS b
    JOIN clearing.entry AS e ON e.batch_id = b.id
    JOIN clearing.transfer AS t USING (shard, subject_id, kind, reference)"""


def run(*, quick: bool) -> list[Row]:
    """Transfers a second of the export and of COPY TO, and the memory that the export took."""
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(directory / "postgres") as server:
            entries = 50_000 if quick else 1_250_000
            return asyncio.run(_measure(server.dsn, directory, entries=entries))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _measure(dsn: str, directory: Path, *, entries: int) -> list[Row]:
    await migrate(dsn)
    connection: Any = await asyncpg.connect(dsn)
    try:
        service = build_clearing()
        await open_books(service, connection)
        for statement in (ENTRIES, BATCHES, DELTAS):
            takes = (entries, ENTRIES_A_BATCH, NOW)
            await connection.execute(statement, *(takes if "$1" in statement else ()))
        await connection.execute(TRANSFERS, entries)
        await connection.execute("VACUUM ANALYZE clearing.entry, clearing.transfer, clearing.batch")
        transfers = entries * TRANSFERS_AN_ENTRY
        # One process beside one process: the export's statements run without parallel workers as well.
        await connection.execute("SET max_parallel_workers_per_gather = 0")
        copied = await _timed(_copy(connection, directory / "copy.txt"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        exported = await _timed(_export(connection, BooksService(service.reference_data), directory))
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    finally:
        await connection.close()
    return [
        Row(
            name=f"journal as CSV, {transfers:,} transfers",
            value=transfers / exported,
            unit="transfers/s",
            baseline_name="COPY TO of the same rows, one process",
            baseline_value=transfers / copied,
            ratio=copied / exported,
            goal=GOAL_OF_COPY * transfers / copied,
        ),
        Row(
            name="memory that the export took",
            value=grown_mb,
            unit="MB",
            baseline_name="at most",
            baseline_value=GOAL_MEMORY_MB,
            ratio=grown_mb / GOAL_MEMORY_MB,
        ),
    ]


async def _timed(work: Any) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _copy(connection: Any, path: Path) -> None:
    with path.open("wb") as file:

        async def keep(content: bytes) -> None:
            file.write(content)

        await connection.copy_from_query(SAME_ROWS, output=keep)


async def _export(connection: Any, books: BooksService, directory: Path) -> None:
    first = NOW.date()
    request = JournalRequest(
        period=BooksPeriod(first=date(2000, 1, 1), last=first.replace(year=first.year + 1), time_zone="UTC"),
        form=BooksForm.CSV,
        chart=bundled_chart(),
        dialect=dialect("rfc4180"),
        verified=False,
    )
    with (directory / "journal.csv").open("wb") as file:

        async def keep(content: bytes) -> None:
            file.write(content)

        async with connection.transaction(isolation="repeatable_read"):
            await books.write_journal(connection, request, keep, now=NOW)
