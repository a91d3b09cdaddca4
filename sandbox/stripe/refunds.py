"""Refunds: bounded by what was captured and not yet refunded; several, partial, pending or failing later.

Owns: the refund object and its balance transactions. Must not know: why money is released.
What a partial capture releases is no refund object; it counts in the charge's `amount_refunded`.
"""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.cards import TestCard
from sandbox.stripe.currencies import check_amount
from sandbox.stripe.lists import PAGING, list_of, page
from sandbox.stripe.parameters import takes
from sandbox.stripe.payment_methods import card_of
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem, missing
from sandbox.stripe.state import PspState

LATER_S: Final = 60  # the documented test cards change their mind "some time later"


@takes("amount", "charge", "payment_intent", "reason", "metadata")
def create(call: PspApiRequest) -> Json:
    """POST /v1/refunds for a charge or a payment intent. Raises PspProblem beyond what may be refunded."""
    params = call.params
    reason = params.choice("reason", ("duplicate", "fraudulent", "requested_by_customer"))
    metadata = params.metadata()
    amount = params.integer("amount", least=1)
    charge = _charge_of(call)
    left = refundable(charge)
    if left == 0:
        raise PspProblem(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if charge["disputed"] and not _only_inquired(call.state, charge, call.account):
        raise PspProblem(f"Charge {charge['id']} has been charged back.", code="charge_disputed")
    wanted = left if amount is None else check_amount(amount, charge["currency"])
    if wanted > left:
        raise PspProblem(
            f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    return _give_back(call, charge, wanted, reason, metadata)


def refundable(charge: Json) -> int:
    """Minor units that were captured and not yet refunded."""
    refunded = charge["amount_refunded"] - charge.get("_released", 0)
    return int(charge["amount_captured"] - refunded)


def _charge_of(call: PspApiRequest) -> Json:
    charge_id, intent_id = call.params.text("charge"), call.params.text("payment_intent")
    if charge_id is None and intent_id is None:
        raise ParameterProblem(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    if intent_id is not None:
        record = call.state.records.find(intent_id)
        if record is None or record.kind != "payment_intent" or record.account != call.account:
            raise missing("payment_intent", intent_id, param="payment_intent")
        charge_id = record.body["latest_charge"]
    charge = None if charge_id is None else call.state.records.find(charge_id)
    if charge_id is not None and (
        charge is None or charge.account != call.account or charge.kind != "charge"
    ):
        raise missing("charge", charge_id, param="charge")
    if charge is None or not charge.body["captured"]:
        raise PspProblem(
            f"This PaymentIntent ({intent_id}) does not have a successful charge to refund."
            if intent_id is not None
            else f"Charge {charge_id} has not been captured, so it cannot be refunded.",
            param="payment_intent" if intent_id is not None else "charge",
        )
    return dict(charge.body)


def _only_inquired(state: PspState, charge: Json, account: str) -> bool:
    return all(
        dispute["is_charge_refundable"] or dispute["status"] == "won"
        for dispute in state.records.scan("dispute", account, field="charge", values=(charge["id"],))
    )


def _give_back(
    call: PspApiRequest, charge: Json, amount: int, reason: str | None, metadata: dict[str, str]
) -> Json:
    state = call.state
    method = state.peek("payment_method", charge["payment_method"] or "")
    card: TestCard | None = None if method is None else card_of(method)
    refund: Json = {
        "id": state.new_id("re_3"),
        "object": "refund",
        "amount": amount,
        "charge": charge["id"],
        "created": state.now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "destination_details": {
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "transfer_reversal": None,
        "status": "pending" if card is not None and card.refund == "pending" else "succeeded",
    }
    posted = state.post(
        kind="refund",
        source=refund["id"],
        amount=-amount,
        currency=charge["currency"],
        account=call.account,
        description=f"REFUND FOR CHARGE {charge['id']}",
    )
    refund["balance_transaction"] = posted["id"]
    _count(charge, amount)
    charge["refunds"] = list_of(
        [refund, *charge["refunds"]["data"]], url=f"/v1/charges/{charge['id']}/refunds"
    )
    state.put("refund", refund, call.account)
    state.put("charge", charge, call.account)
    if card is not None and card.refund != "succeeded":
        state.at(state.now + LATER_S, f"refund_{card.refund}", refund["id"], call.account)
    state.emit("refund.created", refund, call.account)
    state.emit("charge.refunded", charge, call.account)
    return refund


def _count(charge: Json, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = refundable(charge) == 0


def refund_succeeds(state: PspState, refund_id: str, account: str) -> None:
    """A pending refund has reached the card."""
    refund = state.get("refund", refund_id, account)
    if refund["status"] == "pending":
        refund["status"] = "succeeded"
        state.put("refund", refund, account)
        state.emit("refund.updated", refund, account)


def refund_fails(state: PspState, refund_id: str, account: str) -> None:
    """The card's bank sent it back: the balance has it again. Raises PspProblem if it had failed."""
    refund = state.get("refund", refund_id, account)
    if refund["status"] not in {"pending", "succeeded"}:
        raise PspProblem(f"Refund {refund_id} is {refund['status']} and cannot fail.")
    charge = state.get("charge", refund["charge"], account)
    posted = state.post(
        kind="refund_failure",
        source=refund_id,
        amount=refund["amount"],
        currency=refund["currency"],
        account=account,
        description=f"REFUND FAILURE FOR CHARGE {charge['id']}",
    )
    refund |= {
        "status": "failed",
        "failure_reason": "unknown",
        "failure_balance_transaction": posted["id"],
    }
    _count(charge, -refund["amount"])
    state.put("refund", refund, account)
    state.put("charge", charge, account)
    state.emit("refund.failed", refund, account)
    state.emit("charge.refund.updated", refund, account)


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/refunds/{id}."""
    return call.state.get("refund", call.ids[0], call.account)


@takes("metadata")
def update(call: PspApiRequest) -> Json:
    """POST /v1/refunds/{id}: metadata."""
    params = call.params
    refund = call.state.get("refund", call.ids[0], call.account)
    refund["metadata"] = params.metadata(refund["metadata"])
    call.state.put("refund", refund, call.account)
    call.state.emit("refund.updated", refund, call.account)
    return refund


@takes(*PAGING, "charge", "payment_intent", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/refunds, by charge, payment_intent, created."""
    params = call.params
    charge, intent = params.text("charge"), params.text("payment_intent")
    lookup, value = ("charge", charge) if charge is not None else ("payment_intent", intent)
    return page(call, "refund", lookup=lookup, value=value)
