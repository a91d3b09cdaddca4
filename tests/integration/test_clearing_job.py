"""The clearing job at scale: what a batch asks of the database does not grow with its sessions.

And batches in flight side by side clear each session once.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from clearing.audit import audit_ledger
from clearing.captured_session import CapturedSession
from clearing.errors import ClosedPeriodError
from clearing.ledger import service as ledger_service
from clearing.services import ClearingServices, build_clearing
from gateway.database import Connection, Pool, register_json
from gateway.ids import new_id
from gateway.jobs.clearing import IN_FLIGHT, ClearingJob
from gateway.jobs.shard_job import own_shards
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)


class Still:
    """A clock that stands."""

    def now(self) -> Any:
        return NOW

    wall_now = now


@asynccontextmanager
async def counting(dsn: str) -> AsyncIterator[tuple[Pool, list[str]]]:
    """A pool whose statements are written down, but for the first of a connection."""
    asked: list[str] = []

    async def prepare(connection: Any) -> None:
        await register_json(connection)
        connection.add_query_logger(lambda record: asked.append(record.query))

    async with asyncpg.create_pool(dsn, init=prepare, min_size=IN_FLIGHT, max_size=IN_FLIGHT) as pool:
        yield pool, asked


async def open_books(connection: Connection, service: ClearingServices) -> None:
    await service.reference_data.import_bundled_rates(connection, now=NOW)
    for party in world.PARTIES.values():
        await service.reference_data.register_party(connection, party, now=NOW)
    await service.reference_data.put_agreement(connection, world.agreement(world.NL_CPO), now=NOW)
    await connection.execute(
        "INSERT INTO gateway.party (id, kind, created_at) VALUES ('NL-ABC', 'cpo', now()), "
        "('superapp', 'demand_partner', now())"
    )
    tariff = world.session(1)
    await connection.execute(
        "INSERT INTO gateway.tariff_snapshot VALUES ($1, '2.2.1', $2, 'EUR', now())",
        tariff.tariff_sha256,
        tariff.tariff_json,
    )


async def hand_over(connection: Connection, sessions: Sequence[CapturedSession]) -> None:
    """Captured sessions as the gateway keeps them, each with its task."""
    for session in sessions:
        authorization = new_id(shard=session.shard)
        await connection.execute(
            "INSERT INTO gateway.session (shard, id, demand_partner_id, cpo_id, evse_id, location_id, "
            "tax_jurisdiction, time_zone, currency, tariff_sha256, state, cdr_id, "
            "cdr_version, cdr, price_minor, "
            "price_net_minor, energy_wh, ended_at, created_at, updated_at) VALUES ($1, $2, 'superapp', "
            "'NL-ABC', 'E', 'L', 'NL', 'Europe/Amsterdam', 'EUR', $3, 'completed', $4, '2.2.1', $5, 605, "
            "500, 10000, $6, $6, $6)",
            session.shard,
            session.session_id,
            session.tariff_sha256,
            session.cdr_id,
            session.cdr_json,
            session.sale_at,
        )
        await connection.execute(
            "INSERT INTO gateway.payment_authorization (shard, id, session_id, "
            "party_id, authorization_method, funding, "
            "state, hold_minor, currency, psp_payment, created_at, updated_at) VALUES ($1, $2, $3, "
            "'superapp', 'card', 'psp', 'captured', 605, 'EUR', 'pi', $4, $4)",
            session.shard,
            authorization,
            session.session_id,
            NOW,
        )
        await connection.execute(
            "INSERT INTO gateway.capture (shard, session_id, id, authorization_id, state, amount_minor, "
            "currency, psp_charge, captured_at, created_at) VALUES ($1, $2, $3, $4, 'succeeded', $5, "
            "'EUR', 'ch', $6, $6)",
            session.shard,
            session.session_id,
            new_id(shard=session.shard),
            authorization,
            session.captured_minor,
            session.captured_at,
        )
        await connection.execute(
            "INSERT INTO gateway.task (shard, id, kind, session_id, run_at) VALUES "
            "($1, $2, 'clear_session', $3, $4)",
            session.shard,
            new_id(shard=session.shard),
            session.session_id,
            NOW,
        )


def job_over(pool: Pool, service: ClearingServices, *, batch_size: int) -> ClearingJob:
    return ClearingJob(pool=pool, clock=Still(), sessions=service.sessions, batch_size=batch_size, chain=0)


async def test_a_batch_queries_the_database_as_often_for_many_sessions_as_for_few(database_url: str) -> None:
    asked_by_size: dict[int, Counter[str]] = {}
    service = build_clearing()
    async with counting(database_url) as (pool, asked):
        async with pool.acquire() as connection:
            await open_books(connection, service)
        first = 0
        job = job_over(pool, service, batch_size=1000)
        for size in (64, 64, 256):
            async with pool.acquire() as connection:
                await hand_over(connection, [world.session(first + number) for number in range(size)])
            first += size
            own = await own_shards(pool, job.clock)
            asked.clear()
            assert sum((await job.run_shards(own.fences)).values()) == size
            asked_by_size[size] = Counter(
                re.sub(r"savepoint_[0-9a-f]+", "savepoint", query) for query in asked
            )
    assert asked_by_size[256] == asked_by_size[64]
    assert asked_by_size[64].total() <= 26


async def test_partners_events_of_a_batch_are_each_sessions_own(database_url: str) -> None:
    service = build_clearing()
    async with counting(database_url) as (pool, _):
        async with pool.acquire() as connection:
            await open_books(connection, service)
            good = [world.session(number) for number in range(1, 8)]
            failing = world.session(8, captured_minor=606)
            await hand_over(connection, [*good, failing])
            # An attempt that failed before the one that was captured is not the one that counts.
            await connection.execute(
                "INSERT INTO gateway.payment_authorization (shard, id, session_id, "
                "party_id, authorization_method, funding, "
                "state, hold_minor, currency, created_at, updated_at) VALUES ($1, $2, $3, 'superapp', "
                "'card', 'psp', 'failed', 1, 'EUR', $4, $4)",
                good[0].shard,
                new_id(shard=good[0].shard),
                good[0].session_id,
                NOW,
            )
        assert await job_over(pool, service, batch_size=100).run_once() == 8
        async with pool.acquire() as connection:
            published = await connection.fetch(
                "SELECT e.party_id, e.type, e.object_id, coalesce(e.data, o.data) AS data "
                "FROM gateway.event AS e "
                "LEFT JOIN gateway.event AS o ON o.shard = e.shard AND o.id = e.data_of"
            )
            standing = await connection.fetch("SELECT state, flags FROM gateway.session")
    kinds = Counter((row["type"], row["party_id"]) for row in published)
    assert kinds == {
        ("session.cleared", "superapp"): 7,
        ("session.cleared", "NL-ABC"): 7,
        ("session.exception", "superapp"): 1,
        ("session.exception", "NL-ABC"): 1,
    }
    for row in published:
        assert row["data"]["id"] == row["object_id"]
        assert row["data"]["capture"]["session"] == row["object_id"]
        assert row["data"]["capture"]["authorization"] == row["data"]["authorization"]
        assert row["data"]["state"] == row["type"].removeprefix("session.")
    assert Counter(row["state"] for row in standing) == {"cleared": 7, "exception": 1}
    assert [row["flags"] for row in standing if row["state"] == "exception"] == [["captured_above_price"]]


@pytest.mark.parametrize("workers", [1, 2])
async def test_batches_in_flight_side_by_side_clear_each_session_once(
    database_url: str, workers: int
) -> None:
    sessions = [world.session(number) for number in range(300)]
    async with asyncpg.create_pool(database_url, init=register_json, min_size=1, max_size=8) as pool:
        service = build_clearing()
        async with pool.acquire() as connection:
            await open_books(connection, service)
            await hand_over(connection, sessions)
        shards = [job_over(pool, build_clearing(), batch_size=40) for _ in range(workers)]
        done = [await _until_idle(shards)]
        async with pool.acquire() as connection:
            entries = await connection.fetch("SELECT subject_id FROM clearing.entry WHERE kind = 'capture'")
            heads = await connection.fetch(
                "SELECT position, previous_hash, hash FROM clearing.batch ORDER BY 1"
            )
            report = await audit_ledger(connection, now=NOW)
            left = await connection.fetchval("SELECT count(*) FROM gateway.task")
    assert done == [300]
    assert sorted(UUID(int=row["subject_id"].int) for row in entries) == sorted(
        s.session_id for s in sessions
    )
    assert left == 0
    assert report.ok
    assert [row["position"] for row in heads] == list(range(1, len(heads) + 1))
    assert all(after["previous_hash"] == before["hash"] for before, after in pairwise(heads))


async def test_a_batch_is_one_transaction(database_url: str) -> None:
    logs: list[list[str]] = []

    async def prepare(connection: Any) -> None:
        await register_json(connection)
        log: list[str] = []
        logs.append(log)
        connection.add_query_logger(lambda record: log.append(record.query))

    async with asyncpg.create_pool(database_url, init=prepare, min_size=1, max_size=4) as pool:
        service = build_clearing()
        async with pool.acquire() as connection:
            await open_books(connection, service)
            await hand_over(connection, [world.session(number) for number in range(100)])
        assert await _until_idle([job_over(pool, service, batch_size=40)]) == 100
        batches = await pool.fetchval("SELECT count(*) FROM clearing.batch")
    transactions = [part for log in logs for part in "\n".join(log).split("COMMIT;")]
    booked = [part for part in transactions if "INSERT INTO clearing.batch" in part]
    assert len(booked) == batches > 1
    for part in booked:
        for change in (
            "INSERT INTO clearing.batch ",
            "INSERT INTO gateway.event ",
            "DELETE FROM gateway.task ",
        ):
            assert part.count(change) == 1, change


async def _until_idle(jobs: Sequence[ClearingJob]) -> int:
    total = 0
    while True:
        counts = await asyncio.gather(*[job.run_once() for job in jobs])
        if not any(counts):
            return total
        total += sum(counts)


async def test_closed_books_are_no_sessions_fault(database_url: str) -> None:
    service = build_clearing()
    async with counting(database_url) as (pool, _):
        async with pool.acquire() as connection:
            await open_books(connection, service)
            await hand_over(connection, [world.session(number) for number in range(1, 4)])
            until = NOW + timedelta(seconds=1)  # by a clock that is ahead of this worker's
            await ledger_service.close_period(connection, until=until, by="test", now=until)
        with pytest.raises(ClosedPeriodError):  # raised, and tried again
            await job_over(pool, service, batch_size=100).run_once()
        async with pool.acquire() as connection:
            uncleared = await connection.fetchval(
                "SELECT count(*) FROM gateway.task WHERE exception_at IS NOT NULL"
            )
        assert uncleared == 0


# What the server answers to a copy, and to nothing else.
COPY_REJECTED = """
CREATE FUNCTION public.reject_copy() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF current_query() LIKE 'COPY%' THEN RAISE EXCEPTION 'rejected' USING ERRCODE = TG_ARGV[0]; END IF;
    RETURN NULL;
END $body$;
"""


@asynccontextmanager
async def handed_over(dsn: str, *, copy_rejected_with: str) -> AsyncIterator[tuple[Pool, ClearingJob]]:
    service = build_clearing()
    async with counting(dsn) as (pool, _):
        async with pool.acquire() as connection:
            await open_books(connection, service)
            await hand_over(connection, [world.session(number) for number in range(80)])
            await connection.execute(
                f"{COPY_REJECTED} CREATE TRIGGER reject_copy BEFORE INSERT ON clearing.entry "
                f"FOR EACH STATEMENT EXECUTE FUNCTION public.reject_copy('{copy_rejected_with}')"
            )
        yield pool, job_over(pool, service, batch_size=40)


async def test_a_copy_that_citus_rejects_without_a_code_is_inserted_logged_and_counted(
    database_url: str,
) -> None:
    async with handed_over(database_url, copy_rejected_with="XX000") as (pool, job):
        with capture_logs() as log:
            assert await _until_idle([job]) == 80
        assert await pool.fetchval("SELECT count(*) FROM clearing.entry") == 80
    assert [
        (line["sqlstate"], line["since_start"]) for line in log if line["event"] == "clearing_copy_rejected"
    ] == [("XX000", 1), ("XX000", 2)]


@pytest.mark.parametrize("sqlstate", ["XX001", "XX002"])
async def test_corrupt_data_are_reported_and_nothing_is_written_in_another_way(
    database_url: str, sqlstate: str
) -> None:
    async with handed_over(database_url, copy_rejected_with=sqlstate) as (pool, job):
        with pytest.raises(asyncpg.InternalServerError) as raised:
            await job.run_once()
        assert raised.value.sqlstate == sqlstate
        assert await pool.fetchval("SELECT count(*) FROM clearing.entry") == 0
        assert await pool.fetchval("SELECT count(*) FROM gateway.task WHERE exception_at IS NOT NULL") == 0
