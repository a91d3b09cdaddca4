"""Real-time authorization by the payment service: ALLOWED means that the session's payment is secured.

Owns: from a CPO's question to one authorization, the same for the same question asked again.
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
from gateway.ocpi.authorizing import Allowed, TokenQuestion, TokenVerdict
from gateway.payments.orders import (
    AccountLimitExceededError,
    AuthorizationView,
    AuthorizeOrder,
    EvseNotFoundError,
    InvalidOrderError,
    NotFoundError,
    PartnerAccount,
    PaymentError,
    PspMethod,
    TariffMissingError,
)
from gateway.payments.payment import PaymentState
from gateway.payments.service import PaymentService
from gateway.store import ocpi_objects, ocpi_tokens
from gateway.store.ocpi_tokens import Question

SAME_QUESTION: Final = timedelta(minutes=15)  # a CPO's retry, or the card held to the reader twice
_SPENT: Final = frozenset({PaymentState.VOIDED, PaymentState.FAILED, PaymentState.CAPTURED})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPayments:
    """Implements TokenAuthorizer over the payment service."""

    pool: Pool
    clock: Clock
    payments: PaymentService

    async def authorize(self, question: TokenQuestion) -> TokenVerdict:
        """Secure the payment for the first EVSE in question.

        A decline is NO_CREDIT, an unknown place NOT_ALLOWED.
        """
        evse_uid = await self._evse(question)
        if evse_uid is None:
            return TokenVerdict(allowed=Allowed.NOT_ALLOWED, info="This charging point is not known here.")
        asked = Question(
            cpo_id=question.cpo_id,
            token_uid=question.token.uid,
            token_type=question.token.type,
            evse_uid=evse_uid,
        )
        authorization_id = await self._identity(asked, question)
        try:
            view = await self.payments.authorize(_order(question, authorization_id, evse_uid=evse_uid))
        except AccountLimitExceededError:
            return TokenVerdict(allowed=Allowed.NO_CREDIT, info="The account's limit is reached.")
        except (EvseNotFoundError, TariffMissingError, InvalidOrderError):
            return TokenVerdict(
                allowed=Allowed.NOT_ALLOWED, info="No price is known for this charging point."
            )
        except PaymentError:
            return TokenVerdict(allowed=Allowed.NOT_ALLOWED)
        return _verdict(view, evse_uid=evse_uid)

    async def _evse(self, question: TokenQuestion) -> str | None:
        """The first EVSE asked about, else the location's first.

        Only EVSEs that this CPO has published there.
        """
        async with self.pool.acquire() as connection:
            published = await ocpi_objects.evses_of(
                connection, party_id=question.cpo_id, location_id=question.location_id
            )
        if not question.evse_uids:
            return published[0] if published else None
        known = {uid.lower(): uid for uid in published}
        return next((known[uid.lower()] for uid in question.evse_uids if uid.lower() in known), None)

    async def _identity(self, asked: Question, question: TokenQuestion) -> UUID:
        """The authorization of the same question asked before, unless it is spent; else a new one.

        Either is committed before it is used.
        """
        fresh = new_id()
        async with transaction(self.pool) as connection:
            found = await ocpi_tokens.same_question(
                connection, asked, fresh_id=fresh, now=question.asked_at, within=SAME_QUESTION
            )
        if found == fresh or not await self._spent(found, question):
            return found
        async with transaction(self.pool) as connection:
            return await ocpi_tokens.ask_anew(connection, asked, fresh_id=fresh, now=question.asked_at)

    async def _spent(self, authorization_id: UUID, question: TokenQuestion) -> bool:
        try:
            view = await self.payments.get_authorization(
                party_id=question.token.demand_partner_id, authorization_id=authorization_id
            )
        except NotFoundError:  # a crash between the two commits: the id is still to be used
            return False
        return view.authorization.state in _SPENT or view.session.state != "active"


def _order(question: TokenQuestion, authorization_id: UUID, *, evse_uid: str) -> AuthorizeOrder:
    payment = _payment(question.token.payment)
    if question.token.type == "EMAID":
        rail = "plug_and_charge"
    else:
        rail = "app" if isinstance(payment, PartnerAccount) else "card"
    return AuthorizeOrder(
        authorization_id=authorization_id,
        party_id=question.token.demand_partner_id,
        evse_id=evse_uid,
        rail=rail,
        payment=payment,
        cpo_id=question.cpo_id,
        metadata={"ocpi_token": question.token.contract_id},
    )


def _payment(stored: Mapping[str, Any]) -> PspMethod | PartnerAccount:
    if stored.get("type") == "partner_account":
        return PartnerAccount()
    return PspMethod(
        payment_method=str(stored.get("payment_method")), customer=stored.get("customer"), off_session=True
    )


def _verdict(view: AuthorizationView, *, evse_uid: str) -> TokenVerdict:
    """A hold that is not certain is not yet a yes.

    The driver may try again, and the same hold is found then.
    """
    state = view.authorization.state
    if state is PaymentState.AUTHORIZED:
        return TokenVerdict(
            allowed=Allowed.ALLOWED,
            authorization_reference=format_id("auth", view.authorization.id),
            evse_uid=evse_uid,
        )
    if state is PaymentState.FAILED:
        return TokenVerdict(allowed=Allowed.NO_CREDIT, info="The payment was declined.")
    return TokenVerdict(
        allowed=Allowed.NOT_ALLOWED, info="The payment could not be confirmed yet; try again."
    )
