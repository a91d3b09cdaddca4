"""What a captured session writes, counted: bytes of WAL, entries of indexes, updates that write indexes."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest

from gateway.database import Connection, Pool
from gateway.ids import parse_id
from gateway.jobs.clearing import ClearingJob
from gateway.migrations import PACKAGES
from gateway.payments.psp.port import PspEvent
from tests.fakes.api import Api
from tests.fakes.parties import create_market
from tests.integration.test_webhooks import Stage, open_stage

SESSIONS = 48
# WAL of tables and indexes without full pages and the workers' leases; entries of B-trees.
WAL_BYTES = 27_500
INDEX_ENTRIES = 117
ROW_LOCKS = 10
# An update is not HOT where a column of an index changes: each of these has its reason.
NOT_HOT = {
    "session": 1,  # it ends: by price, by EVSE and by its end it is found from now on
    "payment_authorization": 3,  # its states bound the one active authorization of a session
    "psp_request": 2,  # of each of the two the one open request of an authorization
    "delivery": 4,  # of each it is no longer pending
}
_USED = """
SELECT x.relname, x.relkind = 'i' AS is_index, i.record_type, count(*) AS records,
       sum(i.record_length - i.block_fpi_length) AS bytes
FROM pg_get_wal_block_info($1, $2) AS i JOIN pg_class AS x ON pg_relation_filenode(x.oid) = i.relfilenode
JOIN pg_database AS d ON d.oid = i.reldatabase AND d.datname = current_database()
WHERE i.block_id = 0 AND x.relnamespace::regnamespace::text IN ('gateway', 'clearing')
  AND x.relname NOT IN ('worker', 'shard_lease')
GROUP BY 1, 2, 3"""
_UPDATES = """
SELECT relname, n_tup_upd - n_tup_hot_upd AS updates FROM pg_stat_user_tables
WHERE schemaname IN ('gateway', 'clearing') AND relname NOT IN ('worker', 'shard_lease')"""
_LOGGED = """
SELECT count(*) FROM gateway.request_log
WHERE route IN ('/v1/authorizations', '/v1/sessions/{id}/complete') AND method = 'POST'"""
_FLUSHED = "SELECT pg_logical_emit_message(true, 'test', ''), pg_current_wal_insert_lsn()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written for one session: by table or index, in a line that a failure shows."""

    wal_bytes: float
    index_entries: float
    row_locks: float
    not_hot: dict[str, float]
    shown: str


@pytest.fixture
async def stage(pool: Pool) -> AsyncIterator[Stage]:
    async with open_stage(pool, timeout_seconds=30, per_endpoint=64, fresh=512) as opened:
        await create_market(opened.api, street="Werft 1")
        yield opened


async def play(stage: Stage, *, first: int) -> None:
    """Sessions from their authorization to the books, with what the PSP and the webhooks add."""
    api = stage.api
    for number in range(first, first + SESSIONS):
        shown = (await api.authorize(key=f"a{number}", session_ref=f"R{number}")).json
        usage = {
            "started_at": "2026-10-29T08:05:00Z",
            "ended_at": "2026-10-29T08:50:00Z",
            "energy_wh": 18_500,
        }
        ended = await api.call(
            "POST", f"/v1/sessions/{shown['session']}/complete", {"usage": usage}, key=f"c{number}"
        )
        assert ended.json["capture"]["state"] == "succeeded"
        await hear(api, session=shown["session"], number=number)
    api.clock.pass_wall(5)
    clearing = ClearingJob(
        pool=api.services.pool,
        clock=api.clock,
        sessions=api.services.clearing.sessions,
        batch_size=16,
        chain=0,
    )
    while await clearing.run_once():
        pass
    await stage.settle(rounds=60)
    await logged(api, keys=first + SESSIONS)


async def logged(api: Api, *, keys: int) -> None:
    """Wait until the log of requests has these calls, which it writes about a second later."""
    for _ in range(200):
        if await api.services.pool.fetchval(_LOGGED) >= 2 * keys:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the log of requests lacks some")


async def hear(api: Api, *, session: str, number: int) -> None:
    """Two events of the PSP that say what is known."""
    payment = await api.services.pool.fetchval(
        "SELECT psp_payment FROM gateway.payment_authorization WHERE session_id = $1",
        parse_id("ses", session),
    )
    for kind in ("payment_intent.amount_capturable_updated", "payment_intent.succeeded"):
        event = PspEvent(
            id=f"evt_{number}_{kind}", psp_type=kind, psp_payment=payment, session_id=parse_id("ses", session)
        )
        handler = api.services.payments.psp_events  # type: ignore[attr-defined]
        assert await handler.keep_event(event, b'{"id":"evt","data":{"object":{}}}')


async def flush_statistics(pool: Pool) -> None:
    """Each connection reports its rows now, not after a second."""
    connections = [await pool.acquire() for _ in range(pool.get_max_size())]
    for connection in connections:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await pool.release(connection)


async def position(connection: Connection) -> object:
    """The end of the WAL, which is on disk up to it."""
    await connection.execute("SET synchronous_commit = on")
    row = await connection.fetchrow(_FLUSHED)
    assert row is not None
    return row[1]


async def not_hot_updates(pool: Pool, connection: Connection) -> dict[str, int]:
    await flush_statistics(pool)
    return {row["relname"]: row["updates"] for row in await connection.fetch(_UPDATES)}


async def count(stage: Stage, connection: Connection) -> Written:
    """Play sessions and count what they write; those before them have filled caches and pages."""
    pool = stage.api.services.pool
    await play(stage, first=0)
    updates, begin = await not_hot_updates(pool, connection), await position(connection)
    await play(stage, first=SESSIONS)
    end, after = await position(connection), await not_hot_updates(pool, connection)
    rows = await connection.fetch(_USED, begin, end)
    by_name: dict[str, float] = {}
    for row in rows:
        by_name[row["relname"]] = by_name.get(row["relname"], 0.0) + float(row["bytes"]) / SESSIONS
    made = {name: (total - updates.get(name, 0)) / SESSIONS for name, total in after.items()}
    largest = sorted(by_name.items(), key=lambda one: -one[1])
    return Written(
        wal_bytes=sum(by_name.values()),
        index_entries=records(rows, "INSERT_LEAF", "INSERT_POST"),
        row_locks=records(rows, "LOCK"),
        not_hot={name: each for name, each in made.items() if each},
        shown=", ".join(f"{name} {size:.0f}" for name, size in largest),
    )


def records(rows: list[asyncpg.Record], *kinds: str) -> float:
    """Records of these kinds a session."""
    return sum(row["records"] for row in rows if row["record_type"].split("+")[0] in kinds) / SESSIONS


async def test_a_captured_session_writes_little_and_its_updates_write_few_indexes(
    stage: Stage, database_url: str
) -> None:
    await stage.listen("/in")
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE EXTENSION pg_walinspect")
        written = await count(stage, connection)
    finally:
        await connection.close()
    assert written.wal_bytes <= WAL_BYTES, written.shown
    assert written.index_entries <= INDEX_ENTRIES, written.shown
    assert written.row_locks <= ROW_LOCKS
    rounded = {name: round(made) for name, made in written.not_hot.items() if round(made)}
    assert rounded == NOT_HOT, written.not_hot


# Rows without a foreign key, and what they name.
NAMED = [
    ("gateway.idempotency_key AS x", "gateway.party AS y ON y.id = x.party_id"),
    ("gateway.session AS x", "gateway.party AS y ON y.id = x.cpo_id"),
    ("gateway.session AS x", "gateway.party AS y ON y.id = x.demand_partner_id"),
    ("gateway.payment_authorization AS x", "gateway.party AS y ON y.id = x.party_id"),
    (
        "gateway.capture AS x",
        "gateway.payment_authorization AS y ON (y.shard, y.id) = (x.shard, x.authorization_id)",
    ),
    (
        "gateway.psp_request AS x",
        "gateway.payment_authorization AS y ON (y.shard, y.id) = (x.shard, x.authorization_id)",
    ),
    ("clearing.account_delta AS x", "clearing.batch AS y ON y.id = x.batch_id"),
]


async def test_what_no_foreign_key_proves_is_there(stage: Stage) -> None:
    await play(stage, first=0)
    pool = stage.api.services.pool
    for table, named in NAMED:
        row = await pool.fetchrow(
            f"SELECT count(*) AS rows, count(*) FILTER (WHERE y IS NULL) AS missing "  # noqa: S608 - ours
            f"FROM {table} LEFT JOIN {named}"
        )
        assert row["rows"] > 0, table
        assert row["missing"] == 0, (table, named)


def test_nothing_removes_what_no_foreign_key_holds() -> None:
    removed = re.compile(
        r"(?:DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?)\s+"
        r"(gateway\.party|gateway\.payment_authorization|gateway\.session|clearing\.batch)\b",
        re.IGNORECASE,
    )
    texts = {
        path.name: path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in Path(str(files(package) / "sql")).rglob("*.sql")
    }
    assert texts
    assert {name: found for name, text in texts.items() if (found := removed.findall(text))} == {}
    assert removed.search("DELETE FROM gateway.party AS p")
