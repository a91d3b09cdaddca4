"""Personal data end by the table: no column is forgotten, and the books stay true when the rest is gone."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from gateway.audit.daily_audit import audit_daily
from gateway.audit.system_audit import audit_system
from gateway.database import Pool, transaction
from gateway.jobs.retention import RetentionJob
from gateway.personal_data import retention_service
from gateway.personal_data.blotting import BLOTTED
from gateway.personal_data.person import ErasureOutcome, Subject, SubjectKind
from gateway.personal_data.person_service import PersonService
from gateway.personal_data.retention_service import RetentionReport, RetentionService
from gateway.personal_data.rules import default_policy, list_not_personal
from tests.fakes.api import Hands
from tests.simulation.application import Ground
from tests.simulation.runner import play

POLICY = default_policy()
SERVICE = RetentionService(policy=POLICY, environment="sandbox")
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The simulated market logs thousands of expected failures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


async def test_every_column_is_personal_by_the_table_or_is_not_for_a_named_reason(pool: Pool) -> None:
    rows = await pool.fetch(
        "SELECT table_schema || '.' || table_name || '.' || column_name AS name"
        " FROM information_schema.columns WHERE table_schema IN ('gateway', 'clearing', 'pnc')"
        " AND table_name NOT LIKE 'check\\_%'"  # views of what other tables hold
    )
    columns = {row["name"] for row in rows}
    listed = {column for rule in POLICY.rules.values() for column in rule.columns} | set(list_not_personal())
    assert columns - listed == set(), "name it in gateway/personal_data/personal.toml or not_personal.toml"
    assert listed - columns == set(), "these columns are gone"


async def _figures(pool: Pool) -> dict[str, Any]:
    """What may never change: the journal with its hashes, and every amount of the sessions."""
    return {
        table: await pool.fetchval(
            f"SELECT md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), ''))"  # noqa: S608
            f" FROM (SELECT {columns} FROM {table}) AS t"
        )
        for table, columns in (
            ("clearing.batch", "*"),
            ("clearing.entry", "*"),
            ("clearing.transfer", "*"),
            ("clearing.payable", "*"),
            ("gateway.capture", "*"),
            (
                "gateway.session",
                "id, state, price_minor, price_net_minor, energy_wh, cdr_id, ended_at, flags",
            ),
            ("gateway.payment_authorization", "id, state, hold_minor, psp_payment"),
            ("gateway.ocpi_cdr", "party_id, cdr_key, fingerprint, status, credit_state"),
        )
    }


async def _report(pool: Pool, hands: Hands) -> RetentionReport:
    async with transaction(pool) as connection:
        return await SERVICE.report(connection, clock=hands)


def _due(report: RetentionReport) -> dict[str, int]:
    return {line.rule.name: line.due for line in report.lines if line.due}


async def _erase_one_driver(pool: Pool) -> None:
    """Drivers of cleared sessions are erased; the audit and the hash chain stay as they were."""
    hands = Hands(at=NOW, wall=NOW)
    figures = await _figures(pool)
    persons = PersonService(policy=POLICY, environment="sandbox")
    rows = await pool.fetch(
        "SELECT id, demand_partner_id FROM gateway.session"
        " WHERE state = 'cleared' AND cdr IS NOT NULL ORDER BY id"
    )
    outcomes = []
    for number, row in enumerate(rows):
        subject = Subject(
            kind=SubjectKind.REFERENCE, value=f"driver-{number}", party_id=row["demand_partner_id"]
        )
        await pool.execute(
            "UPDATE gateway.session SET metadata = jsonb_build_object('driver', $2::text) WHERE id = $1",
            row["id"],
            subject.value,
        )
        async with transaction(pool) as connection:
            report = await persons.erase(connection, subject, by="anna", reason="request", now=NOW)
        outcomes.append(report.outcome)
    assert ErasureOutcome.ERASED in outcomes
    audited = await audit_system(pool, clock=hands, psp=None)
    assert audited.ok, audited.all_findings
    assert await _figures(pool) == figures


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_market_day_audits_clean_after_its_personal_data_are_gone(pool: Pool) -> None:
    ground = Ground(pool)
    await ground.prepare()
    played = await play(ground, 5)  # it leaves no session that waits for a person
    assert played.broken is None
    await pool.execute('UPDATE gateway.session SET metadata = \'{"driver": "jo@example.com"}\'')
    await pool.execute("UPDATE gateway.event SET fanned_out = true")
    hands = Hands(at=NOW, wall=NOW)
    before, figures = await audit_system(pool, clock=hands, psp=None), await _figures(pool)
    sealed = await audit_daily(pool, clock=hands, psp=None)
    assert sealed.checkpoint is not None
    assert before.ok, before.all_findings
    ends = [row["ended_at"] for row in await pool.fetch("SELECT ended_at FROM gateway.session") if row[0]]

    # 72 hours, 90 days, 13 months after the day, and after the hold of a session that never ended: each
    # removes what is due, and no more.
    removed: dict[str, int] = {}
    for passed in (timedelta(hours=1), timedelta(days=100), timedelta(days=460)):
        hands = Hands(at=max(ends) + passed, wall=NOW + passed)
        due = _due(await _report(pool, hands))
        run = await SERVICE.run(pool, clock=hands)
        assert run is not None
        assert dict(run.removed).keys() >= due.keys()
        assert _due(await _report(pool, hands)) == {}
        removed |= dict(run.removed)
    assert {"event", "psp_event", "session", "payment_authorization"} <= removed.keys()
    assert await pool.fetchval("SELECT count(*) FROM gateway.event") == 0
    assert await pool.fetchval("SELECT count(*) FROM gateway.delivery") == 0
    assert await pool.fetchval("SELECT count(*) FROM gateway.session WHERE metadata <> '{}'") == 0
    assert await pool.fetchval("SELECT count(*) FROM gateway.session_lookup WHERE kind = 'session_ref'") == 0
    assert await pool.fetchval("SELECT count(*) FROM gateway.session_lookup WHERE kind = 'cdr'") > 0

    # The billing record outlives them, by the law of its country, and then names nobody.
    assert await pool.fetchval("SELECT count(*) FROM gateway.session WHERE cdr_blotted_at IS NOT NULL") == 0
    hands = Hands(at=NOW.replace(year=NOW.year + 11), wall=NOW.replace(year=NOW.year + 11))
    assert _due(await _report(pool, hands))["billing_record"] > 0
    await SERVICE.run(pool, clock=hands)
    for row in await pool.fetch("SELECT cdr, price_minor FROM gateway.session WHERE cdr IS NOT NULL"):
        assert json.loads(row["cdr"]).get("cdr_token", {}).get("uid", BLOTTED) == BLOTTED
    after = await audit_system(pool, clock=hands, psp=None)
    again = await audit_daily(pool, clock=hands, psp=None, shares=1)  # everything that is old is proved again
    assert again.rests_on is not None
    assert again.audit.ok, again.audit.all_findings
    assert after.ok, after.all_findings
    assert await _figures(pool) == figures
    assert after.retention is not None
    assert after.retention.finished_at == hands.wall


async def _event(
    pool: Pool, number: int, *, at: datetime, state: str | None, fanned_out: bool = True
) -> None:
    """An event, and its delivery where `state` is given."""
    await pool.execute(
        "INSERT INTO gateway.event (shard, id, party_id, type, object_id, data, created_at, fanned_out)"
        " VALUES (0, $1::text::uuid, 'superapp', 'session.completed', 'ses_1', '{\"a\": 1}', $2, $3)",
        f"00000000-0000-7000-8000-{number:012d}",
        at,
        fanned_out,
    )
    if state is not None:
        await pool.execute(
            "INSERT INTO gateway.delivery (shard, endpoint_id, event_id, object_id, state, next_attempt_at,"
            " created_at, delivered_at, last_attempt_at) SELECT 0, id, $1::text::uuid, 'ses_1', $2::text,"
            " CASE WHEN $2::text = 'pending' THEN $3::timestamptz END, $3,"
            " CASE WHEN $2::text = 'delivered' THEN $3::timestamptz END, $3 FROM gateway.webhook_endpoint",
            f"00000000-0000-7000-8000-{number:012d}",
            state,
            at,
        )


@pytest.fixture
async def market(pool: Pool) -> Pool:
    await pool.execute(
        "INSERT INTO gateway.party (id, kind, created_at) VALUES ('superapp', 'demand_partner', now()),"
        " ('DE-ABC', 'cpo', now())"
    )
    await pool.execute(
        "INSERT INTO gateway.webhook_endpoint (id, party_id, url, event_types, secret, created_at)"
        " VALUES (gen_random_uuid(), 'superapp', 'https://a.example', '{*}',"
        " decode(repeat('01', 32), 'hex'), now())"
    )
    return pool


async def test_an_event_stays_while_it_waits_or_was_sent_lately(market: Pool) -> None:
    old, lately = NOW - timedelta(days=91), NOW - timedelta(days=89)
    await _event(market, 1, at=old, state="delivered")
    await _event(market, 2, at=old, state="pending")
    await _event(market, 3, at=lately, state="delivered")
    await _event(market, 4, at=old, state=None)
    await _event(market, 5, at=old, state=None, fanned_out=False)
    await _event(market, 6, at=old, state="delivered")
    await market.execute(  # replayed lately
        "UPDATE gateway.delivery SET last_attempt_at = $1 WHERE event_id::text LIKE '%6'", lately
    )
    hands = Hands(at=NOW, wall=NOW)
    assert _due(await _report(market, hands)) == {"event": 2}
    await SERVICE.run(market, clock=hands)
    left = await market.fetch("SELECT right(id::text, 1) AS n FROM gateway.event ORDER BY id")
    assert [row["n"] for row in left] == ["2", "3", "5", "6"]


async def test_a_psp_event_stays_while_its_task_is_open(market: Pool) -> None:
    old = NOW - timedelta(days=91)
    for name in ("evt_1", "evt_2"):
        await market.execute(
            "INSERT INTO gateway.psp_event (shard, id, type, body, received_at)"
            " VALUES (0, $1, 'x', '{}', $2)",
            name,
            old,
        )
    await market.execute(
        "INSERT INTO gateway.task (shard, id, kind, payload, run_at, exception_at)"
        " VALUES (0, gen_random_uuid(), 'handle_psp_event', '{\"event\": \"evt_1\"}', $1, $1)",
        old,
    )
    await SERVICE.run(market, clock=Hands(at=NOW, wall=NOW))
    assert [row["id"] for row in await market.fetch("SELECT id FROM gateway.psp_event")] == ["evt_1"]


async def test_messages_of_operators_end(market: Pool) -> None:
    old, new = NOW - timedelta(days=91), NOW - timedelta(days=89)
    for name, at in (("s1", old), ("s2", new)):
        await market.execute(
            "INSERT INTO gateway.ocpi_session (party_id, session_key, session_ref, version, body, status,"
            " currency, energy_wh, last_updated, received_at, updated_at)"
            " VALUES ('DE-ABC', $1, $1, '2.2.1', '{}', 'COMPLETED', 'EUR', 1, $2, $2, $2)",
            name,
            at,
        )
        await market.execute(
            "INSERT INTO gateway.ocpi_session_due (party_id, session_key, due_at) VALUES ('DE-ABC', $1, $2)",
            name,
            at,
        )
        await market.execute(
            "INSERT INTO gateway.ocpi_command (id, cpo_id, command, state, created_at, deadline, finished_at)"
            " VALUES (gen_random_uuid(), 'DE-ABC', 'START_SESSION', 'failed', $1, $1, $1)",
            at,
        )
        await market.execute(
            "INSERT INTO gateway.ocpi_token (uid_key, type, uid, country_code, party_code, contract_id,"
            " issuer, valid, whitelist, demand_partner_id, payment, last_updated, blocked_since)"
            " VALUES ($1, 'RFID', $1, 'DE', 'ABC', 'C', 'I', $3, 'NEVER', 'superapp', '{}', $2,"
            " CASE WHEN NOT $3 THEN $2::timestamptz END)",
            name,
            old,
            name == "s2",
        )
        for pulled in (False, True):
            await market.execute(
                "INSERT INTO gateway.ocpi_rejected_push (id, party_id, module, object_id, version,"
                " status_code, reason, raw, received_at, pulled)"
                " VALUES (gen_random_uuid(), 'DE-ABC', 'cdrs', $1, '2.2.1', 2001, 'r', '{}', $2, $3)",
                name,
                at,
                pulled,
            )
    hands = Hands(at=NOW, wall=NOW)
    await market.execute("INSERT INTO gateway.missing_cdr_policy VALUES ('DE-ABC', 'last_known_cost', 30)")
    assert "ocpi_session" not in _due(await _report(market, hands))  # a session may still wait for its CDR
    await market.execute("DELETE FROM gateway.missing_cdr_policy")
    run = await SERVICE.run(market, clock=hands)
    assert run is not None
    # The pulled CDR is still an exception: it stays until it comes again, or a person has ended it.
    names = ("ocpi_session", "ocpi_command", "ocpi_token", "ocpi_rejected_push")
    assert dict(run.removed) == dict.fromkeys(names, 1)
    assert await market.fetchval("SELECT count(*) FROM gateway.ocpi_rejected_push WHERE pulled") == 2


async def test_the_job_removes_a_batch_a_round_once_a_day(market: Pool) -> None:
    old = NOW - timedelta(days=400)
    await market.executemany(
        "INSERT INTO gateway.psp_event (shard, id, type, body, received_at) VALUES (0, $1, 'x', '{}', $2)",
        [(f"evt_{number}", old) for number in range(retention_service.BATCH + 7)],
    )
    hands = Hands(at=NOW, wall=NOW)
    job = RetentionJob(pool=market, clock=hands, retention=SERVICE)
    rounds = []
    while (removed := await job.run_once()) and len(rounds) < 100:
        rounds.append(removed)
    assert max(rounds) == retention_service.BATCH
    assert len(rounds) == len(SERVICE.rules) + 1
    assert await market.fetchval("SELECT count(*) FROM gateway.psp_event") == 0
    run = (await _report(market, hands)).last_run
    assert run is not None
    assert dict(run.removed) == {"psp_event": retention_service.BATCH + 7}
    again = RetentionJob(pool=market, clock=hands, retention=SERVICE)
    hands.wall += timedelta(hours=23)
    assert await again.run_once() == 0  # another worker ran it
    hands.wall += timedelta(hours=2)
    assert await again.run_once() == 1


async def test_a_row_that_somebody_holds_is_left_for_the_next_run(market: Pool) -> None:
    old = NOW - timedelta(days=91)
    await market.executemany(
        "INSERT INTO gateway.psp_event (shard, id, type, body, received_at) VALUES (0, $1, 'x', '{}', $2)",
        [("evt_1", old), ("evt_2", old)],
    )
    async with transaction(market) as holder:
        await holder.execute("SELECT FROM gateway.psp_event WHERE id = 'evt_1' FOR UPDATE")
        await SERVICE.run(market, clock=Hands(at=NOW, wall=NOW))
    assert await market.fetchval("SELECT id FROM gateway.psp_event") == "evt_1"


async def test_the_age_of_the_last_run_counts_from_the_beginning_where_there_was_none(market: Pool) -> None:
    began = await market.fetchval("SELECT min(created_at) FROM gateway.party")
    later = began + timedelta(days=3)
    async with transaction(market) as connection:
        age = await retention_service.age_seconds(connection, now=later, wall_now=later)
    assert age == timedelta(days=3).total_seconds()
    await SERVICE.run(market, clock=Hands(at=later, wall=later))
    async with transaction(market) as connection:
        assert await retention_service.age_seconds(connection, now=later, wall_now=later) == 0


async def test_a_key_whose_request_is_at_work_is_not_removed(pool: Pool) -> None:
    made = NOW - timedelta(hours=73)
    for key, locked_until in (("at work", NOW + timedelta(seconds=8)), ("left", made + timedelta(seconds=8))):
        await pool.execute(
            "INSERT INTO gateway.idempotency_key (shard, party_id, key, request_hash, resource_id,"
            " locked_until, created_at)"
            " VALUES (0, 'superapp', $1, sha256(convert_to($1, 'UTF8')), gen_random_uuid(), $2, $3)",
            key,
            locked_until,
            made,
        )
    async with transaction(pool) as connection:
        assert await SERVICE.remove_batch(connection, "idempotency_key", clock=Hands(wall=NOW)) == 1
    assert await pool.fetchval("SELECT key FROM gateway.idempotency_key") == "at work"
