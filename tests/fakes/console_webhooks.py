"""Deliveries with attempts, as a worker leaves them."""

from gateway.database import Pool
from gateway.ids import format_id, new_id
from tests.fakes.console import HOSTILE

ANSWER = f"{HOSTILE} the body of an answer"


async def add_attempts(pool: Pool, *, attempts: int = 3) -> tuple[str, str]:
    """A failed delivery of the newest endpoint's newest event: the path of its page, and the event's id.

    The last attempt was answered with a long body, those before were not answered at all.
    """
    endpoint = await pool.fetchval("SELECT id FROM gateway.webhook_endpoint ORDER BY id DESC LIMIT 1")
    event = await pool.fetchrow(
        "SELECT e.shard, e.id, e.object_id FROM gateway.event AS e "
        "JOIN gateway.webhook_endpoint AS w ON w.id = $1 AND w.party_id = e.party_id "
        "ORDER BY e.id DESC LIMIT 1",
        endpoint,
    )
    assert event is not None
    await pool.execute(
        "INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state, attempts, created_at, "
        "last_status, last_error, last_attempt_at, duration_ms) "
        "VALUES ($1, $2, $3, $4, 'failed', $5, now(), 500, 'HTTP 500', now(), 41) "
        "ON CONFLICT (shard, endpoint_id, event_id) DO UPDATE SET (state, next_attempt_at, attempts, "
        "last_status, last_error, last_attempt_at, duration_ms) = "
        "('failed', NULL, $5, 500, 'HTTP 500', now(), 41)",
        event["shard"],
        endpoint,
        event["id"],
        event["object_id"],
        attempts,
    )
    for number in range(attempts):
        answered = number == attempts - 1
        await pool.execute(
            "INSERT INTO gateway.delivery_attempt (shard, endpoint_id, event_id, id, status, error, answer, "
            "answer_cut, duration_ms, attempted_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())",
            event["shard"],
            endpoint,
            event["id"],
            new_id(),
            500 if answered else None,
            "HTTP 500" if answered else "no answer within 10 s",
            ANSWER if answered else None,
            answered,
            41 if answered else 10_000,
        )
    name = format_id("evt", event["id"])
    return f"/console/webhooks/{format_id('whe', endpoint)}/deliveries/{name}", name
