"""The Plug & Charge hook over HTTP: decide, secure, conclude; nothing accepted that is not paid for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.x509.ocsp import OCSPCertStatus

from gateway.database import Pool
from gateway.sandbox.pki import ContractPki, Issued, Suite, build_pki, ocsp_answer
from pnc.inquiry import Inquiry
from pnc.service import PlugAndChargeService
from tests.fakes.api import EVSE, START, Answer, Api, cdr, open_api
from tests.fakes.pnc_market import EMAID, OCSP_URL, ScriptedFetcher

ROOT = "/v1/plug-and-charge"


@dataclass
class Hook:
    """The API, a PKI, and a vehicle with its contract."""

    api: Api
    pki: ContractPki
    leaf: Issued
    fetcher: ScriptedFetcher

    def request(self, **changes: Any) -> dict[str, Any]:
        token = {"idToken": EMAID, "type": "eMAID"}
        return {"idToken": token, "certificate": self.pki.bundle(self.leaf)} | changes

    async def plug_in(self, *, ref: str = "tx-1", request: Any = None, evse: str = EVSE) -> Answer:
        body = {
            "ocpp_version": "2.0.1",
            "station": {"evse_id": evse},
            "session_ref": ref,
            "authorize_request": self.request() if request is None else request,
        }
        return await self.api.call("POST", f"{ROOT}/authorizations", body, party="DE-ABC")

    async def contract(self, payment: dict[str, Any], **changes: Any) -> Answer:
        body = {
            "emaid": EMAID,
            "party": "superapp",
            "payment": payment,
            "valid_from": "2026-10-01T00:00:00Z",
        }
        return await self.api.call("POST", f"{ROOT}/contracts", body | changes, party="admin")


@pytest.fixture
async def hook(pool: Pool) -> AsyncIterator[Hook]:
    pki = build_pki(suite=Suite.P256, now=START, ocsp_url=OCSP_URL)
    leaf = pki.issue(EMAID)
    fetcher = ScriptedFetcher(now=START)
    fetcher.know(pki.root, pki.first)
    fetcher.know(pki.first, pki.second)
    fetcher.know(pki.second, leaf)
    service = PlugAndChargeService(inquiry=Inquiry(fetcher=fetcher))
    async with open_api(pool, plug_and_charge=service) as api:
        trusted = await api.call(
            "POST",
            f"{ROOT}/trust-anchors",
            {
                "environment": "sandbox",
                "kind": "mo_root",
                "pem": pki.root.pem,
                "policy": "require",
                "revocation_sources": [{"kind": "ocsp", "url": OCSP_URL}],
            },
            party="admin",
        )
        assert trusted.status == 201, trusted.text
        hook = Hook(api=api, pki=pki, leaf=leaf, fetcher=fetcher)
        stored = await hook.contract(
            {"type": "psp_payment_method", "payment_method": "pm_good", "customer": "cus_1"}
        )
        assert stored.status == 201, stored.text
        assert "pm_good" not in stored.text
        yield hook


def statuses(answer: Answer) -> tuple[str, str]:
    response = answer.json["authorize_response"]
    return response["idTokenInfo"]["status"], response["certificateStatus"]


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
