"""What must be refused, over HTTP: each row of the list with the statuses the station is told."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from gateway.sandbox.pki import Issued, revocation_list
from pnc.certificate import parse_certificate
from pnc.findings import Finding
from pnc.hash_data import HashAlgorithm, as_ocpp, certificate_hash
from tests.fakes.api import EVSE
from tests.fakes.pnc_hook import ROOT, Hook, open_hook, statuses
from tests.fakes.pnc_market import EMAID, NOW, OCSP_URL
from tests.unit.pnc.test_refusals import BUNDLES, OCSP_CASES, UNASKED, Bench

TOKEN = {"idToken": EMAID, "type": "eMAID"}
CHAIN = ("Invalid", "CertChainError")


@pytest.fixture
async def hook(pool: Pool) -> AsyncIterator[Hook]:
    async with open_hook(pool, now=NOW) as opened:
        yield opened


def pair(expected: Any) -> tuple[str, str]:
    certificate_status, id_token_status = expected
    return id_token_status.value, certificate_status.value


def entry(hook: Hook, leaf: Issued, *, url: str = OCSP_URL) -> dict[str, str]:
    issuer = parse_certificate(hook.pki.second.der)
    named = certificate_hash(parse_certificate(leaf.der), issuer, HashAlgorithm.SHA256)
    return as_ocpp(named, responder_url=url)


async def test_every_broken_certificate_is_refused_with_its_statuses_and_holds_nothing(hook: Hook) -> None:
    bench = Bench(pki=hook.pki, leaf=hook.leaf)
    for place, (case, (build, finding, expected)) in enumerate(BUNDLES.items()):
        request = hook.request(certificate=build(bench))
        answer = await hook.plug_in(ref=f"c{place}", request=request, version="2.1")
        assert answer.status == 200, (case, answer.text)
        assert answer.json["decision"]["finding"] == finding.value, (case, answer.text)
        assert statuses(answer) == pair(expected), case
        assert answer.json["authorization_id"] is None, case
    assert hook.api.psp.payments == {}


async def test_every_bad_ocsp_answer_is_refused_with_its_statuses(hook: Hook) -> None:
    for place, (case, (build, finding, expected)) in enumerate(OCSP_CASES.items()):
        leaf = hook.pki.issue(EMAID)
        hook.fetcher.know(hook.pki.second, leaf)
        market = Hook(api=hook.api, pki=hook.pki, leaf=leaf, fetcher=hook.fetcher)
        hook.fetcher.script[leaf.certificate.serial_number] = build(market)  # type: ignore[arg-type]
        # A source that failed is left alone for a while; the next case finds it rested.
        hook.api.services.plug_and_charge.inquiry._failed.clear()  # type: ignore[union-attr]
        request = hook.request(certificate=hook.pki.bundle(leaf))
        answer = await hook.plug_in(ref=f"o{place}", request=request)
        assert answer.json["decision"]["finding"] == finding.value, (case, answer.text)
        assert statuses(answer) == pair(expected), case
    assert hook.api.psp.payments == {}


async def test_a_sub_authority_on_a_crl_handed_in_is_refused_as_revoked(hook: Hook) -> None:
    assert statuses(await hook.plug_in(ref="before"))[0] == "Accepted"
    listed = revocation_list(hook.pki.first, now=NOW, serials=[hook.pki.second.certificate.serial_number])
    body = {"authority": hook.pki.first.pem, "crl": base64.b64encode(listed).decode()}
    kept = await hook.api.call("POST", f"{ROOT}/revocation-lists", body, party="admin")
    assert kept.status == 201, kept.text
    answer = await hook.plug_in(ref="after")
    assert statuses(answer) == ("Invalid", "CertificateRevoked")


async def test_an_emaid_alone_and_other_tokens_are_refused(hook: Hook) -> None:
    alone = await hook.plug_in(ref="a", request={"idToken": TOKEN})
    assert statuses(alone) == ("Invalid", "NoCertificateAvailable")
    for place, text in enumerate(("DE8AA\uff2312345678", "DE8\u0410AC12345678", f"{EMAID[:-1]}\x00", "x")):
        token = {"idToken": text, "type": "eMAID"}
        answer = await hook.plug_in(ref=f"b{place}", request=hook.request(idToken=token))
        assert statuses(answer) == CHAIN, answer.text
    card = await hook.plug_in(ref="c", request=hook.request(idToken={"idToken": EMAID, "type": "ISO14443"}))
    assert statuses(card) == CHAIN


async def test_hash_data_that_proves_nothing_is_refused(hook: Hook) -> None:
    mine = hook.pki.issue("DE8AAC87654321")
    hook.fetcher.know(hook.pki.second, mine)
    registered = await hook.contract(
        {"type": "partner_account"},
        emaid="DE8AAC87654321",
        certificate_chain=hook.pki.bundle(mine),
    )
    assert registered.status == 201, registered.text
    # A victim's eMAID with somebody's good hashes.
    stolen = {"idToken": TOKEN, "iso15118CertificateHashData": [entry(hook, mine)]}
    answer = await hook.plug_in(ref="a", request=stolen)
    assert (statuses(answer), answer.json["decision"]["finding"]) == (CHAIN, Finding.EMAID_MISMATCH.value)
    # The PEM and the hashes disagree.
    both = hook.request(iso15118CertificateHashData=[entry(hook, mine)])
    answer = await hook.plug_in(ref="b", request=both)
    assert (statuses(answer), answer.json["decision"]["finding"]) == (CHAIN, Finding.HASH_DATA_MISMATCH.value)
    # A certificate nobody has seen.
    unseen = {"idToken": TOKEN, "iso15118CertificateHashData": [entry(hook, hook.leaf)]}
    answer = await hook.plug_in(ref="c", request=unseen)
    assert (statuses(answer), answer.json["decision"]["finding"]) == (
        CHAIN,
        Finding.HASH_DATA_UNREGISTERED.value,
    )
    assert hook.api.psp.payments == {}


async def test_a_responder_the_station_names_is_not_asked(hook: Hook) -> None:
    for place, url in enumerate(UNASKED):
        leaf = hook.pki.issue(EMAID)
        hook.fetcher.know(hook.pki.second, leaf)
        hook.fetcher.asked.clear()
        entries = [entry(hook, leaf, url=url)]
        request = hook.request(certificate=hook.pki.bundle(leaf), iso15118CertificateHashData=entries)
        answer = await hook.plug_in(ref=f"u{place}", request=request)
        assert answer.status == 200, (url, answer.text)
        assert set(hook.fetcher.asked) <= {OCSP_URL}, url


async def test_a_message_that_breaks_its_schema_gets_a_call_error(hook: Hook) -> None:
    hashed = entry(hook, hook.leaf)
    cases: list[tuple[Any, str]] = [
        ({}, "OccurrenceConstraintViolation"),
        ({"idToken": {"idToken": EMAID}}, "OccurrenceConstraintViolation"),
        ({"idToken": {"idToken": 7, "type": "eMAID"}}, "TypeConstraintViolation"),
        ({"idToken": {"idToken": EMAID, "type": "EMAID"}}, "PropertyConstraintViolation"),
        ({"idToken": TOKEN, "extra": 1}, "FormatViolation"),
        ({"idToken": TOKEN, "iso15118CertificateHashData": []}, "OccurrenceConstraintViolation"),
        ({"idToken": TOKEN, "iso15118CertificateHashData": [hashed] * 5}, "OccurrenceConstraintViolation"),
        ({"idToken": TOKEN, "certificate": "x" * 5501}, "PropertyConstraintViolation"),
    ]
    for request, code in cases:
        whole = await hook.plug_in(request=request)
        bare = await hook.api.call(
            "POST", f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=t", request, party="DE-ABC"
        )
        for answer in (whole, bare):
            assert (answer.status, answer.json["code"]) == (400, "invalid_parameters"), answer.text
            assert answer.json["ocpp_error"]["errorCode"] == code, answer.text
            assert len(answer.json["ocpp_error"]["errorDescription"]) <= 255
    for request in ([], "text", None, 1):
        bare = await hook.api.call(
            "POST", f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=t", request, party="DE-ABC"
        )
        assert bare.status == 400, bare.text
    assert await hook.api.services.pool.fetchval("SELECT count(*) FROM pnc.decision") == 0


async def test_an_answer_is_not_replayed_for_another_session_operator_or_contract(hook: Hook) -> None:
    first = await hook.plug_in(ref="mine")
    assert statuses(first)[0] == "Accepted"
    token_only = {"idToken": TOKEN}
    other_session = await hook.plug_in(ref="theirs", request=token_only)
    assert statuses(other_session) == ("Invalid", "NoCertificateAvailable")
    other_token = {"idToken": {"idToken": "DE8AAC87654321", "type": "eMAID"}}
    other_contract = await hook.plug_in(ref="mine", request=other_token)
    assert statuses(other_contract)[0] != "Accepted"
    assert other_contract.json["authorization_id"] is None
    party = {
        "id": "DE-XYZ",
        "kind": "cpo",
        "name": "Other",
        "country": "DE",
        "settlement_currency": "EUR",
        "time_zone": "Europe/Berlin",
    }
    assert (await hook.api.call("POST", "/v1/parties", party, party="admin")).status == 201
    made = await hook.api.call(
        "POST", "/v1/parties/DE-XYZ/api-keys", {"scopes": ["plug_and_charge"]}, party="admin", key="k1"
    )
    hook.api.keys["DE-XYZ"] = made.json["api_key"]
    path = f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=mine"
    other_operator = await hook.api.call("POST", path, token_only, party="DE-XYZ")
    assert other_operator.json["certificateStatus"] == "NoCertificateAvailable"
    settlement = f"{ROOT}/sessions/{first.json['session_id']}/settlement"
    assert (await hook.api.call("GET", settlement, party="DE-XYZ")).status == 404
