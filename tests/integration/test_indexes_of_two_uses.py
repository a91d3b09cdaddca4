"""Indexes with several uses: what once had an index of its own is still read by one."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.database import Connection, named_queries, named_statement, register_json
from gateway.ids import new_id, shard_of
from tests.fakes.parties import add_parties

SESSIONS = 4000
NOW = datetime(2026, 11, 30, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=900)
FIRST_FEW = NOW - timedelta(hours=SESSIONS - 10)
LISTED = {"limit": 20, "row_limit": 20, "after": UUID(int=0), "horizon": UUID(int=(1 << 128) - 1)}
# File, statement, what it is asked, the index that it reads, and a column of the index's condition.
READS = [
    ("payment_lists.sql", "list_sessions", {"metadata": {"order": "7"}}, "session_with_metadata", "metadata"),
    ("payment_lists.sql", "list_authorizations", {"metadata": {}}, "payment_authorization_pkey", ""),
    ("payment_lists.sql", "list_captures", {}, "capture_id_shard_key", ""),
    ("webhooks.sql", "list_events", {}, "event_pkey", "id"),
    ("webhooks.sql", "list_newest_events", {"before": UUID(int=(1 << 128) - 1)}, "event_pkey", "id"),
    ("webhooks.sql", "list_deliveries", {"endpoint_id": 0}, "delivery_pkey", "endpoint_id"),
    ("webhooks.sql", "list_attempts", {"endpoint_id": 0, "event_id": 0}, "delivery_pkey", "event_id"),
    ("console.sql", "list_deliveries_of", {"event_ids": [0]}, "delivery_pkey", "event_id"),
    ("exceptions.sql", "found", {}, "session_in_exception", ""),
    ("daily_audit.sql", "under_way", {"shards": [], "ids": []}, "session_in_exception", ""),
    (
        "retention.sql",
        "apply_session",
        {"before": LONG_AGO},
        "session_personal",
        "created_at",
    ),
    (
        "retention.sql",
        "sessions_to_blot",
        {
            "countries": [],
            "befores": [],
            "other_before": LONG_AGO,
            "latest_before": LONG_AGO,
        },
        "session_cdr",
        "ended_at",
    ),
    (
        "retention.sql",
        "apply_event",
        {"before": FIRST_FEW, "wall_before": FIRST_FEW},
        "delivery_pkey",
        "event_id",
    ),
]
LARGE = {"session", "payment_authorization", "capture", "event", "delivery"}
_ROWS = """
WITH row AS (
    SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[])
        WITH ORDINALITY AS r (id, shard, at, n)
), charging AS (
    INSERT INTO gateway.session (
        shard, id, demand_partner_id, cpo_id, evse_id, location_id, session_ref, tax_jurisdiction, time_zone,
        currency, tariff_sha256, state, cdr_id, cdr_version, cdr, price_minor, price_net_minor, energy_wh,
        ended_at, metadata, created_at, updated_at)
    SELECT shard, id, 'parking', 'DE-ABC', 'E', 'L', 'R' || n, 'DE', 'UTC',
           'EUR', $4, 'cleared', 'C', '2.2.1', '\\x00', 1, 1, 1,
           at, CASE WHEN n % 500 = 0 THEN jsonb_build_object('order', (n / 500)::text) ELSE '{}' END, at, at
    FROM row
), authorized AS (
    INSERT INTO gateway.payment_authorization (
        shard, id, session_id, party_id, authorization_method, funding, state, hold_minor, currency,
        psp_payment, created_at, updated_at)
    SELECT shard, id, id, 'parking', 'card', 'psp', 'captured', 1, 'EUR', 'pi', at, at FROM row
), captured AS (
    INSERT INTO gateway.capture (
        shard, session_id, id, authorization_id, state, amount_minor, currency, captured_at, created_at)
    SELECT shard, id, id, id, 'succeeded', 1, 'EUR', at, at FROM row
), published AS (
    INSERT INTO gateway.event (shard, id, party_id, type, object_id, data, created_at, fanned_out)
    SELECT shard, id, 'parking', 'session.cleared', 'ses' || n, '{}', at, true FROM row
)
INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state, delivered_at)
SELECT shard, endpoint_id, id, 'ses' || n, 'delivered', at FROM row, unnest($5::uuid[]) AS endpoint_id"""


@pytest.fixture
async def filled(database_url: str) -> AsyncIterator[tuple[Connection, dict[str, Any]]]:
    """Rows of thousands of sessions, and the ids of one of them."""
    connection = await asyncpg.connect(database_url)
    await register_json(connection)
    await add_parties(connection, {"DE-ABC": "cpo", "parking": "demand_partner"})
    await connection.execute(
        "INSERT INTO gateway.tariff_snapshot VALUES ($1, '2.2.1', '{}', 'EUR', now())", "0" * 64
    )
    endpoints = [new_id() for _ in range(4)]
    for endpoint in endpoints:
        await connection.execute(
            "INSERT INTO gateway.webhook_endpoint (id, party_id, url, event_types, secret, created_at) "
            "VALUES ($1, 'parking', 'https://example.com', '{*}', $2, now())",
            endpoint,
            bytes(32),
        )
    ids = [new_id() for _ in range(SESSIONS)]
    times = [NOW - timedelta(hours=SESSIONS - number) for number in range(SESSIONS)]
    await connection.execute(_ROWS, ids, [shard_of(one) for one in ids], times, "0" * 64, endpoints)
    await connection.execute("VACUUM ANALYZE")
    shown = {"shard": shard_of(ids[0]), "event_id": ids[0], "event_ids": ids[:1], "endpoint_id": endpoints[0]}
    yield connection, shown
    await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.parametrize("read", READS, ids=[one[1] for one in READS])
async def test_a_list_is_read_by_an_index_that_has_another_use(
    filled: tuple[Connection, dict[str, Any]], read: tuple[str, str, dict[str, Any], str, str]
) -> None:
    file, name, asked, index, column = read
    connection, shown = filled
    statement = named_statement(named_queries("gateway", file), name)
    given = LISTED | asked | {key: value for key, value in shown.items() if key in asked or key == "shard"}
    fields = dict.fromkeys(statement.parameters) | {
        key: value for key, value in given.items() if key in statement.parameters
    }
    explained = await connection.fetchval(
        f"EXPLAIN (FORMAT JSON) {statement.sql}", *statement.arguments(fields)
    )
    plan = (json.loads(explained) if isinstance(explained, str) else explained)[0]["Plan"]
    found = list(nodes(plan))
    used = [one for one in found if one.get("Index Name") == index]
    assert used, plan
    assert any(column in f"{one.get('Index Cond', '')} {one.get('Recheck Cond', '')}" for one in used), used
    whole = [one["Relation Name"] for one in found if one["Node Type"] == "Seq Scan"]
    assert not LARGE & set(whole), plan
