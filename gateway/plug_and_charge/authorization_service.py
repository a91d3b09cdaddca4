"""Authorizing a vehicle by its contract certificate: decide, secure the payment, conclude.

Owns: the order of the three steps, what the state of a payment means for the decision, and how long a
station waits. Must not know: HTTP, the text of OCPP messages, certificates. Nothing is accepted before its
payment is secured, and nothing is rejected because the PSP is slow: while its answer is missing, nothing is
concluded, and the next request of the station continues.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from clearing.captured_session import AuthorizationMethod
from clearing.parties.party import PLATFORM_ID
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
from gateway.payments.requests import AuthorizationRequest, PartnerAccount
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import AuthorizationView
from gateway.plug_and_charge.contract_payment import payment_of
from gateway.plug_and_charge.contract_signals import ContractSignalService
from gateway.plug_and_charge.contract_spending import ContractSpendingService
from gateway.plug_and_charge.errors import PaymentPendingError
from gateway.plug_and_charge.settlement_outcome import HELD, may_still_charge
from gateway.plug_and_charge.vehicle_hold import VehicleHold, VehicleHoldService, check_offline
from pnc import decision_lifecycle
from pnc.authorization import AuthorizationDecision, OfflineStart
from pnc.contract import Contract
from pnc.errors import ConflictingRecordError, PncInvariantViolation
from pnc.messages import OcppVersion
from pnc.rejection_reasons import ContractRejection
from pnc.service import DecisionResult, PlugAndChargeService

_REJECTED = frozenset({PaymentState.FAILED, PaymentState.VOIDED, PaymentState.REQUIRES_ACTION})
_POLL_SECONDS: Final = 0.25
DEFAULT_PATIENCE: Final = timedelta(seconds=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleAuthorizationRequest:
    """A station's request about one vehicle.

    `operator_id` is the authenticated operator of the station, `session_ref` its own name of the session, and
    `message` an AuthorizeRequest that fits the schema of `ocpp_version`. `evse_ids`: the session's EVSE, or
    all of the station's where it is not known yet. `offline`: the session has begun already.
    """

    operator_id: str
    evse_ids: tuple[str, ...]
    session_ref: str
    ocpp_version: OcppVersion
    message: Mapping[str, object]
    offline: OfflineStart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleAuthorization:
    """The decision, which is final, and the payment behind it where there is one.

    `repeated`: an earlier request was decided the same way.
    """

    decision: AuthorizationDecision
    payment: AuthorizationView | None
    repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VehicleAuthorizationService:
    """Decides whether a vehicle may charge, and holds the payment for it.

    `patience` is how long a station waits for its payment. Requests about one decision wait for the one that
    secures its payment.
    """

    pool: Pool
    clock: Clock
    environment: str
    decisions: PlugAndChargeService
    payments: PaymentService
    holds: VehicleHoldService
    spending: ContractSpendingService
    signals: ContractSignalService
    patience: timedelta = DEFAULT_PATIENCE
    _securing: dict[UUID, asyncio.Event] = field(default_factory=dict)

    async def authorize(self, request: VehicleAuthorizationRequest) -> VehicleAuthorization:
        """Decide, secure the payment, conclude; the same request again returns the same decision.

        Raises:
            UnfitCallError: `session_ref` or an EVSE is not 1 to 255 printable ASCII characters, or the
                session began offline too long ago.
            PaymentError: the session can't be priced here (unknown EVSE, no tariff), or the PSP is
                unavailable.
            PaymentPendingError: the payment is not decided within the station's patience.
        """
        check_offline(request.offline, now=self.clock.now())
        result = await self._decide(request)
        if result.repeated and await self._has_ended(result.decision):
            await decision_lifecycle.close_decision(self.pool, result.decision, now=self.clock.now())
            result = await self._decide(request)
        decision, payment = result.decision, None
        await self.signals.report(result)
        if decision.payment_needed:
            decision, payment = await self._secure_in_time(request, result)
        if payment is None and decision.authorization_id is not None:
            payment = await self._payment_of(decision, decision.authorization_id)
        return VehicleAuthorization(decision=decision, payment=payment, repeated=result.repeated)

    async def _secure_in_time(
        self, request: VehicleAuthorizationRequest, result: DecisionResult
    ) -> tuple[AuthorizationDecision, AuthorizationView | None]:
        """Secure the payment of an open decision, or wait for the request that does, within the patience."""
        limit = asyncio.timeout(self.patience.total_seconds())
        try:
            async with limit:
                while (running := self._securing.get(result.decision.id)) is not None:
                    await running.wait()
                    result = await self._decide(request)
                    if not result.decision.payment_needed:
                        return result.decision, None
                return await self._secure_alone(request, result)
        except TimeoutError:
            if limit.expired():
                raise PaymentPendingError(
                    "the payment of this session is not decided yet; repeat the same request"
                ) from None
            raise

    async def _secure_alone(
        self, request: VehicleAuthorizationRequest, result: DecisionResult
    ) -> tuple[AuthorizationDecision, AuthorizationView | None]:
        """Secure the payment as the only request of this process about the decision."""
        decision, contract = result.decision, result.contract
        if contract is None:
            raise PncInvariantViolation(f"the decision {decision.id} needs a payment and has no contract")
        done = self._securing[decision.id] = asyncio.Event()
        try:
            return await self._secure(request, decision, contract)
        except ConflictingRecordError:  # another process concluded the same decision
            return (await self._decide(request)).decision, None
        finally:
            del self._securing[decision.id]
            done.set()

    async def _decide(self, request: VehicleAuthorizationRequest) -> DecisionResult:
        return await self.decisions.decide(
            self.pool,
            environment=self.environment,
            operator_id=request.operator_id,
            session_ref=request.session_ref,
            evse_id=request.evse_ids[0],
            evse_ids=request.evse_ids if len(request.evse_ids) > 1 else (),
            offline=request.offline,
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

        An unknown outcome concludes nothing: it is awaited, whoever learns it.
        """
        hold = await self.holds.plan(
            contract,
            operator_id=request.operator_id,
            evse_ids=request.evse_ids,
            offline=request.offline,
        )
        if isinstance(hold, ContractRejection):
            return await self._conclude(decision, None, rejection=hold), None
        payment_request = _payment_request(request, decision, contract, hold)
        if contract.amount_per_day_minor is not None:
            reserved = await self._reserve(payment_request, decision, contract)
            if isinstance(reserved, ContractRejection):
                await self.signals.report_limit(contract)
                return await self._conclude(decision, None, rejection=reserved), None
            payment_request = replace(payment_request, max_amount_minor=reserved)
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
        while view.authorization.state not in _REJECTED | HELD:
            await asyncio.sleep(_POLL_SECONDS)
            view = await self.payments.get_authorization(
                party_id=payment_request.party_id, authorization_id=view.authorization.id, admin=True
            )
        state = view.authorization.state
        if state in HELD and view.session.state == "active":
            concluded = await self._conclude(decision, view)
            if concluded.authorization_id is None:  # blocked while its payment was secured
                await self._release(view)
                return concluded, None
            return concluded, view
        if state is PaymentState.REQUIRES_ACTION:
            # Nobody is at the vehicle to authenticate: the hold that waits for it is voided.
            await self._release(view)
        detail = view.authorization.decline_code or f"{state.value}, session {view.session.state}"
        return await self._conclude(decision, None, detail=detail), None

    async def _reserve(
        self, request: AuthorizationRequest, decision: AuthorizationDecision, contract: Contract
    ) -> int | ContractRejection:
        """Reserve what the session may cost of the contract's amount for the day."""
        wanted, currency = await self.payments.authorizations.expected_hold(request)
        on_account = isinstance(request.payment, PartnerAccount)
        least = 1 if on_account else self.payments.psp.rules.amounts.least(currency)
        return await self.spending.reserve(
            decision, contract, wanted_minor=wanted, currency=currency, least_minor=least
        )

    async def _release(self, view: AuthorizationView) -> None:
        await self.payments.release(
            party_id=PLATFORM_ID,  # not in the payer's name, whose right to release is limited
            authorization_id=view.authorization.id,
            expected_version=None,
            admin=True,
        )

    async def _conclude(
        self,
        decision: AuthorizationDecision,
        payment: AuthorizationView | None,
        *,
        detail: str = "",
        rejection: ContractRejection | None = None,
    ) -> AuthorizationDecision:
        return await self.decisions.conclude(
            self.pool,
            decision.id,
            secured=payment is not None,
            authorization_id=None if payment is None else format_id("auth", payment.authorization.id),
            now=self.clock.now(),
            detail=detail,
            rejection=rejection,
        )


def _payment_request(
    request: VehicleAuthorizationRequest,
    decision: AuthorizationDecision,
    contract: Contract,
    hold: VehicleHold,
) -> AuthorizationRequest:
    """The payment that the contract names, for an EVSE of the requesting operator."""
    return AuthorizationRequest(
        authorization_id=decision.id,
        party_id=contract.party,
        evse_id=hold.evse_id,
        method=AuthorizationMethod.PLUG_AND_CHARGE,
        payment=payment_of(contract),
        session_ref=request.session_ref,
        estimate=hold.estimate,
        max_amount_minor=hold.most_minor,
        started_at=hold.started_at,
        cpo_id=request.operator_id,
    )
