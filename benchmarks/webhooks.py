"""Outbound webhooks: signed deliveries a second to a local receiver, and what a dead one costs the others.

The receiver is a process of its own; PostgreSQL is durable, as in production. The baseline posts the same
bytes with the same client and the same concurrency, without signing, order or a database.
"""

import asyncio
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import aiohttp
from aiohttp import web

from benchmarks.table import Row
from gateway import outbound
from gateway.api_versions import NEWEST
from gateway.clock import SystemClock
from gateway.database import Pool, create_pool
from gateway.ids import format_id, new_id
from gateway.jobs.shard_ownership import ShardOwnership
from gateway.jobs.shard_worker import ShardWorker
from gateway.jobs.webhook_delivery import WebhookDeliveryJob
from gateway.migrations import migrate
from gateway.partners import party_repository
from gateway.partners.party_repository import PartyRecord
from gateway.webhooks import events, repository
from gateway.webhooks.delivery import WebhookDelivery
from gateway.webhooks.events import EventType, NewEvent
from gateway.webhooks.repository import NewSigningKey, SealedHeaders, SecretRecord
from gateway.webhooks.signing import new_secret
from sandbox.postgres.embedded import EmbeddedPostgres

GOAL_PER_SECOND = 1500.0
GOAL_DELAY_RATIO = 1.2
CONCURRENCY = 64
RATE, AT_A_TIME = 200, 4  # events a second, and how many of them in one transaction
BODY = {
    "object": "session",
    "state": "completed",
    "price": {"incl_vat": 1190, "excl_vat": 1000},
    "note": "x" * 400,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A database, a receiver's address and a client."""

    pool: Pool
    client: aiohttp.ClientSession
    url: str


def run(*, quick: bool) -> list[Row]:
    return asyncio.run(_run(quick=quick))


async def _run(*, quick: bool) -> list[Row]:
    count, endpoints = (1_000, 20) if quick else (10_000, 100)
    rounds, seconds = (2, 2) if quick else (5, 4)
    async with _open() as bench:
        bare = await _bare(bench, count)
        delivered = await _deliver(bench, count=count, endpoints=endpoints)
        alone, beside = await _paired(bench, endpoints=endpoints, rounds=rounds, seconds=seconds)
    return [
        Row(
            name="signed deliveries",
            value=delivered,
            unit="/s",
            baseline_name="bare client loop",
            baseline_value=bare,
            ratio=delivered / bare,
            goal=GOAL_PER_SECOND,
        ),
        Row(
            name="p99 delay of the others, 1 % of receivers dead",
            value=beside,
            unit="ms",
            baseline_name="none dead",
            baseline_value=alone,
            ratio=beside / alone,
            goal=alone * GOAL_DELAY_RATIO,
        ),
    ]


async def _paired(bench: Bench, *, endpoints: int, rounds: int, seconds: int) -> tuple[float, float]:
    """Medians over rounds of the living receivers' p99.

    None dead, and some that accept a connection and never answer.

    Each round sends the same events both ways, one after the other and in turns first, so that what else the
    machine does falls on both.
    """
    delays: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds):
        for dead in (False, True) if number % 2 else (True, False):
            count = max(1, endpoints // 100) if dead else 0
            delays[dead].append(await _delays(bench, endpoints=endpoints, dead=count, seconds=seconds))
    return statistics.median(delays[False]), statistics.median(delays[True])


async def _bare(bench: Bench, count: int) -> float:
    """The client alone: the same bytes, nothing else."""
    body = b'{"id":"evt_0","data":' + repr(BODY).replace("'", '"').encode() + b"}"
    slots = asyncio.Semaphore(CONCURRENCY)

    async def post() -> None:
        async with slots, bench.client.post(bench.url, data=body) as response:
            await response.read()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(post())
    return count / (time.perf_counter() - began)


async def _deliver(bench: Bench, *, count: int, endpoints: int) -> float:
    """A backlog, worked off by the job."""
    await _listen(bench, [bench.url] * endpoints)
    await _happen(bench.pool, count=count, endpoints=endpoints)
    job = WebhookDeliveryJob(
        delivery=WebhookDelivery(pool=bench.pool, client=bench.client, clock=SystemClock())
    )
    stop = asyncio.Event()
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(_worker(bench, job).run(stop=stop))
        while await _pending(bench.pool):  # noqa: ASYNC110 - the database is what is watched
            await asyncio.sleep(0.1)
        elapsed = time.perf_counter() - began
        stop.set()
    return count / elapsed


def _worker(bench: Bench, job: WebhookDeliveryJob) -> ShardWorker:
    return ShardWorker(shards=ShardOwnership(pool=bench.pool, clock=SystemClock()), webhooks=job)


async def _delays(bench: Bench, *, endpoints: int, dead: int, seconds: int) -> float:
    """99th percentile from event to acknowledgment at a steady rate, at living receivers, in ms."""
    async with bench.pool.acquire() as connection:
        await connection.execute("TRUNCATE gateway.delivery, gateway.event, gateway.webhook_endpoint")
    silent: list[asyncio.StreamWriter] = []

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A receiver that has died without its machine: it accepts the connection and never answers."""
        silent.append(writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    silent_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/dead"
    await _listen(bench, [silent_url] * dead + [bench.url] * (endpoints - dead))
    client = outbound.session(allow_private=True)
    job = WebhookDeliveryJob(delivery=WebhookDelivery(pool=bench.pool, client=client, clock=SystemClock()))
    stop = asyncio.Event()
    async with client, asyncio.TaskGroup() as group:
        group.create_task(_worker(bench, job).run(stop=stop))
        for _ in range(seconds * RATE // AT_A_TIME):
            await _happen(bench.pool, count=AT_A_TIME, endpoints=endpoints)
            await asyncio.sleep(AT_A_TIME / RATE)
        while await _pending(bench.pool, dead_url=silent_url):  # noqa: ASYNC110 - the database is what is watched
            await asyncio.sleep(0.05)
        stop.set()
        server.close()
        for writer in silent:
            writer.close()
    async with bench.pool.acquire() as connection:
        delay = await connection.fetchval(
            "SELECT percentile_cont(0.99) WITHIN GROUP "
            "(ORDER BY extract(epoch FROM d.delivered_at - e.created_at)) "
            "FROM gateway.delivery d JOIN gateway.event e ON e.shard = d.shard AND e.id = d.event_id "
            "WHERE d.state = 'delivered'"
        )
    return float(delay) * 1000


async def _listen(bench: Bench, urls: list[str]) -> None:
    """One party and one endpoint for each address."""
    now = datetime.now(UTC)
    async with bench.pool.acquire() as connection:
        for number, url in enumerate(urls):
            party = PartyRecord(id=f"party-{number}", kind="demand_partner", created_at=now)
            await party_repository.add_party(
                connection, party
            )  # known from an earlier round: nothing changes
            await repository.add_endpoint(
                connection,
                endpoint_id=new_id(),
                party_id=party.id,
                url=url,
                event_types=["*"],
                key=NewSigningKey(
                    signature="v1", secret=SecretRecord(key=None, content=new_secret()), public_key=None
                ),
                headers=SealedHeaders(),
                api_version=NEWEST,
                now=now,
            )


async def _happen(pool: Pool, *, count: int, endpoints: int) -> None:
    new_events = []
    for number in range(count):
        identifier = new_id()
        new_events.append(
            NewEvent(
                type=EventType.SESSION_COMPLETED,
                party_id=f"party-{number % endpoints}",
                object_id=format_id("ses", identifier),
                data=BODY,
                shard=identifier.int % 64,
            )
        )
    async with pool.acquire() as connection:
        await events.record(connection, new_events, now=datetime.now(UTC))


async def _pending(pool: Pool, *, dead_url: str = "") -> bool:
    """Whether a delivery is pending, those to dead receivers excepted."""
    async with pool.acquire() as connection:
        found = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM gateway.delivery d "
            "JOIN gateway.webhook_endpoint w ON w.id = d.endpoint_id "
            "WHERE d.state = 'pending' AND w.url <> $1) "
            "OR EXISTS (SELECT FROM gateway.event WHERE NOT fanned_out)",
            dead_url,
        )
    return bool(found)


@asynccontextmanager
async def _open() -> AsyncIterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    folder.chmod(0o755)  # noqa: ASYNC240 - before anything runs
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=_receive, args=(theirs,), daemon=True)
    receiver.start()
    try:
        with EmbeddedPostgres(folder / "postgres") as server:
            await migrate(server.dsn)
            pool = await create_pool(server.dsn, min_size=2, max_size=8, application="benchmark")
            client = outbound.session(allow_private=True)
            url = await asyncio.to_thread(ours.recv)
            yield Bench(pool=pool, client=client, url=url)
            await client.close()
            await pool.close()
    finally:
        receiver.terminate()
        receiver.join()
        shutil.rmtree(folder, ignore_errors=True)


def _receive(pipe: Pipe) -> None:
    """The receiver's process: accepts everything."""

    async def serve() -> None:
        async def accept(request: web.Request) -> web.Response:
            await request.read()
            return web.Response(status=204)

        app = web.Application()
        app.router.add_post("/", accept)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await asyncio.Event().wait()

    asyncio.run(serve())
