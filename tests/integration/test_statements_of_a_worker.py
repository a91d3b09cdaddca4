"""What a worker asks of the database for many sessions at once: its statements are counted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from clearing.services import ClearingServices
from gateway.database import Pool, register_json
from gateway.jobs.driver_documents import DriverDocumentJob
from tests.fakes import clearing_fixtures as world
from tests.integration.test_driver_documents import NOW, FixedClock, clear, names, service
from tests.integration.test_webhooks import open_stage

__all__ = ["service"]  # the fixture

# Which chains, what is pending; begin, commit; batches, supplies, epochs, originals, numbers, sellers,
# documents, the cursor.
DOCUMENTS = 12
# For whom something is pending, its lease, and the answers: no transaction around any.
DELIVERIES = 3


@dataclass
class Counted:
    """A pool and the statements that were made over it."""

    pool: Pool
    statements: list[str] = field(default_factory=list)

    def pop_all(self) -> list[str]:
        """The statements since the last look, without those that give a connection back."""
        made, self.statements[:] = [one for one in self.statements if "pg_advisory_unlock_all" not in one], []
        return made


@pytest.fixture
async def counted(database_url: str) -> AsyncIterator[Counted]:
    statements: list[str] = []

    async def prepare(connection: Any) -> None:
        await register_json(connection)
        connection.add_query_logger(lambda record: statements.append(record.query))

    async with asyncpg.create_pool(database_url, init=prepare, min_size=2, max_size=2) as pool:
        yield Counted(pool=pool, statements=statements)


async def test_batches_of_few_sessions_are_documented_together(
    counted: Counted, service: ClearingServices
) -> None:
    pool = counted.pool
    job = DriverDocumentJob(pool=pool, clock=FixedClock(NOW))
    made: list[list[str]] = []
    for first in (0, 100, 200):
        for batch in range(5):
            await clear(pool, service, [world.session(first + 10 * batch + one) for one in range(4)])
        counted.pop_all()
        assert await job.run_once() == 1
        made.append(counted.pop_all())
    assert len(made[-1]) <= DOCUMENTS, made[-1]
    assert (await names(pool, 0))[0].endswith("000000001")
    assert (await names(pool, 243))[0].endswith("000000060")
    assert await job.run_once() == 0


async def test_a_correction_waits_for_the_round_after_that_of_its_capture(
    counted: Counted, service: ClearingServices
) -> None:
    pool = counted.pool
    await clear(pool, service, [world.session(1)])
    await clear(pool, service, [world.session(2)])
    async with pool.acquire() as connection, connection.transaction():
        await service.sessions.refund(connection, world.session_id(1), minor=605, reference="re_1", now=NOW)
    await clear(pool, service, [world.session(3)])
    job, issued = DriverDocumentJob(pool=pool, clock=FixedClock(NOW)), []
    while await job.run_once():
        found = await pool.fetch("SELECT session_id FROM clearing.driver_document")
        issued.append(
            [[row["session_id"] for row in found].count(world.session_id(one)) for one in (1, 2, 3)]
        )
    assert issued == [[1, 1, 0], [2, 1, 0], [2, 1, 1]]


async def test_a_round_of_deliveries_is_three_statements_for_all_shards(counted: Counted, pool: Pool) -> None:
    async with open_stage(pool) as stage:
        await stage.listen("/a")
        await stage.listen("/b")
        stage.job.delivery.pool = counted.pool
        for _ in range(2):
            for _ in range(4):
                await stage.happen()
            stage.job.delivery.activate(range(64))
            counted.pop_all()
            async with asyncio.TaskGroup() as group:
                started = await stage.job.delivery.start(group, fences=await _fences(pool))
            await stage.job.delivery.record()
            made = counted.pop_all()
        assert started == 8
        assert len(made) == DELIVERIES, made
        assert (len(stage.receiver.got["/a"]), len(stage.receiver.got["/b"])) == (8, 8)
        assert not stage.job.delivery.is_full


async def _fences(pool: Pool) -> dict[int, int]:
    await pool.execute(
        "INSERT INTO gateway.shard_lease (shard, owner, until, fence) "
        "SELECT shard, gen_random_uuid(), now() + interval '1 minute', 1 FROM generate_series(0, 63) shard "
        "ON CONFLICT DO NOTHING"
    )
    return {
        row["shard"]: row["fence"] for row in await pool.fetch("SELECT shard, fence FROM gateway.shard_lease")
    }
