"""Who did what: every administrative change leaves its act, and the acts can't be changed unnoticed."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.acts.act import Act, acting
from gateway.acts.repository import watch_tables
from gateway.acts.service import SEALED_AT_ONCE, seal_acts, verify_acts
from gateway.acts.tables import NOT_WATCHED, WATCHED
from gateway.api.operation_scopes import is_administrative
from gateway.audit.checks import AuditResult
from gateway.audit.system_audit import audit_system
from gateway.cli.main import networkcore
from gateway.clock import SystemClock
from gateway.database import Pool, connect, transaction
from gateway.ids import parse_id
from gateway.jobs.act_seals import PAUSE, ActSealJob
from gateway.migrations import load_migrations
from tests.fakes.api import Api, Hands, open_api
from tests.fakes.parties import party_body

TWO_PARTIES = "INSERT INTO gateway.party VALUES ('aa', 'cpo', now()), ('bb', 'cpo', now())"
TABLES = """
SELECT n.nspname || '.' || c.relname AS name,
       array(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('gateway', 'clearing', 'pnc') AND c.relkind IN ('r', 'p')
"""
PARTY = party_body(
    "DE-NEW",
    name="New Charging GmbH",
    contact={"name": "Anna Example", "email": "anna@new.example", "telephone": "+49 30 123"},
)


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def acts(pool: Pool, condition: str = "true") -> list[dict[str, Any]]:
    async with pool.acquire() as connection:
        rows = await connection.fetch(f"SELECT * FROM gateway.admin_act WHERE {condition} ORDER BY id")  # noqa: S608 - the test's own
    return [dict(row) for row in rows]


async def test_every_table_is_one_of_administration_or_says_why_not(pool: Pool) -> None:
    async with pool.acquire() as connection:
        found = {row["name"]: set(row["columns"]) for row in await connection.fetch(TABLES)}
    watched = {table.name: table for table in WATCHED}
    others = [name for names in NOT_WATCHED.values() for name in names]
    assert len(watched) == len(WATCHED)
    assert len(set(others)) == len(others)
    assert not watched.keys() & set(others)
    assert watched.keys() | set(others) == found.keys()
    for name, table in watched.items():
        members = {member.partition(".")[0] for member in table.hidden}
        assert members | set(table.columns) <= found[name], name
        assert "shard" not in found[name], f"{name}: no trigger on what a session writes"


async def test_each_watched_table_has_its_triggers_and_no_other_table_has_any(pool: Pool) -> None:
    async with pool.acquire() as connection:
        triggers = await connection.fetch(
            "SELECT n.nspname || '.' || c.relname AS name, t.tgname, pg_get_triggerdef(t.oid) AS definition "
            "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE NOT t.tgisinternal"
        )
        assert await watch_tables(connection, WATCHED) == []  # they are all there
    found = {(row["name"], row["tgname"]): row["definition"] for row in triggers}
    assert found.keys() == {
        (table.name, name) for table in WATCHED for name in ("admin_act_row", "admin_act_update")
    }
    for table in WATCHED:
        assert " AFTER INSERT OR DELETE ON " in found[table.name, "admin_act_row"]
        of = f" OF {table.columns_text}" if table.columns else ""
        assert f" AFTER UPDATE{of} ON " in found[table.name, "admin_act_update"]


async def test_a_change_names_who_asked_and_what_was_before_and_after(api: Api) -> None:
    pool = api.services.pool
    made = await api.call("POST", "/v1/parties", PARTY, party="admin")
    assert made.status == 201, made.text
    request = made.headers["X-Request-Id"]
    found = await acts(pool, f"request_id = '{request}'")
    assert [(act["kind"], act["object_table"], act["object_id"]) for act in found] == [
        ("created", "gateway.party", "DE-NEW"),
        ("created", "clearing.party", "DE-NEW"),
    ]
    for act in found:
        assert (act["principal"], act["key_prefix"], act["party_id"]) == ("admin", "admin", "platform")
        assert (act["operation"], act["path"]) == ("createParty", "POST /v1/parties")
        assert act["scope"] == "parties:write"
    assert found[1]["after"]["name"] == "New Charging GmbH"
    assert "Anna" not in json.dumps(found[1]["after"], default=str)
    renamed = await api.call("POST", "/v1/parties", PARTY | {"name": "Newer"}, party="admin")
    (act,) = await acts(pool, f"request_id = '{renamed.headers['X-Request-Id']}'")
    assert act["kind"] == "changed"
    assert (act["before"]["name"], act["after"]["name"]) == ("New Charging GmbH", "Newer")
    assert act["before"].keys() == act["after"].keys() <= {"name", "updated_at"}
    same = {"scopes": ["capture:read"]}
    path = "/v1/parties/DE-NEW/api-keys"
    key = (await api.call("POST", path, same, party="admin")).json
    identifier = parse_id("key", key["id"])
    (created, *rest) = await acts(pool, f"object_table = 'gateway.api_key' AND object_id = '{identifier}'")
    assert created["after"]["secret_hash"] == "[hidden]"
    assert created["after"]["scopes"] == ["capture:read"]
    assert all(act["kind"] == "changed" for act in rest)


async def test_an_operation_on_other_tables_is_recorded_as_itself_with_its_reason(api: Api) -> None:
    body = {"currency": "EUR", "amount": 100_000, "reference": "bank-1"}
    placed = await api.call(
        "POST", "/v1/parties/DE-ABC/payout-holds", {"reason": "a complaint"}, party="admin"
    )
    if placed.status == 404:  # the party has no terms in clearing yet
        await api.call("POST", "/v1/parties", PARTY | {"id": "DE-ABC"}, party="admin")
        placed = await api.call(
            "POST", "/v1/parties/DE-ABC/payout-holds", {"reason": "a complaint"}, party="admin"
        )
    assert placed.status == 201, placed.text
    (act,) = await acts(api.services.pool, f"request_id = '{placed.headers['X-Request-Id']}'")
    assert (act["object_table"], act["reason"]) == ("clearing.payout_hold", "a complaint")
    topped = await api.call("POST", "/v1/treasury/topups", body, party="admin", key="t1")
    assert topped.status < 300, topped.text
    found = await acts(api.services.pool, f"request_id = '{topped.headers['X-Request-Id']}'")
    assert {(act["kind"], act["object_table"], act["operation"]) for act in found} == {
        ("carried_out", None, "topUpTreasury")
    }


def test_the_way_of_a_session_pays_nothing_for_the_record() -> None:
    on_the_way = {"createAuthorization", "incrementAuthorization", "releaseAuthorization", "completeSession"}
    on_the_way |= {"startSession", "stopSession", "createRefund", "authorizePlugAndCharge", "getSession"}
    assert not any(is_administrative(operation) for operation in on_the_way)
    assert is_administrative("createApiKey")
    assert is_administrative("setDoubleTapPolicy")  # of those under a scope of sessions


async def test_what_is_rejected_or_changes_nothing_leaves_no_act(api: Api) -> None:
    before = len(await acts(api.services.pool))
    assert (await api.call("POST", "/v1/parties", {"id": "x"}, party="admin")).status == 400
    missing = await api.call("DELETE", "/v1/parties/parking/api-keys/key_x", party="admin")
    assert missing.status == 404
    assert (await api.authorize(key="a1")).status == 201  # a session's way is no act
    assert len(await acts(api.services.pool)) == before


async def test_a_change_by_hand_is_recorded_without_a_name_and_never_lost(
    pool: Pool, database_url: str
) -> None:
    async with connect(database_url, application="psql") as connection:
        await connection.execute("INSERT INTO gateway.scope_set VALUES ('all', 'finance:write')")
        await connection.execute("DELETE FROM gateway.scope_set WHERE name = 'all'")
    found = await acts(pool, "process = 'psql'")
    assert [(act["kind"], act["object_id"], act["principal"]) for act in found] == [
        ("created", "all finance:write", None),
        ("removed", "all finance:write", None),
    ]
    assert found[0]["after"] == found[1]["before"] == {"name": "all", "scope": "finance:write"}


async def test_a_migration_is_an_act(pool: Pool) -> None:
    found = await acts(pool, "object_table LIKE '%.migration'")
    last = [one for one in load_migrations() if one.package == "gateway"][-1]
    assert f"migrate {last}" in {act["operation"] for act in found}


async def test_a_block_within_an_act_does_not_name_what_comes_after(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute("INSERT INTO gateway.party VALUES ('aa', 'cpo', now())")
    with acting(Act(operation="mine", principal="anna")):
        async with transaction(pool) as connection:
            await connection.execute("UPDATE gateway.party SET kind = 'site_host' WHERE id = 'aa'")
        async with transaction(pool) as connection:
            await connection.execute("SELECT 1")
    async with transaction(pool) as connection:
        await connection.execute("UPDATE gateway.party SET kind = 'cpo' WHERE id = 'aa'")
    found = await acts(pool, "object_id = 'aa' AND kind = 'changed'")
    assert [act["principal"] for act in found] == ["anna", None]
    assert len(await acts(pool, "operation = 'mine'")) == 1


async def test_reading_of_drivers_data_by_the_platform_is_an_act_and_by_their_party_is_not(api: Api) -> None:
    made = await api.authorize(key="a1", metadata={"driver": "4711"}, session_ref="order-1")
    assert made.status == 201
    await api.call("GET", "/v1/sessions?session_ref=order-1")
    await api.call("GET", "/v1/sessions", party="admin")
    assert await acts(api.services.pool, "kind = 'read'") == []
    read = await api.call("GET", "/v1/sessions?session_ref=order-1&metadata=driver:4711", party="admin")
    assert len(read.json["data"]) == 1
    await api.call("GET", "/v1/customers", party="admin")
    first, second = await acts(api.services.pool, "kind = 'read'")
    assert (first["operation"], first["principal"]) == ("listSessions", "admin")
    assert first["path"] == "GET /v1/sessions?metadata&session_ref"  # not what was looked for
    assert second["operation"] == "listCustomers"


async def test_acts_are_read_by_filter_and_page(api: Api) -> None:
    assert (await api.call("POST", "/v1/parties", PARTY, party="admin")).status == 201
    path = "/v1/administrative-acts"
    shown = (await api.call("GET", f"{path}?object_type=clearing.party&object_id=DE-NEW", party="admin")).json
    (act,) = shown["data"]
    assert (act["object"], act["kind"], act["principal"]) == ("administrative_act", "created", "admin")
    same = await api.call("GET", f"{path}?request={act['request']}&limit=1", party="admin")
    rest = await api.call(
        "GET", f"{path}?request={act['request']}&cursor={same.json['next_cursor']}", party="admin"
    )
    assert [one["object_type"] for one in (*same.json["data"], *rest.json["data"])] == [
        "clearing.party",
        "gateway.party",
    ]
    day = datetime.now(UTC)
    for query, some in (
        (f"since={_text(day - timedelta(hours=1))}", True),
        (f"until={_text(day - timedelta(hours=1))}", False),
        ("principal=nobody", False),
        ("principal=admin", True),
        ("unnamed=true&object_type=gateway.party", True),  # the test's own, written past the API
    ):
        found = (await api.call("GET", f"{path}?{query}", party="admin")).json["data"]
        assert bool(found) is some, query
    for wrong in ("cursor=act_x", "cursor=4711", "cursor=act_" + "9" * 20, "object_type=x", "since=1"):
        assert (await api.call("GET", f"{path}?{wrong}", party="admin")).status == 400, wrong
    assert (await api.call("GET", path)).status == 403


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_the_command_shows_acts_and_is_named_in_its_own(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert (await api.call("POST", "/v1/parties", PARTY, party="admin")).status == 201
    limit = ["reconcile", "approval-limit", "EUR", "10000", "--by", "anna"]
    assert (await _run(*limit)).exit_code == 0
    shown = await _run("acts", "--object", "clearing.approval_limit", "--json")
    (act,) = json.loads(shown.output)
    assert act["operation"] == "networkcore reconcile approval-limit"
    assert act["principal"].startswith("user:")
    assert act["after"]["currency"] == "EUR"
    table = await _run("acts", "--principal", "admin")
    assert "created clearing.party DE-NEW" in table.output
    nothing = await _run("acts", "--principal", "nobody")
    assert nothing.output == "No act is recorded.\n"


async def _run(*arguments: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, networkcore, list(arguments))


async def test_sealed_acts_are_verified_by_the_audit(pool: Pool) -> None:
    clock = Hands()
    job = ActSealJob(pool=pool, clock=clock)
    sealed = await job.run_once()
    assert sealed == len(await acts(pool)) > 0
    assert await job.run_once() == 0  # it rests
    async with transaction(pool) as connection:
        await connection.executemany(
            "INSERT INTO gateway.party VALUES ($1, 'cpo', now())", [(f"p{n}",) for n in range(1500)]
        )
        waiting = await verify_acts(connection)
    assert (waiting.sealed, waiting.broken, waiting.unsealed) == (sealed, [], 1500)
    report = await audit_system(pool, clock=SystemClock(), psp=None)
    (check,) = (one for one in report.checks if one.name == "administrative_acts")
    assert check.result is AuditResult.AGREES
    assert "1500 acts not sealed yet" in check.left_out
    clock.pass_wall(PAUSE.total_seconds())
    assert await job.run_once() == SEALED_AT_ONCE
    assert await job.run_once() == 1500 - SEALED_AT_ONCE
    async with transaction(pool) as connection:
        done = await verify_acts(connection)
    assert (done.sealed, done.unsealed, done.unsealed_since) == (sealed + 1500, 0, None)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE gateway.admin_act SET principal = 'somebody else' WHERE id = $1",
        "UPDATE gateway.admin_act SET acted_at = acted_at - interval '1 microsecond' WHERE id = $1",
        """UPDATE gateway.admin_act SET after = after || '{"x": 1}' WHERE id = $1""",
        "UPDATE gateway.admin_act SET database_user = 'x' WHERE id = $1",
    ],
)
async def test_a_sealed_act_that_was_changed_is_found(pool: Pool, tampering: str) -> None:
    async with transaction(pool) as connection:
        await connection.execute(
            "INSERT INTO gateway.party VALUES ('aa', 'cpo', now()), ('bb', 'cpo', now())"
        )
    async with transaction(pool) as connection:
        await seal_acts(connection)
        victim = await connection.fetchval("SELECT max(id) - 1 FROM gateway.admin_act")
        await connection.execute(tampering, victim)
        assert (await verify_acts(connection)).broken == [victim]
    report = await audit_system(pool, clock=SystemClock(), psp=None)
    assert report.result is AuditResult.DIFFERS
    assert f"act_{victim}" in {finding.subject for finding in report.findings}


async def test_a_sealed_act_can_not_be_taken_out_of_the_chain(pool: Pool) -> None:
    async with transaction(pool) as connection:
        await connection.execute(TWO_PARTIES)
    async with transaction(pool) as connection:
        await seal_acts(connection)
        victim = await connection.fetchval("SELECT min(id) FROM gateway.admin_act")
        await connection.execute("DELETE FROM gateway.admin_act_seal WHERE act_id = $1", victim)
        await connection.execute("DELETE FROM gateway.admin_act WHERE id = $1", victim)
        assert (await verify_acts(connection)).broken


async def test_two_workers_seal_one_after_the_other(pool: Pool) -> None:
    async def seal() -> int:
        async with transaction(pool) as connection:
            return await seal_acts(connection)

    assert sum(await asyncio.gather(seal(), seal(), seal())) == len(await acts(pool))
    async with pool.acquire() as connection:
        assert (await verify_acts(connection)).broken == []


def test_clearing_is_watched_like_the_gateway() -> None:
    assert {table.name.partition(".")[0] for table in WATCHED} == {"gateway", "clearing", "pnc"}
