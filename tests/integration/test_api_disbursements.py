"""Settlement over HTTP: agreements, clearing, forecast, payment, and whose figures are whose."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.audit_run_repository import AuditRun, record_run
from gateway.database import Pool
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.disbursements import DisbursementJob, PspRail
from tests.fakes.api import Api, cdr, open_api
from tests.fakes.parties import AGREEMENT, create_market, party_body


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        await create_market(opened, street="Werft 1")
        yield opened


async def settle(api: Api, *, number: int = 1) -> str:
    """Capture a session and clear it; its id."""
    shown = (await api.authorize(key=f"a{number}")).json
    body = {"cdr": json.loads(cdr(cdr_id=f"C{number}"))}
    ended = await api.call("POST", f"/v1/sessions/{shown['session']}/complete", body, key=f"c{number}")
    assert ended.json["capture"]["state"] == "succeeded"
    job = ClearingJob(
        pool=api.services.pool,
        clock=api.clock,
        sessions=api.services.clearing.sessions,
        batch_size=10,
        chain=0,
    )
    api.clock.pass_wall(5)
    assert await job.run_once() == 1
    return str(shown["session"])


async def test_what_is_forecast_is_paid_on_its_day_and_traced_to_its_session(api: Api) -> None:
    session = await settle(api)
    read = (await api.call("GET", f"/v1/sessions/{session}")).json
    assert read["state"] == "cleared", read

    forecast = (await api.call("GET", "/v1/forecast?days=30", party="DE-ABC")).json["data"]
    assert [(line["party"], line["currency"]) for line in forecast] == [("DE-ABC", "EUR")]
    everyone = (await api.call("GET", "/v1/forecast?days=30", party="admin")).json["data"]
    assert {line["party"] for line in everyone} == {"DE-ABC", "parking"}

    api.clock.at += timedelta(days=7)
    job = DisbursementJob(
        pool=api.services.pool,
        clock=api.clock,
        clearing=api.services.clearing,
        rail=PspRail(psp=api.psp),
    )
    assert await job.run() == 2

    (paid,) = (await api.call("GET", "/v1/disbursements", party="DE-ABC")).json["data"]
    assert (paid["state"], paid["amount"], paid["payables"]) == ("paid", forecast[0]["amount"], 1)
    assert paid["paid_at"] is not None
    one = await api.call("GET", f"/v1/disbursements/{paid['id']}", party="DE-ABC")
    assert one.json == paid
    (traced,) = (await api.call("GET", f"/v1/payables?disbursement={paid['id']}", party="DE-ABC")).json[
        "data"
    ]
    assert (traced["session"], traced["amount"], traced["state"]) == (session, paid["amount"], "paid")

    both = (await api.call("GET", "/v1/disbursements?limit=1", party="admin")).json
    rest = (await api.call("GET", f"/v1/disbursements?cursor={both['next_cursor']}", party="admin")).json
    assert both["has_more"]
    assert {both["data"][0]["party"], rest["data"][0]["party"]} == {"DE-ABC", "parking"}
    assert (await api.call("GET", "/v1/forecast?days=30", party="DE-ABC")).json["data"] == []


async def test_the_finance_key_of_a_cpo_reads_its_sessions_and_what_is_open_to_it(api: Api) -> None:
    metadata = {"order": "7"}
    shown = (await api.authorize(key="a0", metadata=metadata)).json
    session = await settle(api)
    listed = (await api.call("GET", "/v1/sessions", party="DE-ABC")).json["data"]
    assert {one["id"] for one in listed} == {session, shown["session"]}
    assert [one["metadata"] for one in listed] == [{}, {}]  # they are the demand partner's
    one = await api.call("GET", f"/v1/sessions/{shown['session']}", party="DE-ABC")
    assert (one.status, one.json["cpo"], one.json["metadata"]) == (200, "DE-ABC", {})
    assert (await api.call("GET", f"/v1/sessions/{shown['session']}")).json["metadata"] == metadata
    found = await api.call("GET", "/v1/sessions?metadata=order:7", party="DE-ABC")
    assert found.json["data"] == []
    assert len((await api.call("GET", "/v1/sessions?metadata=order:7")).json["data"]) == 1
    assert (await api.call("GET", f"/v1/sessions/{session}/price", party="DE-ABC")).status == 200

    (open_,) = (await api.call("GET", "/v1/payables", party="DE-ABC")).json["data"]
    assert (open_["session"], open_["party"], open_["state"]) == (session, "DE-ABC", "open")
    second = await settle(api, number=2)
    everyone = (await api.call("GET", "/v1/payables?limit=1", party="admin")).json
    assert len(everyone["data"]) > 1  # all of the session's
    assert {line["session"] for line in everyone["data"]} == {session}
    assert everyone["has_more"]
    rest = (await api.call("GET", f"/v1/payables?cursor={everyone['next_cursor']}", party="admin")).json
    assert {line["session"] for line in rest["data"]} == {second}
    assert not rest["has_more"]
    wrong = await api.call("GET", "/v1/payables?cursor=2026-13-01.ses_x", party="DE-ABC")
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (400, "/cursor")
    both = await api.call("GET", f"/v1/payables?session={session}&disbursement=dis_x", party="DE-ABC")
    assert both.status == 400
    assert (await api.call("GET", "/v1/authorizations", party="DE-ABC")).status == 403


async def test_another_partys_figures_are_not_found(api: Api) -> None:
    session = await settle(api)
    api.clock.at += timedelta(days=7)
    job = DisbursementJob(
        pool=api.services.pool,
        clock=api.clock,
        clearing=api.services.clearing,
        rail=PspRail(psp=api.psp),
    )
    await job.run()
    (paid,) = (await api.call("GET", "/v1/disbursements", party="DE-ABC")).json["data"]
    foreign = await api.call("GET", f"/v1/disbursements/{paid['id']}", party="parking")
    assert foreign.status == 404
    for path in (
        "/v1/disbursements?party=DE-ABC",
        "/v1/forecast?party=DE-ABC",
        f"/v1/payables?disbursement={paid['id']}",
        f"/v1/payables?session={session}&party=DE-ABC",
    ):
        shown = (await api.call("GET", path, party="superapp")).json["data"]
        assert shown == [], path
    own = (await api.call("GET", f"/v1/payables?session={session}", party="parking")).json["data"]
    assert {line["party"] for line in own} == {"parking"}


async def test_the_summary_proves_itself_and_partners_receive_the_event_of_their_disbursement(
    api: Api,
) -> None:
    await settle(api)
    api.clock.at += timedelta(days=7)
    job = DisbursementJob(
        pool=api.services.pool,
        clock=api.clock,
        clearing=api.services.clearing,
        rail=PspRail(psp=api.psp),
    )
    await job.run()
    summary = (await api.call("GET", "/v1/summary?audit=true", party="admin")).json
    assert summary["audit"]["ok"] is True
    assert summary["audit"]["findings"] == []
    assert {line["difference"] for line in summary["audit"]["proof"]} == {0}
    assert summary["captured"] == [{"currency": "EUR", "amount": 1190}]
    assert summary["sessions_cleared"] == 1
    light = (await api.call("GET", "/v1/summary", party="admin")).json
    assert (light["audit"], light["last_audit"]) == (None, None)  # none has run yet
    run = AuditRun(finished_at=api.clock.wall_now(), result="not_compared", checks=["psp_record"])
    async with api.services.pool.acquire() as connection:
        await record_run(connection, run)
    light = (await api.call("GET", "/v1/summary", party="admin")).json
    assert light["audit"] is None  # the ledger is not read for it
    assert (light["last_audit"]["result"], light["last_audit"]["checks"]) == ("not_compared", ["psp_record"])

    api.clock.wall = datetime.now(UTC) + timedelta(seconds=2)
    heard = (await api.call("GET", "/v1/events?limit=100", party="DE-ABC")).json["data"]
    kinds = [event["type"] for event in heard]
    for kind in ("capture.succeeded", "session.cleared", "disbursement.planned", "disbursement.paid"):
        assert kind in kinds
    assert kinds.index("disbursement.planned") < kinds.index("disbursement.paid")


async def test_an_agreement_is_never_edited_and_a_wrong_one_is_named(api: Api) -> None:
    same = await api.call("POST", "/v1/agreements", AGREEMENT, party="admin")
    assert same.status == 201
    terms = {**AGREEMENT["terms"], "deficit": "carry"}  # type: ignore[dict-item]
    changed = await api.call("POST", "/v1/agreements", {**AGREEMENT, "terms": terms}, party="admin")
    assert (changed.status, changed.json["code"]) == (409, "state_conflict")
    unknown = await api.call(
        "POST", "/v1/agreements", {**AGREEMENT, "id": "a2", "cpo": "XX-NO"}, party="admin"
    )
    assert unknown.status in {400, 404}, unknown.text
    body = party_body("DE-ABC", kind="emsp")
    other = await api.call("POST", "/v1/parties", body, party="admin")
    assert (other.status, other.json["code"]) == (409, "already_exists")
