"""Real-time authorization by the payment service: ALLOWED means that the session's payment is secured.

Owns: from a CPO's request to one authorization, the same when the request is repeated.
Must not know: HTTP, or how a hold is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import format_id, new_id
from gateway.ocpi.real_time_authorization import (
    AllowedType,
    TokenAuthorizationRequest,
    TokenAuthorizationResult,
)
from gateway.ocpi.repository import objects, tokens
from gateway.ocpi.repository.tokens import TokenAuthorizationRecord
from gateway.payments.errors import (
    AccountLimitExceededError,
    EvseNotFoundError,
    InvalidPaymentRequestError,
    NotFoundError,
    PaymentError,
    TariffMissingError,
)
from gateway.payments.requests import AuthorizationRequest, PartnerAccount, PspMethod, TariffChoice, TariffUse
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import AuthorizationView
from pnc import contract_administration
from pnc.contract import contract_rejection
from pnc.errors import ConflictingRecordError, UnfitContractError, UnknownRecordError
from pnc.rejection_reasons import RejectionReason

SAME_REQUEST: Final = timedelta(minutes=15)  # a CPO's retry, or the card held to the reader twice
_EMAID_TYPES: Final = frozenset({"EMAID", "OTHER"})  # 2.3.0; 2.1.1 and 2.2.1 call it OTHER
_ENDED: Final = frozenset({PaymentState.VOIDED, PaymentState.FAILED, PaymentState.CAPTURED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuthorizationService:
    """Secures the payment behind a token. The caller holds no transaction."""

    pool: Pool
    clock: Clock
    payments: PaymentService
    environment: str

    async def authorize(self, request: TokenAuthorizationRequest) -> TokenAuthorizationResult:
        """Secure the payment for the first EVSE of the request.

        A decline is NO_CREDIT, an unknown place NOT_ALLOWED. A token that is an eMAID follows its contract:
        one that was blocked or cancelled is BLOCKED, one out of force EXPIRED, whatever the token says.
        """
        stopped = await self._contract_stops(request)
        if stopped is not None:
            return TokenAuthorizationResult(allowed=stopped, info="The contract may not charge now.")
        evse_uid = await self._evse(request)
        if evse_uid is None:
            return TokenAuthorizationResult(
                allowed=AllowedType.NOT_ALLOWED, info="This charging point is not known here."
            )
        record = TokenAuthorizationRecord(
            cpo_id=request.cpo_id,
            token_uid=request.token.uid,
            token_type=request.token.type,
            evse_uid=evse_uid,
        )
        authorization_id = await self._identity(record, request)
        try:
            view = await self.payments.authorize(
                _authorization_request(request, authorization_id, evse_uid=evse_uid)
            )
        except AccountLimitExceededError:
            return TokenAuthorizationResult(
                allowed=AllowedType.NO_CREDIT, info="The account's limit is reached."
            )
        except (EvseNotFoundError, TariffMissingError, InvalidPaymentRequestError):
            return TokenAuthorizationResult(
                allowed=AllowedType.NOT_ALLOWED, info="No price is known for this charging point."
            )
        except PaymentError:
            return TokenAuthorizationResult(allowed=AllowedType.NOT_ALLOWED)
        return _result(view, evse_uid=evse_uid)

    async def _contract_stops(self, request: TokenAuthorizationRequest) -> AllowedType | None:
        """Why the contract behind an eMAID may not charge; None where it may, or none is stored."""
        token = request.token
        if token.type not in _EMAID_TYPES:
            return None
        try:
            contract = await contract_administration.load_contract(
                self.pool,
                environment=self.environment,
                emaid=token.uid,
                only_party=token.demand_partner_id,
            )
        except (UnfitContractError, UnknownRecordError, ConflictingRecordError):
            return None
        rejection = contract_rejection(contract, self.clock.now())
        if rejection is None:
            return None
        in_force = rejection.rejection_reason is not RejectionReason.CONTRACT_NOT_IN_FORCE
        return AllowedType.BLOCKED if in_force else AllowedType.EXPIRED

    async def _evse(self, request: TokenAuthorizationRequest) -> str | None:
        """The first EVSE of the request, else the location's first.

        Only EVSEs that this CPO has published there.
        """
        async with self.pool.acquire() as connection:
            published = await objects.list_evses(
                connection, party_id=request.cpo_id, location_id=request.location_id
            )
        if not request.evse_uids:
            return published[0] if published else None
        known = {uid.lower(): uid for uid in published}
        return next((known[uid.lower()] for uid in request.evse_uids if uid.lower() in known), None)

    async def _identity(self, record: TokenAuthorizationRecord, request: TokenAuthorizationRequest) -> UUID:
        """The authorization of the same earlier request, unless it has ended; else a new one.

        Either is committed before it is used.
        """
        fresh = new_id()
        async with transaction(self.pool) as connection:
            found = await tokens.find_recent_request(
                connection, record, fresh_id=fresh, now=request.requested_at, within=SAME_REQUEST
            )
        if found == fresh or not await self._has_ended(found, request):
            return found
        async with transaction(self.pool) as connection:
            return await tokens.add_request(connection, record, fresh_id=fresh, now=request.requested_at)

    async def _has_ended(self, authorization_id: UUID, request: TokenAuthorizationRequest) -> bool:
        try:
            view = await self.payments.get_authorization(
                party_id=request.token.demand_partner_id, authorization_id=authorization_id
            )
        except NotFoundError:  # a crash between the two commits: the id is still to be used
            return False
        return view.authorization.state in _ENDED or view.session.state != "active"


def _authorization_request(
    request: TokenAuthorizationRequest, authorization_id: UUID, *, evse_uid: str
) -> AuthorizationRequest:
    payment = _payment(request.token.payment)
    if request.token.type == "EMAID":
        authorization_method = "plug_and_charge"
    else:
        authorization_method = "app" if isinstance(payment, PartnerAccount) else "card"
    return AuthorizationRequest(
        authorization_id=authorization_id,
        party_id=request.token.demand_partner_id,
        evse_id=evse_uid,
        method=authorization_method,
        payment=payment,
        cpo_id=request.cpo_id,
        tariff=TariffChoice(use=TariffUse.CONTRACT),
        metadata={"ocpi_token": request.token.contract_id},
    )


def _payment(stored: Mapping[str, Any]) -> PspMethod | PartnerAccount:
    if stored.get("type") == "partner_account":
        return PartnerAccount()
    return PspMethod(
        payment_method=str(stored.get("payment_method")), customer=stored.get("customer"), off_session=True
    )


def _result(view: AuthorizationView, *, evse_uid: str) -> TokenAuthorizationResult:
    """The answer for an authorization. One that is not certain is not allowed yet.

    The driver may try again, and the same hold is found then.
    """
    state = view.authorization.state
    if state is PaymentState.AUTHORIZED:
        return TokenAuthorizationResult(
            allowed=AllowedType.ALLOWED,
            authorization_reference=format_id("auth", view.authorization.id),
            evse_uid=evse_uid,
        )
    if state is PaymentState.FAILED:
        return TokenAuthorizationResult(allowed=AllowedType.NO_CREDIT, info="The payment was declined.")
    return TokenAuthorizationResult(
        allowed=AllowedType.NOT_ALLOWED, info="The payment could not be confirmed yet; try again."
    )
