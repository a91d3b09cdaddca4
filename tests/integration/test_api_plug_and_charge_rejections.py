"""What must be rejected, over HTTP: each row of the list with the statuses the station is answered."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from pnc.certificate import parse_certificate
from pnc.hash_data import HashAlgorithm, as_ocpp, certificate_hash
from pnc.rejection_reasons import RejectionReason
from sandbox.pki.hierarchy import Issued, revocation_list
from tests.fakes.api import EVSE
from tests.fakes.parties import create_party
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api, statuses
from tests.fakes.pnc_market import EMAID, NOW, OCSP_URL
from tests.unit.pnc.test_rejections import BUNDLES, OCSP_CASES, UNASKED, Bench

TOKEN = {"idToken": EMAID, "type": "eMAID"}
CHAIN = ("Invalid", "CertChainError")


@pytest.fixture
async def station(pool: Pool) -> AsyncIterator[StationApi]:
    async with open_station_api(pool, now=NOW) as opened:
        yield opened


def pair(expected: Any) -> tuple[str, str]:
    certificate_status, id_token_status = expected
    return id_token_status.value, certificate_status.value


def entry(station: StationApi, leaf: Issued, *, url: str = OCSP_URL) -> dict[str, str]:
    issuer = parse_certificate(station.pki.second.der)
    named = certificate_hash(parse_certificate(leaf.der), issuer, HashAlgorithm.SHA256)
    return as_ocpp(named, responder_url=url)


async def test_every_broken_certificate_is_rejected_with_its_statuses_and_holds_nothing(
    station: StationApi,
) -> None:
    bench = Bench(pki=station.pki, leaf=station.leaf)
    for place, (case, (build, rejection_reason, expected)) in enumerate(BUNDLES.items()):
        request = station.request(certificate=build(bench))
        answer = await station.plug_in(ref=f"c{place}", request=request, version="2.1")
        assert answer.status == 200, (case, answer.text)
        assert answer.json["decision"]["rejection_reason"] == rejection_reason.value, (case, answer.text)
        assert statuses(answer) == pair(expected), case
        assert answer.json["authorization_id"] is None, case
    assert station.api.psp.payments == {}


async def test_every_bad_ocsp_answer_is_rejected_with_its_statuses(station: StationApi) -> None:
    for place, (case, (build, rejection_reason, expected)) in enumerate(OCSP_CASES.items()):
        leaf = station.pki.issue(EMAID)
        station.fetcher.know(station.pki.second, leaf)
        market = StationApi(api=station.api, pki=station.pki, leaf=leaf, fetcher=station.fetcher)
        station.fetcher.script[leaf.certificate.serial_number] = build(market)  # type: ignore[arg-type]
        # A source that failed is left alone for a while; the next case finds it rested.
        station.api.services.plug_and_charge.revocation_checker._failed.clear()  # type: ignore[union-attr]
        request = station.request(certificate=station.pki.bundle(leaf))
        answer = await station.plug_in(ref=f"o{place}", request=request)
        assert answer.json["decision"]["rejection_reason"] == rejection_reason.value, (case, answer.text)
        assert statuses(answer) == pair(expected), case
    assert station.api.psp.payments == {}


async def test_a_sub_authority_on_a_crl_uploaded_is_rejected_as_revoked(station: StationApi) -> None:
    assert statuses(await station.plug_in(ref="before"))[0] == "Accepted"
    listed = revocation_list(
        station.pki.first, now=NOW, serials=[station.pki.second.certificate.serial_number]
    )
    body = {"authority": station.pki.first.pem, "crl": base64.b64encode(listed).decode()}
    kept = await station.api.call("POST", f"{ROOT}/revocation-lists", body, party="admin")
    assert kept.status == 201, kept.text
    answer = await station.plug_in(ref="after")
    assert statuses(answer) == ("Invalid", "CertificateRevoked")


async def test_an_emaid_alone_and_other_tokens_are_rejected(station: StationApi) -> None:
    alone = await station.plug_in(ref="a", request={"idToken": TOKEN})
    assert statuses(alone) == ("Invalid", "NoCertificateAvailable")
    for place, text in enumerate(("DE8AA\uff2312345678", "DE8\u0410AC12345678", f"{EMAID[:-1]}\x00", "x")):
        token = {"idToken": text, "type": "eMAID"}
        answer = await station.plug_in(ref=f"b{place}", request=station.request(idToken=token))
        assert statuses(answer) == CHAIN, answer.text
    card = await station.plug_in(
        ref="c", request=station.request(idToken={"idToken": EMAID, "type": "ISO14443"})
    )
    assert statuses(card) == CHAIN


async def test_hash_data_that_proves_nothing_is_rejected(station: StationApi) -> None:
    mine = station.pki.issue("DE8AAC87654321")
    station.fetcher.know(station.pki.second, mine)
    registered = await station.contract(
        {"type": "partner_account"},
        emaid="DE8AAC87654321",
        certificate_chain=station.pki.bundle(mine),
    )
    assert registered.status == 201, registered.text
    # A victim's eMAID with somebody's good hashes.
    stolen = {"idToken": TOKEN, "iso15118CertificateHashData": [entry(station, mine)]}
    answer = await station.plug_in(ref="a", request=stolen)
    assert (statuses(answer), answer.json["decision"]["rejection_reason"]) == (
        CHAIN,
        RejectionReason.EMAID_MISMATCH.value,
    )
    # The PEM and the hashes disagree.
    both = station.request(iso15118CertificateHashData=[entry(station, mine)])
    answer = await station.plug_in(ref="b", request=both)
    assert (statuses(answer), answer.json["decision"]["rejection_reason"]) == (
        CHAIN,
        RejectionReason.HASH_DATA_MISMATCH.value,
    )
    # A certificate nobody has seen.
    unseen = {"idToken": TOKEN, "iso15118CertificateHashData": [entry(station, station.leaf)]}
    answer = await station.plug_in(ref="c", request=unseen)
    assert (statuses(answer), answer.json["decision"]["rejection_reason"]) == (
        CHAIN,
        RejectionReason.HASH_DATA_UNREGISTERED.value,
    )
    assert station.api.psp.payments == {}


async def test_a_responder_the_station_names_is_not_requested(station: StationApi) -> None:
    for place, url in enumerate(UNASKED):
        leaf = station.pki.issue(EMAID)
        station.fetcher.know(station.pki.second, leaf)
        station.fetcher.asked.clear()
        entries = [entry(station, leaf, url=url)]
        request = station.request(certificate=station.pki.bundle(leaf), iso15118CertificateHashData=entries)
        answer = await station.plug_in(ref=f"u{place}", request=request)
        assert answer.status == 200, (url, answer.text)
        assert set(station.fetcher.asked) <= {OCSP_URL}, url


async def test_a_message_that_breaks_its_schema_gets_a_call_error(station: StationApi) -> None:
    hashed = entry(station, station.leaf)
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
        whole = await station.plug_in(request=request)
        bare = await station.api.call(
            "POST", f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=t", request, party="DE-ABC"
        )
        for answer in (whole, bare):
            assert (answer.status, answer.json["code"]) == (400, "invalid_parameters"), answer.text
            assert answer.json["ocpp_error"]["errorCode"] == code, answer.text
            assert len(answer.json["ocpp_error"]["errorDescription"]) <= 255
    for request in ([], "text", None, 1):
        bare = await station.api.call(
            "POST", f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=t", request, party="DE-ABC"
        )
        assert bare.status == 400, bare.text
    assert await station.api.services.pool.fetchval("SELECT count(*) FROM pnc.decision") == 0


async def test_an_answer_is_not_replayed_for_another_session_operator_or_contract(
    station: StationApi,
) -> None:
    first = await station.plug_in(ref="mine")
    assert statuses(first)[0] == "Accepted"
    token_only = {"idToken": TOKEN}
    other_session = await station.plug_in(ref="theirs", request=token_only)
    assert statuses(other_session) == ("Invalid", "NoCertificateAvailable")
    other_token = {"idToken": {"idToken": "DE8AAC87654321", "type": "eMAID"}}
    other_contract = await station.plug_in(ref="mine", request=other_token)
    assert statuses(other_contract)[0] != "Accepted"
    assert other_contract.json["authorization_id"] is None
    await create_party(station.api, "DE-XYZ")
    made = await station.api.call(
        "POST", "/v1/parties/DE-XYZ/api-keys", {"scopes": ["plug_and_charge"]}, party="admin", key="k1"
    )
    station.api.keys["DE-XYZ"] = made.json["api_key"]
    path = f"{ROOT}/ocpp/2.0.1/authorize?evse_id={EVSE}&session_ref=mine"
    other_operator = await station.api.call("POST", path, token_only, party="DE-XYZ")
    assert other_operator.json["certificateStatus"] == "NoCertificateAvailable"
    settlement = f"{ROOT}/sessions/{first.json['session_id']}/settlement"
    assert (await station.api.call("GET", settlement, party="DE-XYZ")).status == 404
