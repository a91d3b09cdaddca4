"""Charges: one attempt to charge a card, its hold, what was captured and refunded.

Owns: the charge object. Must not know: idempotency, HTTP.
"""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.card_details import describe, grants_for
from sandbox.stripe.cards import Decline
from sandbox.stripe.currencies import from_cents, share_of
from sandbox.stripe.lists import PAGING, list_of, page
from sandbox.stripe.parameters import takes
from sandbox.stripe.payment_methods import card_of
from sandbox.stripe.problems import Json
from sandbox.stripe.state import PspState
from sandbox.stripe.statement import shown

_APPROVED: Final[Json] = {
    "advice_code": None,
    "network_advice_code": None,
    "network_decline_code": None,
    "network_status": "approved_by_network",
    "reason": None,
    "risk_level": "normal",
    "seller_message": "Payment complete.",
    "type": "authorized",
}
_TEMPLATE: Final[Json] = {
    "object": "charge",
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "balance_transaction": None,
    "customer": None,
    "description": None,
    "disputed": False,
    "failure_balance_transaction": None,
    "failure_code": None,
    "failure_message": None,
    "fraud_details": {},
    "livemode": False,
    "on_behalf_of": None,
    "outcome": _APPROVED,
    "receipt_email": None,
    "receipt_number": None,
    "receipt_url": None,
    "refunded": False,
    "review": None,
    "shipping": None,
    "source": None,
    "source_transfer": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "transfer_data": None,
    "transfer_group": None,
    "status": "succeeded",
    "paid": True,
    "captured": False,
    "amount_captured": 0,
    "amount_refunded": 0,
}


def build_charge(state: PspState, intent: Json, method: Json) -> Json:
    """A new uncaptured charge of the intent's amount on the method; not yet staged."""
    charge_id = state.new_id("ch_3")
    grants = grants_for(state, intent)
    return {
        **_TEMPLATE,
        "id": charge_id,
        "amount": intent["amount"],
        "billing_details": method["billing_details"],
        "created": state.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "metadata": intent["metadata"],
        "on_behalf_of": intent["on_behalf_of"],
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": describe(state, intent, method, grants),
        "receipt_email": intent["receipt_email"],
        "refunds": list_of([], url=f"/v1/charges/{charge_id}/refunds"),
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "calculated_statement_descriptor": shown(intent["statement_descriptor_suffix"]),
        "transfer_group": intent["transfer_group"],
        "_grants": grants,
    }


def decline_charge(charge: Json, decline: Decline) -> Json:
    """The charge as a failed attempt."""
    outcome = {
        **_APPROVED,
        "network_status": "declined_by_network",
        "network_decline_code": "05",
        "reason": decline.decline_code,
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }
    return charge | {
        "status": "failed",
        "paid": False,
        "failure_code": decline.code,
        "failure_message": decline.message,
        "outcome": outcome,
    }


def capture_charge(state: PspState, charge: Json, amount: int, account: str) -> Json:
    """Capture `amount` minor units of the charge.

    Post it with its fee, which is in the settlement currency, and return the charge, not yet staged.
    """
    currency = charge["currency"]
    settled, settles_in, _ = state.settle(amount, currency, account)
    fee = share_of(settled, state.settings.fee_basis_points, settles_in)
    fee += from_cents(state.settings.fee_fixed_cents, settles_in) if charge["amount_captured"] == 0 else 0
    method = state.peek("payment_method", charge["payment_method"])
    at_once = method is not None and card_of(method).available_at_once
    posted = state.post(
        kind="charge",
        source=charge["id"],
        amount=amount,
        fee=fee,
        currency=currency,
        account=account,
        available_on=state.now if at_once else state.settles_on(),
        description=charge["description"],
    )
    captured = charge["amount_captured"] + amount
    return charge | {"amount_captured": captured, "captured": True, "balance_transaction": posted["id"]}


def released(charge: Json) -> int:
    """Minor units of the hold that were never captured and were released."""
    return int(charge.get("_released", 0))


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/charges/{id}."""
    return call.state.get("charge", call.ids[0], call.account)


@takes("description", "metadata", "receipt_email", "transfer_group")
def update(call: PspApiRequest) -> Json:
    """POST /v1/charges/{id}: description, metadata, transfer_group."""
    params = call.params
    charge = call.state.get("charge", call.ids[0], call.account)
    charge["metadata"] = params.metadata(charge["metadata"])
    for name in ("description", "receipt_email", "transfer_group"):
        if name in params:
            charge[name] = params.text(name)
    call.state.put("charge", charge, call.account)
    call.state.emit("charge.updated", charge, call.account)
    return charge


@takes(*PAGING, "payment_intent", "customer", "transfer_group", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/charges, by payment_intent, customer, transfer_group, created."""
    params = call.params
    wanted = {name: params.text(name) for name in ("payment_intent", "transfer_group", "customer")}
    chosen = next(((name, value) for name, value in wanted.items() if value is not None), (None, None))
    return page(
        call,
        "charge",
        lookup=chosen[0],
        value=chosen[1],
        keep=lambda body: all(value is None or body[name] == value for name, value in wanted.items()),
    )
