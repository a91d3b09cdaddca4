"""The end of a fault run: what was put off is made due, and what is under way is left alone."""

from datetime import timedelta
from uuid import UUID

from gateway.clock import SystemClock
from gateway.database import Pool
from gateway.ids import new_id, shard_of
from tests.chaos.deferred import bring_forward, list_waiting

_ADD = """
    INSERT INTO gateway.task (shard, id, kind, payload, run_at, attempts, leased_until, last_error)
    VALUES ($1, $2, 'clear_session', '{}', $3, $4, $5, 'the PSP was away')
"""


async def test_what_was_put_off_is_due_at_once_and_a_lease_stays(pool: Pool, database_url: str) -> None:
    now = SystemClock().wall_now()
    later = now + timedelta(hours=1)

    async def add(attempts: int, *, leased: bool = False) -> UUID:
        one = new_id()
        await pool.execute(_ADD, shard_of(one), one, later, attempts, later if leased else None)
        return one

    assert await list_waiting(database_url) == []
    put_off, fresh, leased = await add(3), await add(0), await add(3, leased=True)
    assert await bring_forward(database_url) == 1
    assert await bring_forward(database_url) == 0
    rows = await pool.fetch("SELECT id, run_at FROM gateway.task")
    assert {row["id"]: row["run_at"] > now + timedelta(minutes=1) for row in rows} == {
        put_off: False,
        fresh: True,
        leased: True,
    }
    (line,) = await list_waiting(database_url)
    assert line.startswith("3 tasks clear_session wait until")
    assert "the PSP was away" in line


async def test_a_database_that_is_away_ends_no_run() -> None:
    nowhere = "postgresql://app@127.0.0.1:1/networkcore"
    assert await bring_forward(nowhere) == 0
    assert await list_waiting(nowhere) == ["the database does not answer"]
