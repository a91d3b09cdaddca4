"""Disputes as money: opened on a captured charge, funds withdrawn, closed won or lost.

Owns: the dispute object and its balance transactions. Must not know: parameters, HTTP.
The dispute fee is charged when funds are withdrawn and is not released.
"""

from typing import Final

from sandbox.stripe.balance_transactions import DAY_S
from sandbox.stripe.card_details import details_of
from sandbox.stripe.currencies import from_cents
from sandbox.stripe.payment_methods import card_of
from sandbox.stripe.problems import Json, PspProblem
from sandbox.stripe.state import PspState

RESPONSE_DAYS: Final = 7
_EVIDENCE: Final = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)
EVIDENCE_FIELDS: Final = _EVIDENCE
EMPTY_EVIDENCE: Final[Json] = {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}}
CLOSED: Final = frozenset({"won", "lost", "warning_closed", "prevented"})


def dispute_if_configured(state: PspState, charge: Json, account: str) -> None:
    """Open the dispute that the charge's test card requests."""
    method = state.peek("payment_method", charge["payment_method"])
    card = card_of(method) if method is not None else None
    if card is not None and card.dispute_reason is not None:
        open_dispute(state, charge, card.dispute_reason, account, inquiry=card.inquiry)


def open_dispute(state: PspState, charge: Json, reason: str, account: str, *, inquiry: bool) -> Json:
    """Dispute what remains of the charge: nothing, after a full refund, and the fee is charged all the same.

    Raises PspProblem if nothing was captured or it is disputed already.
    """
    if charge["disputed"] or not charge["captured"]:
        raise PspProblem(f"Charge {charge['id']} cannot be disputed: it is uncaptured or already disputed.")
    amount = charge["amount_captured"] - (charge["amount_refunded"] - charge.get("_released", 0))
    dispute: Json = {
        "id": state.new_id("du_1"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": state.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": EMPTY_EVIDENCE,
        "evidence_details": {
            "due_by": state.now + RESPONSE_DAYS * DAY_S,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": details_of(charge)["brand"],
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": details_of(charge)["brand"],
                "network_reason_code": "10.4",
            },
            "type": "card",
        },
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }
    charge = {**charge, "disputed": True}
    state.put("charge", charge, account)
    state.put("dispute", dispute, account)
    state.emit("charge.dispute.created", dispute, account)
    if not inquiry:
        _withdraw(state, dispute, account)
    return dispute


def _withdraw(state: PspState, dispute: Json, account: str) -> None:
    amount, currency = dispute["amount"], dispute["currency"]
    fee = from_cents(state.settings.dispute_fee_cents, state.settle(amount, currency, account)[1])
    _move(state, dispute, -amount, fee, account)
    state.emit("charge.dispute.funds_withdrawn", dispute, account)


def escalate(state: PspState, dispute: Json, account: str) -> Json:
    """The cardholder is not satisfied: the inquiry becomes a dispute. Raises PspProblem if it is none."""
    if not dispute["status"].startswith("warning") or dispute["status"] in CLOSED:
        raise PspProblem(f"This dispute is no open inquiry ({dispute['status']}).")
    dispute |= {"status": "needs_response", "is_charge_refundable": False}
    _withdraw(state, dispute, account)
    state.emit("charge.dispute.updated", dispute, account)
    return dispute


def prevent(state: PspState, dispute: Json, account: str) -> Json:
    """An open inquiry is settled before it becomes a dispute. Raises PspProblem if it is none."""
    if not dispute["status"].startswith("warning") or dispute["status"] in CLOSED:
        raise PspProblem(f"This dispute can't be prevented any more ({dispute['status']}).")
    dispute["status"] = "prevented"
    state.put("dispute", dispute, account)
    state.emit("charge.dispute.closed", dispute, account)
    return dispute


def appeal(state: PspState, dispute: Json, account: str) -> Json:
    """A lost dispute is appealed: it waits for a response once more. Raises PspProblem if it is not lost."""
    if dispute["status"] != "lost":
        raise PspProblem(f"Only a lost dispute can be appealed ({dispute['status']}).")
    details = {**dispute["evidence_details"], "due_by": state.now + RESPONSE_DAYS * DAY_S}
    dispute |= {"status": "appeal_needs_response", "evidence_details": details}
    state.put("dispute", dispute, account)
    state.emit("charge.dispute.updated", dispute, account)
    return dispute


def _move(state: PspState, dispute: Json, amount: int, fee: int, account: str) -> None:
    posted = state.post(
        kind="adjustment",
        source=dispute["id"],
        amount=amount,
        fee=fee,
        currency=dispute["currency"],
        account=account,
        description=f"Chargeback {'withdrawal' if amount < 0 else 'reversal'} for {dispute['charge']}",
        category="dispute" if amount < 0 else "dispute_reversal",
    )
    dispute["balance_transactions"] = [*dispute["balance_transactions"], posted]
    state.put("dispute", dispute, account)


def close_dispute(state: PspState, dispute: Json, outcome: str, account: str) -> Json:
    """End the dispute as `won` or `lost`; won funds come back. Raises PspProblem if it has ended."""
    if dispute["status"] in CLOSED:
        raise PspProblem(
            f"This dispute is already closed ({dispute['status']}).", code="dispute_already_closed"
        )
    inquiry = dispute["status"].startswith("warning")
    dispute["status"] = "warning_closed" if inquiry else outcome
    state.put("dispute", dispute, account)
    if outcome == "won" and not inquiry:
        _move(state, dispute, dispute["amount"], 0, account)
        state.emit("charge.dispute.funds_reinstated", dispute, account)
    state.emit("charge.dispute.closed", dispute, account)
    return dispute
