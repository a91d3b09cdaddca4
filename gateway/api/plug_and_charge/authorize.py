"""Authorizing a vehicle: a station's AuthorizeRequest in, its AuthorizeResponse out.

Owns: the wire form around the message. Must not know certificates, contracts, payments or the order of the
steps. A rejected vehicle is an answer, not a problem; only a request that can't be read is one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from pydantic import Field, RootModel

from clearing.money import to_major
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel
from gateway.api.field_types import EvseId, InstantIn, Line
from gateway.api.idempotency import KeyRule
from gateway.api.plug_and_charge import settlement_notice
from gateway.api.plug_and_charge.ocpp_numbers import ExactNumber, exact
from gateway.api.problems import FieldError, ProblemError
from gateway.api.request_bodies import decoded, malformed
from gateway.ids import format_id
from gateway.payments.presenters import authorization_object
from gateway.plug_and_charge.authorization_service import (
    VehicleAuthorization,
    VehicleAuthorizationRequest,
    VehicleAuthorizationService,
)
from gateway.schemas import api_schemas
from pnc.authorization import AuthorizationDecision, OfflineReason, OfflineStart
from pnc.data_transfer import VENDOR, TransferredMessage, TransferRefusal, read_transfer, transfer_response
from pnc.errors import CallError
from pnc.messages import OcppVersion, authorize_response, transaction_limit, validate_authorize_request
from pnc.rejection_reasons import RejectionReason


class StationBody(WireModel):
    """The EVSE of the vehicle, or all EVSEs of its station where the station has not said which one."""

    evse_id: EvseId | None = None
    evse_ids: list[EvseId] | None = Field(
        None,
        min_length=1,
        max_length=32,
        description="instead of evse_id: the dearest is held until you name the session's",
    )


class OfflineStartBody(WireModel):
    """A session that began before you could ask."""

    started_at: InstantIn = Field(description="at most 7 days ago")
    energy_wh: int = Field(ge=0, le=10_000_000, description="what the vehicle has charged so far")
    reason: OfflineReason


class AuthorizeVehicleBody(WireModel):
    """A vehicle's contract certificate, as its charging station management system sends it."""

    ocpp_version: Literal["1.6", "2.0.1", "2.1"]
    station: StationBody
    session_ref: Line = Field(description="the operator's name for the session, such as its transaction id")
    offline: OfflineStartBody | None = Field(
        None, description="the session began while the station or this system was not reachable"
    )
    authorize_request: dict[str, Any] = Field(
        description="the AuthorizeRequest as received from the station; with 1.6 in its DataTransfer"
    )


class BareQuery(QueryModel):
    """What the bare message does not carry."""

    evse_id: EvseId
    session_ref: Line


class OcppMessageSchema(RootModel[dict[str, Any]]):
    """A message that follows the schemas of the Open Charge Alliance."""


class DecisionSchema(api_schemas.PublicSchema):
    """The reason of the decision: `finding` is a stable code, and never null."""

    id: str
    finding: str = Field(description="accepted, or the rejection reason")
    rejection_reason: str | None
    detail: str
    repeated: bool
    secured_late: bool = Field(
        default=False, description="the session began offline, before its payment was held"
    )


class TransactionLimitSchema(api_schemas.PublicSchema):
    """TransactionLimitType of OCPP 2.1."""

    maxCost: ExactNumber = Field(description="the cost limit in major units of the tariff's currency")  # noqa: N815 - OCPP's name


class AuthorizeVehicleSchema(api_schemas.PublicSchema):
    """The answer to the station, and the payment that was authorized for it."""

    object: Literal["plug_and_charge_authorization"] = "plug_and_charge_authorization"
    authorize_response: dict[str, Any] = Field(description="the OCPP AuthorizeResponse to send")
    authorization_id: str | None
    session_id: str | None
    evse_id: str | None = Field(None, description="the EVSE whose tariff is held")
    cost_limit: api_schemas.Minor | None = Field(
        description="stop charging before the running cost exceeds this"
    )
    currency: api_schemas.Currency | None
    tariff: api_schemas.TariffReferenceSchema | None
    transaction_limit: TransactionLimitSchema | None = Field(
        None, description="for OCPP 2.1: the TransactionLimitType for your TransactionEventResponse"
    )
    decision: DecisionSchema


async def authorize(call: ApiRequest) -> ApiResponse:
    """Authorize a vehicle; the response for the station is one field of the answer."""
    body: AuthorizeVehicleBody = call.body
    version, root = OcppVersion(body.ocpp_version), "/authorize_request"
    authorize_request: object = body.authorize_request
    if version is OcppVersion.V1_6:
        authorize_request, root = _transferred(body.authorize_request, root=root), f"{root}/data"
    request = VehicleAuthorizationRequest(
        operator_id=call.caller.party_id,
        evse_ids=_evse_ids(body.station),
        offline=_offline(body.offline),
        session_ref=body.session_ref,
        ocpp_version=version,
        message=validated(version, authorize_request, root=root),
    )
    result = await service_of_station(call).authorize(request)
    return ApiResponse(body=exact(_answer(call, version, result)))


async def authorize_bare(call: ApiRequest) -> ApiResponse:
    """Authorize a vehicle; body and answer are the OCPP messages alone."""
    version = OcppVersion(call.path["version"])
    request = VehicleAuthorizationRequest(
        operator_id=call.caller.party_id,
        evse_ids=(call.query.evse_id,),
        session_ref=call.query.session_ref,
        ocpp_version=version,
        message=validated(version, call.body, root=""),
    )
    result = await service_of_station(call).authorize(request)
    return ApiResponse(body=authorize_response_of(call, version, result.decision))


def decode_message(raw: bytes) -> object:
    """The JSON of a bare message. Raises ProblemError."""
    decoded_body = decoded(raw)
    if decoded_body is None:
        raise malformed("The body is not JSON")
    return decoded_body


@contextmanager
def reading(*, root: str) -> Iterator[None]:
    """Reads a message: an OCPP error becomes a problem with OCPP's error code and the place in our body."""
    try:
        yield
    except CallError as error:
        raise _schema_problem(error, root=root) from None


def validated(version: OcppVersion, message: object, *, root: str) -> dict[str, Any]:
    """An AuthorizeRequest that fits its schema. Raises ProblemError."""
    with reading(root=root):
        return validate_authorize_request(version, message)


def _evse_ids(station: StationBody) -> tuple[str, ...]:
    """The EVSEs that the session may be at, each once. Raises ProblemError."""
    if (station.evse_id is None) == (station.evse_ids is None):
        expected = "either evse_id or evse_ids"
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"/station: expected {expected}.",
            errors=[FieldError(pointer="/station", expected=expected)],
        )
    return tuple(dict.fromkeys(station.evse_ids or [station.evse_id or ""]))


def _offline(body: OfflineStartBody | None) -> OfflineStart | None:
    if body is None:
        return None
    return OfflineStart(started_at=body.started_at, energy_wh=body.energy_wh, reason=body.reason)


def _transferred(payload: object, *, root: str) -> object:
    """The Authorize inside a DataTransfer of OCPP 1.6. Raises ProblemError."""
    with reading(root=root):
        transfer = read_transfer(payload)
    if isinstance(transfer, TransferRefusal) or transfer.message is not TransferredMessage.AUTHORIZE:
        expected = f"a DataTransfer of the vendor {VENDOR} with the messageId Authorize"
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"{root}: expected {expected}.",
            errors=[FieldError(pointer=root, expected=expected)],
        )
    return transfer.body


def _answer(call: ApiRequest, version: OcppVersion, result: VehicleAuthorization) -> AuthorizeVehicleSchema:
    decision, payment = result.decision, None
    answer = authorize_response_of(call, version, decision)
    if result.payment is not None and decision.accepted:
        payment = authorization_object(result.payment)
    return AuthorizeVehicleSchema(
        authorize_response=transfer_response(answer) if version is OcppVersion.V1_6 else answer,
        authorization_id=payment.id if payment else None,
        session_id=payment.session if payment else None,
        evse_id=result.payment.session.evse_id if payment and result.payment else None,
        cost_limit=payment.cost_limit if payment else None,
        currency=payment.currency if payment else None,
        tariff=payment.tariff if payment else None,
        transaction_limit=_limit(version, payment) if payment else None,
        decision=DecisionSchema(
            id=format_id("dec", decision.id),
            finding=decision.finding,
            rejection_reason=decision.rejection_reason.value if decision.rejection_reason else None,
            detail=_public_detail(decision),
            repeated=result.repeated,
            secured_late=decision.accepted and decision.offline_since is not None,
        ),
    )


def authorize_response_of(
    call: ApiRequest, version: OcppVersion, decision: AuthorizationDecision
) -> dict[str, Any]:
    """The AuthorizeResponse of a decision."""
    certificate_status, id_token_status = decision.statuses
    return authorize_response(
        version,
        certificate_status=certificate_status,
        id_token_status=id_token_status,
        now=call.services.now(),
    )


def _limit(version: OcppVersion, payment: api_schemas.AuthorizationSchema) -> TransactionLimitSchema | None:
    if version is not OcppVersion.V2_1:
        return None
    return TransactionLimitSchema(
        **transaction_limit(max_cost=to_major(payment.cost_limit, payment.currency))
    )


def _public_detail(decision: AuthorizationDecision) -> str:
    """The detail for the operator.

    Why a payment failed stays between the contract's party and the platform.
    """
    if decision.rejection_reason is RejectionReason.PAYMENT_NOT_SECURED:
        return "the contract's payment could not be secured"
    return decision.detail


def service_of_station(call: ApiRequest) -> VehicleAuthorizationService:
    """The service for stations. Raises ProblemError `unavailable`."""
    service = settlement_notice.stations_of(call).authorization
    if service is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not available in this process.")
    return service


def _schema_problem(error: CallError, *, root: str) -> ProblemError:
    place = root + error.path.removeprefix("$").replace(".", "/").replace("[", "/").replace("]", "")
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"{place or 'the body'}: {error.description} ({error.code}).",
        errors=[FieldError(pointer=place, expected=error.description)],
        extra={"ocpp_error": {"errorCode": error.code, "errorDescription": error.description}},
    )


_PROBLEMS: Final = (problems.EVSE_NOT_FOUND, problems.TARIFF_MISSING, problems.PAYMENT_PENDING)
ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/plug-and-charge/authorizations",
        operation="authorizePlugAndCharge",
        summary="Authorize a vehicle by its contract certificate",
        description="A repeated request for the same session returns the first decision.",
        tag="Plug & Charge",
        handler=authorize,
        body=AuthorizeVehicleBody,
        answers={200: AuthorizeVehicleSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=_PROBLEMS,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/plug-and-charge/ocpp/{version:2\\.0\\.1|2\\.1}/authorize",
        operation="authorizePlugAndChargeBare",
        summary="Authorize with a bare OCPP message",
        tag="Plug & Charge",
        handler=authorize_bare,
        query=BareQuery,
        body=OcppMessageSchema,
        parse=decode_message,
        answers={200: OcppMessageSchema},
        problems=_PROBLEMS,
    ),
    *settlement_notice.ENDPOINTS,
)
