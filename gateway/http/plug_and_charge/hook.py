"""The Plug & Charge hook: a station's AuthorizeRequest in, its AuthorizeResponse out.

Owns: the order of the three steps (decide, secure the payment, conclude) and the wire form around them.
Must not know certificates or contracts. A refused vehicle is an answer, not a problem; only a call that
can't be taken is. Nothing is told as accepted before its payment is secured.
"""

from typing import Any, Final, Literal

from pydantic import Field, RootModel

from clearing.money import to_major
from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.bodies import decoded, malformed
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import EvseId, Line
from gateway.http.plug_and_charge import settlement as plug_and_charge_settlement
from gateway.http.plug_and_charge.ocpp_numbers import ExactNumber, exact
from gateway.http.problems import FieldError, ProblemError
from gateway.ids import format_id, parse_id
from gateway.payments.orders import (
    AccountLimitExceededError,
    AuthorizationView,
    AuthorizeOrder,
    InvalidOrderError,
    PartnerAccount,
    PspMethod,
    SessionAlreadyAuthorizedError,
    StateConflictError,
)
from gateway.payments.payment import PaymentState
from gateway.payments.pnc_settlement import may_still_charge
from gateway.payments.public import authorization_object
from pnc import settlement
from pnc.authorization import Contract, Decision, PaymentKind
from pnc.errors import CallError, ConflictingRecordError
from pnc.findings import Finding
from pnc.messages import OcppVersion, authorize_response, transaction_limit, validate_authorize_request
from pnc.service import Answer as Verdict
from pnc.service import PlugAndChargeService

RAIL: Final = "plug_and_charge"
_HELD: Final = frozenset({PaymentState.AUTHORIZED, PaymentState.CAPTURE_REQUESTED, PaymentState.CAPTURED})
_REFUSED: Final = frozenset({PaymentState.FAILED, PaymentState.VOIDED, PaymentState.REQUIRES_ACTION})
_REFERENCE_SEPARATOR: Final = "/"


class StationIn(WireModel):
    """Where the vehicle is plugged in."""

    evse_id: EvseId


class HookIn(WireModel):
    """What a charging station management system holds when a vehicle presents its contract."""

    ocpp_version: Literal["2.0.1", "2.1"]
    station: StationIn
    session_ref: Line = Field(description="the operator's name for the session, such as its transaction id")
    authorize_request: dict[str, Any] = Field(description="the OCPP AuthorizeRequest as it came")


class BareQuery(QueryModel):
    """What the bare message does not say."""

    evse_id: EvseId
    session_ref: Line


class OcppMessage(RootModel[dict[str, Any]]):
    """A message by the schemas of the Open Charge Alliance."""


class HookDecision(objects.PublicObject):
    """Why: a stable code for what was found, None when nothing stands against the contract."""

    id: str
    finding: str | None
    detail: str
    repeated: bool


class TransactionLimit(objects.PublicObject):
    """TransactionLimitType of OCPP 2.1."""

    maxCost: ExactNumber = Field(description="the cost limit in major units of the tariff's currency")  # noqa: N815 - OCPP's name


class HookOut(objects.PublicObject):
    """The answer to the station, and ours beside it."""

    object: Literal["plug_and_charge_authorization"] = "plug_and_charge_authorization"
    authorize_response: dict[str, Any] = Field(description="the OCPP AuthorizeResponse to send")
    authorization_id: str | None
    session_id: str | None
    cost_limit: objects.Minor | None = Field(description="stop before the running cost passes this")
    currency: objects.Currency | None
    tariff: objects.TariffReference | None
    transaction_limit: TransactionLimit | None = Field(
        None, description="for OCPP 2.1: the TransactionLimitType for your TransactionEventResponse"
    )
    decision: HookDecision


async def authorize(call: Call) -> Answer:
    """Decide, secure, answer."""
    body: HookIn = call.body
    shown, known = await _hook(
        call,
        version=OcppVersion(body.ocpp_version),
        evse_id=body.station.evse_id,
        session_ref=body.session_ref,
        request=body.authorize_request,
        root="/authorize_request",
    )
    return Answer(body=exact(shown), keep=known)


async def authorize_bare(call: Call) -> Answer:
    """The same with the bare OCPP message in and out."""
    shown, known = await _hook(
        call,
        version=OcppVersion(call.path["version"]),
        evse_id=call.query.evse_id,
        session_ref=call.query.session_ref,
        request=call.body,
        root="",
    )
    return Answer(body=shown.authorize_response, keep=known)


def _message(raw: bytes) -> object:
    found = decoded(raw)
    if found is None:
        raise malformed("The body is not JSON")
    return found


async def _hook(
    call: Call, *, version: OcppVersion, evse_id: str, session_ref: str, request: object, root: str
) -> tuple[HookOut, bool]:
    """The answer, and whether it is final: while the PSP has not answered, the station asks again."""
    service = _service(call)
    try:
        message = validate_authorize_request(version, request)
    except CallError as error:
        raise _unfit(error, root=root) from None

    async def decide() -> Verdict:
        return await service.decide(
            call.services.pool,
            environment=call.services.options.environment,
            operator_id=call.caller.party_id,
            session_ref=session_ref,
            evse_id=evse_id,
            ocpp_version=version.value,
            request=message,
            now=call.services.now(),
        )

    verdict = await decide()
    if verdict.repeated and await _outlived(call, verdict.decision):
        await settlement.close(call.services.pool, verdict.decision, now=call.services.now())
        verdict = await decide()
    view: AuthorizationView | None = None
    if verdict.decision.payment_needed and verdict.contract is not None:
        order = _order(call, verdict.decision, verdict.contract, evse_id=evse_id, session_ref=session_ref)
        try:
            decision, view = await _secure(call, service, verdict.decision, order)
        except ConflictingRecordError:  # the same call came twice at once: the other one concluded
            verdict = await decide()
            decision = verdict.decision
    else:
        decision = verdict.decision
    if view is None and decision.authorization_id is not None:
        view = await call.services.payments.get_authorization(
            party_id=call.caller.party_id,
            authorization_id=parse_id("auth", decision.authorization_id),
            admin=True,
        )
    return _shown(call, version, decision, view, repeated=verdict.repeated), not decision.payment_needed


async def _outlived(call: Call, decision: Decision) -> bool:
    """Whether an acceptance given earlier is no longer true: its session ended or its hold is gone."""
    if decision.authorization_id is None:
        return False
    payments, party_id = call.services.payments, call.caller.party_id
    authorization_id = parse_id("auth", decision.authorization_id)
    held = await payments.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=True)
    view = await payments.get_session(party_id=party_id, session_id=held.session.id, admin=True)
    return not may_still_charge(view)


async def _secure(
    call: Call, service: PlugAndChargeService, decision: Decision, order: AuthorizeOrder
) -> tuple[Decision, AuthorizationView | None]:
    """Secure the payment under the decision's own id, then conclude; an unknown outcome concludes nothing."""
    try:
        view = await call.services.payments.authorize(order)
    except (
        AccountLimitExceededError,
        SessionAlreadyAuthorizedError,
        InvalidOrderError,
        StateConflictError,
    ) as error:
        return await _conclude(call, service, decision, None, detail=str(error)), None
    state = view.authorization.state
    if state in _HELD and view.session.state == "active":
        return await _conclude(call, service, decision, view, detail=""), view
    if state not in _REFUSED | _HELD:
        return decision, None
    if state is PaymentState.REQUIRES_ACTION:
        # Nobody is there to authenticate: the hold that waits for it is given back.
        await call.services.payments.release(
            party_id=order.party_id,
            authorization_id=view.authorization.id,
            expected_version=None,
            admin=True,
        )
    detail = view.authorization.decline_code or f"{state.value}, session {view.session.state}"
    return await _conclude(call, service, decision, None, detail=detail), None


async def _conclude(
    call: Call,
    service: PlugAndChargeService,
    decision: Decision,
    view: AuthorizationView | None,
    *,
    detail: str,
) -> Decision:
    return await service.conclude(
        call.services.pool,
        decision.id,
        secured=view is not None,
        authorization_id=None if view is None else format_id("auth", view.authorization.id),
        now=call.services.now(),
        detail=detail,
    )


def _order(
    call: Call, decision: Decision, contract: Contract, *, evse_id: str, session_ref: str
) -> AuthorizeOrder:
    """The payment that the contract names, on an EVSE of the operator who asks."""
    return AuthorizeOrder(
        authorization_id=decision.id,
        party_id=contract.party,
        evse_id=evse_id,
        rail=RAIL,
        payment=payment_of(contract),
        session_ref=session_ref,
        max_amount_minor=contract.limit_minor,
        cpo_id=call.caller.party_id,
    )


def payment_reference(*, payment_method: str, customer: str | None) -> str:
    """A stored mandate as the opaque text that a contract carries."""
    return f"{customer or ''}{_REFERENCE_SEPARATOR}{payment_method}"


def payment_of(contract: Contract) -> PspMethod | PartnerAccount:
    """What pays for a contract: a mandate at the PSP, charged off session, or a partner's account."""
    if contract.payment_kind is PaymentKind.PARTNER_ACCOUNT:
        return PartnerAccount(party_id=contract.payment_reference)
    customer, _, method = contract.payment_reference.rpartition(_REFERENCE_SEPARATOR)
    return PspMethod(payment_method=method, customer=customer or None, off_session=True)


def _shown(
    call: Call,
    version: OcppVersion,
    decision: Decision,
    view: AuthorizationView | None,
    *,
    repeated: bool,
) -> HookOut:
    certificate_status, id_token_status = decision.statuses
    response = authorize_response(
        version,
        certificate_status=certificate_status,
        id_token_status=id_token_status,
        now=call.services.now(),
    )
    shown = None
    if view is not None and decision.accepted:
        shown = authorization_object(
            view.authorization,
            view.session,
            tariff_version=view.tariff_version or None,
            tariff_display=view.tariff_display,
        )
    return HookOut(
        authorize_response=response,
        authorization_id=shown.id if shown else None,
        session_id=shown.session if shown else None,
        cost_limit=shown.cost_limit if shown else None,
        currency=shown.currency if shown else None,
        tariff=shown.tariff if shown else None,
        transaction_limit=_limit(version, shown) if shown else None,
        decision=HookDecision(
            id=format_id("dec", decision.id),
            finding=decision.finding.value if decision.finding else None,
            detail=_told(decision),
            repeated=repeated,
        ),
    )


def _limit(version: OcppVersion, shown: objects.Authorization) -> TransactionLimit | None:
    if version is not OcppVersion.V2_1:
        return None
    return TransactionLimit(**transaction_limit(max_cost=to_major(shown.cost_limit, shown.currency)))


def _told(decision: Decision) -> str:
    """What the operator hears. Why a payment failed is between the contract's party and us."""
    if decision.finding is Finding.PAYMENT_NOT_SECURED:
        return "the contract's payment could not be secured"
    return decision.detail


def _service(call: Call) -> PlugAndChargeService:
    if call.services.plug_and_charge is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not wired in this process.")
    return call.services.plug_and_charge


def _unfit(error: CallError, *, root: str) -> ProblemError:
    place = root + error.path.removeprefix("$").replace(".", "/").replace("[", "/").replace("]", "")
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"{place or 'the body'}: {error.description} ({error.code}).",
        errors=[FieldError(pointer=place, expected=error.description)],
        extra={"ocpp_error": {"errorCode": error.code, "errorDescription": error.description}},
    )


_PROBLEMS: Final = (problems.EVSE_NOT_FOUND, problems.TARIFF_MISSING)
ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/plug-and-charge/authorizations",
        operation="authorizePlugAndCharge",
        summary="Authorize a vehicle by its contract",
        description="Asked again for the same session, the first decision is the answer.",
        tag="Plug & Charge",
        scope=Scope.PLUG_AND_CHARGE,
        handler=authorize,
        body=HookIn,
        answers={200: HookOut},
        key_rule=KeyRule.OPTIONAL,
        problems=_PROBLEMS,
    ),
    Endpoint(
        method="POST",
        path="/v1/plug-and-charge/ocpp/{version:2\\.0\\.1|2\\.1}/authorize",
        operation="authorizePlugAndChargeBare",
        summary="The same with the bare OCPP message",
        tag="Plug & Charge",
        scope=Scope.PLUG_AND_CHARGE,
        handler=authorize_bare,
        query=BareQuery,
        body=OcppMessage,
        parse=_message,
        answers={200: OcppMessage},
        problems=_PROBLEMS,
    ),
    *plug_and_charge_settlement.ENDPOINTS,
)
