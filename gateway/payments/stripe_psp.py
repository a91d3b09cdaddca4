"""Stripe behind the PSP port: which request each order is, and what its answer means.

Owns: paths and parameters. Must not know: our database, our state machine, how a request is made.

Every object carries metadata `session` and `authorization` and the transfer group of the session, so that the
state of this house can be rebuilt from Stripe alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import msgspec

from gateway.ids import format_id
from gateway.payments.psp import (
    Captured,
    CaptureOrder,
    CaptureOutcome,
    ChargeOrder,
    ChargeOutcome,
    Declined,
    Held,
    HoldOrder,
    HoldOutcome,
    IncrementOrder,
    IncrementOutcome,
    OutcomeUnknown,
    PspEvent,
    PspMovement,
    PspRecord,
    Refunded,
    RefundOrder,
    RefundOutcome,
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
from gateway.payments.stripe_answers import Intent, Page, Refund, TopUp, Transaction, Transfer
from gateway.payments.stripe_objects import (
    HOLD_IS_GONE,
    add_movement,
    captured,
    charge_params,
    hold_outcome,
    hold_params,
    movement_of,
    order_amount,
    parse_event,
    since_filter,
    state_of,
    topped_up,
)
from gateway.payments.stripe_wire import HttpClient, StripeWire, verify_signature

_INTENTS: Final = "/v1/payment_intents"
_FULL: Final = ["latest_charge.balance_transaction"]
_TOP_UPS: Final = 2_000  # a look-up walks back so far


class StripePsp:
    """The Stripe adapter. `base_url` None is Stripe itself; a sandbox is named by its URL.

    `http_client` takes the place of the SDK's client over sockets, `monotonic` that of the process's clock.
    """

    def __init__(
        self,
        *,
        api_key: str,
        webhook_secret: str,
        base_url: str | None = None,
        timeout_s: float = 20.0,
        http_client: HttpClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wire = StripeWire(
            api_key=api_key,
            base_url=base_url,
            timeout_s=timeout_s,
            http_client=http_client,
            monotonic=monotonic,
        )
        self._webhook_secret = webhook_secret

    async def hold(self, order: HoldOrder) -> HoldOutcome:
        """Create and confirm a PaymentIntent with manual capture."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._wire.post(
            _INTENTS, Intent, hold_params(order, amount), key=order.idempotency_key
        )
        return intent if isinstance(intent, Declined | OutcomeUnknown) else hold_outcome(intent)

    async def capture(self, order: CaptureOrder) -> CaptureOutcome:
        """Capture up to the hold; what is not captured is released by Stripe."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        params = {"amount_to_capture": amount, "metadata": dict(order.metadata), "expand": _FULL}
        intent = await self._wire.post(
            _of(order.psp_payment, "/capture"), Intent, params, key=order.idempotency_key
        )
        if isinstance(intent, Declined):
            return await self._after_refusal(order.psp_payment, intent)
        return intent if isinstance(intent, OutcomeUnknown) else captured(intent)

    async def void(self, order: VoidOrder) -> VoidOutcome:
        """Cancel the PaymentIntent; one that is canceled already counts as canceled."""
        intent = await self._wire.post(
            _of(order.psp_payment, "/cancel"), Intent, {}, key=order.idempotency_key
        )
        if isinstance(intent, Declined):
            state = await self.inspect(psp_payment=order.psp_payment)
            return state if isinstance(state, Voided | Captured | OutcomeUnknown) else intent
        return intent if isinstance(intent, OutcomeUnknown) else Voided()

    async def increment(self, order: IncrementOrder) -> IncrementOutcome:
        """Raise the hold (docs.stripe.com/payments/incremental-authorization)."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._wire.post(
            _of(order.psp_payment, "/increment_authorization"),
            Intent,
            {"amount": amount, "expand": ["latest_charge"]},
            key=order.idempotency_key,
        )
        if isinstance(intent, Declined | OutcomeUnknown):
            return intent
        state = state_of(intent)
        if isinstance(state, Held | Declined):
            return state
        return OutcomeUnknown(reason=f"increment left {intent.status}")

    async def charge(self, order: ChargeOrder) -> ChargeOutcome:
        """Create, confirm and capture at once, off-session (docs.stripe.com/payments/save-and-reuse)."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._wire.post(
            _INTENTS, Intent, charge_params(order, amount), key=order.idempotency_key
        )
        if isinstance(intent, Declined | OutcomeUnknown):
            return intent
        state = state_of(intent)
        if isinstance(state, Captured | Declined):
            return state
        return Declined(code="authentication_required", retryable=False, psp_payment=intent.id)

    async def refund(self, order: RefundOrder) -> RefundOutcome:
        """Refund a charge, in part or whole (docs.stripe.com/refunds)."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        params = {"charge": order.psp_charge, "amount": amount, "metadata": dict(order.metadata)}
        refund = await self._wire.post("/v1/refunds", Refund, params, key=order.idempotency_key)
        if isinstance(refund, Declined | OutcomeUnknown):
            return refund
        if refund.status in {"failed", "canceled"}:
            return Declined(code=refund.failure_reason or "refund_failed", retryable=True)
        return Refunded(psp_refund=refund.id)

    async def transfer(self, order: TransferOrder) -> TransferOutcome:
        """Credit a connected account (separate charges and transfers)."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        params = {
            "amount": amount,
            "currency": order.currency.lower(),
            "destination": order.connected_account,
            "metadata": {"end_to_end_id": order.end_to_end_id},
            "transfer_group": order.end_to_end_id,  # what it is found by: transfers can't be searched
        }
        transfer = await self._wire.post("/v1/transfers", Transfer, params, key=order.idempotency_key)
        if isinstance(transfer, Declined | OutcomeUnknown):
            return transfer
        return Transferred(psp_transfer=transfer.id)

    async def top_up(self, order: TopUpOrder) -> TopUpOutcome:
        """Bring money from the platform's bank account into its Stripe balance."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        named = {"reference": order.reference, "top_up": format_id("fund", order.top_up_id)}
        params = {
            "amount": amount,
            "currency": order.currency.lower(),
            "description": order.reference,
            "metadata": named,
        }
        topup = await self._wire.post("/v1/topups", TopUp, params, key=order.idempotency_key)
        return topup if isinstance(topup, Declined | OutcomeUnknown) else topped_up(topup)

    async def find_hold(self, *, authorization_id: UUID) -> HoldOutcome | Captured | Voided | None:
        """Search PaymentIntents by our metadata (docs.stripe.com/search); None: there is none."""
        found = await self._search("authorization", authorization_id)
        if isinstance(found, OutcomeUnknown):
            return found
        return state_of(found[0]) if found else None

    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        """Retrieve a PaymentIntent and say what became of it."""
        intent = await self._wire.get(_of(psp_payment), Intent, {"expand": _FULL})
        return intent if isinstance(intent, Declined | OutcomeUnknown) else state_of(intent)

    async def find_charge(self, *, authorization_id: UUID) -> Captured | OutcomeUnknown | None:
        """Search the off-session charge by our metadata; one that failed took nothing and counts as none."""
        found = await self._search("collects_for", authorization_id)
        if isinstance(found, OutcomeUnknown):
            return found
        states = [state_of(intent) for intent in found]
        return next((state for state in states if isinstance(state, Captured)), None)

    async def find_refund(self, *, psp_charge: str, refund_id: UUID) -> Refunded | OutcomeUnknown | None:
        """Walk the charge's refunds for ours."""
        found: list[Refund] = []
        unread = await self._wire.each("/v1/refunds", Refund, found.append, params={"charge": psp_charge})
        if unread is not None:
            return unread
        ours = format_id("ref", refund_id)
        for refund in found:
            lives = refund.status not in {"failed", "canceled"}
            if lives and (refund.metadata or {}).get("refund") == ours:
                return Refunded(psp_refund=refund.id)
        return None

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | OutcomeUnknown | None:
        """List the one transfer of our group; Stripe offers no search on transfers."""
        asked = {"transfer_group": end_to_end_id, "limit": 1}
        page = await self._wire.get("/v1/transfers", Page[Transfer], asked)
        if isinstance(page, Declined | OutcomeUnknown):
            return OutcomeUnknown(reason="the PSP's list did not answer")
        return Transferred(psp_transfer=page.data[0].id) if page.data else None

    async def find_top_up(self, *, top_up_id: UUID) -> ToppedUp | Declined | OutcomeUnknown | None:
        """Walk the latest top-ups for ours: they are few, and Stripe offers no search on them."""
        found: list[TopUp] = []
        unread = await self._wire.each("/v1/topups", TopUp, found.append, limit=_TOP_UPS)
        if unread is not None:
            return unread
        ours = format_id("fund", top_up_id)
        mine = [topped_up(one) for one in found if (one.metadata or {}).get("top_up") == ours]
        if not mine and len(found) == _TOP_UPS:
            return OutcomeUnknown(reason=f"it is not among the latest {_TOP_UPS} top-ups")
        return next((one for one in mine if isinstance(one, ToppedUp)), mine[0] if mine else None)

    async def records(self) -> Sequence[PspRecord] | OutcomeUnknown:
        """Sum every balance transaction (docs.stripe.com/reports/balance-transaction-types)."""
        sums: dict[str, dict[str, int]] = {}
        unread = await self._wire.each(
            "/v1/balance_transactions", Transaction, lambda one: add_movement(sums, one)
        )
        if unread is not None:
            return unread
        return [PspRecord(currency=currency, **figures) for currency, figures in sorted(sums.items())]

    def read_event(self, *, body: bytes, signature: str, tolerance_s: int) -> PspEvent:
        """Verify `Stripe-Signature` over the raw body, then read what the event is about."""
        verify_signature(body, signature, secret=self._webhook_secret, tolerance_s=tolerance_s)
        try:
            return parse_event(body)
        except ValueError as error:
            raise WebhookRefusedError(str(error)) from error

    def parse_event(self, body: bytes) -> PspEvent:
        """Read an event that was authenticated before and kept."""
        return parse_event(body)

    async def events_since(self, *, since: datetime, limit: int) -> Sequence[bytes] | OutcomeUnknown:
        """List events created since, oldest first (docs.stripe.com/api/events/list; Stripe keeps 30 days)."""
        found: list[bytes] = []
        unread = await self._wire.each(
            "/v1/events",
            msgspec.Raw,
            lambda raw: found.append(bytes(raw)),
            params=since_filter(since),
            limit=limit,
        )
        return unread or found[::-1]

    async def movements_between(
        self, *, since: datetime, until: datetime | None, limit: int
    ) -> Sequence[PspMovement] | OutcomeUnknown:
        """List balance transactions, newest first (docs.stripe.com/api/balance_transactions/list)."""
        found: list[PspMovement] = []
        unread = await self._wire.each(
            "/v1/balance_transactions",
            Transaction,
            lambda one: found.append(movement_of(one)),
            params=since_filter(since, until),
            limit=limit,
        )
        return unread or found

    async def close(self) -> None:
        """Close the SDK's HTTP session."""
        await self._wire.close()

    async def _search(self, name: str, authorization_id: UUID) -> Sequence[Intent] | OutcomeUnknown:
        query = f"metadata['{name}']:'{format_id('auth', authorization_id)}'"
        asked: Mapping[str, Any] = {"query": query, "expand": [f"data.{_FULL[0]}"]}
        page = await self._wire.get(f"{_INTENTS}/search", Page[Intent], asked)
        if isinstance(page, Declined | OutcomeUnknown):
            return OutcomeUnknown(reason="the PSP's search did not answer")
        return page.data

    async def _after_refusal(self, psp_payment: str, refusal: Declined) -> CaptureOutcome:
        """A refused capture may have taken place before, or its hold have ended: the record decides."""
        state = await self.inspect(psp_payment=psp_payment)
        if isinstance(state, Voided) and refusal.code in HOLD_IS_GONE:
            return state
        return state if isinstance(state, Captured | OutcomeUnknown) else refusal


def _of(psp_payment: str, verb: str = "") -> str:
    return f"{_INTENTS}/{quote(psp_payment, safe='')}{verb}"
