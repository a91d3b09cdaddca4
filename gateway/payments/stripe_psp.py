"""Stripe behind the PSP port: the only file that imports `stripe`.

Owns: parameters, the pinned API version, Stripe's own currency exponents, the mapping of its errors to
outcomes. Must not know: our database, our state machine. SDK retries are off: a repeat is the caller's
decision, under the same idempotency key (docs.stripe.com/api/idempotent_requests).

Every object carries metadata `session` and `authorization` and the transfer group of the session, so that the
state of this house can be rebuilt from Stripe alone.
"""

from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import aiohttp
import msgspec
import stripe

from clearing.money import exponent
from gateway.ids import format_id, parse_id
from gateway.payments.psp import (
    Captured,
    CaptureOrder,
    CaptureOutcome,
    Declined,
    Held,
    HoldOrder,
    HoldOutcome,
    IncrementOrder,
    IncrementOutcome,
    OutcomeUnknown,
    PspEvent,
    PspRecord,
    RequiresAction,
    ToppedUp,
    TopUpOrder,
    TopUpOutcome,
    TransferOrder,
    TransferOutcome,
    Transferred,
    Voided,
    VoidOrder,
    VoidOutcome,
    WebhookRefusedError,
)

API_VERSION: Final = "2026-10-28.endive"

# Where Stripe's smallest unit is not ISO 4217's (docs.stripe.com/currencies#special-cases): ISK and UGX are
# sent with two decimals that must be zero.
_STRIPE_EXPONENTS: Final[Mapping[str, int]] = {"ISK": 2, "UGX": 2}
_THREE_DECIMALS: Final = 3  # Stripe rounds these to ten: the last digit must be 0

# Decline codes after which another try with the same card may succeed (docs.stripe.com/declines/codes).
_RETRYABLE_DECLINES: Final = frozenset(
    {
        "approve_with_id",
        "authentication_required",
        "card_velocity_exceeded",
        "insufficient_funds",
        "issuer_not_available",
        "processing_error",
        "reenter_transaction",
        "try_again_later",
    }
)

# Balance transaction types as fields of a PspRecord, with the sign that makes them positive there.
_RECORD_FIELDS: Final[Mapping[str, tuple[str, int]]] = {
    "charge": ("captured_minor", 1),
    "payment": ("captured_minor", 1),
    "refund": ("refunded_minor", -1),
    "payment_refund": ("refunded_minor", -1),
    "transfer": ("transferred_minor", -1),
    "topup": ("topped_up_minor", 1),
}

_Result = TypeVar("_Result")


class _EventData(msgspec.Struct):
    object: dict[str, Any] = {}


class _EventEnvelope(msgspec.Struct):
    id: str
    type: str
    data: _EventData


class AmountNotRepresentableError(Exception):
    """Stripe has no such amount in this currency (three-decimal currencies end in 0)."""


def to_stripe_amount(minor: int, currency: str) -> int:
    """ISO minor units to Stripe's unit. Raises AmountNotRepresentableError."""
    iso = exponent(currency)
    if iso == _THREE_DECIMALS and minor % 10:
        raise AmountNotRepresentableError(
            f"{minor} {currency}: a three-decimal amount must end in 0 at Stripe"
        )
    return int(minor * 10 ** (_STRIPE_EXPONENTS.get(currency, iso) - iso))


def from_stripe_amount(amount: int, currency: str) -> int:
    """Stripe's unit to ISO minor units. Raises AmountNotRepresentableError when a remainder is left."""
    iso = exponent(currency)
    factor = 10 ** (_STRIPE_EXPONENTS.get(currency, iso) - iso)
    minor, rest = divmod(amount, factor)
    if rest:
        raise AmountNotRepresentableError(f"{amount} of {currency} at Stripe is not a whole ISO minor unit")
    return int(minor)


class StripePsp:
    """The Stripe adapter. `base_url` None is Stripe itself; a sandbox is named by its URL."""

    def __init__(
        self, *, api_key: str, webhook_secret: str, base_url: str | None = None, timeout_s: float = 20.0
    ) -> None:
        connector = (
            None if base_url is None or base_url.startswith("https") else aiohttp.TCPConnector(limit=100)
        )
        self._http = stripe.AIOHTTPClient(
            timeout=cast("Any", aiohttp.ClientTimeout(total=timeout_s, connect=5)), connector=connector
        )
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            http_client=self._http,
            max_network_retries=0,
            base_addresses=cast("Any", {"api": base_url} if base_url else {}),
        )
        self._webhook_secret = webhook_secret

    async def hold(self, order: HoldOrder) -> HoldOutcome:
        """Create and confirm a PaymentIntent with manual capture."""
        params: dict[str, Any] = {
            "amount": to_stripe_amount(order.amount_minor, order.currency),
            "currency": order.currency.lower(),
            "capture_method": "manual",
            "confirm": True,
            "payment_method": order.payment_method,
            "payment_method_types": ["card"],
            "payment_method_options": {
                "card": {
                    "request_incremental_authorization": "if_available",
                    "request_overcapture": "if_available",
                }
            },
            "transfer_group": format_id("ses", order.session_id),
            "metadata": {
                **order.metadata,
                "session": format_id("ses", order.session_id),
                "authorization": format_id("auth", order.authorization_id),
            },
            "expand": ["latest_charge"],
        }
        if order.customer is not None:
            params["customer"] = order.customer
        if order.off_session:
            params["off_session"] = True
        intent = await self._ask(
            self._client.v1.payment_intents.create_async(
                cast("Any", params), {"idempotency_key": order.idempotency_key}
            )
        )
        if isinstance(intent, Declined | OutcomeUnknown):
            return intent
        return _hold_outcome(_held_state(intent))

    async def capture(self, order: CaptureOrder) -> CaptureOutcome:
        """Capture up to the hold; what is not captured is released by Stripe."""
        charge = await self._ask(
            self._client.v1.payment_intents.capture_async(
                order.psp_payment,
                cast(
                    "Any",
                    {
                        "amount_to_capture": to_stripe_amount(order.amount_minor, order.currency),
                        "metadata": dict(order.metadata),
                        "expand": ["latest_charge.balance_transaction"],
                    },
                ),
                {"idempotency_key": order.idempotency_key},
            )
        )
        if isinstance(charge, Declined):
            return await self._after_refusal(order.psp_payment, charge)
        return charge if isinstance(charge, OutcomeUnknown) else _captured(charge)

    async def void(self, order: VoidOrder) -> VoidOutcome:
        """Cancel the PaymentIntent; one that is canceled already counts as canceled."""
        intent = await self._ask(
            self._client.v1.payment_intents.cancel_async(
                order.psp_payment, options={"idempotency_key": order.idempotency_key}
            )
        )
        if isinstance(intent, Declined):
            state = await self.inspect(psp_payment=order.psp_payment)
            return state if isinstance(state, Voided | Captured | OutcomeUnknown) else intent
        return intent if isinstance(intent, OutcomeUnknown) else Voided()

    async def increment(self, order: IncrementOrder) -> IncrementOutcome:
        """Raise the hold (docs.stripe.com/payments/incremental-authorization)."""
        intent = await self._ask(
            self._client.v1.payment_intents.increment_authorization_async(
                order.psp_payment,
                cast(
                    "Any",
                    {
                        "amount": to_stripe_amount(order.amount_minor, order.currency),
                        "expand": ["latest_charge"],
                    },
                ),
                {"idempotency_key": order.idempotency_key},
            )
        )
        if isinstance(intent, Declined | OutcomeUnknown):
            return intent
        state = _held_state(intent)
        return (
            state
            if isinstance(state, Held | Declined)
            else OutcomeUnknown(reason=f"increment left {intent.status}")
        )

    async def transfer(self, order: TransferOrder) -> TransferOutcome:
        """Credit a connected account (separate charges and transfers)."""
        params: dict[str, Any] = {
            "amount": to_stripe_amount(order.amount_minor, order.currency),
            "currency": order.currency.lower(),
            "destination": order.connected_account,
            "metadata": {"end_to_end_id": order.end_to_end_id},
        }
        if order.transfer_group is not None:
            params["transfer_group"] = order.transfer_group
        transfer = await self._ask(
            self._client.v1.transfers.create_async(
                cast("Any", params), {"idempotency_key": order.idempotency_key}
            )
        )
        if isinstance(transfer, Declined | OutcomeUnknown):
            return transfer
        return Transferred(psp_transfer=transfer.id)

    async def top_up(self, order: TopUpOrder) -> TopUpOutcome:
        """Bring money from the platform's bank account into its Stripe balance."""
        topup = await self._ask(
            self._client.v1.topups.create_async(
                cast(
                    "Any",
                    {
                        "amount": to_stripe_amount(order.amount_minor, order.currency),
                        "currency": order.currency.lower(),
                        "metadata": {"reference": order.reference},
                    },
                ),
                {"idempotency_key": order.idempotency_key},
            )
        )
        return topup if isinstance(topup, Declined | OutcomeUnknown) else ToppedUp(psp_topup=topup.id)

    async def find_hold(self, *, authorization_id: UUID) -> HoldOutcome | Captured | Voided | None:
        """Search PaymentIntents by our metadata (docs.stripe.com/search); None: there is none."""
        query = f"metadata['authorization']:'{format_id('auth', authorization_id)}'"
        found = await self._ask(
            self._client.v1.payment_intents.search_async(
                {"query": query, "expand": ["data.latest_charge.balance_transaction"]}
            )
        )
        if isinstance(found, Declined | OutcomeUnknown):
            return OutcomeUnknown(reason="the PSP's search did not answer")
        return _state_of(found.data[0]) if found.data else None

    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        """Retrieve a PaymentIntent and say what became of it."""
        intent = await self._ask(
            self._client.v1.payment_intents.retrieve_async(
                psp_payment, {"expand": ["latest_charge.balance_transaction"]}
            )
        )
        return intent if isinstance(intent, Declined | OutcomeUnknown) else _state_of(intent)

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | OutcomeUnknown | None:
        """Walk the latest transfers for ours; Stripe offers no search on transfers."""
        page = await self._ask(self._client.v1.transfers.list_async({"limit": 100}))
        if isinstance(page, Declined | OutcomeUnknown):
            return OutcomeUnknown(reason="the PSP's list did not answer")
        async for transfer in page.auto_paging_iter():
            if (transfer.to_dict().get("metadata") or {}).get("end_to_end_id") == end_to_end_id:
                return Transferred(psp_transfer=transfer.id)
        return None

    async def records(self) -> Sequence[PspRecord] | OutcomeUnknown:
        """Sum every balance transaction (docs.stripe.com/reports/balance-transaction-types)."""
        sums: dict[str, dict[str, int]] = {}
        page = await self._ask(self._client.v1.balance_transactions.list_async({"limit": 100}))
        if isinstance(page, Declined | OutcomeUnknown):
            return OutcomeUnknown(reason="the PSP's balance transactions did not answer")
        try:
            async for transaction in page.auto_paging_iter():
                currency = transaction.currency.upper()
                figures = sums.setdefault(currency, defaultdict(int))
                name, sign = _RECORD_FIELDS.get(transaction.type, ("other_minor", 1))
                figures[name] += sign * from_stripe_amount(transaction.amount, currency)
                figures["fee_minor"] += from_stripe_amount(transaction.fee, currency)
        except (stripe.StripeError, aiohttp.ClientError, TimeoutError) as error:
            return OutcomeUnknown(reason=type(error).__name__)
        return [PspRecord(currency=currency, **figures) for currency, figures in sorted(sums.items())]

    def read_event(self, *, body: bytes, signature: str, tolerance_s: int) -> PspEvent:
        """Verify `Stripe-Signature` over the raw body, then read what the event is about."""
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._webhook_secret, tolerance_s)
            event = msgspec.json.decode(body, type=_EventEnvelope)
        except (ValueError, stripe.SignatureVerificationError) as error:
            raise WebhookRefusedError(str(error)) from error
        subject = event.data.object
        kind = subject.get("object")
        payment = subject.get("id") if kind == "payment_intent" else subject.get("payment_intent")
        session = (subject.get("metadata") or {}).get("session")
        return PspEvent(
            id=event.id,
            type=event.type,
            psp_payment=payment if isinstance(payment, str) else None,
            session_id=parse_id("ses", session) if isinstance(session, str) else None,
        )

    async def close(self) -> None:
        """Close the SDK's HTTP session."""
        await cast("Any", self._http).close_async()

    async def _ask(self, call: Awaitable[_Result]) -> _Result | Declined | OutcomeUnknown:
        """Run one SDK call and turn what it raises into an outcome."""
        try:
            return await call
        except stripe.CardError as error:
            return _card_declined(error)
        except stripe.InvalidRequestError as error:
            return Declined(code=error.code or "invalid_request", retryable=False)
        except stripe.StripeError as error:
            # Connection errors, 5xx, 429, 409 in flight, a wrong key: none of them says what happened.
            return OutcomeUnknown(reason=f"{type(error).__name__} {error.http_status or ''}".strip())
        except (aiohttp.ClientError, TimeoutError) as error:
            return OutcomeUnknown(reason=type(error).__name__)

    async def _after_refusal(self, psp_payment: str, refusal: Declined) -> CaptureOutcome:
        """A refused capture may be one that took place before: the PSP's record decides."""
        state = await self.inspect(psp_payment=psp_payment)
        return state if isinstance(state, Captured | OutcomeUnknown) else refusal


def _card_declined(error: stripe.CardError) -> Declined:
    body = error.json_body or {}
    detail = body.get("error", {}) if isinstance(body, dict) else {}
    code = detail.get("decline_code") or error.code or "card_declined"
    payment = (detail.get("payment_intent") or {}).get("id")
    return Declined(code=str(code), retryable=code in _RETRYABLE_DECLINES, psp_payment=payment)


def _held_state(intent: Any) -> Held | RequiresAction | Declined | Captured | Voided:
    return _state_of(intent)


def _hold_outcome(state: Held | RequiresAction | Declined | Captured | Voided) -> HoldOutcome:
    if isinstance(state, Captured | Voided):  # a hold answered from an old key: its story went on
        return OutcomeUnknown(reason="the payment has moved on since this hold was answered")
    return state


def _state_of(intent: Any) -> Held | RequiresAction | Declined | Captured | Voided:
    """A PaymentIntent's status as an outcome (docs.stripe.com/payments/paymentintents/lifecycle)."""
    status = intent.status
    if status == "requires_capture":
        return Held(
            psp_payment=intent.id,
            amount_minor=from_stripe_amount(intent.amount, intent.currency.upper()),
            capture_before=_capture_before(intent),
        )
    if status in {"requires_action", "requires_confirmation"}:
        action = intent.next_action.to_dict() if intent.next_action else {"type": "authenticate"}
        return RequiresAction(
            psp_payment=intent.id, next_action={**action, "client_secret": intent.client_secret}
        )
    if status == "succeeded":
        return _captured(intent)
    if status == "canceled":
        return Voided()
    failure = intent.last_payment_error
    code = (failure.decline_code or failure.code) if failure else "payment_method_required"
    return Declined(
        code=code or "card_declined", retryable=code in _RETRYABLE_DECLINES, psp_payment=intent.id
    )


def _capture_before(intent: Any) -> datetime | None:
    charge = intent.latest_charge
    details = getattr(charge, "payment_method_details", None)
    card = getattr(details, "card", None) or getattr(details, "card_present", None)
    seconds = getattr(card, "capture_before", None)
    return datetime.fromtimestamp(seconds, tz=UTC) if seconds else None


def _captured(intent: Any) -> Captured:
    charge = intent.latest_charge
    transaction: Any = getattr(charge, "balance_transaction", None)
    fee_currency: str | None = getattr(transaction, "currency", None)
    return Captured(
        psp_charge=charge if isinstance(charge, str) else charge.id,
        amount_minor=from_stripe_amount(intent.amount_received, intent.currency.upper()),
        fee_minor=from_stripe_amount(transaction.fee, fee_currency.upper()) if fee_currency else None,
        fee_currency=fee_currency.upper() if fee_currency else None,
    )
