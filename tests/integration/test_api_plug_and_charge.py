"""Authorizing a vehicle over HTTP: decide, secure, conclude; nothing accepted that is not paid for."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from cryptography.x509.ocsp import OCSPCertStatus

from gateway.database import Pool
from pnc.data_transfer import VENDOR
from sandbox.pki.hierarchy import ocsp_answer
from tests.fakes.api import EVSE, START, Answer, cdr
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api, statuses
from tests.fakes.pnc_market import EMAID
from tests.fakes.workers import resolve_outcomes


@pytest.fixture
async def station(pool: Pool) -> AsyncIterator[StationApi]:
    async with open_station_api(pool) as opened:
        yield opened


async def test_a_good_contract_is_accepted_once_its_payment_is_held_and_captured_like_any_other(
    station: StationApi,
) -> None:
    answer = await station.plug_in()
    assert answer.status == 200
    assert statuses(answer) == ("Accepted", "Accepted")
    shown = answer.json
    assert shown["cost_limit"] > 0
    assert shown["tariff"]["display"]
    (payment,) = station.api.psp.payments.values()
    assert payment.request.off_session
    assert payment.request.customer == "cus_1"
    read = await station.api.call("GET", f"/v1/authorizations/{shown['authorization_id']}", party="superapp")
    assert read.json["method"] == "plug_and_charge"

    body = b'{"cdr": ' + cdr() + b"}"
    path = f"/v1/sessions/{shown['session_id']}/complete"
    stated = await station.api.call("POST", path, body, party="superapp", key="c1")
    assert (stated.status, stated.json["state"], stated.json["capture"]) == (202, "active", None)
    assert stated.json["provisional_usage"]["state"] == "awaiting_cdr"  # the CDR decides
    ended = await station.api.call("POST", path, body, party="admin", key="c2")
    assert ended.json["capture"]["amount"] == 1190
    assert ended.json["stated_by"] == "platform"


async def test_the_second_question_of_a_session_gets_the_first_answer_without_a_second_hold(
    station: StationApi,
) -> None:
    first = await station.plug_in()
    token_only = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    second = await station.plug_in(request=token_only)
    assert statuses(second) == ("Accepted", "Accepted")
    assert second.json["authorization_id"] == first.json["authorization_id"]
    assert second.json["decision"] == {**first.json["decision"], "repeated": True}
    assert len(station.api.psp.payments) == 1

    bare = await station.api.call(
        "POST",
        f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=tx-1",
        token_only,
        party="DE-ABC",
    )
    assert bare.json["idTokenInfo"]["status"] == "Accepted"
    assert set(bare.json) == {"idTokenInfo", "certificateStatus"}


async def test_a_contract_whose_payment_is_declined_is_not_accepted(station: StationApi) -> None:
    await station.contract({"type": "psp_payment_method", "payment_method": "pm_declined"})
    answer = await station.plug_in()
    assert answer.status == 200
    assert statuses(answer)[0] != "Accepted"
    assert answer.json["authorization_id"] is None
    assert answer.json["decision"]["rejection_reason"] == "payment_not_secured"

    await station.contract({"type": "partner_account"})
    empty = await station.plug_in(ref="tx-2")
    assert statuses(empty)[0] != "Accepted"


async def test_a_challenge_that_cannot_be_met_is_no_acceptance_and_leaves_no_hold(
    station: StationApi,
) -> None:
    await station.contract({"type": "psp_payment_method", "payment_method": "pm_challenge"})
    answer = await station.plug_in()
    assert statuses(answer)[0] != "Accepted"
    assert {payment.status for payment in station.api.psp.payments.values()} == {"canceled"}


def pending(answer: Answer) -> None:
    assert (answer.status, answer.json["code"]) == (503, "payment_pending"), answer.text
    assert answer.headers["Retry-After"] == "2"
    assert answer.json["ocpp_error"]["errorCode"] == "InternalError"
    assert "ContractCancelled" not in answer.text


async def test_while_the_psp_is_silent_nothing_is_answered_and_the_next_question_finds_the_hold(
    station: StationApi,
) -> None:
    for fault in ("after", "before"):
        ref = f"tx-{fault}"
        station.api.psp.faults.append(fault)
        pending(await station.plug_in(ref=ref))
        again = await station.plug_in(ref=ref)
        assert statuses(again) == ("Accepted", "Accepted")
        assert again.json["decision"]["finding"] == "accepted"
    assert len(station.api.psp.payments) == 2


async def test_a_pending_payment_is_no_status_of_the_bare_message_either(station: StationApi) -> None:
    station.api.psp.faults.append("after")
    path = f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=tx-1"
    pending(await station.api.call("POST", path, station.request(), party="DE-ABC"))
    again = await station.api.call("POST", path, station.request(), party="DE-ABC")
    assert again.json["certificateStatus"] == "Accepted"


async def test_a_pending_payment_is_no_status_of_a_data_transfer_either(station: StationApi) -> None:
    station.api.psp.faults.append("after")
    path = f"{ROOT}/ocpp/1.6/data-transfer?evse_id={EVSE}&session_ref=tx-1"
    body = {"vendorId": VENDOR, "messageId": "Authorize", "data": json.dumps(station.request())}
    pending(await station.api.call("POST", path, body, party="DE-ABC"))
    again = await station.api.call("POST", path, body, party="DE-ABC")
    assert json.loads(again.json["data"])["certificateStatus"] == "Accepted"


async def test_an_answer_later_than_the_stations_patience_is_pending_and_never_a_rejection(
    station: StationApi,
) -> None:
    station.api.psp.answering.clear()
    pending(await station.plug_in())
    station.api.psp.answering.set()
    again = await station.plug_in()
    assert statuses(again) == ("Accepted", "Accepted")
    assert len(station.api.psp.payments) == 1
    states = await station.api.services.pool.fetch("SELECT state FROM pnc.decision")
    assert [row["state"] for row in states] == ["accepted"]


async def test_repeats_wait_for_the_request_that_secures_the_payment_and_hold_once(
    station: StationApi,
) -> None:
    station.api.psp.answering.clear()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(station.plug_in()) for _ in range(5)]
        while not station.api.psp.payments:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        station.api.psp.answering.set()
    answers = [call.result() for call in calls]
    assert {statuses(answer) for answer in answers} == {("Accepted", "Accepted")}
    assert len({answer.json["authorization_id"] for answer in answers}) == 1
    assert len(station.api.psp.payments) == 1
    assert [kind for kind, _ in station.api.psp.calls] == ["hold"]


async def test_a_repeat_learns_the_outcome_that_another_process_recorded(station: StationApi) -> None:
    station.api.psp.faults.append("after")
    async with asyncio.TaskGroup() as group:
        call = group.create_task(station.plug_in())
        while not station.api.psp.payments:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        # The worker resolves the outcome: the payment is decided, and nobody has concluded the decision.
        station.api.clock.pass_wall(60)
        resolver = station.api.services.payments.resolver
        await resolve_outcomes(resolver)
    assert statuses(call.result()) == ("Accepted", "Accepted")


async def test_blocked_cancelled_unknown_and_revoked_are_answered_by_their_status(
    station: StationApi,
) -> None:
    path = f"{ROOT}/contracts/{EMAID}"
    assert (await station.api.call("POST", f"{path}/block", {"reason": "lost"}, party="admin")).status == 200
    assert statuses(await station.plug_in(ref="a")) == ("Blocked", "ContractCancelled")
    await station.api.call("POST", f"{path}/unblock", party="admin")
    assert statuses(await station.plug_in(ref="b")) == ("Accepted", "Accepted")

    stranger = station.pki.issue("DE8AAC99999999")
    station.fetcher.know(station.pki.second, stranger)
    other = {
        "idToken": {"idToken": "DE8AAC99999999", "type": "eMAID"},
        "certificate": station.pki.bundle(stranger),
    }
    assert statuses(await station.plug_in(ref="c", request=other)) == ("Unknown", "ContractCancelled")

    revoked = station.pki.issue(EMAID)
    issuer = station.pki.second
    station.fetcher.know(issuer, revoked)
    station.fetcher.script[revoked.certificate.serial_number] = ocsp_answer(
        revoked.certificate,
        issuer=issuer.certificate,
        responder=issuer,
        now=START,
        status=OCSPCertStatus.REVOKED,
        revoked_at=START,
    )
    gone = station.request(certificate=station.pki.bundle(revoked))
    assert statuses(await station.plug_in(ref="d", request=gone)) == ("Invalid", "CertificateRevoked")
    none = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    assert statuses(await station.plug_in(ref="e", request=none)) == ("Invalid", "NoCertificateAvailable")

    cancelled = await station.api.call("POST", f"{path}/cancel", party="admin")
    assert cancelled.json["state"] == "cancelled"
    assert (await station.api.call("POST", f"{path}/unblock", party="admin")).status == 409


async def test_a_message_that_breaks_its_schema_is_a_problem_with_its_place(station: StationApi) -> None:
    for request, place in (
        ({}, "/authorize_request"),
        ({"idToken": {"idToken": EMAID}}, "/authorize_request/idToken"),
        ({"idToken": {"idToken": EMAID, "type": "eMAID"}, "extra": 1}, "/authorize_request"),
    ):
        rejected = await station.plug_in(request=request)
        assert (rejected.status, rejected.json["code"]) == (400, "invalid_parameters")
        assert rejected.json["errors"][0]["pointer"].startswith(place), rejected.text
        assert rejected.json["ocpp_error"]["errorCode"]
    unknown = await station.plug_in(ref="x", evse="XX*1")
    assert (unknown.status, unknown.json["code"]) == (404, "evse_not_found")
    version = await station.api.call(
        "POST", f"{ROOT}/ocpp/1.6/authorize?evse_id=a&session_ref=b", {}, party="DE-ABC"
    )
    assert version.status == 404


async def test_contracts_are_listed_without_what_pays(station: StationApi) -> None:
    listed = await station.api.call("GET", f"{ROOT}/contracts", party="admin")
    (contract,) = listed.json["data"]
    assert contract["emaid"] == EMAID
    assert "pm_good" not in listed.text
    bad = await station.contract({"type": "partner_account"}, emaid="DE8AAC1234567\u0416")
    assert bad.status == 400


async def test_a_disabled_means_of_payment_rejects_each_of_its_contracts_until_it_is_enabled(
    station: StationApi,
) -> None:
    mandate = {"type": "psp_payment_method", "payment_method": "pm_good", "customer": "cus_1"}
    second = "DE8AAC87654321"
    leaf = station.pki.issue(second)
    station.fetcher.know(station.pki.second, leaf)
    await station.contract(mandate, emaid=second)
    request = {
        "idToken": {"idToken": second, "type": "eMAID"},
        "certificate": station.pki.bundle(leaf),
    }
    path = f"{ROOT}/contracts/{EMAID}"
    reason = {"reason": "the mandate was revoked"}
    disabled = await station.api.call("POST", f"{path}/disable-payment", reason, party="admin")
    assert (disabled.status, disabled.json["payment_usable"]) == (200, False)
    for ref, message in (("a", None), ("b", request)):
        answer = await station.plug_in(ref=ref, request=message)
        assert answer.json["decision"]["rejection_reason"] == "payment_method_gone"
        assert statuses(answer) == ("Blocked", "ContractCancelled")
    assert station.api.psp.payments == {}

    enabled = await station.api.call("POST", f"{path}/enable-payment", party="admin")
    assert (enabled.status, enabled.json["payment_usable"]) == (200, True)
    assert statuses(await station.plug_in(ref="c", request=request)) == ("Accepted", "Accepted")
    history = (await station.api.call("GET", f"{path}/history", party="admin")).json["data"]
    assert [change["kind"] for change in history] == ["created", "payment_unusable", "payment_usable"]
    assert history[1]["reason"] == "the mandate was revoked"
    assert "pm_good" not in f"{disabled.text}{enabled.text}{history}"

    await station.api.call("POST", f"{path}/cancel", party="admin")
    cancelled = await station.api.call("POST", f"{path}/disable-payment", party="admin")
    assert (cancelled.status, cancelled.json["code"]) == (409, "state_conflict")
    unknown = await station.api.call(
        "POST", f"{ROOT}/contracts/DE8AAC55555555/disable-payment", party="admin"
    )
    assert unknown.status == 404


async def test_a_contract_that_pays_again_charges_the_session_whose_card_was_declined(
    station: StationApi,
) -> None:
    await station.contract({"type": "psp_payment_method", "payment_method": "pm_declined"})
    first = await station.plug_in()
    assert statuses(first) != ("Accepted", "Accepted")
    await station.contract({"type": "psp_payment_method", "payment_method": "pm_good", "customer": "cus_1"})
    second = await station.plug_in()
    assert statuses(second) == ("Accepted", "Accepted")


async def test_a_contract_whose_payment_method_the_driver_removed_is_rejected_and_nothing_is_held(
    station: StationApi,
) -> None:
    api = station.api
    customer = (await api.call("POST", "/v1/customers", {}, party="superapp", key="c")).json["id"]
    path = f"/v1/customers/{customer}/setups"
    setup = (await api.call("POST", path, {"return_url": "app://x"}, party="superapp", key="s")).json
    api.psp.payers.finish(setup["client_secret"].partition("_secret")[0])
    method = (await api.call("GET", f"/v1/setups/{setup['id']}", party="superapp")).json["payment_method"]
    mandate = {"type": "psp_payment_method", "payment_method": method, "customer": customer}
    foreign = await station.contract(mandate, party="parking")
    assert (foreign.status, foreign.json["code"]) == (404, "not_found")
    assert (await station.contract(mandate)).status == 201
    assert (await api.call("DELETE", f"/v1/payment-methods/{method}", party="superapp")).status == 204
    answer = await station.plug_in()
    assert answer.json["decision"]["rejection_reason"] == "payment_not_secured"
    assert statuses(answer) != ("Accepted", "Accepted")
    assert api.psp.payments == {}
    assert method not in answer.text
