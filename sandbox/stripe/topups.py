"""Top-ups: money put into the platform's balance, which arrives after some days, fails, or is taken back.

Transfers can be funded with it before captured money has settled. Must not know: transfers.
"""

from typing import Any

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.balance_transactions import DAY_S
from sandbox.stripe.currencies import check_amount, known_currency
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import takes
from sandbox.stripe.problems import Json, PspProblem
from sandbox.stripe.state import PspState


@takes("amount", "currency", "description", "metadata", "statement_descriptor", "transfer_group")
def create(call: PspApiRequest) -> Json:
    """POST /v1/topups: pending until it arrives, after `topup_days`."""
    params = call.params
    state = call.state
    amount = params.required_integer("amount")
    currency = known_currency(params.required_text("currency"))
    metadata = params.metadata()
    check_amount(amount, currency)
    topup: Json = {
        "id": state.new_id("tu_1"),
        "object": "topup",
        "amount": amount,
        "balance_transaction": None,
        "created": state.now,
        "currency": currency,
        "description": params.text("description"),
        "expected_availability_date": state.now + state.settings.topup_days * DAY_S,
        "failure_code": None,
        "failure_message": None,
        "initiated_by": "user",
        "livemode": False,
        "metadata": metadata,
        "payment_method": None,
        "payment_method_options": None,
        "source": None,
        "statement_descriptor": params.text("statement_descriptor", longest=15),
        "status": "pending",
        "transfer_group": params.text("transfer_group"),
    }
    state.put("topup", topup, call.account)
    state.emit("topup.created", topup, call.account)
    if state.settings.topup_days == 0:
        arrive(state, topup["id"], call.account)
        return state.get("topup", topup["id"], call.account)
    state.at(topup["expected_availability_date"], "arrive_topup", topup["id"], call.account)
    return topup


def arrive(state: PspState, topup_id: str, account: str) -> None:
    """The money has arrived: only now it is part of the balance."""
    topup = state.get("topup", topup_id, account)
    if topup["status"] != "pending":
        return
    posted = _move(state, topup, account, kind="topup", amount=topup["amount"])
    _become(state, topup, account, status="succeeded", balance_transaction=posted["id"])


def fail(state: PspState, topup: Json, code: str, account: str) -> Json:
    """The bank refused to pay. Raises PspProblem where it has ended."""
    if topup["status"] != "pending":
        raise PspProblem(f"Top-up {topup['id']} is {topup['status']} and cannot fail.")
    message = f"The bank refused the top-up: {code}."
    return _become(state, topup, account, status="failed", failure_code=code, failure_message=message)


def reverse(state: PspState, topup: Json, account: str) -> Json:
    """The bank takes the money back after it arrived. Raises PspProblem where it has not."""
    if topup["status"] != "succeeded":
        raise PspProblem(f"Top-up {topup['id']} is {topup['status']} and cannot be reversed.")
    _move(state, topup, account, kind="topup_reversal", amount=-topup["amount"])
    return _become(state, topup, account, status="reversed")


@takes()
def cancel(call: PspApiRequest) -> Json:
    """POST /v1/topups/{id}/cancel, while it is pending."""
    topup = call.state.get("topup", call.ids[0], call.account)
    if topup["status"] != "pending":
        raise PspProblem(f"Only a pending top-up can be canceled; this one is {topup['status']}.")
    return _become(call.state, topup, call.account, status="canceled")


def _move(state: PspState, topup: Json, account: str, *, kind: str, amount: int) -> Json:
    return state.post(
        kind=kind,
        source=topup["id"],
        amount=amount,
        currency=topup["currency"],
        account=account,
        description=topup["description"],
    )


def _become(state: PspState, topup: Json, account: str, *, status: str, **changes: Any) -> Json:
    topup |= {"status": status, **changes}
    state.put("topup", topup, account)
    state.emit(f"topup.{status}", topup, account)
    return topup


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/topups/{id}."""
    return call.state.get("topup", call.ids[0], call.account)


@takes(*PAGING, "status", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/topups, by status and created."""
    params = call.params
    status = params.text("status")
    return page(call, "topup", keep=lambda body: status is None or body["status"] == status)
