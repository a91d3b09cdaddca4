"""Entries are copied in; a batch that meets another writer's entries posts the rest, and each once."""

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.captured_session import CapturedSession
from clearing.services import ClearingServices, build_clearing
from clearing.sessions.service import ClearingBatch
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        await opened.reference_data.import_bundled_rates(connection, now=NOW)
        for party in world.PARTIES.values():
            await opened.reference_data.register_party(connection, party, now=NOW)
        await opened.reference_data.put_agreement(connection, world.agreement(world.NL_CPO), now=NOW)
    return opened


async def test_two_writers_of_overlapping_batches_post_each_session_once(
    pool: Pool, service: ClearingServices
) -> None:
    first = [world.session(number) for number in range(100)]
    second = [world.session(number) for number in range(50, 150)]
    ready = asyncio.Barrier(2)

    async def clear(sessions: list[CapturedSession], chain: int) -> ClearingBatch:
        async with transaction(pool) as connection:
            await connection.execute("SELECT 1")
            await ready.wait()
            batch = await service.sessions.clear_batch(
                connection, sessions, now=NOW, batch_id=uuid4(), chain=chain
            )
            await asyncio.sleep(0.3)  # both hold their entries before either commits
            return batch

    batches = await asyncio.gather(clear(first, 1), clear(second, 2))
    posted = Counter(one.session_id for batch in batches for one in batch.cleared)
    assert posted == Counter({world.session_id(number): 1 for number in range(150)})
    assert sorted(len(batch.already) for batch in batches) == [0, 50]
    async with pool.acquire() as connection:
        report = await audit_ledger(connection, now=NOW)
        assert report.ok, report.findings
        assert await connection.fetchval("SELECT count(*) FROM clearing.entry") == 150


async def test_a_copied_entry_reads_as_an_inserted_one(pool: Pool, service: ClearingServices) -> None:
    async with transaction(pool) as connection:
        many = [world.session(number) for number in range(40)]
        await service.sessions.clear_batch(connection, many, now=NOW, batch_id=uuid4())
        await service.sessions.clear_batch(connection, [world.session(99)], now=NOW, batch_id=uuid4())
        rows = await connection.fetch(
            "SELECT * FROM clearing.entry WHERE subject_id = ANY($1::uuid[]) ORDER BY subject_id",
            [world.session_id(0), world.session_id(99)],
        )
    own = {"shard", "subject_id", "batch_id", "cdr_id", "psp_object_id", "hash"}
    copied, inserted = ({name: row[name] for name in row.keys() if name not in own} for row in rows)  # noqa: SIM118 - a record iterates its values
    assert copied == inserted
