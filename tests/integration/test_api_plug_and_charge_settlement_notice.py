"""After the session: its decision ends, and the notice to the operator names no means of payment."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import format_id, new_id
from gateway.jobs.settlement_notice import SettlementNoticeJob
from pnc.decision_lifecycle import RetentionPeriods
from tests.fakes.api import START, Answer, cdr
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api, statuses
from tests.fakes.pnc_market import EMAID


@pytest.fixture
async def station(pool: Pool) -> AsyncIterator[StationApi]:
    async with open_station_api(pool) as opened:
        yield opened


def notice_job(station: StationApi, **changes: Any) -> SettlementNoticeJob:
    stations = station.api.services.stations
    assert stations is not None
    return SettlementNoticeJob(
        pool=station.api.services.pool,
        clock=station.api.clock,
        notices=stations.notices,
        environment="sandbox",
        **changes,
    )


async def complete(station: StationApi, session: str, *, kwh: str = "20") -> Answer:
    """As the platform: what the payer states of such a session is provisional."""
    body = b'{"cdr": ' + cdr(kwh=kwh) + b"}"
    path = f"/v1/sessions/{session}/complete"
    return await station.api.call("POST", path, body, party="admin", key=f"complete-{session}")


async def events(station: StationApi, party: str, kind: str) -> list[dict[str, Any]]:
    rows = await station.api.services.pool.fetch(
        "SELECT data FROM gateway.event WHERE party_id = $1 AND type = $2", party, kind
    )
    return [row["data"] for row in rows]


async def test_the_operator_is_notified_once_of_the_captured_amount_and_gets_ocpps_forms(
    station: StationApi,
) -> None:
    shown = (await station.plug_in()).json
    path = f"{ROOT}/sessions/{shown['session_id']}/settlement"
    early = await station.api.call("GET", path, party="DE-ABC")
    assert (early.status, early.json["code"]) == (409, "state_conflict")
    job = notice_job(station)
    assert await job.run_once() == 0

    await complete(station, shown["session_id"])
    for _ in range(3):
        station.api.clock.pass_wall(3)
        await job.run_once()
    assert await notice_job(station).run_once() == 0  # another worker finds nothing left
    (event,) = await events(station, "DE-ABC", "plug_and_charge.settled")
    assert (event["status"], event["amount"], event["currency"]) == ("Settled", 1190, "EUR")
    assert event["session_ref"] == "tx-1"
    assert event["receipt_url"].startswith("http://api.test/v1/receipts/")

    answer = await station.api.call("GET", path, party="DE-ABC")
    assert (answer.json["status"], answer.json["id"]) == ("Settled", shown["authorization_id"])
    assert '"transaction_event_response":{"totalCost":11.90}' in answer.text  # a number with its digits
    assert (answer.json["transaction_id"], answer.json["cost_updated"]) == (None, None)
    assert "notify_settlement" not in answer.json  # a station sends that to its operator
    named = await name(station, shown["decision"]["id"], "station-tx-9")
    assert named.json["transaction_id"] == "station-tx-9"
    later = await station.api.call("GET", path, party="DE-ABC")
    assert '"cost_updated":{"totalCost":11.90,"transactionId":"station-tx-9"}' in later.text
    other = await station.api.call("GET", path, party="superapp")
    assert other.status == 403


async def name(station: StationApi, decision: str, transaction: Any, party: str = "DE-ABC") -> Answer:
    path = f"{ROOT}/authorizations/{decision}"
    return await station.api.call("PATCH", path, {"transaction_id": transaction}, party=party)


async def test_a_transaction_is_the_stations_own_named_once_and_by_its_operator_alone(
    station: StationApi,
) -> None:
    accepted = (await station.plug_in()).json["decision"]["id"]
    assert (await name(station, accepted, "t-1")).status == 200
    assert (await name(station, accepted, "t-1")).json["session_ref"] == "tx-1"
    assert (await name(station, accepted, "t-2")).status == 409
    for wrong in ("", "x" * 37, "a b", None, 7):
        assert (await name(station, accepted, wrong)).status == 400
    assert (await name(station, accepted, "t-1", party="superapp")).status == 403
    rejected = await station.plug_in(ref="b", request={"idToken": {"idToken": EMAID, "type": "eMAID"}})
    assert (await name(station, rejected.json["decision"]["id"], "t-3")).status == 409
    unknown = format_id("dec", new_id())
    assert (await name(station, unknown, "t-3")).status == 404
    await station.api.services.pool.execute("UPDATE pnc.decision SET operator_id = 'NL-XYZ'")
    assert (await name(station, accepted, "t-1")).status == 404


async def test_a_stations_settlement_is_taken_in_and_answered_with_our_receipt(station: StationApi) -> None:
    path = f"{ROOT}/ocpp/2.1/notify-settlement"
    message = {
        "pspRef": "terminal-7",
        "status": "Settled",
        "settlementAmount": 11.9,
        "settlementTime": "2026-10-29T10:00:00Z",
    }

    async def notify(**changes: Any) -> Answer:
        return await station.api.call("POST", path, message | changes, party="DE-ABC")

    assert (await notify()).json == {}  # a terminal's own payment
    shown = (await station.plug_in()).json
    await name(station, shown["decision"]["id"], "t-1")
    assert (await notify(transactionId="t-1")).json == {}  # not captured yet
    await complete(station, shown["session_id"])
    answered = (await notify(transactionId="t-1")).json
    receipt = answered["receiptId"]
    assert answered["receiptUrl"].startswith("http://api.test/v1/receipts/ses_")
    settled = await station.api.call(
        "GET", f"{ROOT}/sessions/{shown['session_id']}/settlement", party="DE-ABC"
    )
    assert receipt == settled.json["receipt"]
    assert answered["receiptUrl"] == settled.json["receipt_url"]
    assert (await notify(transactionId="of another station")).json == {}
    # Two stations of the operator may use one id: then it names nothing.
    twin = (await station.plug_in(ref="tx-2")).json
    await name(station, twin["decision"]["id"], "t-1")
    assert (await notify(transactionId="t-1")).json == {}
    broken = await notify(status="Paid")
    assert (broken.status, broken.json["ocpp_error"]["errorCode"]) == (400, "PropertyConstraintViolation")


async def test_a_session_that_cost_nothing_is_canceled(station: StationApi) -> None:
    shown = (await station.plug_in()).json
    await complete(station, shown["session_id"], kwh="0")
    assert await notice_job(station).run_once() == 1
    (event,) = await events(station, "DE-ABC", "plug_and_charge.settled")
    assert (event["status"], event["amount"], event["receipt"]) == ("Canceled", 0, None)


async def test_a_completed_session_is_not_accepted_again_before_or_after_the_job_saw_it(
    station: StationApi,
) -> None:
    shown = (await station.plug_in()).json
    await complete(station, shown["session_id"])
    again = await station.plug_in()
    assert statuses(again)[0] != "Accepted"
    assert again.json["decision"]["rejection_reason"] == "session_ended"
    await notice_job(station).run_once()
    token_only = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    assert (await station.plug_in(request=token_only)).json["decision"]["rejection_reason"] == "session_ended"
    assert len(station.api.psp.payments) == 1


async def test_a_released_hold_is_no_acceptance_any_more(station: StationApi) -> None:
    shown = (await station.plug_in()).json
    path = f"/v1/authorizations/{shown['authorization_id']}/release"
    released = await station.api.call("POST", path, {}, party="admin", key="r1")
    assert released.status == 200, released.text
    again = await station.plug_in()
    assert statuses(again)[0] != "Accepted"
    assert again.json["authorization_id"] is None
    await notice_job(station).run_once()
    assert await events(station, "DE-ABC", "plug_and_charge.settled") == []  # a CDR may still come
    station.api.clock.at += timedelta(days=31)
    await notice_job(station).run_once()
    (event,) = await events(station, "DE-ABC", "plug_and_charge.settled")
    assert event["status"] == "Canceled"


async def test_a_payment_secured_after_the_session_ended_is_no_acceptance(station: StationApi) -> None:
    station.api.psp.faults.append("after")
    silent = await station.plug_in()
    assert (silent.status, silent.json["code"]) == (503, "payment_pending")
    session_id = await station.api.services.pool.fetchval("SELECT id FROM gateway.session")
    ended = await complete(station, format_id("ses", session_id))
    assert ended.status == 200, ended.text
    again = await station.plug_in()
    assert statuses(again)[0] != "Accepted"
    assert again.json["authorization_id"] is None


async def test_the_contracts_party_gets_the_authorization_event_at_once(station: StationApi) -> None:
    shown = (await station.plug_in()).json
    (event,) = await events(station, "superapp", "authorization.authorized")
    assert event["id"] == shown["authorization_id"]
    assert event["method"] == "plug_and_charge"
    assert await events(station, "DE-ABC", "authorization.authorized") == []


async def test_nothing_the_operator_reads_links_the_contract_to_who_pays_or_with_what(
    station: StationApi,
) -> None:
    seen: list[str] = []
    good = await station.plug_in()
    seen.append(good.text)
    session = good.json["session_id"]
    await complete(station, session)
    await notice_job(station).run_once()
    await station.contract(
        {"type": "psp_payment_method", "payment_method": "pm_declined", "customer": "cus_1"}
    )
    declined = await station.plug_in(ref="tx-2")
    await station.contract({"type": "partner_account"})
    empty = await station.plug_in(ref="tx-3")
    assert (
        declined.json["decision"]["rejection_reason"]
        == empty.json["decision"]["rejection_reason"]
        == "payment_not_secured"
    )
    # The two reasons can't be distinguished.
    assert declined.json["decision"]["detail"] == empty.json["decision"]["detail"]
    seen += [declined.text, empty.text]
    paths = [f"{ROOT}/sessions/{session}/settlement", "/v1/events?limit=100", f"/v1/sessions/{session}"]
    for path in paths:
        seen.append((await station.api.call("GET", path, party="DE-ABC")).text)
    rows = await station.api.services.pool.fetch(
        "SELECT data::text FROM gateway.event WHERE party_id = 'DE-ABC'"
    )
    assert rows
    seen += [json.dumps(row["data"], default=str) for row in rows]
    secrets = ("pm_good", "pm_declined", "cus_1", "superapp", "insufficient", "funded account", EMAID)
    for text in seen:
        for secret in secrets:
            assert secret not in text, (secret, text)
    for path in (f"/v1/authorizations/{good.json['authorization_id']}", f"{ROOT}/contracts"):
        assert (await station.api.call("GET", path, party="DE-ABC")).status == 403


async def test_expired_decisions_are_deleted_and_running_ones_stay(station: StationApi) -> None:
    pool = station.api.services.pool
    none = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    await station.plug_in(ref="rejected", request=none)
    await station.plug_in(ref="running")
    done = (await station.plug_in(ref="done")).json
    await complete(station, done["session_id"])
    station.api.psp.faults.append("after")
    await station.plug_in(ref="silent")

    async def left() -> dict[str, str]:
        rows = await pool.fetch("SELECT session_ref, state FROM pnc.decision ORDER BY session_ref")
        return {row["session_ref"]: row["state"] for row in rows}

    await notice_job(station).run_once()
    assert await left() == {
        "done": "closed",
        "rejected": "rejected",
        "running": "accepted",
        "silent": "awaiting_payment",
    }
    station.api.clock.at = START + RetentionPeriods().rejected + timedelta(days=1)
    await notice_job(station).run_once()
    assert await left() == {"done": "closed", "running": "accepted", "silent": "closed"}
    station.api.clock.at = START + 2 * RetentionPeriods().closed
    await notice_job(station).run_once()
    assert await left() == {"running": "accepted"}


async def test_a_station_of_ocpp_2_1_gets_its_limit_as_an_exact_number(station: StationApi) -> None:
    new = await station.plug_in(ref="new", version="2.1")
    limit = new.json["cost_limit"]
    assert f'"transaction_limit":{{"maxCost":{limit // 100}.{limit % 100:02d}}}' in new.text
    old = await station.plug_in(ref="old")
    assert old.json["transaction_limit"] is None
    assert old.json["cost_limit"] == limit
    assert old.json["tariff"]["display"]
