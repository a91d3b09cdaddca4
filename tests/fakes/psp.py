"""A PSP in memory, at the seam of the PSP port: idempotent by key, with faults that a test asks for."""

import itertools
from collections import deque
from datetime import datetime
from uuid import UUID

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
    PspRecord,
    Refunded,
    RefundOrder,
    RefundOutcome,
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


class Payment:
    """One payment as the PSP sees it."""

    def __init__(self, order: HoldOrder, identifier: str) -> None:
        self.id = identifier
        self.order = order
        self.status = "held"
        self.captured_minor = 0
        self.held_minor = order.amount_minor


class FakePsp:
    """Answers as a PSP does; `faults` are taken in order, one per call: before, after, or None."""

    def __init__(self) -> None:
        self.payments: dict[str, Payment] = {}
        self.answers: dict[str, object] = {}
        self.transfers: dict[str, TransferOrder] = {}
        self.faults: deque[str | None] = deque()
        self.calls: list[tuple[str, str]] = []
        self.capture_effects = 0
        self.charged_minor = 0
        self.extra: dict[UUID, Captured] = {}
        self.refunded_minor = 0
        self.capture_before: datetime | None = None
        self._numbers = itertools.count(1)

    def by_authorization(self, authorization_id: UUID) -> Payment | None:
        for payment in self.payments.values():
            if payment.order.authorization_id == authorization_id:
                return payment
        return None

    async def hold(self, order: HoldOrder) -> HoldOutcome:
        answer = self._answer("hold", order.idempotency_key, lambda: self._hold(order))
        assert isinstance(answer, Held | RequiresAction | Declined | OutcomeUnknown)
        return answer

    async def capture(self, order: CaptureOrder) -> CaptureOutcome:
        answer = self._answer("capture", order.idempotency_key, lambda: self._capture(order))
        assert isinstance(answer, Captured | Declined | OutcomeUnknown)
        return answer

    async def void(self, order: VoidOrder) -> VoidOutcome:
        answer = self._answer("void", order.idempotency_key, lambda: self._void(order))
        assert isinstance(answer, Voided | Captured | Declined | OutcomeUnknown)
        return answer

    async def increment(self, order: IncrementOrder) -> IncrementOutcome:
        answer = self._answer("increment", order.idempotency_key, lambda: self._increment(order))
        assert isinstance(answer, Held | Declined | OutcomeUnknown)
        return answer

    async def charge(self, order: ChargeOrder) -> ChargeOutcome:
        answer = self._answer("charge", order.idempotency_key, lambda: self._charge(order))
        assert isinstance(answer, Captured | Declined | OutcomeUnknown)
        return answer

    async def refund(self, order: RefundOrder) -> RefundOutcome:
        answer = self._answer("refund", order.idempotency_key, lambda: self._refund(order))
        assert isinstance(answer, Refunded | Declined | OutcomeUnknown)
        return answer

    async def transfer(self, order: TransferOrder) -> TransferOutcome:
        answer = self._answer("transfer", order.idempotency_key, lambda: self._transfer(order))
        assert isinstance(answer, Transferred | Declined | OutcomeUnknown)
        return answer

    async def top_up(self, order: TopUpOrder) -> TopUpOutcome:
        return ToppedUp(psp_topup=f"tu_{next(self._numbers)}")

    async def find_hold(self, *, authorization_id: UUID) -> HoldOutcome | Captured | Voided | None:
        self.calls.append(("find_hold", str(authorization_id)))
        payment = self.by_authorization(authorization_id)
        return None if payment is None else self._state(payment)

    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        self.calls.append(("inspect", psp_payment))
        return self._state(self.payments[psp_payment])

    async def find_charge(self, *, authorization_id: UUID) -> Captured | OutcomeUnknown | None:
        return self.extra.get(authorization_id)

    async def find_refund(self, *, psp_charge: str, refund_id: UUID) -> Refunded | OutcomeUnknown | None:
        return None

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | OutcomeUnknown | None:
        if end_to_end_id in self.transfers:
            return Transferred(psp_transfer=f"tr_{end_to_end_id}")
        return None

    async def find_top_up(self, *, top_up_id: UUID) -> ToppedUp | Declined | OutcomeUnknown | None:
        return None

    async def records(self) -> list[PspRecord] | OutcomeUnknown:
        sums: dict[str, int] = {}
        for payment in self.payments.values():
            currency = payment.order.currency
            sums[currency] = sums.get(currency, 0) + payment.captured_minor
        return [PspRecord(currency=currency, captured_minor=minor) for currency, minor in sums.items()]

    def read_event(self, *, body: bytes, signature: str, tolerance_s: int) -> PspEvent:
        if signature != "good":
            raise WebhookRefusedError("wrong signature")
        return PspEvent(id=body.decode(), type="payment_intent.succeeded", psp_payment=None, session_id=None)

    def parse_event(self, body: bytes) -> PspEvent:
        return PspEvent(id=body.decode(), type="payment_intent.succeeded", psp_payment=None, session_id=None)

    async def events_since(self, *, since: datetime, limit: int) -> list[bytes] | OutcomeUnknown:
        return []

    async def close(self) -> None:
        return None

    def authenticate(self, psp_payment: str) -> None:
        """The cardholder passed the challenge."""
        self.payments[psp_payment].status = "held"

    def _answer(self, kind: str, key: str, act: object) -> object:
        self.calls.append((kind, key))
        fault = self.faults.popleft() if self.faults else None
        if fault == "before":
            return OutcomeUnknown(reason="timeout")
        if key not in self.answers:
            self.answers[key] = act()  # type: ignore[operator]
        return OutcomeUnknown(reason="timeout") if fault == "after" else self.answers[key]

    def _hold(self, order: HoldOrder) -> HoldOutcome:
        if order.payment_method == "pm_declined":
            return Declined(code="insufficient_funds", retryable=True)
        payment = Payment(order, f"pi_{next(self._numbers)}")
        self.payments[payment.id] = payment
        if order.payment_method in {"pm_challenge", "card_present"}:
            payment.status = "challenge"
        return self._state(payment)  # type: ignore[return-value]

    def _capture(self, order: CaptureOrder) -> CaptureOutcome:
        payment = self.payments[order.psp_payment]
        if payment.order.payment_method == "pm_late_decline":
            payment.status = "canceled"
            return Declined(code="card_declined", retryable=False)
        if payment.status == "held":
            self.capture_effects += 1
            payment.status, payment.captured_minor = "captured", order.amount_minor
        return self._state(payment)  # type: ignore[return-value]

    def _increment(self, order: IncrementOrder) -> IncrementOutcome:
        payment = self.payments[order.psp_payment]
        if payment.order.payment_method == "pm_no_increment":
            return Declined(code="insufficient_funds", retryable=True)
        payment.held_minor = order.amount_minor
        return self._state(payment)  # type: ignore[return-value]

    def _charge(self, order: ChargeOrder) -> ChargeOutcome:
        if order.payment_method == "pm_over_then_declined":
            return Declined(code="card_declined", retryable=False)
        self.charged_minor += order.amount_minor
        charged = Captured(
            psp_charge=f"ch_extra_{next(self._numbers)}",
            amount_minor=order.amount_minor,
            fee_minor=25,
            fee_currency=order.currency,
        )
        self.extra[order.authorization_id] = charged
        return charged

    def _refund(self, order: RefundOrder) -> RefundOutcome:
        self.refunded_minor += order.amount_minor
        return Refunded(psp_refund=f"re_{next(self._numbers)}")

    def _void(self, order: VoidOrder) -> VoidOutcome:
        payment = self.payments[order.psp_payment]
        if payment.status in {"held", "challenge"}:
            payment.status = "canceled"
        return self._state(payment)  # type: ignore[return-value]

    def _transfer(self, order: TransferOrder) -> TransferOutcome:
        self.transfers[order.end_to_end_id] = order
        return Transferred(psp_transfer=f"tr_{order.end_to_end_id}")

    def _state(self, payment: Payment) -> Held | RequiresAction | Captured | Voided:
        match payment.status:
            case "held":
                return Held(
                    psp_payment=payment.id,
                    amount_minor=payment.held_minor,
                    capture_before=self.capture_before,
                    incrementable=payment.order.payment_method in {"pm_increment", "pm_no_increment"},
                    max_capture_minor=payment.held_minor * 115 // 100
                    if payment.order.payment_method.startswith("pm_over")
                    else None,
                )
            case "challenge":
                return RequiresAction(psp_payment=payment.id, next_action={"type": "redirect_to_url"})
            case "captured":
                return Captured(
                    psp_charge=f"ch_{payment.id}",
                    amount_minor=payment.captured_minor,
                    fee_minor=payment.captured_minor * 15 // 1000 + 25,
                    fee_currency=payment.order.currency,
                )
            case _:
                return Voided()
