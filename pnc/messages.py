"""OCPP messages of Plug & Charge: validated on the way in and on the way out.

Owns AuthorizeRequest, AuthorizeResponse, GetCertificateStatus, Get15118EVCertificate, the costs of a
transaction, and for OCPP 2.1 the transaction limit and NotifySettlement, against the JSON schemas that the
`ocpp` package ships. OCPP 1.6 carries the messages of 2.0.1 (pnc.data_transfer). Must not know how a decision
was made.
Source: OCPP 2.0.1 and 2.1 part 2 (messages), part 4 section 4.3 (error codes of OCPP-J).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from pnc.authorization import CertificateStatus, IdTokenStatus
from pnc.errors import CallError, MalformedHashDataError, PncInvariantViolation
from pnc.hash_data import HashEntry, read_entry

if TYPE_CHECKING:
    from jsonschema import Draft6Validator, ValidationError

MAX_DETAIL_CHARACTERS: Final = 255  # errorDescription of a CALLERROR
MAX_TRANSACTION_ID: Final = 36
_MAX_REASON_CODE: Final = 20  # StatusInfoType.reasonCode
_MAX_ADDITIONAL_INFO: Final = 512


class OcppVersion(StrEnum):
    """The versions of OCPP that carry contract certificates."""

    V1_6 = "1.6"
    V2_0_1 = "2.0.1"
    V2_1 = "2.1"


class SettlementStatus(StrEnum):
    """PaymentStatusEnumType, as far as this system sends it."""

    SETTLED = "Settled"
    CANCELED = "Canceled"
    FAILED = "Failed"


_PACKAGE: Final = {OcppVersion.V1_6: "v201", OcppVersion.V2_0_1: "v201", OcppVersion.V2_1: "v21"}
_MAX_OCSP_RESULT: Final = {OcppVersion.V1_6: 5500, OcppVersion.V2_0_1: 5500, OcppVersion.V2_1: 18_000}
_MAX_EXI_RESPONSE: Final = {OcppVersion.V1_6: 7500, OcppVersion.V2_0_1: 7500, OcppVersion.V2_1: 17_000}
_CODE_OF_KEYWORD: Final = {
    "required": "OccurrenceConstraintViolation",
    "minItems": "OccurrenceConstraintViolation",
    "maxItems": "OccurrenceConstraintViolation",
    "type": "TypeConstraintViolation",
    "enum": "PropertyConstraintViolation",
    "maxLength": "PropertyConstraintViolation",
    "minimum": "PropertyConstraintViolation",
    "maximum": "PropertyConstraintViolation",
    "additionalProperties": "FormatViolation",
}


def validate_authorize_request(version: OcppVersion, payload: object) -> dict[str, Any]:
    """Return the payload as an object when it fits the AuthorizeRequest schema of `version`.

    Raises:
        CallError: it does not; carries OCPP-J's error code, a description and the JSON path.
    """
    return _incoming(version, "AuthorizeRequest", payload)


def read_certificate_status_request(version: OcppVersion, payload: object) -> HashEntry:
    """Return what a GetCertificateStatusRequest asks about.

    Raises:
        CallError: it breaks its schema, or its hashes or serial can't be what they claim.
    """
    request = _incoming(version, "GetCertificateStatusRequest", payload)
    try:
        return read_entry(request["ocspRequestData"])
    except MalformedHashDataError as problem:
        raise CallError(
            code="PropertyConstraintViolation", description=str(problem), path="$.ocspRequestData"
        ) from None


def certificate_status_response(
    version: OcppVersion, *, ocsp_result: bytes | None, reason: str = "", detail: str = ""
) -> dict[str, Any]:
    """Return a valid GetCertificateStatusResponse: the OCSP response, or why there is none."""
    result = "" if ocsp_result is None else base64.b64encode(ocsp_result).decode("ascii")
    if len(result) > _MAX_OCSP_RESULT[version]:
        result, reason = "", "TooLong"
        detail = f"the OCSP response is longer than the {_MAX_OCSP_RESULT[version]} characters of its field"
    if result:
        message: dict[str, Any] = {"status": "Accepted", "ocspResult": result}
    else:
        message = {"status": "Failed", "statusInfo": _status_info(reason, detail)}
    return _outgoing(version, "GetCertificateStatusResponse", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvCertificateRequest:
    """A vehicle's request for its contract certificate, as its station hands it on.

    `exi_request` is the vehicle's signed CertificateInstallationReq or CertificateUpdateReq, in base64 of
    EXI: only the contract certificate pool reads it. `schema_version` is the namespace of its messages.
    """

    schema_version: str
    exi_request: str


def read_ev_certificate_request(version: OcppVersion, payload: object) -> EvCertificateRequest:
    """Read a Get15118EVCertificateRequest.

    Raises:
        CallError: it breaks its schema, or `exiRequest` is not base64.
    """
    request = _incoming(version, "Get15118EVCertificateRequest", payload)
    text = str(request["exiRequest"])
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if not content:
        raise CallError(
            code="PropertyConstraintViolation",
            description="expected the vehicle's request in base64 of EXI",
            path="$.exiRequest",
        )
    return EvCertificateRequest(schema_version=str(request["iso15118SchemaVersion"]), exi_request=text)


def ev_certificate_response(
    version: OcppVersion, *, exi_response: str, accepted: bool, reason: str = "", detail: str = ""
) -> dict[str, Any]:
    """Return a valid Get15118EVCertificateResponse.

    `exi_response` is the pool's answer to the vehicle in base64 of EXI, empty where there is none; when
    not `accepted`, `reason` and `detail` say why.
    """
    if len(exi_response) > _MAX_EXI_RESPONSE[version]:
        exi_response, accepted, reason = "", False, "TooLong"
        detail = f"the pool's answer is longer than the {_MAX_EXI_RESPONSE[version]} characters of its field"
    message: dict[str, Any] = {"status": "Accepted" if accepted else "Failed", "exiResponse": exi_response}
    if not accepted:
        message["statusInfo"] = _status_info(reason, detail)
    return _outgoing(version, "Get15118EVCertificateResponse", message)


def authorize_response(
    version: OcppVersion,
    *,
    certificate_status: CertificateStatus,
    id_token_status: IdTokenStatus,
    now: datetime,
    tariff: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a valid AuthorizeResponse.

    An accepted token expires from the station's cache at `now`: the next session must be authorized again,
    never started from the cache. `tariff` is a TariffType of OCPP 2.1 and omitted in 2.0.1, which has no such
    field.

    Raises:
        PncInvariantViolation: the response does not fit its schema, which only a wrong tariff can cause.
    """
    info: dict[str, Any] = {"status": id_token_status.value}
    if id_token_status is IdTokenStatus.ACCEPTED:
        info["cacheExpiryDateTime"] = _timestamp(now)
    response: dict[str, Any] = {"idTokenInfo": info, "certificateStatus": certificate_status.value}
    if tariff is not None and version is OcppVersion.V2_1:
        response["tariff"] = dict(tariff)
    return _outgoing(version, "AuthorizeResponse", response)


def transaction_limit(*, max_cost: Decimal) -> dict[str, Any]:
    """Return the TransactionLimitType of OCPP 2.1 for a cost limit in major units of the tariff's currency.

    Amounts stay Decimal: write the message with an encoder that puts Decimal out as a JSON number, exactly.
    """
    return {"maxCost": max_cost}


@dataclass(frozen=True, slots=True, kw_only=True)
class StationSettlement:
    """What a station says about a payment that was settled at it (NotifySettlementRequest of OCPP 2.1)."""

    psp_ref: str
    transaction_id: str | None


def read_notify_settlement(payload: object) -> StationSettlement:
    """Read a NotifySettlementRequest, which a station sends to its operator. Raises CallError."""
    request = _incoming(OcppVersion.V2_1, "NotifySettlementRequest", payload)
    transaction_id = request.get("transactionId")
    return StationSettlement(
        psp_ref=str(request["pspRef"]),
        transaction_id=None if transaction_id is None else str(transaction_id),
    )


def notify_settlement_response(*, receipt_id: str | None, receipt_url: str | None = None) -> dict[str, Any]:
    """Return a valid NotifySettlementResponse: our receipt and where it is, where the payment is ours."""
    named = {"receiptId": receipt_id, "receiptUrl": receipt_url}
    message = {name: value for name, value in named.items() if value is not None}
    return _outgoing(OcppVersion.V2_1, "NotifySettlementResponse", message)


def cost_updated(*, transaction_id: str, total_cost: Decimal) -> dict[str, Any]:
    """Return a valid CostUpdatedRequest: what a transaction has cost, in major units, VAT included."""
    message = {"totalCost": total_cost, "transactionId": transaction_id}
    return _outgoing(OcppVersion.V2_1, "CostUpdatedRequest", message)


def total_cost_response(*, total_cost: Decimal) -> dict[str, Any]:
    """Return a valid TransactionEventResponse with the final cost in major units, VAT included."""
    return _outgoing(OcppVersion.V2_1, "TransactionEventResponse", {"totalCost": total_cost})


def _status_info(reason: str, detail: str) -> dict[str, str]:
    return {"reasonCode": reason[:_MAX_REASON_CODE], "additionalInfo": detail[:_MAX_ADDITIONAL_INFO]}


def _incoming(version: OcppVersion, name: str, payload: object) -> dict[str, Any]:
    check_message(_PACKAGE[version], name, payload)
    if not isinstance(payload, dict):
        raise CallError(code="FormatViolation", description="expected a JSON object", path="$")
    return payload


def _outgoing(version: OcppVersion, name: str, message: dict[str, Any]) -> dict[str, Any]:
    try:
        check_message(_PACKAGE[version], name, message)
    except CallError as problem:
        raise PncInvariantViolation(f"an outgoing {name} breaks its schema: {problem}") from problem
    return message


def check_message(package: str, name: str, payload: object) -> None:
    """Check a message against the schema `name` of a version's package (v16, v201, v21).

    Raises:
        CallError: it does not fit; carries OCPP-J's error code, a description and the JSON path.
    """
    failure: ValidationError | None = next(iter(_validator(package, name).iter_errors(payload)), None)
    if failure is None:
        return
    code = _CODE_OF_KEYWORD.get(str(failure.validator), "FormatViolation")
    raise CallError(code=code, description=_describe(failure), path=failure.json_path)


def _describe(failure: "ValidationError") -> str:
    """Describe what the schema requires, without repeating the payload: it may hold a whole certificate."""
    match failure.validator:
        case "required" | "additionalProperties":
            text = failure.message
        case "enum":
            text = f"expected one of {failure.validator_value}"
        case keyword:
            text = f"breaks {keyword} {failure.validator_value}"
    return text[:MAX_DETAIL_CHARACTERS]


@cache
def _validator(package: str, name: str) -> "Draft6Validator":
    from jsonschema import Draft6Validator  # noqa: PLC0415 - slow to load, and most processes check no message

    text = files("ocpp").joinpath(package, "schemas", f"{name}.json").read_text("utf-8-sig")
    return Draft6Validator(json.loads(text))


def _timestamp(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise PncInvariantViolation("a time without an offset can't be put on the wire")
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
