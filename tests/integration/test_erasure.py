"""A driver is found by any of their names, exported and erased; the books and what the law keeps stay."""

import csv
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway.audit.system_audit import audit_system
from gateway.database import Pool, transaction
from gateway.ids import format_id, parse_id
from gateway.payments.psp.payer_port import CardSummary
from gateway.personal_data.person import ErasureOutcome, ErasureReport, Subject, SubjectKind
from gateway.personal_data.person_repository import ERASED_RULES
from gateway.personal_data.person_service import PersonService
from gateway.personal_data.rules import default_policy
from pnc import personal_data_service as contracts
from tests.fakes.api import START, Api, cdr, open_api
from tests.fakes.command import networkcore

ROOT = Path(__file__).parents[2]
SERVICE = PersonService(policy=default_policy(), environment="sandbox")
EMAIL, REFERENCE, UID = "jo.driver@example.com", "driver-4711", "04A1B2C3D4"
EMAID = "DE8AACA2B3C4D5"
CARD = CardSummary(brand="visa", last4="4242", exp_month=12, exp_year=2034, fingerprint="fp_jo")


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def drive(api: Api) -> dict[str, Any]:
    """A driver with a saved card, a token and a contract charges twice; another driver once."""
    customer = (await api.call("POST", "/v1/customers", {"reference": REFERENCE}, key="c")).json["id"]
    made = await api.call(
        "POST", f"/v1/customers/{customer}/setups", {"return_url": "https://app.example/done"}, key="s"
    )
    psp_setup = next(iter(api.psp.payers.setups))
    api.psp.payers.finish(psp_setup, card=CARD)
    method = (await api.call("GET", f"/v1/setups/{made.json['id']}")).json["payment_method"]
    sessions = []
    for number in range(2):
        started = await api.authorize(
            key=f"a{number}",
            payment={
                "type": "psp_payment_method",
                "payment_method": method,
                "customer": customer,
            },
            receipt_email=EMAIL,
            session_ref=f"trip-{number}",
            metadata={"driver": REFERENCE},
        )
        assert started.status == 201, started.text
        sessions.append(started.json["session"])
    other = await api.authorize(key="o", session_ref="other", metadata={"driver": "driver-1"})
    return {"customer": customer, "method": method, "sessions": sessions, "other": other.json["session"]}


async def finish(api: Api, session: str, number: int) -> None:
    body = {"cdr": json.loads(cdr(cdr_id=f"C{number}"))}
    body["cdr"]["cdr_token"] = {"uid": UID, "type": "RFID", "contract_id": EMAID}
    done = await api.call("POST", f"/v1/sessions/{session}/complete", body, key=f"d{number}")
    assert done.status == 200, done.text


async def end_everything(api: Api, made: dict[str, Any]) -> None:
    """The sessions are cleared, the saved card removed, the token invalid, the contract cancelled."""
    await api.call("DELETE", f"/v1/payment-methods/{made['method']}")
    pool = api.services.pool
    await pool.execute("DELETE FROM gateway.task")
    await pool.execute("UPDATE gateway.session SET state = 'cleared' WHERE state = 'completed'")
    await pool.execute("UPDATE gateway.payment_method SET detached_at = removed_at")
    await pool.execute("UPDATE gateway.ocpi_token SET valid = false, blocked_since = now()")
    await pool.execute("UPDATE pnc.contract SET state = 'cancelled'")


async def token_and_contract(api: Api, made: dict[str, Any]) -> None:
    """A token that one session was authorized with, and a contract with a decision about the other."""
    pool = api.services.pool
    ids = [parse_id("ses", one) for one in made["sessions"]]
    rows = await pool.fetch(
        "SELECT id, session_id FROM gateway.payment_authorization WHERE session_id = ANY ($1)", ids
    )
    authorization = {row["session_id"]: row["id"] for row in rows}
    await pool.execute(
        "INSERT INTO gateway.ocpi_token (uid_key, type, uid, country_code, party_code, contract_id, issuer,"
        " valid, whitelist, demand_partner_id, payment, last_updated) VALUES ($1, 'RFID', $2, 'DE', 'ABC',"
        " 'DE-8AA-CA2B3C4D5', 'I', true, 'NEVER', 'parking', '{}', now())",
        UID.lower(),
        UID,
    )
    await pool.execute(
        "INSERT INTO gateway.ocpi_token_authorization VALUES ($1, 'DE-ABC', $2, 'RFID', 'e1', now())",
        authorization[ids[0]],
        UID.lower(),
    )
    await pool.execute("INSERT INTO pnc.environment (environment) VALUES ('sandbox') ON CONFLICT DO NOTHING")
    await pool.execute(
        "INSERT INTO pnc.contract (environment, emaid, contract_id, party, payment_kind, payment_reference,"
        " state, valid_from, updated_at) VALUES ('sandbox', $1, gen_random_uuid(), 'parking',"
        " 'psp_mandate', $2,"
        " 'active', now(), now())",
        EMAID,
        f"{made['customer']}/{made['method']}",
    )
    await pool.execute(
        "INSERT INTO pnc.contract_change (environment, emaid, contract_id, party, kind, revision, actor,"
        " reason, at) SELECT environment, emaid, contract_id, party, 'created', 1, 'x', '', now() FROM"
        " pnc.contract"
    )
    await pool.execute(
        "INSERT INTO pnc.decision (shard, id, environment, operator_id, session_ref, evse_id, ocpp_version,"
        " emaid, contract_id, state, trust_version, authorization_id, decided_at, closed_at)"
        " SELECT 0, gen_random_uuid(), 'sandbox', 'DE-ABC', 'S1', 'E1', '2.0.1', emaid, contract_id,"
        " 'closed', 1, $1, now(), now() FROM pnc.contract",
        format_id("auth", authorization[ids[1]]),
    )


async def run(api: Api, subject: Subject, *, erase: bool = False) -> ErasureReport:
    async with transaction(api.services.pool) as connection:
        if not erase:
            return await SERVICE.report(connection, subject, now=START)
        return await SERVICE.erase(connection, subject, by="anna", reason="request 1", now=START)


def named(kind: SubjectKind, value: str) -> Subject:
    party = "parking" if kind is SubjectKind.REFERENCE else None
    return Subject(kind=kind, value=value, party_id=party)


NAMES = [
    named(SubjectKind.REFERENCE, REFERENCE),
    named(SubjectKind.EMAIL, EMAIL.upper()),
    named(SubjectKind.TOKEN_UID, UID.lower()),
    named(SubjectKind.EMAID, "de-8aa-ca2b3c4d5"),
    named(SubjectKind.CARD_FINGERPRINT, "fp_jo"),
]


async def _dump(pool: Pool) -> str:
    """Every text of the database but what the law or the next 72 hours keep."""
    kept = {"gateway.idempotency_key", "gateway.erasure"}
    tables = await pool.fetch(
        "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables"
        " WHERE table_schema IN ('gateway', 'clearing', 'pnc')"
    )
    found = []
    for row in tables:
        if row["name"] not in kept:
            drop = " - 'cdr'" if row["name"] == "gateway.session" else ""
            rows = await pool.fetch(f"SELECT (to_jsonb(t){drop})::text AS text FROM {row['name']} AS t")  # noqa: S608
            found += [f"{row['name']} {one['text']}" for one in rows]
    return "\n".join(found)


async def _books(pool: Pool) -> list[Any]:
    return [
        [tuple(row) for row in await pool.fetch(f"SELECT * FROM {table} ORDER BY 1, 2")]  # noqa: S608
        for table in ("gateway.capture", "clearing.entry", "clearing.batch", "clearing.transfer")
    ]


@pytest.mark.parametrize("subject", NAMES, ids=lambda one: one.kind.value)
async def test_a_driver_is_erased_by_any_name_and_the_books_stay(api: Api, subject: Subject) -> None:
    made = await drive(api)
    for number, session in enumerate(made["sessions"]):
        await finish(api, session, number)
    await token_and_contract(api, made)
    await end_everything(api, made)
    pool = api.services.pool
    before = await _dump(pool)
    for name in (EMAIL, REFERENCE, UID, EMAID, "fp_jo", made["customer"], made["method"], "trip-0"):
        assert name in before, name
    books = await _books(pool)
    audited = (await audit_system(pool, clock=api.clock, psp=None)).all_findings

    found = await run(api, subject)
    assert found.outcome is ErasureOutcome.FOUND, found.obstacles
    assert {
        "session": 2,
        "payment_authorization": 2,
        "customer": 1,
        "ocpi_token": 1,
    }.items() <= found.found.items()
    assert {one.rule for one in found.kept} == {"billing_record", "books", "idempotency_key"}
    assert {one.until.isoformat() for one in found.kept if one.until and one.rule != "idempotency_key"} == {
        "2036-12-31"
    }
    assert any(made["customer"] in one for one in found.elsewhere)
    assert "the CPO DE-ABC" in " ".join(found.elsewhere)
    assert await _dump(pool) == before  # only reported

    report = await run(api, subject, erase=True)
    assert report.outcome is ErasureOutcome.ERASED
    assert report.pseudonym is not None
    assert report.found == found.found
    after = await _dump(pool)
    for name in (
        EMAIL,
        REFERENCE,
        UID,
        UID.lower(),
        EMAID,
        "fp_jo",
        made["customer"],
        made["method"],
        "trip-0",
    ):
        assert name.lower() not in after.lower(), next(
            line for line in after.splitlines() if name.lower() in line.lower()
        )
    named = [line for line in after.splitlines() if report.pseudonym in line]
    # In the place of the sessions' names, and in the act of the erasure.
    assert [line.split()[0] for line in sorted(named)] == ["gateway.admin_act", *2 * ["gateway.session"]]
    assert "driver-1" in after  # the other driver
    assert await _books(pool) == books
    assert (await audit_system(pool, clock=api.clock, psp=None)).all_findings == audited

    again = await run(api, subject, erase=True)
    assert again.outcome is ErasureOutcome.NOTHING
    assert (again.found, again.pseudonym) == ({}, None)
    assert await _dump(pool) == after
    (record,) = (await api.call("GET", "/v1/erasures", party="admin")).json["data"]
    assert (record["pseudonym"], record["erased_by"]) == (report.pseudonym, "anna")
    assert record["rows"] == report.found
    session = (await api.call("GET", f"/v1/sessions/{made['sessions'][0]}")).json
    assert (session["metadata"], session["session_ref"]) == ({}, report.pseudonym)


async def test_what_is_under_way_prevents_erasure_and_is_named(api: Api) -> None:
    made = await drive(api)
    await token_and_contract(api, made)
    await finish(api, made["sessions"][0], 0)
    before = await _dump(api.services.pool)
    report = await run(api, NAMES[0], erase=True)
    assert report.outcome is ErasureOutcome.REFUSED
    reasons = {one.reason for one in report.obstacles}
    assert {
        "the session is still active",
        "the session is still completed",
        "the authorization is authorized",
        "it is saved: remove it first, DELETE /v1/payment-methods/{id}",
        "a token of the type RFID is valid: make it invalid first",
        "the contract is active; its eMSP cancels it first",
    } <= reasons
    assert f"session {made['sessions'][1]}" in {one.subject for one in report.obstacles}
    assert await _dump(api.services.pool) == before
    assert (await api.call("GET", "/v1/erasures", party="admin")).json["data"] == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE gateway.capture SET receivable_minor = 5", "5 EUR of its price are owed"),
        ("UPDATE gateway.capture SET state = 'requested', captured_at = NULL", "its capture has no outcome"),
        (
            (
                "INSERT INTO gateway.refund (shard, id, session_id, state, amount_minor, currency, reason,"
                " created_at) SELECT shard, id, session_id, 'requested', 1, 'EUR', 'duplicate', now()"
                " FROM gateway.capture"
            ),
            "a refund has no outcome",
        ),
        (
            (
                "INSERT INTO gateway.dispute (shard, id, session_id, psp_dispute, state, amount_minor,"
                " currency,"
                " reason, opened_at, fee_currency) SELECT shard, id, session_id, id::text, 'opened', 1,"
                " 'EUR', 'x',"
                " now(), 'EUR' FROM gateway.capture"
            ),
            "a dispute is open",
        ),
        (
            (
                "INSERT INTO gateway.task (shard, id, kind, session_id, run_at)"
                " SELECT shard, id, 'clear_session', session_id, now() FROM gateway.capture"
            ),
            "a task of it is open: clear_session",
        ),
        (
            (
                "UPDATE gateway.psp_request SET state = 'unknown', finished_at = NULL, next_attempt_at ="
                " now()"
                " WHERE kind = 'capture'"
            ),
            "a request to the PSP has no outcome",
        ),
        ("UPDATE gateway.payment_method SET detached_at = NULL", "the PSP has not confirmed its removal yet"),
    ],
    ids=lambda text: text[:40],
)
async def test_open_money_is_never_erased(api: Api, statement: str, reason: str) -> None:
    made = await drive(api)
    for number, session in enumerate(made["sessions"]):
        await finish(api, session, number)
    await end_everything(api, made)
    await api.services.pool.execute(statement)
    report = await run(api, NAMES[1], erase=True)
    assert report.outcome is ErasureOutcome.REFUSED
    assert reason in {one.reason for one in report.obstacles}
    assert EMAIL in await _dump(api.services.pool)


async def test_what_arrives_after_an_erasure_is_erased_by_a_repeat(api: Api) -> None:
    made = await drive(api)
    for number, session in enumerate(made["sessions"]):
        await finish(api, session, number)
    await end_everything(api, made)
    await run(api, NAMES[1], erase=True)
    late = await api.authorize(
        key="late",
        payment={"type": "psp_payment_method", "payment_method": "pm_new"},
        receipt_email=EMAIL,
    )
    await finish(api, late.json["session"], 9)
    await end_everything(api, made)
    report = await run(api, NAMES[1], erase=True)
    assert report.outcome is ErasureOutcome.ERASED
    assert report.found["payment_authorization"] == 1
    assert EMAIL not in await _dump(api.services.pool)


async def test_what_receivers_answered_about_the_person_is_blotted(api: Api) -> None:
    made = await drive(api)
    for number, session in enumerate(made["sessions"]):
        await finish(api, session, number)
    await end_everything(api, made)
    pool = api.services.pool
    await pool.execute(
        "INSERT INTO gateway.delivery_attempt (shard, endpoint_id, event_id, id, status, answer, answer_cut,"
        " duration_ms, attempted_at) SELECT e.shard, e.id, e.id, e.id, 500, $1, false, 1, now()"
        " FROM gateway.event AS e",
        f"no such driver: {EMAIL}",
    )
    report = await run(api, NAMES[1], erase=True)
    assert report.outcome is ErasureOutcome.ERASED
    assert report.found["delivery_attempt"] > 0
    kept = (
        "SELECT count(answer) FROM gateway.delivery_attempt AS a JOIN gateway.event AS e ON e.id = a.event_id"
    )
    assert await pool.fetchval(f"{kept} WHERE e.object_id = $1", made["sessions"][0]) == 0
    assert await pool.fetchval("SELECT count(*) FROM gateway.delivery_attempt WHERE status = 500") > 0


async def test_an_erased_event_is_abandoned_and_not_sent_again(api: Api) -> None:
    endpoint = await api.call(
        "POST", "/v1/webhook-endpoints", {"url": "https://a.example/", "events": ["*"]}, key="w"
    )
    assert endpoint.status == 201, endpoint.text
    made = await drive(api)
    for number, session in enumerate(made["sessions"]):
        await finish(api, session, number)
    await end_everything(api, made)
    pool = api.services.pool
    of_session = "SELECT DISTINCT state FROM gateway.delivery WHERE object_id = $1"
    assert [row["state"] for row in await pool.fetch(of_session, made["sessions"][0])] == ["pending"]
    await run(api, NAMES[1], erase=True)
    assert [row["state"] for row in await pool.fetch(of_session, made["sessions"][0])] == ["abandoned"]
    event = await pool.fetchval("SELECT id FROM gateway.event WHERE object_id = $1", made["sessions"][0])
    shown = (await api.call("GET", f"/v1/events/{format_id('evt', event)}")).json
    assert (shown["object_id"], shown["data"]) == (made["sessions"][0], {})
    path = f"/v1/webhook-endpoints/{endpoint.json['id']}/deliveries/{format_id('evt', event)}/resend"
    assert (await api.call("POST", path)).status == 404


async def test_the_export_has_every_row_and_what_a_cpo_sent(api: Api) -> None:
    made = await drive(api)
    for number, session in enumerate(made["sessions"]):
        await finish(api, session, number)
    await token_and_contract(api, made)
    body = {"kind": "reference", "value": REFERENCE, "party": "parking"}
    found = await api.call("POST", "/v1/personal-data/export", body, party="admin")
    assert found.status == 200
    tables = found.json["tables"]
    assert len(tables["gateway.session"]) == len(tables["gateway.capture"]) == 2
    assert tables["gateway.session"][0]["cdr"]["cdr_token"]["uid"] == UID
    assert tables["pnc.contract"][0]["emaid"] == EMAID
    assert {"gateway.payment_authorization", "gateway.customer", "gateway.ocpi_token"} <= tables.keys()
    assert "driver-1" not in found.text
    assert made["other"] not in found.text


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"kind": "reference", "value": "x"}, "goes with its party"),
        ({"kind": "email", "value": "a@b.example", "party": "parking"}, "goes with its party"),
        ({"kind": "email", "value": "nobody"}, "expected an address"),
        ({"kind": "emaid", "value": "nobody"}, "expected an eMAID"),
        ({"kind": "token_uid", "value": "x" * 37}, "at most 36"),
        ({"kind": "token_uid", "value": "a\nb"}, "printable"),
        ({"kind": "name", "value": "Jo"}, ""),
    ],
)
async def test_a_person_is_named_rightly_or_not_at_all(api: Api, body: dict[str, Any], problem: str) -> None:
    for path in ("find", "export", "erase"):
        sent = body | ({"reason": "r"} if path == "erase" else {})
        answer = await api.call("POST", f"/v1/personal-data/{path}", sent, party="admin")
        assert answer.status == 400
        assert problem in answer.text
        forbidden = await api.call("POST", f"/v1/personal-data/{path}", sent, party="parking")
        assert forbidden.status == 403


async def test_an_unknown_person_is_nothing_to_erase(api: Api) -> None:
    body = {"kind": "email", "value": "nobody@example.com", "reason": "request 2"}
    answer = (await api.call("POST", "/v1/personal-data/erase", body, party="admin")).json
    assert (answer["outcome"], answer["rows"], answer["kept"]) == ("nothing", {}, [])


def test_every_rule_says_what_erasure_does_and_does_it() -> None:
    said = {
        name for name, rule in default_policy().rules.items() if rule.erase.startswith(("deleted", "blotted"))
    }
    said |= {name for name, rule in default_policy().rules.items() if "blotted" in rule.erase}
    said |= {name for name, rule in default_policy().rules.items() if "pseudonym" in rule.erase}
    assert said - {"billing_record"} == ERASED_RULES | {"contract", "decision"}


def command(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return networkcore(*arguments, database_url=dsn, environment={"COLUMNS": "200"})


async def test_the_commands_find_export_erase_and_list(api: Api, database_url: str, tmp_path: Path) -> None:
    made = await drive(api)
    for number, session in enumerate(made["sessions"]):
        await finish(api, session, number)
    found = command(database_url, "erase", "--email", EMAIL, "--by", "anna", "--reason", "r", "--json")
    assert (found.returncode, json.loads(found.stdout)["outcome"]) == (1, "refused")
    await end_everything(api, made)
    found = command(database_url, "erase", "--email", EMAIL)
    assert found.returncode == 0, found.stderr
    assert "Nothing was changed" in found.stdout
    exported = command(
        database_url, "personal-data", "export", "--email", EMAIL, "--output", str(tmp_path / "x")
    )
    assert exported.returncode == 0, exported.stderr
    tables = json.loads((tmp_path / "x/personal-data.json").read_text())
    assert tables["gateway.customer"][0]["reference"] == REFERENCE
    lines = list(csv.reader((tmp_path / "x/personal-data.csv").read_text("utf-8").splitlines()))
    assert ["gateway.customer", "1", "reference", REFERENCE] in lines
    assert ["gateway.session", "1", "cdr.cdr_token.uid", UID] in lines
    assert (tmp_path / "x/personal-data.csv").stat().st_mode & 0o077 == 0
    done = command(database_url, "erase", "--email", EMAIL, "--by", "anna", "--reason", "request 1")
    assert done.returncode == 0, done.stderr
    assert "Erased." in done.stdout
    assert "pseudonym: erased_" in done.stdout
    assert "There is nothing to erase." in command(database_url, "erase", "--email", EMAIL).stdout
    listed = json.loads(command(database_url, "personal-data", "erasures", "--json").stdout)
    assert [one["reason"] for one in listed] == ["request 1"]
    for wrong, problem in (
        ([], "exactly one of"),
        (["--email", EMAIL, "--token-uid", UID], "exactly one of"),
        (["--reference", "x"], "goes with its party"),
        (["--email", EMAIL, "--by", "anna"], "--by and --reason go together"),
    ):
        answer = command(database_url, "erase", *wrong)
        assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
        assert problem in answer.stderr


def test_a_contract_is_not_erased_while_a_vehicle_charges() -> None:
    decided = datetime(2026, 10, 1, tzinfo=UTC)
    decision = contracts.DriverDecision(
        id=UUID(int=1), shard=0, state="accepted", authorization_id=None, settlement=None, decided_at=decided
    )
    found = contracts.DriverContracts(contracts=(), decisions=(decision,))
    assert [reason for _, reason in found.why_not_erased()] == ["the vehicle's session has not ended"]
    ended = replace(decision, state="closed", decided_at=decided + timedelta(days=1))
    assert not contracts.DriverContracts(contracts=(), decisions=(ended,)).why_not_erased()
