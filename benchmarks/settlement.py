"""Settlement: a disbursement run over many cleared sessions, then a reconciliation, on a durable PostgreSQL.

Baselines are of the same rows in the same run: one plain SQL aggregate, and one plain SQL join. Rows are made
by the server, so that memory here is the run's own.
"""

import asyncio
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import cast

from asyncpg.pool import Pool

from benchmarks.table import Row
from clearing.reconciliation.service import PspLine, ReconciliationService
from clearing.services import build_clearing
from gateway.database import create_pool, transaction
from gateway.jobs.disbursements import DisbursementJob, PspRail
from gateway.migrations import migrate
from gateway.payments.psp.port import Psp, PspTransferRequest, Transferred
from sandbox.postgres.embedded import EmbeddedPostgres

NOW = datetime(2026, 10, 15, 8, 0, tzinfo=UTC)
SESSIONS, PARTIES = 1_000_000, 10_000
AT_ONCE = 4
GOAL_RUN_SECONDS = 60.0
GOAL_RECONCILE_SECONDS = 90.0
GOAL_MEGABYTES = 400.0
CURRENCIES = "ARRAY['EUR', 'CHF', 'GBP', 'SEK', 'NOK']"
MAKE_PARTIES = f"""
    INSERT INTO clearing.party (id, kind, name, country, tax_jurisdiction, settlement_currency, time_zone,
        connected_account, created_at, updated_at)
    SELECT 'NL-' || n, 'cpo', 'CPO ' || n, 'NL', 'NL', ({CURRENCIES})[n % 5 + 1], 'Europe/Amsterdam',
        'acct_' || n, now(), now()
    FROM generate_series(0, $1::integer - 1) AS n"""  # noqa: S608 - constants of this file
MAKE_PAYABLES = f"""
    INSERT INTO clearing.payable
        (shard, subject_id, kind, reference, party_id, amount_minor, currency, due_date)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'capture', '', 'NL-' || n % $2::integer, 400 + n % 100,
        ({CURRENCIES})[n % $2::integer % 5 + 1], '2026-10-15'
    FROM generate_series(0, $1::integer - 1) AS n"""  # noqa: S608 - constants of this file
MAKE_CAPTURES = """
    INSERT INTO clearing.entry (shard, subject_id, kind, batch_id, booked_at, currency, gross_minor, sale_at,
        cpo_id, authorization_method, tax_jurisdiction, agreement_id, agreement_version, tariff_sha256,
        cdr_id, psp_object_id,
        priced_minor, hash)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'capture', '00000000-0000-0000-0000-000000000001', $2,
        'EUR', 400 + n % 100, $2, 'NL-1', 'card', 'NL', 'a', 1, repeat('0', 64), 'c', 'ch_' || n,
        400 + n % 100,
        decode(repeat('00', 32), 'hex')
    FROM generate_series(0, $1::integer - 1) AS n"""
# A month of earlier payments to the same parties, as a table has that is in use.
MAKE_PAST = f"""
    INSERT INTO clearing.disbursement (id, party_id, currency, period, amount_minor, destination,
        end_to_end_id, state, planned_at, requested_at, finished_at, attempts, rail_reference)
    SELECT gen_random_uuid(), 'NL-' || n, ({CURRENCIES})[n % 5 + 1], '2026-09-01'::date + day, 1000,
        'acct_' || n, 'PAST' || day || '-' || n, 'paid', '2026-09-01', '2026-09-01', '2026-09-01', 1, 'tr'
    FROM generate_series(0, $1::integer - 1) AS n, generate_series(0, 29) AS day"""  # noqa: S608 - likewise
MAKE_FEES = """
    INSERT INTO clearing.transfer (shard, subject_id, kind, reference, ordinal, debit_account,
        credit_account, amount_minor, currency)
    SELECT n & 63, lpad(to_hex(n), 32, '0')::uuid, 'capture', '', 1, 'platform:psp:expense',
        'psp:stripe:receivable', 30, 'EUR'
    FROM generate_series(0, $1::integer - 1) AS n"""
AGGREGATE = """
    SELECT count(*) FROM (SELECT party_id, currency, sum(amount_minor) FROM clearing.payable
    WHERE state = 'open' AND due_date <= '2026-10-15' GROUP BY party_id, currency) AS netted"""
JOIN = """
    SELECT count(*) FROM clearing.reconciliation_item AS l JOIN clearing.reconciliation_item AS r
      ON r.pair = l.pair AND r.reference = l.reference AND r.side = 'right' AND r.amount_minor =
      l.amount_minor
    WHERE l.side = 'left'"""


def run(*, quick: bool) -> list[Row]:
    """Seconds of a disbursement run and of a reconciliation, each beside plain SQL over the same rows."""
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(directory / "postgres") as server:
            return asyncio.run(_measure(server.dsn, scale=20 if quick else 1))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _measure(dsn: str, *, scale: int) -> list[Row]:
    await migrate(dsn)
    pool = await create_pool(
        dsn, min_size=1, max_size=AT_ONCE, application="benchmark", statement_timeout_ms=600_000
    )
    try:
        rows = await _disburse(pool, sessions=SESSIONS // scale, parties=PARTIES // scale)
        rows += await _reconcile(pool, lines=SESSIONS // scale)
    finally:
        await pool.close()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    memory = Row(
        name="memory of the process over both",
        value=used,
        unit="MB",
        baseline_name="the goal",
        baseline_value=GOAL_MEGABYTES,
        ratio=used / GOAL_MEGABYTES,
        goal=GOAL_MEGABYTES,
    )
    return [*rows, memory]


async def _disburse(pool: Pool, *, sessions: int, parties: int) -> list[Row]:
    async with pool.acquire() as connection:
        await connection.execute(MAKE_PARTIES, parties)
        await connection.execute(MAKE_PAYABLES, sessions, parties)
        await connection.execute(MAKE_PAST, parties)
        await connection.execute("ANALYZE clearing.payable, clearing.disbursement, clearing.party")
        began = time.perf_counter()
        await connection.fetchval(AGGREGATE)
        aggregate = time.perf_counter() - began
    job = DisbursementJob(
        pool=pool, clock=_Clock(), clearing=build_clearing(), rail=PspRail(psp=cast("Psp", _InstantPsp()))
    )
    began = time.perf_counter()
    await job.plan()
    netted = time.perf_counter() - began
    paid = await job.run()
    elapsed = time.perf_counter() - began
    if paid != parties:
        raise SystemExit(f"{paid} payments were made; expected {parties}")
    name = f"netting {sessions:,} sessions of {parties:,} parties"
    return [
        _row(name, netted, "plain SQL aggregate", aggregate, GOAL_RUN_SECONDS),
        _row(
            f"the whole run, {parties:,} paid and booked",
            elapsed,
            "plain SQL aggregate",
            aggregate,
            GOAL_RUN_SECONDS,
        ),
    ]


class _Clock:
    """The morning of the run."""

    def now(self) -> datetime:
        return NOW

    def wall_now(self) -> datetime:
        return NOW


class _InstantPsp:
    """A rail that answers at once: what is measured is the system."""

    async def transfer(self, order: PspTransferRequest) -> Transferred:
        return Transferred(psp_transfer=f"tr_{order.end_to_end_id}")


async def _reconcile(pool: Pool, *, lines: int) -> list[Row]:
    reconciler = ReconciliationService()
    async with pool.acquire() as connection:
        await connection.execute(MAKE_CAPTURES, lines, NOW)
        await connection.execute(MAKE_FEES, lines)
        await connection.execute("ANALYZE clearing.entry, clearing.transfer")
    began = time.perf_counter()
    async with transaction(pool) as connection:
        await reconciler.record_psp_lines(connection, _psp_lines(lines), now=NOW)
        result = await reconciler.run(connection, now=NOW)
    elapsed = time.perf_counter() - began
    async with pool.acquire() as connection:
        began = time.perf_counter()
        await connection.fetchval(JOIN)
        join = time.perf_counter() - began
    if result.matched < lines * 1.9:
        raise SystemExit(f"{result} of {lines} lines")
    return [
        _row(f"{lines:,} lines read and reconciled", elapsed, "plain SQL join", join, GOAL_RECONCILE_SECONDS)
    ]


def _psp_lines(lines: int) -> Iterator[PspLine]:
    """The PSP's record: one line in a thousand differs by a cent, one is missing."""
    for number in range(lines):
        if number % 1000 == 1:
            continue
        yield PspLine(
            id=f"txn_{number}",
            kind="charge",
            reference=f"ch_{number}",
            amount_minor=400 + number % 100 + (number % 1000 == 2),
            currency="EUR",
            occurred_on=date(2026, 10, 1),
            fee_minor=30,
        )


def _row(name: str, seconds: float, baseline: str, baseline_seconds: float, goal: float) -> Row:
    return Row(
        name=name,
        value=seconds,
        unit="s",
        baseline_name=baseline,
        baseline_value=baseline_seconds,
        ratio=seconds / baseline_seconds,
        goal=goal,
    )
