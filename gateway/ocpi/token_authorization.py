"""Real-time authorization by the payment service: ALLOWED means that the session's payment is secured.

Owns: from a CPO's request to one authorization, the same when the request is repeated.
Must not know: HTTP, or how a hold is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from clearing.captured_session import AuthorizationMethod
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import format_id, new_id
from gateway.ocpi import emaid_contracts
from gateway.ocpi.real_time_authorization import (
    AllowedType,
    TokenAuthorizationRequest,
    TokenAuthorizationResult,
)
from gateway.ocpi.repository import objects, tokens
from gateway.ocpi.repository.tokens import TokenAuthorizationRecord
from gateway.ocpi.token_types import EMAID, OTHER
from gateway.payments.errors import (
    AccountLimitExceededError,
    EvseNotFoundError,
    InvalidPaymentRequestError,
    NotFoundError,
    PaymentError,
    TariffMissingError,
)
from gateway.payments.requests import (
    AuthorizationRequest,
    Estimate,
    PartnerAccount,
    PspMethod,
    TariffChoice,
    TariffUse,
)
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import AuthorizationView
from gateway.plug_and_charge.contract_payment import payment_of

SAME_REQUEST: Final = timedelta(minutes=15)  # a CPO's retry, or the card held to the reader twice
_REJECTED: Final = frozenset({PaymentState.VOIDED, PaymentState.FAILED})
_OPEN: Final = frozenset({PaymentState.REQUIRES_AUTHORIZATION, PaymentState.OUTCOME_UNKNOWN})
_TAKEN: Final = frozenset({PaymentState.CAPTURE_REQUESTED, PaymentState.CAPTURED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """How a session of a token is authorized and paid, and at most for how much."""

    authorization_method: AuthorizationMethod
    payment: PspMethod | PartnerAccount
    max_amount_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuthorizationService:
    """Secures the payment behind a token. The caller holds no transaction.

    `environment` is that of the contracts behind eMAID tokens.
    """

    pool: Pool
    clock: Clock
    payments: PaymentService
    environment: str

    async def authorize(self, request: TokenAuthorizationRequest) -> TokenAuthorizationResult:
        """Secure the payment for the first EVSE of the request.

        A decline is NO_CREDIT, an unknown place NOT_ALLOWED.
        """
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
        method = await self._method(request)
        if isinstance(method, TokenAuthorizationResult):
            return method
        authorization_id = await self._identity(record, request)
        try:
            view = await self.payments.authorize(
                _authorization_request(request, authorization_id, method, evse_uid=evse_uid)
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
        return _result(view, evse_uid=evse_uid, begun=request.begun is not None)

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

    async def _method(self, request: TokenAuthorizationRequest) -> _Method | TokenAuthorizationResult:
        """What pays for a token: of an eMAID its contract, if that may charge now."""
        stopped = await self._stopped_by_its_contract(request)
        if stopped is not None:
            return stopped
        if request.token.type != EMAID:
            payment = _payment(request.token.payment)
            on_account = isinstance(payment, PartnerAccount)
            return _Method(
                authorization_method=AuthorizationMethod.APP if on_account else AuthorizationMethod.CARD,
                payment=payment,
            )
        async with self.pool.acquire() as connection:
            contract = await emaid_contracts.load_contract(
                connection, environment=self.environment, emaid=request.token.uid
            )
        if contract is None:
            return TokenAuthorizationResult(allowed=AllowedType.BLOCKED)
        rejected = emaid_contracts.rejection_of(contract, now=request.requested_at)
        return rejected or _Method(
            authorization_method=AuthorizationMethod.PLUG_AND_CHARGE,
            payment=payment_of(contract),
            max_amount_minor=contract.limit_minor,
        )

    async def _stopped_by_its_contract(
        self, request: TokenAuthorizationRequest
    ) -> TokenAuthorizationResult | None:
        """Why a token that was stored under an eMAID may not charge: its party's contract of it may not."""
        token = request.token
        if token.type != OTHER:
            return None
        async with self.pool.acquire() as connection:
            contract = await emaid_contracts.load_contract(
                connection, environment=self.environment, emaid=token.uid
            )
        if contract is None or contract.party != token.demand_partner_id:
            return None
        return emaid_contracts.rejection_of(contract, now=request.requested_at)

    async def _identity(self, record: TokenAuthorizationRecord, request: TokenAuthorizationRequest) -> UUID:
        """The authorization of the same earlier request, unless it has ended; else a new one.

        Either is committed before it is used.
        """
        fresh = new_id()
        async with transaction(self.pool) as connection:
            found = await tokens.find_recent_request(
                connection,
                record,
                fresh_id=fresh,
                now=request.requested_at,
                within=SAME_REQUEST if request.begun is None else None,
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
        state = view.authorization.state
        if request.begun is not None:  # its session is over; the one that was paid stays the one
            return state in _REJECTED
        return state in _REJECTED or state is PaymentState.CAPTURED or view.session.state != "active"


def _authorization_request(
    request: TokenAuthorizationRequest, authorization_id: UUID, method: _Method, *, evse_uid: str
) -> AuthorizationRequest:
    return AuthorizationRequest(
        authorization_id=authorization_id,
        party_id=request.token.demand_partner_id,
        evse_id=evse_uid,
        method=method.authorization_method,
        payment=method.payment,
        max_amount_minor=method.max_amount_minor,
        cpo_id=request.cpo_id,
        tariff=TariffChoice(use=TariffUse.CONTRACT),
        metadata={"ocpi_token": request.token.contract_id},
        **_begun(request),
    )


def _begun(request: TokenAuthorizationRequest) -> dict[str, Any]:
    """What is known of a session that began by whitelist: its tariff is the one in force at its start."""
    if request.begun is None:
        return {}
    used = Estimate(energy_wh=request.begun.energy_wh, duration_s=request.begun.duration_s)
    return {
        "started_at": request.requested_at,
        "by_whitelist": True,
        "estimate": used,
    }


def _payment(stored: Mapping[str, Any]) -> PspMethod | PartnerAccount:
    if stored.get("type") == "partner_account":
        return PartnerAccount()
    return PspMethod(
        payment_method=str(stored.get("payment_method")), customer=stored.get("customer"), off_session=True
    )


def _result(view: AuthorizationView, *, evse_uid: str, begun: bool) -> TokenAuthorizationResult:
    """The answer for an authorization. One that is not certain is not allowed yet.

    The driver may try again, and the same hold is found then.
    """
    state = view.authorization.state
    if state is PaymentState.AUTHORIZED or (begun and state in _TAKEN):
        return TokenAuthorizationResult(
            allowed=AllowedType.ALLOWED,
            authorization_reference=format_id("auth", view.authorization.id),
            evse_uid=evse_uid,
        )
    if state is PaymentState.FAILED:
        return TokenAuthorizationResult(allowed=AllowedType.NO_CREDIT, info="The payment was declined.")
    return TokenAuthorizationResult(
        allowed=AllowedType.NOT_ALLOWED,
        info="The payment could not be confirmed yet; try again.",
        pending=state in _OPEN,
    )
