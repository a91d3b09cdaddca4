"""The Plug & Charge hook over HTTP: decide, secure, conclude; nothing accepted that is not paid for."""

from collections.abc import AsyncIterator

import pytest
from cryptography.x509.ocsp import OCSPCertStatus

from gateway.database import Pool
from gateway.sandbox.pki import ocsp_answer
from tests.fakes.api import EVSE, START, cdr
from tests.fakes.pnc_hook import ROOT, Hook, open_hook, statuses
from tests.fakes.pnc_market import EMAID


@pytest.fixture
async def hook(pool: Pool) -> AsyncIterator[Hook]:
    async with open_hook(pool) as opened:
        yield opened


async def test_a_good_contract_is_accepted_once_its_payment_is_held_and_captured_like_any_other(
    hook: Hook,
) -> None:
    answer = await hook.plug_in()
    assert answer.status == 200
    assert statuses(answer) == ("Accepted", "Accepted")
    shown = answer.json
    assert shown["cost_limit"] > 0
    assert shown["tariff"]["display"]
    (payment,) = hook.api.psp.payments.values()
    assert payment.order.off_session
    assert payment.order.customer == "cus_1"
    read = await hook.api.call("GET", f"/v1/authorizations/{shown['authorization_id']}", party="superapp")
    assert read.json["rail"] == "plug_and_charge"

    body = b'{"cdr": ' + cdr() + b"}"
    ended = await hook.api.call(
        "POST", f"/v1/sessions/{shown['session_id']}/complete", body, party="superapp", key="c1"
    )
    assert ended.json["capture"]["amount"] == 1190


async def test_the_second_question_of_a_session_gets_the_first_answer_without_a_second_hold(
    hook: Hook,
) -> None:
    first = await hook.plug_in()
    token_only = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    second = await hook.plug_in(request=token_only)
    assert statuses(second) == ("Accepted", "Accepted")
    assert second.json["authorization_id"] == first.json["authorization_id"]
    assert second.json["decision"] == {**first.json["decision"], "repeated": True}
    assert len(hook.api.psp.payments) == 1

    bare = await hook.api.call(
        "POST",
        f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=tx-1",
        token_only,
        party="DE-ABC",
    )
    assert bare.json["idTokenInfo"]["status"] == "Accepted"
    assert set(bare.json) == {"idTokenInfo", "certificateStatus"}


async def test_a_contract_whose_payment_is_declined_is_not_accepted(hook: Hook) -> None:
    await hook.contract({"type": "psp_payment_method", "payment_method": "pm_declined"})
    answer = await hook.plug_in()
    assert answer.status == 200
    assert statuses(answer)[0] != "Accepted"
    assert answer.json["authorization_id"] is None
    assert answer.json["decision"]["finding"] == "payment_not_secured"

    await hook.contract({"type": "partner_account"})
    empty = await hook.plug_in(ref="tx-2")
    assert statuses(empty)[0] != "Accepted"


async def test_a_challenge_nobody_can_meet_is_no_acceptance_and_leaves_no_hold(hook: Hook) -> None:
    await hook.contract({"type": "psp_payment_method", "payment_method": "pm_challenge"})
    answer = await hook.plug_in()
    assert statuses(answer)[0] != "Accepted"
    assert {payment.status for payment in hook.api.psp.payments.values()} == {"canceled"}


async def test_while_the_psp_is_silent_nothing_is_accepted_and_the_next_question_finds_the_hold(
    hook: Hook,
) -> None:
    hook.api.psp.faults.append("after")
    silent = await hook.plug_in()
    assert statuses(silent)[0] != "Accepted"
    again = await hook.plug_in()
    assert statuses(again) == ("Accepted", "Accepted")
    assert len(hook.api.psp.payments) == 1


async def test_blocked_cancelled_unknown_and_revoked_are_told_by_their_status(hook: Hook) -> None:
    path = f"{ROOT}/contracts/{EMAID}"
    assert (await hook.api.call("POST", f"{path}/block", {"reason": "lost"}, party="admin")).status == 200
    assert statuses(await hook.plug_in(ref="a")) == ("Blocked", "ContractCancelled")
    await hook.api.call("POST", f"{path}/unblock", party="admin")
    assert statuses(await hook.plug_in(ref="b")) == ("Accepted", "Accepted")

    stranger = hook.pki.issue("DE8AAC99999999")
    hook.fetcher.know(hook.pki.second, stranger)
    other = {
        "idToken": {"idToken": "DE8AAC99999999", "type": "eMAID"},
        "certificate": hook.pki.bundle(stranger),
    }
    assert statuses(await hook.plug_in(ref="c", request=other)) == ("Unknown", "ContractCancelled")

    revoked = hook.pki.issue(EMAID)
    issuer = hook.pki.second
    hook.fetcher.know(issuer, revoked)
    hook.fetcher.script[revoked.certificate.serial_number] = ocsp_answer(
        revoked.certificate,
        issuer=issuer.certificate,
        responder=issuer,
        now=START,
        status=OCSPCertStatus.REVOKED,
        revoked_at=START,
    )
    gone = hook.request(certificate=hook.pki.bundle(revoked))
    assert statuses(await hook.plug_in(ref="d", request=gone)) == ("Invalid", "CertificateRevoked")
    none = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    assert statuses(await hook.plug_in(ref="e", request=none)) == ("Invalid", "NoCertificateAvailable")

    cancelled = await hook.api.call("POST", f"{path}/cancel", party="admin")
    assert cancelled.json["state"] == "cancelled"
    assert (await hook.api.call("POST", f"{path}/unblock", party="admin")).status == 409


async def test_a_message_that_breaks_its_schema_is_a_problem_with_its_place(hook: Hook) -> None:
    for request, place in (
        ({}, "/authorize_request"),
        ({"idToken": {"idToken": EMAID}}, "/authorize_request/idToken"),
        ({"idToken": {"idToken": EMAID, "type": "eMAID"}, "extra": 1}, "/authorize_request"),
    ):
        refused = await hook.plug_in(request=request)
        assert (refused.status, refused.json["code"]) == (400, "invalid_parameters")
        assert refused.json["errors"][0]["pointer"].startswith(place), refused.text
        assert refused.json["ocpp_error"]["errorCode"]
    unknown = await hook.plug_in(ref="x", evse="XX*1")
    assert (unknown.status, unknown.json["code"]) == (404, "evse_not_found")
    version = await hook.api.call(
        "POST", f"{ROOT}/ocpp/1.6/authorize?evse_id=a&session_ref=b", {}, party="DE-ABC"
    )
    assert version.status == 404


async def test_contracts_are_listed_without_what_pays(hook: Hook) -> None:
    listed = await hook.api.call("GET", f"{ROOT}/contracts", party="admin")
    (contract,) = listed.json["data"]
    assert contract["emaid"] == EMAID
    assert "pm_good" not in listed.text
    bad = await hook.contract({"type": "partner_account"}, emaid="DE8AAC1234567\u0416")
    assert bad.status == 400
