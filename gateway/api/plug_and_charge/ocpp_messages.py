"""OCPP messages beside Authorize: certificate status, vehicles' certificates, OCPP 1.6, clear refusals.

Owns: the paths and the bare messages. Must not know certificates or how a decision is made.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel
from gateway.api.field_types import EvseId, Line
from gateway.api.plug_and_charge.authorize import (
    OcppMessageSchema,
    authorize_response_of,
    decode_message,
    reading,
    service_of_station,
    validated,
)
from gateway.api.plug_and_charge.contracts import service_of
from gateway.api.plug_and_charge.settlement_notice import stations_of
from gateway.api.problems import FieldError, ProblemError
from gateway.plug_and_charge.authorization_service import VehicleAuthorizationRequest
from pnc.certificate_status_service import fetch_certificate_status
from pnc.data_transfer import TransferredMessage, TransferRefusal, read_transfer, transfer_response
from pnc.ev_certificate_pool import answer_ev_certificate
from pnc.messages import (
    OcppVersion,
    certificate_status_response,
    notify_settlement_response,
    read_certificate_status_request,
    read_ev_certificate_request,
    read_notify_settlement,
)
from pnc.rejection_reasons import ContractRejection

_ANY_VERSION: Final = "{version:1\\.6|2\\.0\\.1|2\\.1}"
_NEW_VERSION: Final = "{version:2\\.0\\.1|2\\.1}"
_TAKEN: Final = {
    OcppVersion.V1_6: "data-transfer",
    OcppVersion.V2_0_1: "authorize, get-certificate-status, get-15118-ev-certificate",
    OcppVersion.V2_1: "authorize, get-certificate-status, get-15118-ev-certificate, notify-settlement",
}


class TransferQuery(QueryModel):
    """What an Authorize inside DataTransfer does not carry; no other message needs it."""

    evse_id: EvseId | None = None
    session_ref: Line | None = None


class RefusedQuery(QueryModel):
    """What other messages may carry; nothing reads it."""

    evse_id: Annotated[str, Field(max_length=255)] | None = None
    session_ref: Annotated[str, Field(max_length=255)] | None = None


async def get_certificate_status(call: ApiRequest) -> ApiResponse:
    """Ask the responder that the station names, if it is allow-listed; the station verifies its answer."""
    version = OcppVersion(call.path["version"])
    return ApiResponse(body=await _certificate_status(call, version, call.body, root=""))


async def get_ev_certificate(call: ApiRequest) -> ApiResponse:
    """Hand a vehicle's request for its contract certificate to the configured pool, and the answer back."""
    version = OcppVersion(call.path["version"])
    return ApiResponse(body=await _ev_certificate(call, version, call.body, root=""))


async def data_transfer(call: ApiRequest) -> ApiResponse:
    """Take a message of OCPP 2.0.1 inside OCPP 1.6's DataTransfer; the answer has the same wrapping."""
    with reading(root=""):
        transfer = read_transfer(call.body)
    if isinstance(transfer, TransferRefusal):
        return ApiResponse(body=transfer_response(transfer))
    if transfer.message is TransferredMessage.AUTHORIZE:
        answer = await _authorize(call, transfer.body)
    elif transfer.message is TransferredMessage.GET_EV_CERTIFICATE:
        answer = await _ev_certificate(call, OcppVersion.V1_6, transfer.body, root="/data")
    else:
        answer = await _certificate_status(call, OcppVersion.V1_6, transfer.body, root="/data")
    return ApiResponse(body=transfer_response(answer))


async def notify_settlement(call: ApiRequest) -> ApiResponse:
    """Take a station's NotifySettlement in; the response names our receipt where the payment is ours."""
    with reading(root=""):
        settlement = read_notify_settlement(call.body)
    ours = await stations_of(call).transactions.find_settlement(settlement, operator_id=call.caller.party_id)
    return ApiResponse(
        body=notify_settlement_response(
            receipt_id=ours.receipt if ours else None, receipt_url=ours.receipt_url if ours else None
        )
    )


async def refuse(call: ApiRequest) -> ApiResponse:
    """Refuse a message that this system does not take."""
    version = OcppVersion(call.path["version"])
    raise ProblemError(
        problems.NOT_FOUND,
        f"OCPP {version.value} {call.path['message']} is not taken here; taken are: {_TAKEN[version]}.",
        extra={
            "ocpp_error": {
                "errorCode": "NotImplemented",
                "errorDescription": "this message is not taken by the Plug & Charge hook",
            }
        },
    )


async def _authorize(call: ApiRequest, body: object) -> Mapping[str, Any]:
    query: TransferQuery = call.query
    missing = [name for name in ("evse_id", "session_ref") if getattr(query, name) is None]
    if missing or query.evse_id is None or query.session_ref is None:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"Authorize needs {' and '.join(missing)} in the query.",
            errors=[FieldError(pointer=f"/{name}", expected="a value in the query") for name in missing],
        )
    request = VehicleAuthorizationRequest(
        operator_id=call.caller.party_id,
        evse_ids=(query.evse_id,),
        session_ref=query.session_ref,
        ocpp_version=OcppVersion.V1_6,
        message=validated(OcppVersion.V1_6, body, root="/data"),
    )
    result = await service_of_station(call).authorize(request)
    return authorize_response_of(call, OcppVersion.V1_6, result.decision)


async def _certificate_status(
    call: ApiRequest, version: OcppVersion, body: object, *, root: str
) -> Mapping[str, Any]:
    with reading(root=root):
        entry = read_certificate_status_request(version, body)
    service = service_of(call)
    _, endpoints = await service.load_trust(call.services.pool, environment=call.services.options.environment)
    found = await fetch_certificate_status(service.revocation_checker.fetcher, entry, endpoints=endpoints)
    if isinstance(found, ContractRejection):
        return certificate_status_response(version, ocsp_result=None, reason="NoStatus", detail=found.detail)
    return certificate_status_response(version, ocsp_result=found)


async def _ev_certificate(
    call: ApiRequest, version: OcppVersion, body: object, *, root: str
) -> Mapping[str, Any]:
    with reading(root=root):
        request = read_ev_certificate_request(version, body)
    return await answer_ev_certificate(call.services.contract_pool, version, request)


def _endpoint(path: str, operation: str, summary: str, **rest: Any) -> ApiEndpoint:
    return ApiEndpoint(
        method="POST",
        path=f"/v1/plug-and-charge/ocpp/{path}",
        operation=operation,
        summary=summary,
        tag="Plug & Charge",
        body=OcppMessageSchema,
        parse=decode_message,
        answers={200: OcppMessageSchema},
        **rest,
    )


ENDPOINTS: Final = (
    _endpoint(
        f"{_NEW_VERSION}/get-certificate-status",
        "getPlugAndChargeCertificateStatus",
        "Get a certificate's OCSP response",
        handler=get_certificate_status,
    ),
    _endpoint(
        f"{_NEW_VERSION}/get-15118-ev-certificate",
        "getPlugAndChargeEvCertificate",
        "Get a vehicle's contract certificate",
        description="The vehicle's request and the pool's answer pass through unread. Failed, with the "
        "reason, where no pool is configured or it has no answer.",
        handler=get_ev_certificate,
    ),
    _endpoint(
        "2.1/notify-settlement",
        "notifyPlugAndChargeSettlement",
        "Take in a station's settlement notice",
        description="Nothing is booked from it: its PSP settles a payment, ours or a terminal's.",
        handler=notify_settlement,
    ),
    _endpoint(
        "1.6/data-transfer",
        "transferPlugAndCharge",
        "Take a Plug & Charge DataTransfer message",
        description="DataTransfer.req with the vendor org.openchargealliance.iso15118pnc; `data` is the "
        "message of OCPP 2.0.1 as a JSON text.",
        handler=data_transfer,
        query=TransferQuery,
        problems=(problems.EVSE_NOT_FOUND, problems.TARIFF_MISSING, problems.PAYMENT_PENDING),
    ),
    _endpoint(
        f"{_ANY_VERSION}/{{message:[A-Za-z0-9-]{{1,64}}}}",
        "refuseOcppMessage",
        "Refuse another OCPP message",
        description="Every other message is refused with OCPP's NotImplemented.",
        handler=refuse,
        query=RefusedQuery,
        problems=(problems.NOT_FOUND,),
    ),
)
