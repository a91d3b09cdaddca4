"""Customers, SetupIntents and saved PaymentMethods: requests and answers of Stripe behind the payer port.

Owns: paths, parameters, what an answer means. Must not know: our database, whose customer is whose. A
PaymentMethod may be a card, also in Apple Pay or Google Pay, and nothing whose success comes later.
Sources: docs.stripe.com/api/customers, /setup_intents, /payment_methods; page payments/save-and-reuse.
"""

from typing import Any, Final
from urllib.parse import quote

import msgspec

from gateway.ids import format_id
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.payer_port import (
    CardSummary,
    CustomerCreated,
    CustomerOutcome,
    DetachOutcome,
    MethodDetached,
    MethodOutcome,
    MethodStatus,
    PageSources,
    PspCustomerRequest,
    PspSetupRequest,
    SetupOutcome,
    SetupState,
    SetupStatus,
)
from gateway.payments.psp.stripe.objects import to_stripe_amount
from gateway.payments.psp.stripe.responses import StripeObject
from gateway.payments.psp.stripe.wire import StripeWire

_CUSTOMERS: Final = "/v1/customers"
_SETUPS: Final = "/v1/setup_intents"
_METHODS: Final = "/v1/payment_methods"
_SCRIPT: Final = "https://js.stripe.com/endive/stripe.js"  # the script of the pinned API version's release
_SANDBOX_SCRIPT: Final = "/_sandbox/element.js"
# docs.stripe.com/security/guide, Content security policy, Stripe.js (read 2026-11-30).
_PAGE_SOURCES: Final = PageSources(
    scripts=("https://*.js.stripe.com", "https://js.stripe.com"),
    frames=("https://*.js.stripe.com", "https://js.stripe.com", "https://hooks.stripe.com"),
    connections=("https://api.stripe.com",),
    # Browsers hold `form-action` for redirects after a form too; of the same page, Checkout is led to.
    pages=("https://checkout.stripe.com",),
    wallets=True,
)
CARDS_ONLY: Final = ["card"]
_EXPANDED: Final = ["payment_method", "mandate"]
_STATES: Final = {
    "requires_payment_method": SetupState.REQUIRES_PAYMENT_METHOD,
    "requires_confirmation": SetupState.REQUIRES_PAYMENT_METHOD,
    "requires_action": SetupState.REQUIRES_ACTION,
    "processing": SetupState.PROCESSING,
    "succeeded": SetupState.SUCCEEDED,
    "canceled": SetupState.CANCELLED,
}


class _Wallet(msgspec.Struct):
    type: str | None = None


class _Card(msgspec.Struct):
    brand: str = "unknown"
    last4: str | None = None
    exp_month: int = 0
    exp_year: int = 0
    wallet: _Wallet | None = None
    fingerprint: str | None = None


class _PaymentMethod(msgspec.Struct):
    id: str
    type: str = "card"
    card: _Card | None = None
    customer: str | StripeObject | None = None


class _Mandate(msgspec.Struct):
    id: str
    status: str | None = None


class _SetupError(msgspec.Struct):
    code: str | None = None
    decline_code: str | None = None


class StripeSetupIntent(msgspec.Struct):
    """A SetupIntent with its payment method and mandate expanded."""

    id: str
    status: str
    client_secret: str | None = None
    payment_method: str | _PaymentMethod | None = None
    mandate: str | _Mandate | None = None
    latest_attempt: str | StripeObject | None = None
    last_setup_error: _SetupError | None = None
    next_action: dict[str, Any] | None = None


class StripePayers:
    """The payer port over Stripe. `base_url` None is Stripe itself; a sandbox serves a script of its own."""

    def __init__(self, wire: StripeWire, *, publishable_key: str | None, base_url: str | None) -> None:
        self._wire = wire
        self._publishable_key = publishable_key
        self._base_url = base_url

    @property
    def publishable_key(self) -> str | None:
        """The key that a driver's app shows Stripe."""
        return self._publishable_key

    @property
    def script_url(self) -> str:
        """Stripe.js, or the sandbox's script."""
        return _SCRIPT if self._base_url is None else f"{self._base_url.rstrip('/')}{_SANDBOX_SCRIPT}"

    @property
    def page_sources(self) -> PageSources:
        """Stripe.js's own list, or the sandbox alone."""
        if self._base_url is None:
            return _PAGE_SOURCES
        own = (self._base_url.rstrip("/"),)
        return PageSources(scripts=own, frames=own, pages=own)

    def form_amount(self, minor: int, currency: str) -> int:
        """As in a request."""
        return to_stripe_amount(minor, currency)

    async def create_customer(self, request: PspCustomerRequest) -> CustomerOutcome:
        """Create a Customer that says whose it is."""
        made = await self._wire.post(
            _CUSTOMERS, StripeObject, customer_params(request), key=request.idempotency_key
        )
        if isinstance(made, Declined | PspOutcomeUnknown):
            return made
        return CustomerCreated(psp_customer=made.id)

    async def create_setup(self, request: PspSetupRequest) -> SetupOutcome:
        """Create a SetupIntent for cards."""
        return _status(
            await self._wire.post(
                _SETUPS, StripeSetupIntent, setup_params(request), key=request.idempotency_key
            )
        )

    async def inspect_setup(self, *, psp_setup: str) -> SetupOutcome:
        """Retrieve a SetupIntent."""
        return _status(
            await self._wire.get(_path(_SETUPS, psp_setup), StripeSetupIntent, {"expand": _EXPANDED})
        )

    async def cancel_setup(self, *, psp_setup: str, idempotency_key: str) -> SetupOutcome:
        """Cancel a SetupIntent; what the driver finished before stays."""
        ended = await self._wire.post(
            _path(_SETUPS, psp_setup, "/cancel"), StripeSetupIntent, {}, key=idempotency_key
        )
        if isinstance(ended, Declined):
            return await self.inspect_setup(psp_setup=psp_setup)
        return _status(ended)

    async def inspect_method(self, *, psp_method: str) -> MethodOutcome:
        """Retrieve a PaymentMethod."""
        found = await self._wire.get(_path(_METHODS, psp_method), _PaymentMethod, {})
        if isinstance(found, Declined | PspOutcomeUnknown):
            return found
        owner = found.customer
        return MethodStatus(
            psp_method=found.id,
            psp_customer=owner.id if isinstance(owner, StripeObject) else owner,
            card=None if found.card is None else _summary(found.card),
        )

    async def detach_method(self, *, psp_method: str, idempotency_key: str) -> DetachOutcome:
        """Detach a PaymentMethod from its Customer; it can never be attached again.

        It is read first: Stripe refuses to detach one that has no Customer.
        """
        path = _path(_METHODS, psp_method)
        found = await self._wire.get(path, _PaymentMethod, {})
        if isinstance(found, PspOutcomeUnknown):
            return found
        if isinstance(found, Declined) or found.customer is None:
            return MethodDetached()
        detached = await self._wire.post(f"{path}/detach", StripeObject, {}, key=idempotency_key)
        return detached if isinstance(detached, PspOutcomeUnknown) else MethodDetached()


def customer_params(request: PspCustomerRequest) -> dict[str, Any]:
    """The parameters of a Customer: no personal data, only whose it is."""
    return {
        "metadata": {"party": request.party_id, "customer": format_id("cust", request.customer_id)},
    }


def setup_params(request: PspSetupRequest) -> dict[str, Any]:
    """The parameters of a SetupIntent that the driver's app confirms."""
    return {
        "customer": request.psp_customer,
        "usage": "off_session" if request.off_session else "on_session",
        "allowed_payment_method_types": CARDS_ONLY,
        "metadata": {"party": request.party_id, "setup": format_id("setup", request.setup_id)},
        "expand": _EXPANDED,
    }


def _status(intent: StripeSetupIntent | Declined | PspOutcomeUnknown) -> SetupOutcome:
    if isinstance(intent, Declined | PspOutcomeUnknown):
        return intent
    state = _STATES.get(intent.status)
    if state is None:
        return PspOutcomeUnknown(reason=f"a SetupIntent that is {intent.status}")
    method, mandate = intent.payment_method, intent.mandate
    failed, attempt = intent.last_setup_error, intent.latest_attempt
    redirect = (intent.next_action or {}).get("redirect_to_url") or {}
    return SetupStatus(
        psp_setup=intent.id,
        state=state,
        client_secret=intent.client_secret,
        redirect_url=redirect.get("url"),
        psp_method=method.id if isinstance(method, _PaymentMethod) else method,
        card=_summary(method.card) if isinstance(method, _PaymentMethod) and method.card else None,
        mandate=mandate.id if isinstance(mandate, _Mandate) else mandate,
        attempt=attempt.id if isinstance(attempt, StripeObject) else attempt,
        error=(failed.decline_code or failed.code or "setup_failed") if failed else None,
    )


def _summary(card: _Card) -> CardSummary:
    return CardSummary(
        brand=card.brand,
        last4=card.last4 or "",
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        wallet=card.wallet.type if card.wallet else None,
        fingerprint=card.fingerprint,
    )


def _path(collection: str, identifier: str, verb: str = "") -> str:
    return f"{collection}/{quote(identifier, safe='')}{verb}"
