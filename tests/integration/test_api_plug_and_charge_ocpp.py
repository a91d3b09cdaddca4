"""OCPP beside Authorize: 1.6 inside DataTransfer, certificate status, and clear refusals."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from gateway.database import Pool
from pnc.data_transfer import VENDOR
from pnc.messages import check_message
from pnc.ports import FetchError
from tests.fakes.api import EVSE, Answer
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api
from tests.fakes.pnc_market import EMAID, OCSP_URL
from tests.integration.test_api_plug_and_charge_rejections import entry

PLACE = f"evse_id={EVSE}&session_ref=tx-1"


@pytest.fixture
async def station(pool: Pool) -> AsyncIterator[StationApi]:
    async with open_station_api(pool) as opened:
        yield opened


def wrapped(message: str, body: Any, *, vendor: str = VENDOR) -> dict[str, Any]:
    data = body if isinstance(body, str) else json.dumps(body)
    return {"vendorId": vendor, "messageId": message, "data": data}


async def send(station: StationApi, path: str, body: Any) -> Answer:
    return await station.api.call("POST", f"{ROOT}/ocpp/{path}", body, party="DE-ABC")


async def transfer(station: StationApi, message: str, body: Any, query: str = f"?{PLACE}") -> Answer:
    return await send(station, f"1.6/data-transfer{query}", wrapped(message, body))


def unwrapped(answer: Answer) -> Any:
    check_message("v16", "DataTransferResponse", answer.json)
    assert answer.json["status"] == "Accepted", answer.text
    return json.loads(answer.json["data"])


async def test_a_station_of_ocpp_1_6_authorizes_inside_data_transfer(station: StationApi) -> None:
    first = unwrapped(await transfer(station, "Authorize", station.request()))
    check_message("v201", "AuthorizeResponse", first)
    assert first["certificateStatus"] == "Accepted"
    token_only = {"idToken": {"idToken": EMAID, "type": "eMAID"}}
    assert unwrapped(await transfer(station, "Authorize", token_only))["idTokenInfo"]["status"] == "Accepted"
    assert len(station.api.psp.payments) == 1
    rejected = unwrapped(await transfer(station, "Authorize", token_only, f"?evse_id={EVSE}&session_ref=b"))
    assert rejected["certificateStatus"] == "NoCertificateAvailable"
    versions = await station.api.services.pool.fetch("SELECT DISTINCT ocpp_version FROM pnc.decision")
    assert [row["ocpp_version"] for row in versions] == ["1.6"]


async def test_the_full_form_answers_ocpp_1_6_in_the_same_wrapping(station: StationApi) -> None:
    request = wrapped("Authorize", station.request())
    answer = await station.plug_in(request=request, version="1.6")
    assert answer.status == 200, answer.text
    response = answer.json["authorize_response"]
    assert response["status"] == "Accepted"
    assert json.loads(response["data"])["certificateStatus"] == "Accepted"
    assert answer.json["authorization_id"].startswith("auth_")
    for wrong in (wrapped("Authorize", {}, vendor="x"), wrapped("GetCertificateStatus", {}), {"vendorId": 1}):
        refused = await station.plug_in(ref="b", request=wrong, version="1.6")
        assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text


async def test_another_vendor_or_message_is_refused_with_ocpps_own_status(station: StationApi) -> None:
    foreign = await send(station, f"1.6/data-transfer?{PLACE}", wrapped("Authorize", {}, vendor="acme"))
    assert foreign.json == {"status": "UnknownVendorId"}
    for message in ("SignCertificate", "CertificateSigned", ""):
        assert (await transfer(station, message, {})).json == {"status": "UnknownMessageId"}


async def test_a_transfer_that_breaks_its_form_gets_a_call_error(station: StationApi) -> None:
    for body, pointer in (
        ({}, ""),
        ([], ""),
        (wrapped("Authorize", "{"), "/data"),
        (wrapped("Authorize", "[" * 2_000), "/data"),
        (wrapped("Authorize", {"idToken": {"idToken": EMAID}}), "/data/idToken"),
        ({"vendorId": VENDOR, "messageId": "Authorize"}, "/data"),
    ):
        refused = await send(station, f"1.6/data-transfer?{PLACE}", body)
        assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text
        assert refused.json["errors"][0]["pointer"] == pointer, refused.text
        assert refused.json["ocpp_error"]["errorCode"]
    unplaced = await transfer(station, "Authorize", station.request(), "")
    assert (unplaced.status, "evse_id" in unplaced.text) == (400, True)


def asked(station: StationApi, url: str = OCSP_URL) -> dict[str, Any]:
    return {"ocspRequestData": entry(station, station.leaf, url=url)}


@pytest.mark.parametrize("version", ["2.0.1", "2.1", "1.6"])
async def test_the_status_of_a_certificate_is_fetched_from_an_allow_listed_responder(
    station: StationApi, version: str
) -> None:
    if version == "1.6":
        body = unwrapped(await transfer(station, "GetCertificateStatus", asked(station), ""))
    else:
        body = (await send(station, f"{version}/get-certificate-status", asked(station))).json
    check_message("v21" if version == "2.1" else "v201", "GetCertificateStatusResponse", body)
    assert body["status"] == "Accepted"
    response = ocsp.load_der_ocsp_response(base64.b64decode(body["ocspResult"]))
    assert response.serial_number == station.leaf.certificate.serial_number
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD


async def test_a_status_that_can_t_be_had_is_failed_with_the_reason(station: StationApi) -> None:
    serial = station.leaf.certificate.serial_number
    other = station.pki.issue("DE8AAC87654321")
    station.fetcher.know(station.pki.second, other)
    about_another = await station.fetcher.fetch_ocsp(
        OCSP_URL,
        ocsp.OCSPRequestBuilder()
        .add_certificate(other.certificate, station.pki.second.certificate, hashes.SHA256())
        .build()
        .public_bytes(serialization.Encoding.DER),
    )
    tried = OCSP_URL.replace("http", "https")
    for url, answer, said in (
        (tried, None, "allow-list"),
        ("http://169.254.169.254/latest", None, "allow-list"),
        ("", None, "allow-list"),
        (OCSP_URL, FetchError("no answer"), "does not answer"),
        (OCSP_URL, b"<html>", "can't be read"),
        (OCSP_URL, about_another, "another certificate"),
    ):
        station.fetcher.asked.clear()
        if answer is not None:
            station.fetcher.script[serial] = answer
        found = await send(station, "2.0.1/get-certificate-status", asked(station, url))
        assert found.json["status"] == "Failed", found.text
        assert said in found.json["statusInfo"]["additionalInfo"]
        assert "ocspResult" not in found.json
        assert bool(station.fetcher.asked) is (url == OCSP_URL)


async def test_a_status_request_that_breaks_its_schema_gets_a_call_error(station: StationApi) -> None:
    bad = asked(station)
    bad["ocspRequestData"]["issuerNameHash"] = "zz"
    for body in ({}, [], None, bad, {"ocspRequestData": {}}):
        refused = await send(station, "2.1/get-certificate-status", body)
        assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text


async def test_every_other_message_is_refused_clearly(station: StationApi) -> None:
    for path in ("2.0.1/boot-notification", "2.1/SignCertificate", "1.6/authorize", "2.1/data-transfer"):
        refused = await send(station, path, {})
        assert (refused.status, refused.json["code"]) == (404, "not_found"), refused.text
        assert refused.json["ocpp_error"]["errorCode"] == "NotImplemented"
        assert "taken are:" in refused.json["detail"]
