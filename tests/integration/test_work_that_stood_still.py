"""Faults after which work once stood still, came late or was forgotten: each keeps its test."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web

from gateway.database import Pool
from gateway.ids import format_id, new_id, parse_id, shard_of
from gateway.jobs import work_notices
from gateway.jobs.job_loops import JobLoops
from gateway.jobs.shard_job import own_shards
from gateway.jobs.task_runner import TaskJob
from gateway.jobs.webhook_delivery import EventFanOutJob
from gateway.task_kinds import TaskKind
from gateway.webhooks import delivery as delivery_module
from gateway.webhooks import delivery_queue, events
from gateway.webhooks.delivery_queue import Attempt
from gateway.webhooks.event_filter import EventFilter
from gateway.webhooks.events import EventType, NewEvent
from gateway.work_signal import WorkSignal
from tests.integration.test_jobs import Hands, tasks_left
from tests.integration.test_webhooks import Stage, open_stage

PATIENCE_S = 20.0


@pytest.fixture
async def stage(pool: Pool) -> AsyncIterator[Stage]:
    async with open_stage(pool) as opened:
        yield opened


async def happen_in(stage: Stage, shard: int) -> str:
    """A session's event in a shard; the session's name."""
    session = new_id(shard=shard)
    event = NewEvent(
        type=EventType.SESSION_COMPLETED,
        party_id="parking",
        object_id=format_id("ses", session),
        data={},
        shard=shard_of(session),
    )
    async with stage.api.services.pool.acquire() as connection:
        await events.record(connection, [event], now=stage.api.clock.now())
    return event.object_id


async def test_an_answer_that_comes_while_its_shard_is_queried_has_it_queried_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request at once: the second event waits for the answer to the first, and must not wait longer."""
    async with open_stage(pool, per_endpoint=1) as stage:
        delivery = stage.job.delivery
        await stage.listen("/in")
        stage.receiver.answers["/in"].append(0.3)
        await happen_in(stage, 7)
        await happen_in(stage, 7)
        fences = (await own_shards(pool, stage.api.clock)).fences
        lease = delivery_queue.claim
        answered = asyncio.Event()

        async def claim_slowly(connection: Any, **given: Any) -> Any:
            found = await lease(connection, **given)
            if not given["quotas"]:
                await answered.wait()
            return found

        monkeypatch.setattr(delivery_queue, "claim", claim_slowly)
        send = delivery._send

        async def note(*given: Any) -> None:
            await send(*given)
            answered.set()

        monkeypatch.setattr(type(delivery), "_send", lambda _self, *given: note(*given))
        started = []
        async with asyncio.TaskGroup() as group:
            for _ in range(2):  # the answer to the first comes within the second query
                delivery.activate([7])
                started.append(await delivery.start(group, fences=fences))
            await delivery.record()
            started.append(await delivery.start(group, fences=fences))
        assert started == [1, 0, 1]
        assert len(stage.receiver.got["/in"]) == 2


async def test_a_delivery_that_was_written_while_its_endpoint_was_deleted_does_not_wait_for_ever(
    pool: Pool, stage: Stage
) -> None:
    """The transaction of the event began before the endpoint was deleted, and ends after it."""
    made = await stage.listen("/in")
    session = new_id()
    event = NewEvent(
        type=EventType.SESSION_COMPLETED,
        party_id="parking",
        object_id=format_id("ses", session),
        data={},
        shard=shard_of(session),
    )
    async with pool.acquire() as connection:
        async with connection.transaction():
            await events.record(connection, [event], now=stage.api.clock.now())
            assert (await stage.api.call("DELETE", f"/v1/webhook-endpoints/{made['id']}")).status == 204
        await stage.settle()
        assert await connection.fetch("SELECT state FROM gateway.delivery") == [("abandoned",)]
    assert stage.receiver.got["/in"] == []


async def test_an_outcome_that_can_not_be_stored_holds_up_no_other(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await stage.listen("/bad"), await stage.listen("/good")
    keep = delivery_queue.record_attempts
    endpoint = parse_id("whe", bad["id"])

    async def rejecting(connection: Any, attempts: Sequence[Attempt]) -> set[int]:
        if any(one.endpoint_id == endpoint and one.answer for one in attempts):
            raise asyncpg.DataError("an answer that can't be stored")
        return await keep(connection, attempts)

    monkeypatch.setattr(delivery_queue, "record_attempts", rejecting)
    stage.receiver.answers["/bad"].append(web.Response(status=200, text="odd"))
    await stage.happen()
    await stage.settle()
    assert [one["state"] for one in await stage.log(good)] == ["delivered"]
    assert [one["state"] for one in await stage.log(bad)] == ["delivered"]


async def test_a_worker_that_stops_while_nothing_can_be_recorded_ends_in_order(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it can't record is sent again by the next one; an error would cancel what the others do."""
    made = await stage.listen("/in")
    await stage.happen()
    pool = stage.api.services.pool
    fences = (await own_shards(pool, stage.api.clock)).fences
    stop = asyncio.Event()
    keep = delivery_queue.record_attempts

    async def away(_connection: Any, _attempts: Any) -> set[int]:
        raise ConnectionResetError("the database is away")

    stage.receiver.answers["/in"].append(0.2)
    monkeypatch.setattr(delivery_queue, "record_attempts", away)
    stage.job.delivery.activate(fences)
    running = asyncio.create_task(
        stage.job.run(stop=stop, fences=lambda: fences, poll_s=1.0, loops=JobLoops())
    )
    async with asyncio.timeout(PATIENCE_S):
        while not stage.receiver.got["/in"]:
            await asyncio.sleep(0.01)
        stop.set()
        await running
    monkeypatch.setattr(delivery_queue, "record_attempts", keep)
    assert [one["state"] for one in await stage.log(made)] == ["pending"]


async def test_events_of_one_shard_that_can_not_be_handed_out_hold_up_no_other_shard(
    pool: Pool, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await stage.api.call(
        "POST",
        "/v1/webhook-endpoints",
        {"url": stage.receiver.url("/in"), "events": ["*"], "filter": {"metadata": {"tenant": "a"}}},
        party="parking",
    )
    assert made.status == 201, made.text
    bad = await happen_in(stage, 3)
    await happen_in(stage, 5)
    allows = EventFilter.allows

    def failing(self: EventFilter, event: Any) -> bool:
        if event.session == bad:
            raise TypeError("facts of a form that no filter knows")
        return allows(self, event)

    monkeypatch.setattr(EventFilter, "allows", failing)
    job = EventFanOutJob(pool=pool, clock=stage.api.clock, delivery=stage.job.delivery)
    with pytest.raises(TypeError):
        await job.run_once()
    left = await pool.fetch("SELECT shard FROM gateway.event WHERE NOT fanned_out")
    assert [row["shard"] for row in left] == [3]


async def test_a_listener_that_is_rejected_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a pooler that knows no LISTEN: the worker looks by itself, and goes on."""
    asked = asyncio.Event()

    @asynccontextmanager
    async def rejecting(_dsn: str, **_options: Any) -> AsyncIterator[Any]:
        asked.set()
        raise asyncpg.FeatureNotSupportedError("LISTEN is not supported")
        yield

    monkeypatch.setattr(work_notices, "connect", rejecting)
    stop = asyncio.Event()
    listening = asyncio.create_task(
        work_notices.hear_notices("postgresql://pooler", WorkSignal(), sender="worker", stop=stop)
    )
    async with asyncio.timeout(PATIENCE_S):
        await asked.wait()
        await asyncio.sleep(0.05)
        assert not listening.done()
        stop.set()
        await listening


async def test_slow_tasks_of_one_shard_hold_up_those_of_the_others_for_half_a_lease(pool: Pool) -> None:
    """What a round leased and did not begin is due again at once, as if it had never been leased."""
    clock = Hands()
    async with pool.acquire() as connection:
        for _ in range(10):
            await connection.execute(
                "INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at) "
                "VALUES (9, $1, 'capture_session', $2, '{}', $3)",
                new_id(shard=9),
                new_id(shard=9),
                clock.wall_now() - timedelta(minutes=1),
            )
    began: list[UUID] = []

    async def do(task: Any) -> str | None:
        began.append(task.id)
        await asyncio.sleep(0.4)
        return None

    job = TaskJob(
        task_kind=TaskKind.CAPTURE_SESSION, handle=do, pool=pool, clock=clock, lease_s=2, parallel_shards=4
    )
    done: int | Mapping[int, int] = await job.run_once()
    assert 2 <= len(began) <= 4
    assert done == len(began)
    left = await tasks_left(pool)
    assert [(task["leased_until"], task["attempts"]) for task in left] == [(None, 0)] * (10 - len(began))
    await job.run_once()
    assert len(set(began)) == len(began) > 4


async def test_endpoints_that_a_full_page_left_are_queried_again_after_the_last_page(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Capacity for one of the two endpoints of the first page; the last page has one and leaves capacity."""
    monkeypatch.setattr(delivery_module, "_ENDPOINTS", 2)
    monkeypatch.setattr(delivery_module, "_MIN_ENDPOINTS", 2)
    async with open_stage(pool, fresh=2) as stage:
        delivery = stage.job.delivery
        for number in range(3):
            await stage.listen(f"/{number}")
        await happen_in(stage, 7)
        fences = (await own_shards(pool, stage.api.clock)).fences
        delivery.activate([7])
        another = new_id()
        call = delivery._pressure.start(another, at=asyncio.get_running_loop().time(), probe=False)
        started = []
        for _ in range(3):
            async with asyncio.TaskGroup() as group:
                started.append(await delivery.start(group, fences=fences))
            await delivery.record()
            if call:
                delivery._pressure.release(another, call)
                call = 0
        assert started == [1, 1, 1]
