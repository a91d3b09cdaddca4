"""The worker's lanes on a real PostgreSQL: nothing at fault stops anything else, nothing is done twice."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clearing.results import ClearingBatch, Correction
from clearing.session import CapturedSession
from gateway.database import Connection, Pool
from gateway.ids import new_id
from gateway.lanes.clearing_lane import ClearingLane
from gateway.lanes.correction_lane import CorrectionLane
from gateway.lanes.errands import ErrandLane
from gateway.lanes.tasks import MAX_ATTEMPTS, Task
from gateway.worker import run_lanes


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


async def leave(pool: Pool, kind: str, *, count: int, lane: int | None = None) -> None:
    async with pool.acquire() as connection:
        for _ in range(count):
            identifier = new_id(lane=lane)
            await connection.execute(
                "INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at) VALUES ($1, "
                "$2, $3, $4, '{}', $5)",
                identifier.int & 63,
                identifier,
                kind,
                new_id(lane=identifier.int & 63),
                datetime(2026, 10, 29, tzinfo=UTC),
            )


async def tasks_left(pool: Pool) -> list[Any]:
    async with pool.acquire() as connection:
        return list(await connection.fetch("SELECT * FROM gateway.task ORDER BY id"))


def errand_lane(pool: Pool, clock: Hands, do: Any) -> ErrandLane:
    return ErrandLane(name="capture", pool=pool, clock=clock, lease_s=60, at_once=4, do=do)


async def test_an_errand_that_fails_waits_and_the_others_are_done(pool: Pool) -> None:
    await leave(pool, "capture", count=10)
    seen: list[Task] = []

    async def do(task: Task) -> str | None:
        seen.append(task)
        if len(seen) == 3:
            raise RuntimeError("out of paper")
        return None

    assert await errand_lane(pool, Hands(), do).run_once() == 10
    left = await tasks_left(pool)
    assert [task["last_error"] for task in left] == ["RuntimeError: out of paper"]
    assert left[0]["leased_until"] is None


async def test_an_errand_that_can_never_be_done_is_parked_with_its_reason(pool: Pool) -> None:
    await leave(pool, "capture", count=1)
    clock = Hands()

    async def do(task: Task) -> str | None:
        return "not today"

    lane = errand_lane(pool, clock, do)
    for _ in range(MAX_ATTEMPTS + 5):
        await lane.run_once()
        clock.at += timedelta(days=1)
    left = await tasks_left(pool)
    assert (left[0]["attempts"], left[0]["last_error"]) == (MAX_ATTEMPTS, "not today")
    assert left[0]["parked_at"] is not None


async def test_two_workers_never_hold_the_same_errand(pool: Pool) -> None:
    await leave(pool, "capture", count=40)
    done: list[Task] = []

    async def do(task: Task) -> str | None:
        done.append(task)
        await asyncio.sleep(0.001)
        return None

    lanes = [errand_lane(pool, Hands(), do) for _ in range(4)]
    await asyncio.gather(*[lane.run_once() for lane in lanes])
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
            parked=[],
            already=[session.session_id for session in sessions],
            hash=None,
        )

    async def refund_session(
        self, connection: Connection, session_id: Any, *, minor: int, reference: str, now: datetime
    ) -> Correction | None:
        self.refunds.append(reference)
        return None


async def captured(pool: Pool, *, amounts: Sequence[int], state: str = "completed") -> list[Any]:
    """Sessions that were captured, each with its errand for clearing."""
    now = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)
    ids = [new_id() for _ in amounts]
    async with pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.party (id, kind, name, created_at) VALUES ('DE-ABC', 'cpo', 'c', "
            "now()), ('parking', 'demand_partner', 'p', now()) ON CONFLICT DO NOTHING"
        )
        await connection.execute(
            "INSERT INTO gateway.tariff_snapshot VALUES ($1, '2.2.1', '{}', 'EUR', now()) ON "
            "CONFLICT DO NOTHING",
            "a" * 64,
        )
        for session_id, amount in zip(ids, amounts, strict=True):
            lane, authorization = session_id.int & 63, new_id(lane=session_id.int & 63)
            await connection.execute(
                "INSERT INTO gateway.session (lane, id, demand_partner_id, cpo_id, evse_id, "
                "location_id, territory, time_zone, currency, tariff_sha256, state, cdr_id, "
                "cdr_version, cdr, price_minor, price_net_minor, energy_wh, ended_at, created_at, "
                "updated_at) VALUES ($1, $2, 'parking', 'DE-ABC', 'E', 'L', 'DE', 'Europe/Berlin', "
                "'EUR', $3, $6, 'C', '2.2.1', '{}', $4, $4, 1, $5, $5, $5)",
                lane, session_id, "a" * 64, amount, now, state,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO gateway.payment_authorization (lane, id, session_id, party_id, rail, "
                "funding, state, hold_minor, currency, psp_payment, created_at, updated_at) VALUES "
                "($1, $2, $3, 'parking', 'card', 'psp', 'captured', $4, 'EUR', 'pi', $5, $5)",
                lane, authorization, session_id, amount, now,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO gateway.capture (lane, session_id, id, authorization_id, state, "
                "amount_minor, currency, psp_charge, captured_at, created_at) VALUES ($1, $2, $3, $4, "
                "'succeeded', $5, 'EUR', 'ch', $6, $6)",
                lane, session_id, new_id(lane=lane), authorization, amount, now,
            )  # fmt: skip
            await connection.execute(
                "INSERT INTO gateway.task (lane, id, kind, session_id, run_at) VALUES ($1, $2, "
                "'clear', $3, $4)",
                lane, new_id(lane=lane), session_id, now,
            )  # fmt: skip
    return ids


def clearing_lane(pool: Pool, books: Books) -> ClearingLane:
    parts: Any = {"pool": pool, "clock": Hands(), "clearing": books}
    return ClearingLane(**parts, batch_size=500, chain=0)


async def test_a_batch_is_cleared_over_all_lanes_at_once(pool: Pool) -> None:
    await captured(pool, amounts=range(1, 41))
    books = Books()
    assert await clearing_lane(pool, books).run_once() == 40
    assert [len(batch) for batch in books.batches] == [40]
    assert await tasks_left(pool) == []


async def test_a_session_that_clearing_does_not_survive_is_parked_and_the_others_are_cleared(
    pool: Pool,
) -> None:
    await captured(pool, amounts=range(1, 11))
    books = Books(poison=7)
    assert await clearing_lane(pool, books).run_once() == 9
    left = await tasks_left(pool)
    assert [task["last_error"] for task in left] == ["ZeroDivisionError: a session nobody foresaw"]
    assert left[0]["parked_at"] is not None
    assert await clearing_lane(pool, books).run_once() == 0


async def test_a_refund_waits_for_its_sessions_clearing_and_is_posted_once(pool: Pool) -> None:
    (session_id,) = await captured(pool, amounts=[1000])
    lane, refund = session_id.int & 63, new_id(lane=session_id.int & 63)
    async with pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.refund (lane, id, session_id, state, amount_minor, currency, "
            "reason, created_at, finished_at) VALUES ($1, $2, $3, 'succeeded', 100, 'EUR', "
            "'duplicate', now(), now())",
            lane, refund, session_id,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO gateway.task (lane, id, kind, session_id, payload, run_at) VALUES ($1, "
            "$2, 'correct', $3, $4, $5)",
            lane, new_id(lane=lane), session_id, {"kind": "refund", "id": str(refund)}, Hands().at,
        )  # fmt: skip
    books, clock = Books(), Hands()
    corrections = CorrectionLane(pool=pool, clock=clock, clearing=books)  # type: ignore[arg-type]
    await corrections.run_once()
    assert books.refunds == []
    await clearing_lane(pool, books).run_once()
    clock.at += timedelta(minutes=1)
    for _ in range(2):
        await corrections.run_once()
    assert books.refunds == [str(refund)]


async def test_a_lane_that_fails_is_tried_again_and_stops_nobody() -> None:
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
        await run_lanes([Broken(), counting], stop=stop, poll_s=0.01)
    assert counting.rounds == 5


@pytest.mark.parametrize("attempts", [1, 5, 20])
async def test_a_stop_lets_the_round_finish(pool: Pool, attempts: int) -> None:
    await leave(pool, "capture", count=attempts, lane=3)
    stop = asyncio.Event()

    async def do(task: Task) -> str | None:
        stop.set()
        await asyncio.sleep(0.001)
        return None

    await run_lanes([errand_lane(pool, Hands(), do)], stop=stop, poll_s=0.01)
    assert await tasks_left(pool) == []
