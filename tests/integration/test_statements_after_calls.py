"""What a session costs the database after its calls: its events and deliveries, counted."""

from collections.abc import AsyncIterator

import pytest

from gateway.database import Connection, create_pool
from gateway.ids import format_id, new_id, shard_of
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent
from tests.integration.test_webhooks import Stage, open_stage

SESSIONS = 128
KINDS = (
    EventType.AUTHORIZATION_AUTHORIZED,
    EventType.SESSION_COMPLETED,
    EventType.CAPTURE_SUCCEEDED,
    EventType.SESSION_CLEARED,
)
# BEGIN, SET and COMMIT left out. A round asks for shards with new events and with pending deliveries, then
# for endpoints, then leases and records, for all sessions together.
PER_SESSION = 1.5


@pytest.fixture
async def counted(database_url: str) -> AsyncIterator[tuple[Stage, list[str]]]:
    pool = await create_pool(database_url, min_size=1, max_size=1, application="test")
    statements: list[str] = []
    async with pool.acquire() as connection:
        connection.add_query_logger(lambda query: statements.append(query.query))
    async with open_stage(pool, timeout_seconds=30, per_endpoint=64, fresh=512) as stage:
        yield stage, statements
    await pool.close()


async def happen(connection: Connection, stage: Stage) -> None:
    """Each session's events, of both its parties, in the transactions in which phases write them."""
    sessions = [new_id() for _ in range(SESSIONS)]
    for kind in KINDS:
        for session in sessions:
            new = [
                NewEvent(
                    type=kind,
                    party_id=party,
                    object_id=format_id("ses", session),
                    data={"id": format_id("ses", session), "note": "x" * 400},
                    shard=shard_of(session),
                )
                for party in ("parking", "superapp")
            ]
            await events.record(connection, new, now=stage.api.clock.now())


async def test_the_events_of_many_sessions_are_delivered_by_few_statements(
    counted: tuple[Stage, list[str]],
) -> None:
    stage, statements = counted
    await stage.listen("/app")
    await stage.listen("/operator", party="superapp")
    pool = stage.api.services.pool
    statements.clear()
    async with pool.acquire() as connection:
        await happen(connection, stage)
    assert len(statements) == SESSIONS * len(KINDS), "one for each phase: its events and their deliveries"
    statements.clear()
    await stage.settle(rounds=60)
    made = [one for one in statements if not one.startswith(("BEGIN", "COMMIT", "SET"))]
    assert len(stage.receiver.got["/app"]) == len(stage.receiver.got["/operator"]) == SESSIONS * len(KINDS)
    assert await pool.fetchval("SELECT count(*) FROM gateway.delivery WHERE state = 'pending'") == 0
    assert len(made) / SESSIONS <= PER_SESSION, made
    assert not [one for one in made if "SET fanned_out" in one], "no filter: nothing is left to fan out"


async def test_an_object_for_two_parties_is_stored_once(counted: tuple[Stage, list[str]]) -> None:
    stage, _ = counted
    pool = stage.api.services.pool
    async with pool.acquire() as connection:
        await happen(connection, stage)
    held, named = await pool.fetchrow(
        "SELECT count(data) AS held, count(data_of) AS named FROM gateway.event"
    )
    assert held == named == SESSIONS * len(KINDS)
