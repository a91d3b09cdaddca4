"""Authorizing a vehicle by its contract certificate: decide, secure the payment, conclude.

Owns: the order of the three steps, and what the state of a payment means for the decision. Must not know:
HTTP, the text of OCPP messages, certificates. Nothing is accepted before its payment is secured; while the
PSP's answer is unknown, nothing is concluded and the next request of the station continues.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clearing.captured_session import AuthorizationMethod
from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id, parse_id
from gateway.payments.errors import (
    AccountLimitExceededError,
    InvalidPaymentRequestError,
    NotFoundError,
    PaymentConflictError,
    SessionAlreadyAuthorizedError,
)
from gateway.payments.requests import AuthorizationRequest, PartnerAccount, PspMethod
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import AuthorizationView
from gateway.plug_and_charge.settlement_outcome import HELD, may_still_charge
from pnc import decision_lifecycle
from pnc.authorization import AuthorizationDecision
from pnc.contract import Contract, NewContract, PaymentKind
from pnc.errors import ConflictingRecordError
from pnc.messages import OcppVersion
from pnc.service import DecisionResult, PlugAndChargeService

_REJECTED = frozenset({PaymentState.FAILED, PaymentState.VOIDED, PaymentState.REQUIRES_ACTION})
_REFERENCE_SEPARATOR = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleAuthorizationRequest:
    """A station's request about one vehicle.

    `operator_id` is the authenticated operator of the station, `session_ref` its own name of the session, and
    `message` an AuthorizeRequest that fits the schema of `ocpp_version`.
    """

    operator_id: str
    evse_id: str
    session_ref: str
    ocpp_version: OcppVersion
    message: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleAuthorization:
    """The decision, and the payment behind it where there is one.

    `repeated`: an earlier request was decided the same way. Not `final`: the PSP has not answered yet, and
    the station's next request may be accepted.
    """

    decision: AuthorizationDecision
    payment: AuthorizationView | None
    repeated: bool
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleAuthorizationService:
    """Decides whether a vehicle may charge, and holds the payment for it."""

    pool: Pool
    clock: Clock
    environment: str
    decisions: PlugAndChargeService
    payments: PaymentService

    async def authorize(self, request: VehicleAuthorizationRequest) -> VehicleAuthorization:
        """Decide, secure the payment, conclude; the same request again returns the same decision.

        Raises:
            UnfitCallError: `session_ref` or `evse_id` is not 1 to 255 printable ASCII characters.
            PaymentError: the session can't be priced here (unknown EVSE, no tariff), or the PSP is
            unavailable.
        """
        result = await self._decide(request)
        if result.repeated and await self._has_ended(result.decision):
            await decision_lifecycle.close_decision(self.pool, result.decision, now=self.clock.now())
            result = await self._decide(request)
        decision, payment = result.decision, None
        if decision.payment_needed and result.contract is not None:
            try:
                decision, payment = await self._secure(request, decision, result.contract)
            except ConflictingRecordError:  # the same request came twice at once: the other one concluded
                result = await self._decide(request)
                decision = result.decision
        if payment is None and decision.authorization_id is not None:
            payment = await self._payment_of(decision, decision.authorization_id)
        return VehicleAuthorization(
            decision=decision,
            payment=payment,
            repeated=result.repeated,
            final=not decision.payment_needed,
        )

    async def _decide(self, request: VehicleAuthorizationRequest) -> DecisionResult:
        return await self.decisions.decide(
            self.pool,
            environment=self.environment,
            operator_id=request.operator_id,
            session_ref=request.session_ref,
            evse_id=request.evse_id,
            ocpp_version=request.ocpp_version.value,
            request=request.message,
            now=self.clock.now(),
        )

    async def _has_ended(self, decision: AuthorizationDecision) -> bool:
        """Whether an earlier acceptance no longer holds: its session has ended or its hold is gone."""
        if decision.authorization_id is None:
            return False
        held = await self._payment_of(decision, decision.authorization_id)
        view = await self.payments.get_session(
            party_id=decision.operator_id, session_id=held.session.id, admin=True
        )
        return not may_still_charge(view)

    async def _payment_of(self, decision: AuthorizationDecision, authorization_id: str) -> AuthorizationView:
        return await self.payments.get_authorization(
            party_id=decision.operator_id, authorization_id=parse_id("auth", authorization_id), admin=True
        )

    async def _secure(
        self, request: VehicleAuthorizationRequest, decision: AuthorizationDecision, contract: Contract
    ) -> tuple[AuthorizationDecision, AuthorizationView | None]:
        """Hold the payment under the decision's own id, then conclude.

        An unknown outcome concludes nothing.
        """
        payment_request = _payment_request(request, decision, contract)
        try:
            view = await self.payments.authorize(payment_request)
        except (
            AccountLimitExceededError,
            SessionAlreadyAuthorizedError,
            InvalidPaymentRequestError,
            PaymentConflictError,
            NotFoundError,  # the contract's payment method was removed, or is another party's
        ) as error:
            return await self._conclude(decision, None, detail=str(error)), None
        state = view.authorization.state
        if state in HELD and view.session.state == "active":
            return await self._conclude(decision, view, detail=""), view
        if state not in _REJECTED | HELD:
            return decision, None
        if state is PaymentState.REQUIRES_ACTION:
            # Nobody is at the vehicle to authenticate: the hold that waits for it is voided.
            await self.payments.release(
                party_id=payment_request.party_id,
                authorization_id=view.authorization.id,
                expected_version=None,
                admin=True,
            )
        detail = view.authorization.decline_code or f"{state.value}, session {view.session.state}"
        return await self._conclude(decision, None, detail=detail), None

    async def _conclude(
        self, decision: AuthorizationDecision, payment: AuthorizationView | None, *, detail: str
    ) -> AuthorizationDecision:
        return await self.decisions.conclude(
            self.pool,
            decision.id,
            secured=payment is not None,
            authorization_id=None if payment is None else format_id("auth", payment.authorization.id),
            now=self.clock.now(),
            detail=detail,
        )


def payment_reference(*, payment_method: str, customer: str | None) -> str:
    """A stored mandate as the opaque text that a contract carries."""
    return f"{customer or ''}{_REFERENCE_SEPARATOR}{payment_method}"


def payment_of(contract: Contract | NewContract) -> PspMethod | PartnerAccount:
    """What pays for a contract: a mandate at the PSP, charged off session, or a partner's account."""
    if contract.payment_kind is PaymentKind.PARTNER_ACCOUNT:
        return PartnerAccount(party_id=contract.payment_reference)
    customer, _, method = contract.payment_reference.rpartition(_REFERENCE_SEPARATOR)
    return PspMethod(payment_method=method, customer=customer or None, off_session=True)


def _payment_request(
    request: VehicleAuthorizationRequest, decision: AuthorizationDecision, contract: Contract
) -> AuthorizationRequest:
    """The payment that the contract names, for an EVSE of the requesting operator."""
    return AuthorizationRequest(
        authorization_id=decision.id,
        party_id=contract.party,
        evse_id=request.evse_id,
        method=AuthorizationMethod.PLUG_AND_CHARGE,
        payment=payment_of(contract),
        session_ref=request.session_ref,
        max_amount_minor=contract.limit_minor,
        cpo_id=request.operator_id,
    )
