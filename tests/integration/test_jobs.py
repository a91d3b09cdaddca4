"""The worker's jobs on a real PostgreSQL: a failure stops nothing else, nothing is done twice."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from clearing.captured_session import CapturedSession
from clearing.errors import ClearingInvariantViolation
from clearing.sessions.corrections import Correction
from clearing.sessions.service import ClearingBatch
from gateway.database import Connection, Pool
from gateway.ids import new_id
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.task_queue import RETRY, Task
from gateway.jobs.task_runner import TaskJob, is_permanent
from gateway.task_kinds import TaskKind
from gateway.worker import run_jobs
from tests.fakes.parties import add_parties
from tests.fakes.tasks import correction_job


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


async def leave(pool: Pool, kind: str, *, count: int, shard: int | None = None) -> None:
    async with pool.acquire() as connection:
        for _ in range(count):
            identifier = new_id(shard=shard)
            await connection.execute(
                "INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at) VALUES ($1, "
                "$2, $3, $4, '{}', $5)",
                identifier.int & 63,
                identifier,
                kind,
                new_id(shard=identifier.int & 63),
                datetime(2026, 10, 29, tzinfo=UTC),
            )


async def tasks_left(pool: Pool) -> list[Any]:
    async with pool.acquire() as connection:
        return list(await connection.fetch("SELECT * FROM gateway.task ORDER BY id"))


def task_job(pool: Pool, clock: Hands, do: Any) -> TaskJob:
    return TaskJob(
        task_kind=TaskKind.CAPTURE_SESSION, handle=do, pool=pool, clock=clock, lease_s=60, parallel_shards=4
    )


async def test_a_task_that_fails_waits_and_the_others_are_done(pool: Pool) -> None:
    await leave(pool, "capture_session", count=10)
    seen: list[Task] = []

    async def do(task: Task) -> str | None:
        seen.append(task)
        if len(seen) == 3:
            raise RuntimeError("out of paper")
        return None

    assert await task_job(pool, Hands(), do).run_once() == 10
    left = await tasks_left(pool)
    assert [task["last_error"] for task in left] == ["RuntimeError: out of paper"]
    assert left[0]["leased_until"] is None


async def test_a_task_that_is_never_done_becomes_an_exception_with_its_reason(pool: Pool) -> None:
    await leave(pool, "capture_session", count=1)
    clock = Hands()

    async def do(task: Task) -> str | None:
        return "not today"

    job = task_job(pool, clock, do)
    for _ in range((RETRY.max_attempts or 0) + 5):
        await job.run_once()
        clock.at += timedelta(days=1)
    left = await tasks_left(pool)
    assert (left[0]["attempts"], left[0]["last_error"]) == (30, "not today")
    assert left[0]["exception_at"] is not None


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO gateway.task (shard, id, kind, run_at) VALUES (64, gen_random_uuid(), 'x', now())",
        "INSERT INTO gateway.task (shard, id, kind, run_at) VALUES (1, gen_random_uuid(), NULL, now())",
        "SELECT '\"\\u0000\"'::jsonb ->> 0",
        "SELECT 1 / 0",
    ],
)
async def test_a_task_whose_error_cannot_pass_becomes_an_exception_at_its_first_failure(
    pool: Pool, statement: str
) -> None:
    await leave(pool, "capture_session", count=2)
    seen: list[Task] = []

    async def do(task: Task) -> str | None:
        seen.append(task)
        if len(seen) == 1:
            await pool.execute(statement)
        return None

    clock = Hands()
    job = task_job(pool, clock, do)
    assert await job.run_once() == 2
    [left] = await tasks_left(pool)
    assert (left["attempts"], left["id"]) == (1, seen[0].id)
    assert left["exception_at"] is not None
    clock.at += timedelta(days=30)
    assert await job.run_once() == 0


@pytest.mark.parametrize(
    "value",
    ["a NUL \x00 in it", "half a character \ud800", 2**40, ClearingInvariantViolation("1 cent too much")],
)
async def test_a_value_that_cannot_be_stored_and_a_broken_invariant_are_exceptions_at_once(
    pool: Pool, value: Any
) -> None:
    await leave(pool, "capture_session", count=1)

    async def do(task: Task) -> str | None:
        if isinstance(value, Exception):
            raise value
        column = "attempts" if isinstance(value, int) else "last_error"
        await pool.execute(f"UPDATE gateway.task SET {column} = $1", value)  # noqa: S608 - one of two names
        return None

    await task_job(pool, Hands(), do).run_once()
    [left] = await tasks_left(pool)
    assert left["attempts"] == 1
    assert left["exception_at"] is not None
    assert left["last_error"]


async def test_a_reason_that_holds_a_nul_is_kept_without_it(pool: Pool) -> None:
    await leave(pool, "capture_session", count=1)

    async def do(task: Task) -> str | None:
        raise RuntimeError("the peer said \x00 and \ud800")

    await task_job(pool, Hands(), do).run_once()
    [left] = await tasks_left(pool)
    assert left["last_error"] == "RuntimeError: the peer said  and ?"
    assert left["exception_at"] is None


def test_a_race_for_one_row_and_trouble_of_the_database_may_pass() -> None:
    for error in (
        asyncpg.UniqueViolationError("twice"),
        asyncpg.DeadlockDetectedError("ring"),
        asyncpg.SerializationError("again"),
        asyncpg.ConnectionDoesNotExistError("away"),
        TimeoutError(),
        RuntimeError("anything"),
    ):
        assert not is_permanent(error)


async def test_the_kinds_of_tasks_are_those_of_the_table(pool: Pool) -> None:
    check: str = await pool.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'gateway.task'::regclass AND contype = 'c' "
        "AND pg_get_constraintdef(oid) LIKE '%kind%'"
    )
    assert set(re.findall(r"'([a-z_]+)'::text", check)) == {kind.value for kind in TaskKind}


async def test_two_workers_never_lease_the_same_task(pool: Pool) -> None:
    await leave(pool, "capture_session", count=40)
    done: list[Task] = []

    async def do(task: Task) -> str | None:
        done.append(task)
        await asyncio.sleep(0.001)
        return None

    jobs = [task_job(pool, Hands(), do) for _ in range(4)]
    await asyncio.gather(*[job.run_once() for job in jobs])
    assert len(done) == len({task.id for task in done}) == 40


class Books:
    """Clearing at its seam: remembers what it was given, and fails where a test says so."""

    def __init__(self, *, poison: int | None = None) -> None:
        self.poison = poison
        self.batches: list[Sequence[CapturedSession]] = []
        self.refunds: list[str] = []

    async def clear_batch(
        self, connection: Connection, sessions: Sequence[CapturedSession], **named: Any
    ) -> ClearingBatch:
        if any(session.captured_minor == self.poison for session in sessions):
            raise ZeroDivisionError("a session nobody foresaw")
        self.batches.append(sessions)
        return ClearingBatch(
            batch_id=named["batch_id"],
            cleared=[],
            uncleared=[],
            already=[session.session_id for session in sessions],
            hash=None,
        )

    async def refund(
        self, connection: Connection, session_id: Any, *, minor: int, reference: str, now: datetime
    ) -> Correction | None:
        self.refunds.append(reference)
        return None


async def captured(pool: Pool, *, amounts: Sequence[int], state: str = "completed") -> list[Any]:
    """Sessions that were captured, each with its task for clearing."""
    now = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)
    ids = [new_id() for _ in amounts]
    async with pool.acquire() as connection:
        await add_parties(connection, {"DE-ABC": "cpo", "parking": "demand_partner"})
        await connection.execute(
            "INSERT INTO gateway.tariff_snapshot VALUES ($1, '2.2.1', '{}', 'EUR', now()) ON "
            "CONFLICT DO NOTHING",
            "a" * 64,
        )
        for session_id, amount in zip(ids, amounts, strict=True):
            shard, authorization = session_id.int & 63, new_id(shard=session_id.int & 63)
            await connection.execute(
                "INSERT INTO gateway.session (shard, id, demand_partner_id, cpo_id, evse_id, "
                "location_id, tax_jurisdiction, time_zone, currency, tariff_sha256, state, cdr_id, "
                "cdr_version, cdr, price_minor, price_net_minor, energy_wh, ended_at, created_at, "
                "updated_at) VALUES ($1, $2, 'parking', 'DE-ABC', 'E', 'L', 'DE', 'Europe/Berlin', "
                "'EUR', $3, $6, 'C', '2.2.1', '{}', $4, $4, 1, $5, $5, $5)",
                shard,
                session_id,
                "a" * 64,
                amount,
                now,
                state,
            )
            await connection.execute(
                "INSERT INTO gateway.payment_authorization (shard, id, session_id, party_id, "
                "authorization_method, funding, state, hold_minor, currency, psp_payment, created_at, "
                "updated_at) VALUES "
                "($1, $2, $3, 'parking', 'card', 'psp', 'captured', $4, 'EUR', 'pi', $5, $5)",
                shard,
                authorization,
                session_id,
                amount,
                now,
            )
            await connection.execute(
                "INSERT INTO gateway.capture (shard, session_id, id, authorization_id, state, "
                "amount_minor, currency, psp_charge, captured_at, created_at) VALUES ($1, $2, $3, $4, "
                "'succeeded', $5, 'EUR', 'ch', $6, $6)",
                shard,
                session_id,
                new_id(shard=shard),
                authorization,
                amount,
                now,
            )
            await connection.execute(
                "INSERT INTO gateway.task (shard, id, kind, session_id, run_at) VALUES ($1, $2, "
                "'clear_session', $3, $4)",
                shard,
                new_id(shard=shard),
                session_id,
                now,
            )
    return ids


def clearing_job(pool: Pool, books: Books) -> ClearingJob:
    parts: Any = {"pool": pool, "clock": Hands(), "sessions": books}
    return ClearingJob(**parts, batch_size=500, chain=0)


async def test_a_batch_is_cleared_over_all_shards_at_once(pool: Pool) -> None:
    await captured(pool, amounts=range(1, 41))
    books = Books()
    assert await clearing_job(pool, books).run_once() == 40
    assert [len(batch) for batch in books.batches] == [40]
    assert await tasks_left(pool) == []


async def test_a_session_that_clearing_cannot_process_becomes_an_exception_and_the_others_are_cleared(
    pool: Pool,
) -> None:
    await captured(pool, amounts=range(1, 11))
    books = Books(poison=7)
    assert await clearing_job(pool, books).run_once() == 9
    left = await tasks_left(pool)
    assert [task["last_error"] for task in left] == ["ZeroDivisionError: a session nobody foresaw"]
    assert left[0]["exception_at"] is not None
    assert await clearing_job(pool, books).run_once() == 0


async def test_a_refund_waits_for_its_sessions_clearing_and_is_posted_once(pool: Pool) -> None:
    (session_id,) = await captured(pool, amounts=[1000])
    shard, refund = session_id.int & 63, new_id(shard=session_id.int & 63)
    async with pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.refund (shard, id, session_id, state, amount_minor, currency, "
            "reason, created_at, finished_at) VALUES ($1, $2, $3, 'succeeded', 100, 'EUR', "
            "'duplicate', now(), now())",
            shard,
            refund,
            session_id,
        )
        await connection.execute(
            "INSERT INTO gateway.task (shard, id, kind, session_id, payload, run_at) VALUES ($1, "
            "$2, 'book_correction', $3, $4, $5)",
            shard,
            new_id(shard=shard),
            session_id,
            {"kind": "refund", "id": str(refund)},
            Hands().at,
        )
    books, clock = Books(), Hands()
    corrections = correction_job(pool, clock, books)
    await corrections.run_once()
    assert books.refunds == []
    await clearing_job(pool, books).run_once()
    clock.at += timedelta(minutes=1)
    for _ in range(2):
        await corrections.run_once()
    assert books.refunds == [str(refund)]


async def test_a_job_that_fails_is_tried_again_and_stops_no_other() -> None:
    stop = asyncio.Event()

    class Broken:
        name = "broken"

        async def run_once(self) -> int:
            raise RuntimeError("always")

    class Counting:
        name = "counting"
        rounds = 0

        async def run_once(self) -> int:
            self.rounds += 1
            if self.rounds == 5:
                stop.set()
            return 1

    counting = Counting()
    async with asyncio.timeout(5):
        await run_jobs([Broken(), counting], stop=stop, poll_s=0.01)
    assert counting.rounds == 5


@pytest.mark.parametrize("attempts", [1, 5, 20])
async def test_a_stop_lets_the_round_finish(pool: Pool, attempts: int) -> None:
    await leave(pool, "capture_session", count=attempts, shard=3)
    stop = asyncio.Event()

    async def do(task: Task) -> str | None:
        stop.set()
        await asyncio.sleep(0.001)
        return None

    await run_jobs([task_job(pool, Hands(), do)], stop=stop, poll_s=0.01)
    assert await tasks_left(pool) == []
