"""Stripe behind the PSP port: the only file that imports `stripe`.

Owns: parameters, the pinned API version, Stripe's own currency exponents, the mapping of its errors to
outcomes. Must not know: our database, our state machine. SDK retries are off: a repeat is the caller's
decision, under the same idempotency key (docs.stripe.com/api/idempotent_requests).

Every object carries metadata `session` and `authorization` and the transfer group of the session, so that the
state of this house can be rebuilt from Stripe alone.
"""

import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import aiohttp
import msgspec
import stripe

from gateway.ids import format_id
from gateway.payments.circuit import CircuitBreaker
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
from gateway.payments.stripe_objects import (
    HOLD_IS_GONE,
    add_movement,
    captured,
    charge_params,
    decline_of,
    hold_outcome,
    hold_params,
    movement_of,
    order_amount,
    parse_event,
    since_filter,
    state_of,
)

API_VERSION: Final = "2026-10-28.endive"

_Result = TypeVar("_Result")


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
        http_client: stripe.HTTPClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http_client or _over_sockets(base_url, timeout_s)
        self._monotonic = monotonic
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            http_client=self._http,
            max_network_retries=0,
            base_addresses=cast("Any", {"api": base_url} if base_url else {}),
        )
        self._webhook_secret = webhook_secret
        self._circuit = CircuitBreaker()

    async def hold(self, order: HoldOrder) -> HoldOutcome:
        """Create and confirm a PaymentIntent with manual capture."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._ask(
            self._client.v1.payment_intents.create_async(
                cast("Any", hold_params(order, amount)), {"idempotency_key": order.idempotency_key}
            )
        )
        if isinstance(intent, Declined | OutcomeUnknown):
            return intent
        return hold_outcome(intent)

    async def capture(self, order: CaptureOrder) -> CaptureOutcome:
        """Capture up to the hold; what is not captured is released by Stripe."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        charge = await self._ask(
            self._client.v1.payment_intents.capture_async(
                order.psp_payment,
                cast(
                    "Any",
                    {
                        "amount_to_capture": amount,
                        "metadata": dict(order.metadata),
                        "expand": ["latest_charge.balance_transaction"],
                    },
                ),
                {"idempotency_key": order.idempotency_key},
            )
        )
        if isinstance(charge, Declined):
            return await self._after_refusal(order.psp_payment, charge)
        return charge if isinstance(charge, OutcomeUnknown) else captured(charge)

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
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._ask(
            self._client.v1.payment_intents.increment_authorization_async(
                order.psp_payment,
                cast("Any", {"amount": amount, "expand": ["latest_charge"]}),
                {"idempotency_key": order.idempotency_key},
            )
        )
        if isinstance(intent, Declined | OutcomeUnknown):
            return intent
        state = state_of(intent)
        return (
            state
            if isinstance(state, Held | Declined)
            else OutcomeUnknown(reason=f"increment left {intent.status}")
        )

    async def charge(self, order: ChargeOrder) -> ChargeOutcome:
        """Create, confirm and capture at once, off-session (docs.stripe.com/payments/save-and-reuse)."""
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._ask(
            self._client.v1.payment_intents.create_async(
                cast("Any", charge_params(order, amount)),
                {"idempotency_key": order.idempotency_key},
            )
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
        refund = await self._ask(
            self._client.v1.refunds.create_async(
                cast("Any", {"charge": order.psp_charge, "amount": amount, "metadata": dict(order.metadata)}),
                {"idempotency_key": order.idempotency_key},
            )
        )
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
        params: dict[str, Any] = {
            "amount": amount,
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
        amount = order_amount(order.amount_minor, order.currency)
        if isinstance(amount, Declined):
            return amount
        topup = await self._ask(
            self._client.v1.topups.create_async(
                cast(
                    "Any",
                    {
                        "amount": amount,
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
        return state_of(found.data[0]) if found.data else None

    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        """Retrieve a PaymentIntent and say what became of it."""
        intent = await self._ask(
            self._client.v1.payment_intents.retrieve_async(
                psp_payment, {"expand": ["latest_charge.balance_transaction"]}
            )
        )
        return intent if isinstance(intent, Declined | OutcomeUnknown) else state_of(intent)

    async def find_charge(self, *, authorization_id: UUID) -> Captured | OutcomeUnknown | None:
        """Search the off-session charge by our metadata; one that failed took nothing and counts as none."""
        query = f"metadata['collects_for']:'{format_id('auth', authorization_id)}'"
        found = await self._ask(
            self._client.v1.payment_intents.search_async(
                {"query": query, "expand": ["data.latest_charge.balance_transaction"]}
            )
        )
        if isinstance(found, Declined | OutcomeUnknown):
            return OutcomeUnknown(reason="the PSP's search did not answer")
        states = [state_of(intent) for intent in found.data]
        return next((state for state in states if isinstance(state, Captured)), None)

    async def find_refund(self, *, psp_charge: str, refund_id: UUID) -> Refunded | OutcomeUnknown | None:
        """Walk the charge's refunds for ours."""
        page = await self._ask(self._client.v1.refunds.list_async({"charge": psp_charge, "limit": 100}))
        if isinstance(page, Declined | OutcomeUnknown):
            return OutcomeUnknown(reason="the PSP's refunds did not answer")
        ours = format_id("ref", refund_id)
        for refund in page.data:
            found = refund.to_dict()
            lives = found.get("status") not in {"failed", "canceled"}
            if lives and (found.get("metadata") or {}).get("refund") == ours:
                return Refunded(psp_refund=refund.id)
        return None

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
        unread = await _each(page, lambda transaction: add_movement(sums, transaction))
        if unread is not None:
            return unread
        return [PspRecord(currency=currency, **figures) for currency, figures in sorted(sums.items())]

    def read_event(self, *, body: bytes, signature: str, tolerance_s: int) -> PspEvent:
        """Verify `Stripe-Signature` over the raw body, then read what the event is about."""
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._webhook_secret, tolerance_s)
            return parse_event(body)
        except (ValueError, stripe.SignatureVerificationError) as error:
            raise WebhookRefusedError(str(error)) from error

    def parse_event(self, body: bytes) -> PspEvent:
        """Read an event that was authenticated before and kept."""
        return parse_event(body)

    async def events_since(self, *, since: datetime, limit: int) -> Sequence[bytes] | OutcomeUnknown:
        """List events created since, oldest first (docs.stripe.com/api/events/list; Stripe keeps 30 days)."""
        found: list[bytes] = []
        page = await self._ask(self._client.v1.events.list_async(since_filter(since, limit)))
        unread = await _each(
            page, lambda event: found.append(msgspec.json.encode(event.to_dict())), limit=limit
        )
        return unread or found[::-1]

    async def movements_since(self, *, since: datetime, limit: int) -> Sequence[PspMovement] | OutcomeUnknown:
        """List balance transactions since, newest first (docs.stripe.com/api/balance_transactions/list)."""
        found: list[PspMovement] = []
        page = await self._ask(self._client.v1.balance_transactions.list_async(since_filter(since, limit)))
        unread = await _each(page, lambda one: found.append(movement_of(one)), limit=limit)
        return unread or found

    async def close(self) -> None:
        """Close the SDK's HTTP session."""
        await cast("Any", self._http).close_async()

    async def _ask(self, call: Coroutine[Any, Any, _Result]) -> _Result | Declined | OutcomeUnknown:
        """Run one SDK call and turn what it raises into an outcome."""
        if not self._circuit.allows(self._monotonic()):
            call.close()
            return OutcomeUnknown(reason="the PSP is left alone for a few seconds")
        outcome = await self._outcome(call)
        if isinstance(outcome, OutcomeUnknown):
            self._circuit.silent(self._monotonic())
        else:
            self._circuit.answered()
        return outcome

    async def _outcome(self, call: Coroutine[Any, Any, _Result]) -> _Result | Declined | OutcomeUnknown:
        try:
            return await call
        except stripe.CardError as error:
            body = error.json_body or {}
            return decline_of(body.get("error", {}) if isinstance(body, dict) else {}, code=error.code)
        except stripe.InvalidRequestError as error:
            return Declined(code=error.code or "invalid_request", retryable=False)
        except stripe.StripeError as error:
            # Connection errors, 5xx, 429, 409 in flight, a wrong key: none of them says what happened.
            return OutcomeUnknown(reason=f"{type(error).__name__} {error.http_status or ''}".strip())
        except (aiohttp.ClientError, TimeoutError) as error:
            return OutcomeUnknown(reason=type(error).__name__)

    async def _after_refusal(self, psp_payment: str, refusal: Declined) -> CaptureOutcome:
        """A refused capture may have taken place before, or its hold have ended: the record decides."""
        state = await self.inspect(psp_payment=psp_payment)
        if isinstance(state, Voided) and refusal.code in HOLD_IS_GONE:
            return state
        return state if isinstance(state, Captured | OutcomeUnknown) else refusal


async def _each(page: Any, do: Callable[[Any], None], *, limit: int | None = None) -> OutcomeUnknown | None:
    """Do it for every item of a list and of its next pages, up to a limit. None: the list answered."""
    if isinstance(page, Declined | OutcomeUnknown):
        return OutcomeUnknown(reason="the PSP's list did not answer")
    try:
        count = 0
        async for item in page.auto_paging_iter():
            do(item)
            count += 1
            if count == limit:
                break
    except (stripe.StripeError, aiohttp.ClientError, TimeoutError) as error:
        return OutcomeUnknown(reason=type(error).__name__)
    return None


def _over_sockets(base_url: str | None, timeout_s: float) -> stripe.HTTPClient:
    connector = None if base_url is None or base_url.startswith("https") else aiohttp.TCPConnector(limit=100)
    return stripe.AIOHTTPClient(
        timeout=cast("Any", aiohttp.ClientTimeout(total=timeout_s, connect=5)), connector=connector
    )
