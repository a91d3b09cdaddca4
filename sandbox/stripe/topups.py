"""Top-ups: money put into the platform's balance, available at once.

Transfers can be funded with it before captured money has settled. Must not know: transfers.
"""

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.currencies import check_amount, known_currency
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import takes
from sandbox.stripe.problems import Json


@takes("amount", "currency", "description", "metadata", "statement_descriptor", "transfer_group")
def create(call: PspApiRequest) -> Json:
    """POST /v1/topups: succeeds at once."""
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
        "expected_availability_date": state.now,
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
    state.emit("topup.created", topup, call.account)
    posted = state.post(
        kind="topup",
        source=topup["id"],
        amount=amount,
        currency=currency,
        account=call.account,
        description=topup["description"],
    )
    topup |= {"balance_transaction": posted["id"], "status": "succeeded"}
    state.put("topup", topup, call.account)
    state.emit("topup.succeeded", topup, call.account)
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
