"""OCPP messages: what breaks the schema becomes a call error that says where; what leaves always fits."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pnc.authorization import CertificateStatus, IdTokenStatus
from pnc.errors import CallError, PncInvariantViolation
from pnc.messages import (
    OcppVersion,
    authorize_response,
    cost_updated,
    notify_settlement_response,
    read_notify_settlement,
    total_cost_response,
    transaction_limit,
    validate_authorize_request,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TOKEN = {"idToken": "DE8AAC12345678", "type": "eMAID"}
ENTRY = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "ab",
    "issuerKeyHash": "cd",
    "serialNumber": "1",
    "responderURL": "http://ocsp.example.com",
}
BROKEN: dict[str, tuple[Any, str, str]] = {
    "not an object": ([], "TypeConstraintViolation", "$"),
    "no token": ({}, "OccurrenceConstraintViolation", "$"),
    "token without type": ({"idToken": {"idToken": "x"}}, "OccurrenceConstraintViolation", "$.idToken"),
    "unknown field": ({"idToken": TOKEN, "vin": "x"}, "FormatViolation", "$"),
    "certificate not a text": (
        {"idToken": TOKEN, "certificate": 7},
        "TypeConstraintViolation",
        "$.certificate",
    ),
    "oversize certificate": (
        {"idToken": TOKEN, "certificate": "x" * 10_001},
        "PropertyConstraintViolation",
        "$.certificate",
    ),
    "five hash entries": (
        {"idToken": TOKEN, "iso15118CertificateHashData": [ENTRY] * 5},
        "OccurrenceConstraintViolation",
        "$.iso15118CertificateHashData",
    ),
    "no hash entry": (
        {"idToken": TOKEN, "iso15118CertificateHashData": []},
        "OccurrenceConstraintViolation",
        "$.iso15118CertificateHashData",
    ),
    "SHA1 hash data": (
        {"idToken": TOKEN, "iso15118CertificateHashData": [{**ENTRY, "hashAlgorithm": "SHA1"}]},
        "PropertyConstraintViolation",
        "$.iso15118CertificateHashData[0].hashAlgorithm",
    ),
    "over-long serial": (
        {"idToken": TOKEN, "iso15118CertificateHashData": [{**ENTRY, "serialNumber": "1" * 41}]},
        "PropertyConstraintViolation",
        "$.iso15118CertificateHashData[0].serialNumber",
    ),
}


@pytest.mark.parametrize("version", list(OcppVersion))
@pytest.mark.parametrize("case", BROKEN)
def test_a_request_that_breaks_its_schema_is_a_call_error(case: str, version: OcppVersion) -> None:
    payload, code, path = BROKEN[case]
    with pytest.raises(CallError) as caught:
        validate_authorize_request(version, payload)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert "xxx" not in caught.value.description


def test_the_longer_certificate_of_ocpp_2_1_is_too_long_for_2_0_1() -> None:
    request = {"idToken": TOKEN, "certificate": "x" * 5_501}
    assert validate_authorize_request(OcppVersion.V2_1, request) == request
    with pytest.raises(CallError, match=r"\$\.certificate"):
        validate_authorize_request(OcppVersion.V2_0_1, request)


@pytest.mark.parametrize("version", list(OcppVersion))
@pytest.mark.parametrize("certificate", list(CertificateStatus))
@pytest.mark.parametrize("token", list(IdTokenStatus))
def test_every_answer_fits_its_schema(
    version: OcppVersion, certificate: CertificateStatus, token: IdTokenStatus
) -> None:
    answer = authorize_response(version, certificate_status=certificate, id_token_status=token, now=NOW)
    assert answer["idTokenInfo"]["status"] == token.value
    assert ("cacheExpiryDateTime" in answer["idTokenInfo"]) == (token is IdTokenStatus.ACCEPTED)


def test_an_accepted_token_may_not_be_taken_from_the_stations_cache() -> None:
    answer = authorize_response(
        OcppVersion.V2_0_1,
        certificate_status=CertificateStatus.ACCEPTED,
        id_token_status=IdTokenStatus.ACCEPTED,
        now=NOW,
    )
    assert answer["idTokenInfo"]["cacheExpiryDateTime"] == "2026-11-22T12:00:00.000Z"


def test_a_tariff_goes_out_in_2_1_only_and_must_fit() -> None:
    tariff = {"tariffId": "T1", "currency": "EUR"}
    kind = {"certificate_status": CertificateStatus.ACCEPTED, "id_token_status": IdTokenStatus.ACCEPTED}
    assert authorize_response(OcppVersion.V2_1, **kind, now=NOW, tariff=tariff)["tariff"] == tariff
    assert "tariff" not in authorize_response(OcppVersion.V2_0_1, **kind, now=NOW, tariff=tariff)
    with pytest.raises(PncInvariantViolation, match="schema"):
        authorize_response(OcppVersion.V2_1, **kind, now=NOW, tariff={"currency": "EUR"})


def test_amounts_stay_exact() -> None:
    assert transaction_limit(max_cost=Decimal("49.95")) == {"maxCost": Decimal("49.95")}
    assert cost_updated(transaction_id="t", total_cost=Decimal("12.34"))["totalCost"] == Decimal("12.34")
    assert total_cost_response(total_cost=Decimal("0.10")) == {"totalCost": Decimal("0.10")}


def test_a_cost_that_does_not_fit_is_a_bug_not_a_message() -> None:
    with pytest.raises(PncInvariantViolation, match="transactionId"):
        cost_updated(transaction_id="x" * 37, total_cost=Decimal(1))


def test_a_stations_settlement_is_read_and_answered_with_our_receipt() -> None:
    message = {
        "pspRef": "terminal-7",
        "status": "Settled",
        "settlementAmount": 12.34,
        "settlementTime": "2026-11-22T12:00:00Z",
    }
    assert read_notify_settlement(message).transaction_id is None
    named = read_notify_settlement({**message, "transactionId": "t-1"})
    assert (named.psp_ref, named.transaction_id) == ("terminal-7", "t-1")
    for broken in ({}, [], {**message, "transactionId": "x" * 37}, {**message, "status": "Paid"}):
        with pytest.raises(CallError):
            read_notify_settlement(broken)
    assert notify_settlement_response(receipt_id=None) == {}
    assert notify_settlement_response(receipt_id="cap_1") == {"receiptId": "cap_1"}
