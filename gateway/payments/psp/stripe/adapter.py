"""Stripe behind the PSP port: which HTTP request each request of ours is, and what its answer means.

Owns: paths and parameters. Must not know: our database, our state machine, how a request is made.

Every object carries metadata `session` and `authorization` and the transfer group of the session, so that the
state of this system can be rebuilt from Stripe alone.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import structlog

from gateway.ids import format_id
from gateway.payments.psp.dispute_port import (
    DisputeUpdate,
    FileUploaded,
    PspEvidenceRequest,
    PspFileRequest,
    RefundUpdate,
)
from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.movement_port import PspMovement, PspTotals
from gateway.payments.psp.payment_port import PspPayment
from gateway.payments.psp.port import (
    CARD_PRESENT,
    HOSTED_PAGE,
    Captured,
    CaptureOutcome,
    ChargeOutcome,
    FeaturesRefused,
    Held,
    HoldOutcome,
    IncidentReporter,
    IncrementOutcome,
    PaymentStatus,
    PspCaptureRequest,
    PspChargeRequest,
    PspEvent,
    PspHoldRequest,
    PspIncrementRequest,
    PspRefundRequest,
    PspTopUpRequest,
    PspTransferRequest,
    PspVoidRequest,
    Refunded,
    RefundOutcome,
    ToppedUp,
    TopUpOutcome,
    TransferOutcome,
    Transferred,
    Voided,
    VoidOutcome,
)
from gateway.payments.psp.rules import PspRules
from gateway.payments.psp.stripe import objects
from gateway.payments.psp.stripe.amount_rules import STRIPE_AMOUNTS
from gateway.payments.psp.stripe.connect import StripeConnect
from gateway.payments.psp.stripe.decline_advice import STRIPE_DECLINE_ADVICE
from gateway.payments.psp.stripe.disputes import (
    EVIDENCE_PURPOSE,
    dispute_path,
    dispute_update,
    evidence_params,
)
from gateway.payments.psp.stripe.event_types import EVENT_LISTS
from gateway.payments.psp.stripe.events import read_signed_event
from gateway.payments.psp.stripe.hold_validity import STRIPE_HOLD_VALIDITIES
from gateway.payments.psp.stripe.hosted_pages import StripeHostedPages, is_hosted_page
from gateway.payments.psp.stripe.kept_events import kept_body, without_secrets
from gateway.payments.psp.stripe.movements import add_movement, movement_of
from gateway.payments.psp.stripe.objects import (
    HOLD_IS_GONE,
    captured,
    hold_outcome,
    refund_update,
    request_amount,
    since_filter,
    state_of,
    topped_up,
)
from gateway.payments.psp.stripe.payers import StripePayers
from gateway.payments.psp.stripe.request_parameters import (
    INTENTS,
    WITH_CHARGE,
    WITH_FEE,
    capture_parameters,
    charge_parameters,
    hold_parameters,
    intent_path,
    refund_parameters,
    top_up_parameters,
    transfer_parameters,
)
from gateway.payments.psp.stripe.responses import (
    StripeBalanceTransaction,
    StripeDispute,
    StripeList,
    StripeObject,
    StripePaymentIntent,
    StripeRefund,
    StripeTopUp,
    StripeTransfer,
)
from gateway.payments.psp.stripe.terminals import StripeTerminals
from gateway.payments.psp.stripe.wire import HttpClient, StripeWire, verify_signature

_log = structlog.get_logger(__name__)
_LIVE_KEYS: Final = ("sk_live_", "rk_live_")  # docs.stripe.com/keys
_SOURCES: Final = ["data.source"]  # a converted movement's own amount and currency stand in its source
_TOP_UPS: Final = 2_000  # a look-up walks back so far
_WEBHOOK_TOLERANCE_S: Final = 300  # docs.stripe.com/webhooks#replay-attacks
STRIPE_RULES: Final = PspRules(
    amounts=STRIPE_AMOUNTS,
    hold_validities=STRIPE_HOLD_VALIDITIES,
    # Stripe keeps a key for 24 h (docs.stripe.com/api/idempotent_requests); an hour of margin.
    key_lifetime=timedelta(hours=23),
    decline_advice=STRIPE_DECLINE_ADVICE,
)


class StripePsp:
    """The Stripe adapter. `base_url` None is Stripe itself; a sandbox is named by its URL.

    `http_client` replaces the SDK's client over sockets, `monotonic` the process's clock. `report` receives
    each mistake of ours.
    """

    def __init__(
        self,
        *,
        api_key: str,
        webhook_secret: str,
        base_url: str | None = None,
        publishable_key: str | None = None,
        timeout_s: float = 20.0,
        http_client: HttpClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        report: IncidentReporter | None = None,
    ) -> None:
        self._wire = StripeWire(
            api_key=api_key,
            base_url=base_url,
            timeout_s=timeout_s,
            http_client=http_client,
            monotonic=monotonic,
            report=report,
        )
        # One of each endpoint: of our own account, and of connected accounts.
        self._webhook_secrets = [secret.strip() for secret in webhook_secret.split(",")]
        self._live = api_key.startswith(_LIVE_KEYS)
        self._terminals = StripeTerminals(self._wire)
        self._pages = StripeHostedPages(self._wire)
        self._connect = StripeConnect(self._wire)
        self._payers = StripePayers(self._wire, publishable_key=publishable_key, base_url=base_url)

    @property
    def rules(self) -> PspRules:
        """What Stripe can charge, how long its holds and idempotency keys last."""
        return STRIPE_RULES

    @property
    def responding(self) -> bool:
        """Whether calls are sent; see `Psp.responding`."""
        return self._wire.responding

    @property
    def account(self) -> str:
        """Which account this is: the same for one key, and nothing of the key itself."""
        return self._wire.account

    @property
    def payers(self) -> StripePayers:
        """Customers, setups and saved methods at Stripe."""
        return self._payers

    @property
    def terminals(self) -> StripeTerminals:
        """Stripe Terminal."""
        return self._terminals

    @property
    def connect(self) -> StripeConnect:
        """Stripe Connect."""
        return self._connect

    @property
    def signature_header(self) -> str:
        """The HTTP header in which Stripe signs its webhooks."""
        return "Stripe-Signature"

    async def hold(self, request: PspHoldRequest) -> HoldOutcome:
        """Create and confirm a PaymentIntent with manual capture."""
        amount = request_amount(request.amount_minor, request.currency)
        if isinstance(amount, Declined):
            return amount
        if request.payment_method == HOSTED_PAGE:
            return await self._pages.open(request, amount)
        intent = await self._wire.ask(
            INTENTS, StripePaymentIntent, hold_parameters(request, amount), key=request.idempotency_key
        )
        if not isinstance(intent, StripePaymentIntent):
            return intent
        outcome = hold_outcome(intent, at_terminal=request.payment_method == CARD_PRESENT)
        return await self._wire.report(outcome) if isinstance(outcome, PspMisconfigured) else outcome

    async def capture(self, request: PspCaptureRequest) -> CaptureOutcome:
        """Capture up to the hold; what is not captured is released by Stripe."""
        amount = request_amount(request.amount_minor, request.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._wire.post(
            intent_path(request.psp_payment, "/capture"),
            StripePaymentIntent,
            capture_parameters(request, amount),
            key=request.idempotency_key,
        )
        if isinstance(intent, Declined):
            return await self._after_rejection(request.psp_payment, intent)
        return intent if isinstance(intent, PspOutcomeUnknown) else captured(intent)

    async def void(self, request: PspVoidRequest) -> VoidOutcome:
        """Cancel the PaymentIntent; one that is canceled already counts as canceled."""
        payment = await self._pages.end(request)  # of a hosted page that was paid, the payment
        if not isinstance(payment, str):
            return payment
        path, key = intent_path(payment, "/cancel"), request.idempotency_key
        intent = await self._wire.post(path, StripePaymentIntent, {}, key=key)
        if isinstance(intent, Declined):
            state = await self.inspect(psp_payment=payment)
            return state if isinstance(state, Voided | Captured | PspOutcomeUnknown) else intent
        return intent if isinstance(intent, PspOutcomeUnknown) else Voided()

    async def increment(self, request: PspIncrementRequest) -> IncrementOutcome:
        """Raise the hold (docs.stripe.com/payments/incremental-authorization)."""
        amount = request_amount(request.amount_minor, request.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._wire.ask(
            intent_path(request.psp_payment, "/increment_authorization"),
            StripePaymentIntent,
            {"amount": amount, "expand": WITH_CHARGE},
            key=request.idempotency_key,
        )
        if isinstance(intent, FeaturesRefused):
            return Declined(code="increments_not_offered", retryable=False)
        if not isinstance(intent, StripePaymentIntent):
            return intent
        state = state_of(intent)
        if isinstance(state, Held | Declined):
            return state
        return PspOutcomeUnknown(reason=f"increment left {intent.status}")

    async def charge(self, request: PspChargeRequest) -> ChargeOutcome:
        """Create, confirm and capture at once, off-session (docs.stripe.com/payments/save-and-reuse)."""
        amount = request_amount(request.amount_minor, request.currency)
        if isinstance(amount, Declined):
            return amount
        intent = await self._wire.post(
            INTENTS, StripePaymentIntent, charge_parameters(request, amount), key=request.idempotency_key
        )
        if isinstance(intent, Declined | PspOutcomeUnknown):
            return intent
        state = state_of(intent)
        if isinstance(state, Captured | Declined):
            return state
        return Declined(code="authentication_required", retryable=False, psp_payment=intent.id)

    async def refund(self, request: PspRefundRequest) -> RefundOutcome:
        """Refund a charge, in part or whole (docs.stripe.com/refunds)."""
        amount = request_amount(request.amount_minor, request.currency)
        if isinstance(amount, Declined):
            return amount
        refund = await self._wire.post(
            "/v1/refunds", StripeRefund, refund_parameters(request, amount), key=request.idempotency_key
        )
        if isinstance(refund, Declined | PspOutcomeUnknown):
            return refund
        if refund.status in {"failed", "canceled"}:
            return Declined(code=refund.failure_reason or "refund_failed", retryable=True)
        return Refunded(psp_refund=refund.id)

    async def transfer(self, request: PspTransferRequest) -> TransferOutcome:
        """Credit a connected account (separate charges and transfers)."""
        amount = request_amount(request.amount_minor, request.currency)
        if isinstance(amount, Declined):
            return amount
        transfer = await self._wire.post(
            "/v1/transfers",
            StripeTransfer,
            transfer_parameters(request, amount),
            key=request.idempotency_key,
        )
        if isinstance(transfer, Declined | PspOutcomeUnknown):
            return transfer
        return Transferred(psp_transfer=transfer.id)

    async def top_up(self, request: PspTopUpRequest) -> TopUpOutcome:
        """Bring money from the platform's bank account into its Stripe balance."""
        amount = request_amount(request.amount_minor, request.currency)
        if isinstance(amount, Declined):
            return amount
        topup = await self._wire.post(
            "/v1/topups", StripeTopUp, top_up_parameters(request, amount), key=request.idempotency_key
        )
        return topup if isinstance(topup, Declined | PspOutcomeUnknown) else topped_up(topup)

    async def find_hold(self, *, authorization_id: UUID) -> PaymentStatus | None:
        """Search PaymentIntents by our metadata (docs.stripe.com/search); None: there is none."""
        found = await self._search("authorization", authorization_id)
        if isinstance(found, PspOutcomeUnknown):
            return found
        return state_of(found[0]) if found else None

    async def inspect(self, *, psp_payment: str) -> PaymentStatus:
        """Retrieve a PaymentIntent and say what became of it."""
        if is_hosted_page(psp_payment):
            return await self._pages.inspect(psp_payment)
        intent = await self._wire.get(intent_path(psp_payment), StripePaymentIntent, {"expand": WITH_FEE})
        return intent if isinstance(intent, Declined | PspOutcomeUnknown) else state_of(intent)

    async def find_charge(self, *, authorization_id: UUID) -> Captured | PspOutcomeUnknown | None:
        """Search the residual charge by our metadata; one that failed charged nothing and counts as none."""
        found = await self._search("residual_charge_for", authorization_id)
        if isinstance(found, PspOutcomeUnknown):
            return found
        states = [state_of(intent) for intent in found]
        return next((state for state in states if isinstance(state, Captured)), None)

    async def find_refund(self, *, psp_charge: str, refund_id: UUID) -> Refunded | PspOutcomeUnknown | None:
        """Walk the charge's refunds for ours."""
        found: list[StripeRefund] = []
        unread = await self._wire.read_each(
            "/v1/refunds", StripeRefund, found.append, params={"charge": psp_charge}
        )
        if unread is not None:
            return unread
        ours = format_id("ref", refund_id)
        for refund in found:
            lives = refund.status not in {"failed", "canceled"}
            if lives and (refund.metadata or {}).get("refund") == ours:
                return Refunded(psp_refund=refund.id)
        return None

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | PspOutcomeUnknown | None:
        """List the one transfer of our group; Stripe offers no search on transfers."""
        params = {"transfer_group": end_to_end_id, "limit": 1}
        page = await self._wire.get("/v1/transfers", StripeList[StripeTransfer], params)
        if isinstance(page, Declined | PspOutcomeUnknown):
            return PspOutcomeUnknown(reason="the PSP's list did not answer")
        return Transferred(psp_transfer=page.data[0].id) if page.data else None

    async def find_top_up(self, *, top_up_id: UUID) -> ToppedUp | Declined | PspOutcomeUnknown | None:
        """Walk the latest top-ups for ours: they are few, and Stripe offers no search on them."""
        found: list[StripeTopUp] = []
        unread = await self._wire.read_each("/v1/topups", StripeTopUp, found.append, limit=_TOP_UPS)
        if unread is not None:
            return unread
        ours = format_id("fund", top_up_id)
        mine = [topped_up(one) for one in found if (one.metadata or {}).get("top_up") == ours]
        if not mine and len(found) == _TOP_UPS:
            return PspOutcomeUnknown(reason=f"it is not among the latest {_TOP_UPS} top-ups")
        return mine[0] if mine else None

    async def read_top_up(self, *, psp_topup: str) -> ToppedUp | Declined | PspOutcomeUnknown:
        """Retrieve a top-up (docs.stripe.com/api/topups/retrieve)."""
        topup = await self._wire.get(f"/v1/topups/{quote(psp_topup, safe='')}", StripeTopUp, {})
        return topup if isinstance(topup, Declined | PspOutcomeUnknown) else topped_up(topup)

    async def read_payment(self, *, psp_payment: str) -> PspPayment | Declined | PspOutcomeUnknown:
        """Retrieve a PaymentIntent as it stands (docs.stripe.com/api/payment_intents/retrieve)."""
        intent = await self._wire.get(intent_path(psp_payment), StripePaymentIntent, {"expand": WITH_FEE})
        return intent if isinstance(intent, Declined | PspOutcomeUnknown) else objects.psp_payment(intent)

    async def read_refund(self, *, psp_refund: str) -> RefundUpdate | Declined | PspOutcomeUnknown:
        """Retrieve a refund (docs.stripe.com/api/refunds/retrieve)."""
        refund = await self._wire.get(f"/v1/refunds/{quote(psp_refund, safe='')}", StripeRefund, {})
        return refund if isinstance(refund, Declined | PspOutcomeUnknown) else refund_update(refund)

    async def read_dispute(self, *, psp_dispute: str) -> DisputeUpdate | Declined | PspOutcomeUnknown:
        """Retrieve a dispute (docs.stripe.com/api/disputes/retrieve)."""
        dispute = await self._wire.get(dispute_path(psp_dispute), StripeDispute, {})
        return dispute if isinstance(dispute, Declined | PspOutcomeUnknown) else dispute_update(dispute)

    async def submit_evidence(
        self, request: PspEvidenceRequest
    ) -> DisputeUpdate | Declined | PspOutcomeUnknown:
        """Update a dispute's evidence, and submit it where asked (docs.stripe.com/api/disputes/update)."""
        dispute = await self._wire.post(
            dispute_path(request.psp_dispute),
            StripeDispute,
            evidence_params(request),
            key=request.idempotency_key,
        )
        return dispute if isinstance(dispute, Declined | PspOutcomeUnknown) else dispute_update(dispute)

    async def upload_evidence(self, request: PspFileRequest) -> FileUploaded | Declined | PspOutcomeUnknown:
        """Create a File of purpose `dispute_evidence` (docs.stripe.com/api/files/create)."""
        made = await self._wire.upload(
            StripeObject, purpose=EVIDENCE_PURPOSE, content=request.content, key=request.idempotency_key
        )
        if isinstance(made, Declined | PspOutcomeUnknown):
            return made
        return FileUploaded(psp_file=made.id)

    async def accept_dispute(
        self, *, psp_dispute: str, idempotency_key: str
    ) -> DisputeUpdate | Declined | PspOutcomeUnknown:
        """Close a dispute, which accepts its loss (docs.stripe.com/api/disputes/close)."""
        dispute = await self._wire.post(
            dispute_path(psp_dispute, "/close"), StripeDispute, {}, key=idempotency_key
        )
        return dispute if isinstance(dispute, Declined | PspOutcomeUnknown) else dispute_update(dispute)

    async def list_records(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[PspTotals] | PspOutcomeUnknown:
        """Sum the balance transactions of a time (docs.stripe.com/reports/balance-transaction-types)."""
        sums: dict[str, dict[str, int]] = {}
        unread = await self._wire.read_each(
            "/v1/balance_transactions",
            StripeBalanceTransaction,
            lambda one: add_movement(sums, one),
            params={**since_filter(since, until), "expand": _SOURCES},
        )
        if unread is not None:
            return unread
        return [PspTotals(currency=currency, **figures) for currency, figures in sorted(sums.items())]

    def read_event(self, *, body: bytes, signature: str) -> PspEvent:
        """Verify `Stripe-Signature` over the raw body, then read what the event is about."""
        verify_signature(body, signature, secrets=self._webhook_secrets, tolerance_s=_WEBHOOK_TOLERANCE_S)
        return self.parse_event(body)

    def parse_event(self, body: bytes) -> PspEvent:
        """Read an event that was authenticated before and kept."""
        return read_signed_event(body, live=self._live)

    def kept_body(self, body: bytes, *, whole: bool) -> bytes:
        """The event without client secrets and, unless `whole`, without what is not read."""
        return without_secrets(body) if whole else kept_body(body)

    async def event_pages_since(
        self, *, since: datetime, limit: int
    ) -> AsyncIterator[Sequence[bytes] | PspOutcomeUnknown]:
        """Page through events that can change our state, newest first; at most the newest `limit` of a list.

        docs.stripe.com/api/events/list: Stripe keeps 30 days, and takes 20 types in one request.
        """
        for types in EVENT_LISTS:
            listed, params = 0, {**since_filter(since), "types": types}
            async for page in self._wire.pages("/v1/events", params=params, limit=limit):
                if isinstance(page, PspOutcomeUnknown):
                    yield page
                    return
                listed += len(page)
                yield [bytes(raw) for raw in page]
            if listed >= limit:
                _log.warning("psp_events_cut_off", listed=listed, types=types)

    async def list_movements_between(
        self, *, since: datetime, until: datetime | None, limit: int
    ) -> Sequence[PspMovement] | PspOutcomeUnknown:
        """List balance transactions, newest first (docs.stripe.com/api/balance_transactions/list)."""
        found: list[PspMovement] = []
        unread = await self._wire.read_each(
            "/v1/balance_transactions",
            StripeBalanceTransaction,
            lambda one: found.append(movement_of(one)),
            params={**since_filter(since, until), "expand": _SOURCES},
            limit=limit,
        )
        return unread or found

    async def close(self) -> None:
        """Close the SDK's HTTP session."""
        await self._wire.close()

    async def _search(
        self, name: str, authorization_id: UUID
    ) -> Sequence[StripePaymentIntent] | PspOutcomeUnknown:
        query = f"metadata['{name}']:'{format_id('auth', authorization_id)}'"
        params: Mapping[str, Any] = {"query": query, "expand": [f"data.{WITH_FEE[0]}"]}
        page = await self._wire.get(f"{INTENTS}/search", StripeList[StripePaymentIntent], params)
        if isinstance(page, Declined | PspOutcomeUnknown):
            return PspOutcomeUnknown(reason="the PSP's search did not answer")
        return page.data

    async def _after_rejection(self, psp_payment: str, rejection: Declined) -> CaptureOutcome:
        """A rejected capture may have happened before, or its hold have ended: the payment itself decides."""
        state = await self.inspect(psp_payment=psp_payment)
        if isinstance(state, Voided) and rejection.code in HOLD_IS_GONE:
            return state
        return state if isinstance(state, Captured | PspOutcomeUnknown) else rejection
