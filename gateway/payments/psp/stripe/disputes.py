"""Stripe's disputes as values of this system: state, money withdrawn, fee, what the bank waits for.

Owns: what each of Stripe's states means to us. Must not know: how Stripe is called, what is booked.
Source: docs.stripe.com/api/disputes/object, docs.stripe.com/disputes/how-disputes-work.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from gateway.payments.psp.dispute_port import DisputeResponse, DisputeState, DisputeUpdate, PspEvidenceRequest
from gateway.payments.psp.stripe.objects import fee_minor, from_stripe_amount
from gateway.payments.psp.stripe.responses import StripeDispute

# After `lost` an appeal may follow: the money stays withdrawn until it is won. An inquiry and a prevented
# dispute move no money.
_STATES: Final[Mapping[str, DisputeState]] = MappingProxyType(
    {
        "warning_needs_response": DisputeState.INQUIRY,
        "warning_under_review": DisputeState.INQUIRY,
        "warning_closed": DisputeState.CLOSED,
        "needs_response": DisputeState.OPENED,
        "under_review": DisputeState.OPENED,
        "appeal_needs_response": DisputeState.LOST,
        "appeal_under_review": DisputeState.LOST,
        "won": DisputeState.WON,
        "lost": DisputeState.LOST,
        "prevented": DisputeState.CLOSED,
    }
)

EVIDENCE_PURPOSE: Final = "dispute_evidence"  # of a file, docs.stripe.com/file-upload
# docs.stripe.com/api/disputes/evidence_object; the last four name files that were uploaded before.
_EVIDENCE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "statement": "uncategorized_text",
        "product_description": "product_description",
        "service_date": "service_date",
        "access_log": "access_activity_log",
        "customer_name": "customer_name",
        "customer_email": "customer_email_address",
        "customer_ip_address": "customer_purchase_ip",
        "billing_address": "billing_address",
        "refund_policy": "refund_policy_disclosure",
        "refund_refusal": "refund_refusal_explanation",
        "duplicate_explanation": "duplicate_charge_explanation",
        "receipt": "receipt",
        "service_documentation": "service_documentation",
        "customer_communication": "customer_communication",
        "other": "uncategorized_file",
    }
)


def evidence_params(request: PspEvidenceRequest) -> dict[str, Any]:
    """The parameters of an update of a dispute. Raises KeyError for a field that the port does not name."""
    return {
        "evidence": {_EVIDENCE[name]: text for name, text in request.evidence.items()},
        "submit": request.submit,
    }


def dispute_update(dispute: StripeDispute) -> DisputeUpdate:
    """A dispute. What was withdrawn is what its movements say, for after a refund it is less than claimed.

    A fee has the currency of the movement that charged it: a dispute of 1500 JPY may cost 20 EUR. Raises
    AmountNotRepresentableError.
    """
    currency = dispute.currency.upper()
    claimed = from_stripe_amount(dispute.amount, currency)
    movements = dispute.balance_transactions
    state = _STATES.get(dispute.status, DisputeState.OPENED)
    if state is DisputeState.CLOSED and movements:
        state = DisputeState.WON
    charged = next((one.currency.upper() for one in movements if one.fee), currency)
    fee = sum(one.fee for one in movements if one.currency.upper() == charged)
    details = dispute.evidence_details
    due = details.due_by if details else None
    return DisputeUpdate(
        psp_dispute=dispute.id,
        psp_payment=dispute.payment_intent,
        state=state,
        amount_minor=claimed,
        withdrawn_minor=_withdrawn(dispute, currency, claimed) if movements else None,
        fee_minor=fee_minor(fee, charged),
        fee_currency=charged,
        currency=currency,
        reason=dispute.reason or "general",
        response=_response(dispute.status),
        respond_by=datetime.fromtimestamp(due, tz=UTC) if due else None,
        submissions=details.submission_count if details else 0,
        is_refundable=dispute.is_charge_refundable,
    )


def _withdrawn(dispute: StripeDispute, currency: str, claimed: int) -> int:
    """Minor units of the dispute's currency that its movements took; converted ones took what was claimed."""
    taken = [one for one in dispute.balance_transactions if one.amount < 0]
    if any(one.currency.upper() != currency for one in taken):
        return claimed
    return from_stripe_amount(-sum(one.amount for one in taken), currency)


def _response(status: str) -> DisputeResponse:
    if status.endswith("needs_response"):
        return DisputeResponse.NEEDED
    return DisputeResponse.UNDER_REVIEW if status.endswith("under_review") else DisputeResponse.NONE


def dispute_path(psp_dispute: str, verb: str = "") -> str:
    """Where a dispute is read, or one of its verbs is asked."""
    return f"/v1/disputes/{quote(psp_dispute, safe='')}{verb}"
