"""Shards have one owner each: workers come, die, wake too late and stop, and no two of them ever both act."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.database import Pool
from gateway.ids import ALL_SHARDS, new_id
from gateway.jobs import shard_lease_repository as rows
from gateway.jobs import task_queue
from gateway.jobs.job_loops import JobLoops
from gateway.jobs.shard_ownership import LEASE, ShardOwnership
from gateway.jobs.task_queue import Task
from gateway.jobs.task_runner import TaskJob
from gateway.jobs.work_loop import WorkLoop
from gateway.jobs.work_notices import CHANNEL, hear_notices, send_notices
from gateway.task_kinds import TaskKind
from gateway.work_signal import WorkSignal
from tests.simulation.seeded import Hands

SHARDS = (3, 11, 40, 63)
KIND = TaskKind.CAPTURE_SESSION.value
PATIENCE_S = 20.0


async def leave(pool: Pool, shard: int, *, at: datetime) -> None:
    async with pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.task (shard, id, kind, run_at) VALUES ($1, $2, $3, $4)",
            shard,
            new_id(shard=shard),
            KIND,
            at,
        )


async def owners(pool: Pool) -> dict[int, Any]:
    async with pool.acquire() as connection:
        return {lease.shard: lease.owner for lease in await rows.list_leases(connection)}


@dataclass(slots=True, kw_only=True)
class Doing:
    """A worker in the midst of a task: it goes on when it is let, and says then whether it is done."""

    worker: str
    task: Task
    end: asyncio.Future[str | None]


@dataclass(slots=True, kw_only=True)
class OwnedWorker:
    shards: ShardOwnership
    job: TaskJob
    saw: dict[int, int] = field(default_factory=dict)
    acting: asyncio.Task[Any] | None = None


@dataclass(slots=True, kw_only=True)
class Ownership:
    """One play: at most three workers, each step one of them moves, until it waits within a task."""

    pool: Pool
    rng: random.Random
    hands: Hands
    workers: dict[str, OwnedWorker] = field(default_factory=dict)
    doing: list[Doing] = field(default_factory=list)
    fresh: set[tuple[str, int]] = field(default_factory=set)
    standing: dict[int, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def worker(self, name: str) -> OwnedWorker:
        if name not in self.workers:
            shards = ShardOwnership(pool=self.pool, clock=self.hands, name=name, monotonic=lambda: 0.0)
            job = TaskJob(
                pool=self.pool,
                clock=self.hands,
                task_kind=TaskKind.CAPTURE_SESSION,
                handle=partial(self.handle, name),
                lease_s=30,
                parallel_shards=1,
            )
            self.workers[name] = OwnedWorker(shards=shards, job=job)
        return self.workers[name]

    async def handle(self, name: str, task: Task) -> str | None:
        """A task begins: its worker owns the shard if it has just leased it, and nobody else is at it."""
        mine = self.workers[name].saw
        if (name, task.shard) in self.fresh:
            self.fresh.discard((name, task.shard))
            assert self.standing.get(task.shard) == mine[task.shard], "leased by who had lost the shard"
        for other in self.doing:
            if other.task.id == task.id:
                self.count("again")
                assert other.task.leased_until is not None
                assert other.task.leased_until <= self.hands.at, "two workers at one task"
        one = Doing(worker=name, task=task, end=asyncio.get_running_loop().create_future())
        self.doing.append(one)
        self.count("begun")
        try:
            return await one.end
        finally:
            self.doing.remove(one)

    async def still(self) -> None:
        """Wait until every worker that acts waits within a task, or has ended its round."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                acting = [one.acting for one in self.workers.values() if one.acting is not None]
                if sum(not task.done() for task in acting) <= len({one.worker for one in self.doing}):
                    break
                await asyncio.sleep(0.0005)
        for worker in self.workers.values():
            if worker.acting is not None and worker.acting.done():
                worker.acting.result()
                worker.acting, worker.saw = None, {}

    async def check(self) -> None:
        """Whoever is within its row's lease still has the row: nobody who came late has touched it."""
        async with self.pool.acquire() as connection:
            found = {row["id"]: row for row in await connection.fetch("SELECT * FROM gateway.task")}
            self.standing = {one.shard: one.fence for one in await rows.list_leases(connection)}
        for one in self.doing:
            until = one.task.leased_until
            if until is not None and until > self.hands.at:
                row = found.get(one.task.id)
                assert row is not None, "finished by another"
                assert (row["leased_until"], row["attempts"]) == (until, one.task.attempts)

    async def step(self) -> None:
        draw, name = self.rng.random(), self.rng.choice("abc")
        if draw < 0.2:
            await leave(self.pool, self.rng.choice(SHARDS), at=self.hands.at)
        elif draw < 0.35:
            await self.worker(name).shards.renew()
        elif draw < 0.5:
            await self.look(name)
        elif draw < 0.65:
            await self.act(name)
        elif draw < 0.85 and self.doing:
            self.rng.choice(self.doing).end.set_result(None if self.rng.random() < 0.7 else "not yet")
            await asyncio.sleep(0)
        elif draw < 0.93:
            self.hands.advance(timedelta(seconds=self.rng.choice((1, 5, 8, 16, 40))))
        elif draw < 0.96:
            await self.die(name)
        elif name in self.workers and self.workers[name].acting is None:
            await self.workers.pop(name).shards.give_back_all()
        await self.still()
        await self.check()

    async def look(self, name: str) -> None:
        worker = self.worker(name)
        if worker.acting is None:
            worker.saw = {s: f for s, f in worker.shards.fences().items() if s in SHARDS}

    async def act(self, name: str) -> None:
        """On what it saw, however long ago: a process that was paused believes in its leases."""
        worker = self.worker(name)
        if worker.acting is not None or not worker.saw:
            return
        late = [shard for shard, fence in worker.saw.items() if self.standing.get(shard) != fence]
        self.counts["late"] = self.counts.get("late", 0) + len(late)
        self.fresh |= {(name, shard) for shard in worker.saw}
        worker.acting = asyncio.create_task(worker.job.run_shards(dict(worker.saw)))

    async def die(self, name: str) -> None:
        worker = self.workers.pop(name, None)
        if worker is not None and worker.acting is not None:
            self.count("died_within")
            worker.acting.cancel()
            await asyncio.gather(worker.acting, return_exceptions=True)

    async def calm(self) -> None:
        """Nobody dies or sleeps any more: everything is done."""
        self.hands.advance(timedelta(seconds=60))
        for one in list(self.doing):
            one.end.set_result(None)
        for _ in range(60):
            await self.still()
            for name in "abc":
                await self.worker(name).shards.renew()
                await self.check()
                await self.look(name)
                await self.act(name)
                while self.workers[name].acting is not None:
                    await self.still()
                    for one in list(self.doing):
                        one.end.set_result(None)
                    await asyncio.sleep(0)
            self.hands.advance(timedelta(seconds=10))
            if not await self.pool.fetchval("SELECT count(*) FROM gateway.task"):
                break
        assert await self.pool.fetchval("SELECT count(*) FROM gateway.task") == 0
        for _ in range(4):
            self.hands.advance(timedelta(seconds=2))
            for worker in self.workers.values():
                await worker.shards.renew()
        assert sorted(len(worker.shards.fences()) for worker in self.workers.values()) == [21, 21, 22]
        assert set((await owners(self.pool)).values()) == {one.shards.owner for one in self.workers.values()}


@pytest.mark.parametrize("seed", range(12))
async def test_two_owners_never_both_act_whatever_dies_sleeps_or_comes(pool: Pool, seed: int) -> None:
    play = Ownership(pool=pool, rng=random.Random(seed), hands=Hands())
    for _ in range(120):
        await play.step()
    await play.calm()
    assert play.counts["begun"] > 0


async def test_the_plays_reach_late_owners_and_deaths_within_a_task(pool: Pool) -> None:
    """What the rule is about does happen: else the plays above would prove nothing."""
    play = Ownership(pool=pool, rng=random.Random(1), hands=Hands())
    counts = play.counts
    while not (counts.get("late", 0) > 5 and counts.get("died_within") and counts.get("again")):
        await play.step()
    await play.calm()


async def test_a_worker_that_wakes_after_its_lease_went_to_another_takes_nothing(pool: Pool) -> None:
    hands = Hands()
    slept = ShardOwnership(pool=pool, clock=hands, name="slept", monotonic=lambda: 0.0)
    await slept.renew()
    remembered = dict(slept.fences())
    hands.advance(LEASE)
    other = ShardOwnership(pool=pool, clock=hands, name="other")
    await other.renew()
    assert set(other.fences()) == set(ALL_SHARDS)
    await leave(pool, 5, at=hands.at)
    async with pool.acquire() as connection:
        fields = {"kind": TaskKind.CAPTURE_SESSION, "wall_now": hands.at, "lease_s": 60, "batch": 5}
        late = await task_queue.lease(connection, shard=5, fence=remembered[5], **fields)  # type: ignore[arg-type]
        assert late == []
        found = await rows.find_due_work(connection, [5], owner=slept.owner, wall_now=hands.at)
        assert found == {}
        [mine] = await task_queue.lease(connection, shard=5, fence=other.fences()[5], **fields)  # type: ignore[arg-type]
    assert mine.shard == 5
    await slept.renew()
    assert len(slept.fences()) == 0  # nothing is free: it waits until the other gives its surplus back
    await other.renew()
    await slept.renew()
    assert (len(slept.fences()), len(other.fences())) == (32, 32)


async def test_a_late_owners_end_of_a_task_does_not_touch_who_does_it_now(pool: Pool) -> None:
    hands = Hands()
    shards = ShardOwnership(pool=pool, clock=hands, name="one")
    await shards.renew()
    await leave(pool, 5, at=hands.at)
    async with pool.acquire() as connection:

        async def lease() -> Task:
            [task] = await task_queue.lease(
                connection,
                shard=5,
                fence=shards.fences()[5],
                kind=TaskKind.CAPTURE_SESSION,
                wall_now=hands.at,
                lease_s=60,
                batch=5,
            )
            return task

        late = await lease()
        hands.advance(timedelta(seconds=61))
        now = await lease()
        await task_queue.finish(connection, [late])
        await task_queue.postpone(connection, late, reason="too late", wall_now=hands.at)
        await task_queue.mark_exception(connection, late, reason="too late", wall_now=hands.at)
        row = await connection.fetchrow("SELECT * FROM gateway.task")
        assert row is not None
        assert (row["leased_until"], row["last_error"], row["exception_at"]) == (now.leased_until, None, None)
        await task_queue.finish(connection, [now])
        assert await connection.fetchval("SELECT count(*) FROM gateway.task") == 0


async def test_a_process_that_can_not_renew_stops_acting_before_its_leases_end(pool: Pool) -> None:
    seconds = [100.0]
    shards = ShardOwnership(pool=pool, clock=Hands(), monotonic=lambda: seconds[0])
    await shards.renew()
    assert len(shards.fences()) == 64
    seconds[0] += LEASE.total_seconds() - 0.5
    assert shards.fences() == {}


@asynccontextmanager
async def looking(pool: Pool, url: str) -> AsyncIterator[list[float]]:
    """A worker that looks for tasks, with the times at which it did one."""
    did: list[float] = []
    stop, signal, loop = asyncio.Event(), WorkSignal(), asyncio.get_running_loop()

    async def do(_task: Task) -> str | None:
        did.append(loop.time())
        return None

    job = TaskJob(
        pool=pool,
        clock=SystemClock(),
        task_kind=TaskKind.CAPTURE_SESSION,
        handle=do,
        lease_s=60,
        parallel_shards=4,
    )
    shards = ShardOwnership(pool=pool, clock=SystemClock(), signal=signal)
    work = WorkLoop(
        pool=pool, clock=SystemClock(), shards=shards, jobs=[job], loops=JobLoops(), signal=signal
    )
    running: list[Coroutine[Any, Any, None]] = [
        shards.run(stop=stop, loops=JobLoops()),
        work.run(stop=stop),
        hear_notices(url, signal, sender="worker", stop=stop),
    ]
    tasks = [asyncio.create_task(one) for one in running]
    yield did
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*tasks)
        await shards.give_back_all()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def test_an_idle_worker_does_at_once_what_another_process_left_and_said(
    pool: Pool, database_url: str
) -> None:
    """The other process is its own connection and signal here; the worker has looked in vain for long."""
    loop = asyncio.get_running_loop()
    async with looking(pool, database_url) as did:
        await asyncio.sleep(4.5)  # its pauses are two seconds by now
        stop, left = asyncio.Event(), WorkSignal()
        sending = asyncio.create_task(send_notices(pool, left, sender="gateway", stop=stop))
        await leave(pool, 7, at=datetime.now(UTC))
        began = loop.time()
        left.give()
        await until(lambda: bool(did))
        assert did[0] - began < 1.0
        stop.set()
        await sending
    assert set((await owners(pool)).values()) == {None}


async def test_what_nobody_says_is_found_within_the_longest_pause(pool: Pool, database_url: str) -> None:
    loop = asyncio.get_running_loop()
    async with looking(pool, database_url) as did:
        await asyncio.sleep(1.0)
        await leave(pool, 7, at=datetime.now(UTC))
        began = loop.time()
        await until(lambda: bool(did))
        assert did[0] - began < 4.0


async def test_a_listener_whose_connection_ends_listens_again(pool: Pool, database_url: str) -> None:
    stop, signal = asyncio.Event(), WorkSignal()
    listening = asyncio.create_task(hear_notices(database_url, signal, sender="worker", stop=stop))

    async def listeners() -> list[int]:
        query = (
            "SELECT pid FROM pg_stat_activity "
            "WHERE application_name = 'networkcore listener' AND query LIKE 'LISTEN%'"
        )
        return [row["pid"] for row in await pool.fetch(query)]

    async with asyncio.timeout(PATIENCE_S):
        while not await listeners():
            await asyncio.sleep(0.05)
        [first] = await listeners()
        await pool.execute("SELECT pg_terminate_backend($1)", first)
        while not set(await listeners()) - {first}:
            await asyncio.sleep(0.1)
    mark = signal.mark()
    await pool.execute("SELECT pg_notify($1, 'worker')", CHANNEL)  # its own: not heard
    await asyncio.sleep(0.2)
    assert not mark.is_set()
    await pool.execute("SELECT pg_notify($1, 'another')", CHANNEL)
    async with asyncio.timeout(PATIENCE_S):
        await mark.wait()
    stop.set()
    await listening
