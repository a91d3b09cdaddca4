"""A PSP in memory, at the seam of the PSP port: idempotent by key, with faults that a test sets."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from gateway.ids import format_id
from gateway.payments.psp.connect_port import (
    AccountOutcome,
    LinkOutcome,
    OnboardingLink,
    PspAccount,
    PspAccountRequest,
    TransferCapability,
)
from gateway.payments.psp.dispute_port import (
    DisputeResponse,
    DisputeState,
    DisputeUpdate,
    FileUploaded,
    PspEvidenceRequest,
    PspFileRequest,
    RefundUpdate,
)
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.movement_port import PspTotals
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
from gateway.payments.psp.payment_port import PspPayment
from gateway.payments.psp.port import (
    HOSTED_PAGE,
    Captured,
    CaptureOutcome,
    ChargeOutcome,
    Held,
    HoldOutcome,
    IncrementOutcome,
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
    RequiresAction,
    ToppedUp,
    TopUpOutcome,
    TransferOutcome,
    Transferred,
    Voided,
    VoidOutcome,
    WebhookRejectedError,
)
from gateway.payments.psp.rules import PspRules
from gateway.payments.psp.stripe.adapter import STRIPE_RULES

CHALLENGE = "https://psp.example/challenge?source_secret=SECRET"


class Payment:
    """One payment as the PSP sees it."""

    def __init__(self, request: PspHoldRequest, identifier: str) -> None:
        self.id = identifier
        self.request = request
        self.status = "held"
        self.captured_minor = 0
        self.held_minor = request.amount_minor
        self.currency = request.currency
        self.page: str | None = None  # of a hosted page, which stands for the payment until it is held


class FakePayers:
    """Customers and setups in memory; `finish` is what the driver does in the app."""

    publishable_key = "pk_test_fake"
    script_url = "https://psp.example/element.js"
    page_sources = PageSources(
        scripts=("https://psp.example",), frames=("https://psp.example",), pages=("https://psp.example",)
    )

    def __init__(self) -> None:
        self.customers: dict[str, PspCustomerRequest] = {}
        self.setups: dict[str, SetupStatus] = {}
        self.detached: list[str] = []
        self.methods: dict[str, MethodStatus] = {}
        self.silent = False
        self._answers: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def form_amount(self, minor: int, _currency: str) -> int:
        return minor

    def finish(self, psp_setup: str, **changes: Any) -> None:
        """The driver has acted: by default the setup succeeded."""
        done: dict[str, Any] = {
            "state": SetupState.SUCCEEDED,
            "psp_method": f"pm_saved_{psp_setup.removeprefix('seti_')}",
            "card": CardSummary(brand="visa", last4="4242", exp_month=12, exp_year=2034),
            "mandate": f"mandate_{psp_setup.removeprefix('seti_')}",
            "attempt": f"setatt_{next(self._numbers)}",
        }
        self.setups[psp_setup] = replace(self.setups[psp_setup], **(done | changes))

    async def create_customer(self, request: PspCustomerRequest) -> CustomerOutcome:
        if self.silent:
            return PspOutcomeUnknown(reason="timeout")
        made = self._once(request.idempotency_key, "cus_fake")
        self.customers[made] = request
        return CustomerCreated(psp_customer=made)

    async def create_setup(self, request: PspSetupRequest) -> SetupOutcome:
        if self.silent:
            return PspOutcomeUnknown(reason="timeout")
        made = self._once(request.idempotency_key, "seti_")
        self.setups.setdefault(
            made,
            SetupStatus(
                psp_setup=made,
                state=SetupState.REQUIRES_PAYMENT_METHOD,
                client_secret=f"{made}_secret_SECRET",
            ),
        )
        return self.setups[made]

    async def inspect_setup(self, *, psp_setup: str) -> SetupOutcome:
        return PspOutcomeUnknown(reason="timeout") if self.silent else self.setups[psp_setup]

    async def cancel_setup(self, *, psp_setup: str, idempotency_key: str) -> SetupOutcome:
        if self.setups[psp_setup].state is not SetupState.SUCCEEDED:
            self.finish(psp_setup, state=SetupState.CANCELLED, psp_method=None, mandate=None)
        return self.setups[psp_setup]

    async def inspect_method(self, *, psp_method: str) -> MethodOutcome:
        if self.silent:
            return PspOutcomeUnknown(reason="timeout")
        return self.methods.get(psp_method, MethodStatus(psp_method=psp_method, psp_customer=None, card=None))

    async def detach_method(self, *, psp_method: str, idempotency_key: str) -> DetachOutcome:
        if self.silent:
            return PspOutcomeUnknown(reason="timeout")
        self.detached.append(psp_method)
        return MethodDetached()

    def _once(self, key: str, prefix: str) -> str:
        return self._answers.setdefault(key, f"{prefix}{len(self._answers) + 1}")


class FakeConnect:
    """Connected accounts in memory: every account can be paid, but those that a test has put here."""

    def __init__(self) -> None:
        self.accounts: dict[str, AccountOutcome] = {}
        self.created: dict[str, PspAccountRequest] = {}
        self.links: list[str] = []
        self.read: list[str] = []
        self.silent = False

    async def create_account(self, request: PspAccountRequest) -> AccountOutcome:
        if self.silent:
            return PspOutcomeUnknown(reason="timeout")
        made = f"acct_{request.party_id}"
        self.created[request.idempotency_key] = request
        return self.accounts.setdefault(
            made,
            PspAccount(
                psp_account=made,
                transfers=TransferCapability.INACTIVE,
                country=request.country,
                disabled_reason="requirements.past_due",
                requirements=("external_account",),
            ),
        )

    async def inspect_account(self, *, psp_account: str) -> AccountOutcome:
        self.read.append(psp_account)
        if self.silent:
            return PspOutcomeUnknown(reason="timeout")
        payable = PspAccount(
            psp_account=psp_account,
            transfers=TransferCapability.ACTIVE,
            payouts_enabled=True,
            details_submitted=True,
        )
        return self.accounts.get(psp_account, payable)

    async def create_onboarding_link(
        self, *, psp_account: str, return_url: str, refresh_url: str, idempotency_key: str
    ) -> LinkOutcome:
        self.links.append(psp_account)
        return OnboardingLink(
            url=f"https://psp.example/setup/SECRET-{len(self.links)}",
            expires_at=datetime(2026, 11, 22, 12, 5, tzinfo=UTC),
        )


class FakePsp:
    """Answers as a PSP does; `faults` are used in order, one per call: before, after, or None."""

    def __init__(self) -> None:
        self.event_pages: list[Sequence[bytes] | PspOutcomeUnknown] = []
        self.payments: dict[str, Payment] = {}
        self.answers: dict[str, object] = {}
        self.transfers: dict[str, PspTransferRequest] = {}
        self.faults: deque[str | None] = deque()
        self.calls: list[tuple[str, str]] = []
        self.capture_effects = 0
        self.charged_minor = 0
        self.extra: dict[UUID, Captured] = {}
        self.disputes: dict[str, DisputeUpdate] = {}
        self.refunds: dict[str, RefundUpdate] = {}
        self.refunded_minor = 0
        self.capture_before: datetime | None = None
        self.answering = asyncio.Event()  # cleared: a hold's answer does not come until it is set
        self.answering.set()
        self.circuit_closed = True
        # Called with the kind of each request when it arrives.
        self.on_request: Callable[[str], None] = lambda _kind: None
        self._numbers = itertools.count(1)
        self.payers = FakePayers()
        self.connect = FakeConnect()
        self.files: dict[str, bytes] = {}
        self.terminals: Any = None  # tests/integration/test_terminals.py speaks to the sandbox PSP

    def by_authorization(self, authorization_id: UUID) -> Payment | None:
        for payment in self.payments.values():
            if payment.status != "page" and payment.request.authorization_id == authorization_id:
                return payment
        return None

    @property
    def rules(self) -> PspRules:
        return STRIPE_RULES

    def kept_body(self, body: bytes, *, whole: bool) -> bytes:
        return body

    @property
    def responding(self) -> bool:
        return self.circuit_closed

    @property
    def account(self) -> str:
        return "acct-fake"

    @property
    def signature_header(self) -> str:
        return "Fake-Signature"

    async def hold(self, request: PspHoldRequest) -> HoldOutcome:
        answer = self._answer("hold", request.idempotency_key, lambda: self._hold(request))
        await self.answering.wait()
        assert isinstance(answer, Held | RequiresAction | Declined | PspOutcomeUnknown)
        return answer

    async def capture(self, request: PspCaptureRequest) -> CaptureOutcome:
        answer = self._answer("capture", request.idempotency_key, lambda: self._capture(request))
        assert isinstance(answer, Captured | Declined | PspOutcomeUnknown)
        return answer

    async def void(self, request: PspVoidRequest) -> VoidOutcome:
        answer = self._answer("void", request.idempotency_key, lambda: self._void(request))
        assert isinstance(answer, Voided | Captured | Declined | PspOutcomeUnknown)
        return answer

    async def increment(self, request: PspIncrementRequest) -> IncrementOutcome:
        answer = self._answer("increment", request.idempotency_key, lambda: self._increment(request))
        assert isinstance(answer, Held | Declined | PspOutcomeUnknown)
        return answer

    async def charge(self, request: PspChargeRequest) -> ChargeOutcome:
        answer = self._answer("charge", request.idempotency_key, lambda: self._charge(request))
        assert isinstance(answer, Captured | Declined | PspOutcomeUnknown)
        return answer

    async def refund(self, request: PspRefundRequest) -> RefundOutcome:
        answer = self._answer("refund", request.idempotency_key, lambda: self._refund(request))
        assert isinstance(answer, Refunded | Declined | PspOutcomeUnknown)
        return answer

    async def transfer(self, request: PspTransferRequest) -> TransferOutcome:
        answer = self._answer("transfer", request.idempotency_key, lambda: self._transfer(request))
        assert isinstance(answer, Transferred | Declined | PspOutcomeUnknown)
        return answer

    async def top_up(self, request: PspTopUpRequest) -> TopUpOutcome:
        return ToppedUp(psp_topup=f"tu_{next(self._numbers)}")

    async def find_hold(self, *, authorization_id: UUID) -> HoldOutcome | Captured | Voided | None:
        self.calls.append(("find_hold", str(authorization_id)))
        payment = self.by_authorization(authorization_id)
        return None if payment is None else self._state(payment)

    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        self.calls.append(("inspect", psp_payment))
        return self._state(self.payments[psp_payment])

    async def find_charge(self, *, authorization_id: UUID) -> Captured | PspOutcomeUnknown | None:
        return self.extra.get(authorization_id)

    async def find_refund(self, *, psp_charge: str, refund_id: UUID) -> Refunded | PspOutcomeUnknown | None:
        return None

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | PspOutcomeUnknown | None:
        if end_to_end_id in self.transfers:
            return Transferred(psp_transfer=f"tr_{end_to_end_id}")
        return None

    async def read_top_up(self, *, psp_topup: str) -> ToppedUp | Declined | PspOutcomeUnknown:
        return ToppedUp(psp_topup=psp_topup)

    async def find_top_up(self, *, top_up_id: UUID) -> ToppedUp | Declined | PspOutcomeUnknown | None:
        return None

    async def read_payment(self, *, psp_payment: str) -> PspPayment | Declined | PspOutcomeUnknown:
        found = self.payments.get(psp_payment)
        if found is None:
            return Declined(code="resource_missing", retryable=False)
        taken = found.status == "captured"
        state = self._state(found)
        return PspPayment(
            psp_payment=psp_payment,
            psp_charge=state.psp_charge if isinstance(state, Captured) else None,
            captured_minor=found.captured_minor if taken else 0,
            refunded_minor=0,
            currency=found.request.currency,
            fee_minor=state.fee_minor if isinstance(state, Captured) else None,
            fee_currency=found.request.currency if taken else None,
            created_at=datetime(2026, 11, 1, tzinfo=UTC),
            metadata={
                **found.request.metadata,
                "session": format_id("ses", found.request.session_id),
            },
        )

    async def read_refund(self, *, psp_refund: str) -> RefundUpdate | Declined | PspOutcomeUnknown:
        return self.refunds.get(psp_refund) or Declined(code="resource_missing", retryable=False)

    async def read_dispute(self, *, psp_dispute: str) -> DisputeUpdate | Declined | PspOutcomeUnknown:
        return self.disputes.get(psp_dispute) or Declined(code="resource_missing", retryable=False)

    async def submit_evidence(
        self, request: PspEvidenceRequest
    ) -> DisputeUpdate | Declined | PspOutcomeUnknown:
        self.calls.append(("evidence", request.idempotency_key))
        known = await self.read_dispute(psp_dispute=request.psp_dispute)
        if isinstance(known, DisputeUpdate) and request.submit:
            known = replace(known, response=DisputeResponse.UNDER_REVIEW, submissions=1)
            self.disputes[request.psp_dispute] = known
        return known

    async def upload_evidence(self, request: PspFileRequest) -> FileUploaded | Declined | PspOutcomeUnknown:
        self.calls.append(("file", request.idempotency_key))
        self.files[request.idempotency_key] = request.content
        return FileUploaded(psp_file=f"file_{len(self.files)}")

    async def accept_dispute(
        self, *, psp_dispute: str, idempotency_key: str
    ) -> DisputeUpdate | Declined | PspOutcomeUnknown:
        self.calls.append(("accept", idempotency_key))
        known = await self.read_dispute(psp_dispute=psp_dispute)
        if isinstance(known, DisputeUpdate):
            known = replace(known, state=DisputeState.LOST, response=DisputeResponse.NONE)
            self.disputes[psp_dispute] = known
        return known

    async def records(self) -> list[PspTotals] | PspOutcomeUnknown:
        sums: dict[str, int] = {}
        for payment in self.payments.values():
            currency = payment.request.currency
            sums[currency] = sums.get(currency, 0) + payment.captured_minor
        return [PspTotals(currency=currency, captured_minor=minor) for currency, minor in sums.items()]

    def read_event(self, *, body: bytes, signature: str) -> PspEvent:
        if signature != "good":
            raise WebhookRejectedError("wrong signature")
        return PspEvent(
            id=body.decode(), psp_type="payment_intent.succeeded", psp_payment=None, session_id=None
        )

    def parse_event(self, body: bytes) -> PspEvent:
        return PspEvent(
            id=body.decode(), psp_type="payment_intent.succeeded", psp_payment=None, session_id=None
        )

    async def event_pages_since(
        self, *, since: datetime, limit: int
    ) -> AsyncIterator[Sequence[bytes] | PspOutcomeUnknown]:
        for page in self.event_pages:
            yield page

    async def close(self) -> None:
        return None

    def authenticate(self, psp_payment: str) -> None:
        """The cardholder passed the challenge."""
        self.payments[psp_payment].status = "held"

    def pay_at_page(self, page: str, **changes: Any) -> None:
        """The driver pays on the hosted page; an ended page takes nothing."""
        payment = self.payments[page]
        if payment.status == "page":
            payment.status = "held"
            for name, value in changes.items():
                setattr(payment, name, value)

    def _answer(self, kind: str, key: str, act: object) -> object:
        self.calls.append((kind, key))
        self.on_request(kind)
        fault = self.faults.popleft() if self.faults else None
        if fault == "before":
            return PspOutcomeUnknown(reason="timeout")
        if key not in self.answers:
            self.answers[key] = act()  # type: ignore[operator]
        return PspOutcomeUnknown(reason="timeout") if fault == "after" else self.answers[key]

    def _hold(self, request: PspHoldRequest) -> HoldOutcome:
        if request.payment_method == "pm_declined":
            return Declined(code="insufficient_funds", retryable=True)
        payment = Payment(request, f"pi_{next(self._numbers)}")
        self.payments[payment.id] = payment
        if request.payment_method in {"pm_challenge", "card_present"}:
            payment.status = "challenge"
        if request.payment_method == HOSTED_PAGE:
            payment.status, payment.page = "page", f"cs_{next(self._numbers)}"
            self.payments[payment.page] = payment
        return self._state(payment)  # type: ignore[return-value]

    def _capture(self, request: PspCaptureRequest) -> CaptureOutcome:
        payment = self.payments[request.psp_payment]
        if payment.request.payment_method == "pm_late_decline":
            payment.status = "canceled"
            return Declined(code="card_declined", retryable=False)
        if payment.status == "held":
            self.capture_effects += 1
            payment.status, payment.captured_minor = "captured", request.amount_minor
        return self._state(payment)  # type: ignore[return-value]

    def _increment(self, request: PspIncrementRequest) -> IncrementOutcome:
        payment = self.payments[request.psp_payment]
        if payment.request.payment_method == "pm_no_increment":
            return Declined(code="insufficient_funds", retryable=True)
        payment.held_minor = request.amount_minor
        return self._state(payment)  # type: ignore[return-value]

    def _charge(self, request: PspChargeRequest) -> ChargeOutcome:
        if request.payment_method == "pm_over_then_declined":
            return Declined(code="card_declined", retryable=False)
        self.charged_minor += request.amount_minor
        charged = Captured(
            psp_charge=f"ch_extra_{next(self._numbers)}",
            amount_minor=request.amount_minor,
            fee_minor=25,
            fee_currency=request.currency,
        )
        self.extra[request.authorization_id] = charged
        return charged

    def _refund(self, request: PspRefundRequest) -> RefundOutcome:
        self.refunded_minor += request.amount_minor
        return Refunded(psp_refund=f"re_{next(self._numbers)}")

    def _void(self, request: PspVoidRequest) -> VoidOutcome:
        payment = self.payments[request.psp_payment]
        if payment.status in {"held", "challenge", "page"}:
            payment.status = "canceled"
        return self._state(payment)  # type: ignore[return-value]

    def _transfer(self, request: PspTransferRequest) -> TransferOutcome:
        self.transfers[request.end_to_end_id] = request
        return Transferred(psp_transfer=f"tr_{request.end_to_end_id}")

    def _state(self, payment: Payment) -> Held | RequiresAction | Captured | Voided:
        match payment.status:
            case "held":
                return Held(
                    psp_payment=payment.id,
                    amount_minor=payment.held_minor,
                    currency=payment.currency,
                    capture_before=self.capture_before,
                    incrementable=payment.request.payment_method in {"pm_increment", "pm_no_increment"},
                    max_capture_minor=payment.held_minor * 115 // 100
                    if payment.request.payment_method.startswith("pm_over")
                    else None,
                )
            case "page":
                return RequiresAction(
                    psp_payment=payment.page or "",
                    next_action={"type": "hosted_page"},
                    redirect_url=f"https://psp.example/pay/{payment.page}",
                )
            case "challenge":
                return RequiresAction(
                    psp_payment=payment.id,
                    next_action={"type": "redirect_to_url", "redirect_to_url": {"url": CHALLENGE}},
                    client_secret=f"{payment.id}_secret_SECRET",
                    redirect_url=CHALLENGE,
                )
            case "captured":
                return Captured(
                    psp_charge=f"ch_{payment.id}",
                    amount_minor=payment.captured_minor,
                    fee_minor=payment.captured_minor * 15 // 1000 + 25,
                    fee_currency=payment.request.currency,
                )
            case _:
                return Voided()
