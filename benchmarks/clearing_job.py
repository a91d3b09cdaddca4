"""The clearing job as the benchmarks drive it: batches in flight side by side, each in its own transaction.

Owns: how the job is run and its rate measured. Must not know: what it is compared with.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import asyncpg

from benchmarks.clearing_market import NOW
from clearing.captured_session import CapturedSession
from clearing.connection import Connection
from clearing.services import ClearingServices
from gateway.jobs.clearing import IN_FLIGHT

BATCH = 1000


@asynccontextmanager
async def shard_connections(dsn: str) -> AsyncIterator[list[Connection]]:
    """One connection for each batch in flight."""
    async with AsyncExitStack() as stack:
        opened = [await asyncpg.connect(dsn) for _ in range(IN_FLIGHT)]
        for connection in opened:
            stack.push_async_callback(connection.close)
        yield list(opened)


async def clear_all(
    connections: Sequence[Connection],
    service: ClearingServices,
    batches: Iterator[Sequence[CapturedSession]],
    *,
    chain: int = 0,
) -> int:
    """Clear every batch as the gateway's shard does, one in flight on each connection. How many sessions."""
    count = 0

    async def work(connection: Connection) -> None:
        nonlocal count
        for batch in batches:
            await clear(connection, service, batch, chain=chain)
            count += len(batch)

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))
    return count


async def rate_of(
    connections: Sequence[Connection],
    service: ClearingServices,
    sessions: Sequence[CapturedSession],
    *,
    chain: int = 0,
) -> float:
    """Sessions a second, all in memory before: from the first to the last commit."""
    began = time.perf_counter()
    count = await clear_all(connections, service, in_batches(sessions), chain=chain)
    return count / (time.perf_counter() - began)


def in_batches(sessions: Sequence[CapturedSession]) -> Iterator[Sequence[CapturedSession]]:
    """The sessions, a batch at a time."""
    return (sessions[start : start + BATCH] for start in range(0, len(sessions), BATCH))


async def clear(
    connection: Connection, service: ClearingServices, sessions: Sequence[CapturedSession], *, chain: int = 0
) -> None:
    """One batch in a transaction. RuntimeError unless every session of it is cleared."""
    async with connection.transaction():
        batch = await service.sessions.clear_batch(
            connection, sessions, now=NOW, batch_id=uuid4(), chain=chain
        )
    if len(batch.cleared) != len(sessions):
        raise RuntimeError(
            f"{len(batch.uncleared)} of {len(sessions)} sessions were uncleared: {batch.uncleared[:1]}"
        )


def rest_the_collector() -> None:
    """What a worker process does at its start: a batch makes no cycles, so looking for them is wasted."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
