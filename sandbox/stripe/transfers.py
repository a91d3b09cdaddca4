"""Transfers from the platform's balance to connected accounts, and their reversals.

Owns: both sides' balance transactions; nothing is sent that is not there. Must not know: what a transfer
pays for.
"""

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.currencies import check_amount, known_currency
from sandbox.stripe.lists import PAGING, list_of, page
from sandbox.stripe.parameters import takes
from sandbox.stripe.payment_methods import EMPTY_BILLING
from sandbox.stripe.problems import Json, PspProblem, missing
from sandbox.stripe.state import PspState


def insufficient(available: int, currency: str) -> PspProblem:
    """The rejection of a movement that the available balance does not cover."""
    return PspProblem(
        f"The available balance is insufficient: {available} {currency} in its smallest unit. Top it up, or "
        "wait until pending funds have settled.",
        code="balance_insufficient",
    )


@takes(
    "amount",
    "currency",
    "destination",
    "description",
    "metadata",
    "source_transaction",
    "source_type",
    "transfer_group",
)
def create(call: PspApiRequest) -> Json:
    """POST /v1/transfers."""
    params = call.params
    state = call.state
    currency = known_currency(params.required_text("currency"))
    source_id = params.text("source_transaction")
    source = None if source_id is None else _source_charge(call, source_id, currency)
    amount = params.integer("amount", least=1)
    if amount is None and source is not None:
        posted = state.peek("balance_transaction", source["balance_transaction"] or "")
        amount = source["amount_captured"] if posted is None else posted["amount"]
    if amount is None:
        amount = params.required_integer("amount")
    destination = params.required_text("destination")
    metadata = params.metadata()
    check_amount(amount, currency)
    _check_destination(state, destination)
    available_on = state.now
    if source is not None:
        available_on = _check_source(call, source, amount)
    elif state.ledger.available(call.account, currency, state.now) < amount:
        raise insufficient(state.ledger.available(call.account, currency, state.now), currency)
    transfer: Json = {
        "id": state.new_id("tr_1"),
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "created": state.now,
        "currency": currency,
        "description": params.text("description"),
        "destination": destination,
        "livemode": False,
        "metadata": metadata,
        "reversed": False,
        "source_transaction": source_id,
        "source_type": params.choice("source_type", ("card", "bank_account", "fpx"), default="card"),
        "transfer_group": params.text("transfer_group") or (source["transfer_group"] if source else None),
    }
    return _send(call, transfer, available_on)


def _send(call: PspApiRequest, transfer: Json, available_on: int) -> Json:
    state = call.state
    sent = state.post(
        kind="transfer",
        source=transfer["id"],
        amount=-transfer["amount"],
        currency=transfer["currency"],
        account=call.account,
        available_on=available_on,
        description=transfer["description"],
    )
    payment = _destination_payment(state, transfer)
    received = state.post(
        kind="payment",
        source=payment["id"],
        amount=transfer["amount"],
        currency=transfer["currency"],
        account=transfer["destination"],
        available_on=available_on,
        description=transfer["description"],
    )
    payment["balance_transaction"] = received["id"]
    transfer |= {
        "balance_transaction": sent["id"],
        "destination_payment": payment["id"],
        "reversals": list_of([], url=f"/v1/transfers/{transfer['id']}/reversals"),
    }
    state.put("charge", payment, transfer["destination"])
    state.put("transfer", transfer, call.account)
    state.emit("transfer.created", transfer, call.account)
    return transfer


def _destination_payment(state: PspState, transfer: Json) -> Json:
    """What the connected account sees of the transfer."""
    payment_id = state.new_id("py_1")
    return {
        "id": payment_id,
        "object": "charge",
        "amount": transfer["amount"],
        "amount_captured": transfer["amount"],
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": EMPTY_BILLING,
        "captured": True,
        "created": state.now,
        "currency": transfer["currency"],
        "customer": None,
        "description": transfer["description"],
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": None,
        "payment_method": None,
        "payment_method_details": {"stripe_account": {}, "type": "stripe_account"},
        "refunded": False,
        "refunds": list_of([], url=f"/v1/charges/{payment_id}/refunds"),
        "source_transfer": transfer["id"],
        "status": "succeeded",
        "transfer_group": transfer["transfer_group"],
    }


def _check_destination(state: PspState, destination: str) -> None:
    account = state.peek("account", destination)
    if account is None or "deleted" in account:
        raise missing("destination", destination, param="destination", status=400)
    if account["capabilities"].get("transfers") != "active":
        raise PspProblem(
            "The destination account lacks the capability `transfers`.",
            code="insufficient_capabilities_for_transfer",
        )


def _source_charge(call: PspApiRequest, source_id: str, currency: str) -> Json:
    record = call.state.records.find(source_id)
    if record is None or record.kind != "charge" or record.account != call.account:
        raise missing("charge", source_id, param="source_transaction", status=400)
    posted = call.state.peek("balance_transaction", record.body["balance_transaction"] or "")
    if (record.body if posted is None else posted)["currency"] != currency:
        raise PspProblem(
            "The currency of source_transaction's balance transaction differs.", param="currency"
        )
    return record.body


def _check_source(call: PspApiRequest, source: Json, amount: int) -> int:
    """When the money of the charge is available.

    Raises PspProblem beyond what it captured less what was sent of it.
    """
    sent = sum(
        transfer["amount"] - transfer["amount_reversed"]
        for transfer in call.state.records.scan(
            "transfer", call.account, field="source_transaction", values=(source["id"],)
        )
    )
    posted = call.state.peek("balance_transaction", source["balance_transaction"] or "")
    settled = 0 if posted is None else posted["amount"]
    if posted is None or sent + amount > settled:
        raise PspProblem(
            f"Transfers from this charge must not exceed what it captured: {settled}, of which {sent} were "
            "sent already.",
            param="amount",
        )
    return int(posted["available_on"])


@takes("amount", "description", "metadata")
def reverse(call: PspApiRequest) -> Json:
    """POST /v1/transfers/{id}/reversals: all that remains, or part of it."""
    params = call.params
    state = call.state
    transfer = state.get("transfer", call.ids[0], call.account)
    left = transfer["amount"] - transfer["amount_reversed"]
    amount = params.integer("amount", least=1)
    if amount is None:
        amount = left
    if amount > left or left == 0:
        raise PspProblem(
            f"Reversal amount ({amount}) is greater than unreversed amount ({left}).", param="amount"
        )
    destination, currency = transfer["destination"], transfer["currency"]
    if state.ledger.available(destination, currency, state.now) < amount:
        raise insufficient(state.ledger.available(destination, currency, state.now), currency)
    reversal: Json = {
        "id": state.new_id("trr_1"),
        "object": "transfer_reversal",
        "amount": amount,
        "created": state.now,
        "currency": currency,
        "destination_payment_refund": state.new_id("pyr_1"),
        "metadata": params.metadata(),
        "source_refund": None,
        "transfer": transfer["id"],
    }
    back = state.post(
        kind="transfer_refund", source=reversal["id"], amount=amount, currency=currency, account=call.account
    )
    state.post(
        kind="payment_refund",
        source=reversal["destination_payment_refund"],
        amount=-amount,
        currency=currency,
        account=destination,
    )
    reversal["balance_transaction"] = back["id"]
    reversals = {**transfer["reversals"], "data": [reversal, *transfer["reversals"]["data"]]}
    total = transfer["amount_reversed"] + amount
    transfer |= {"amount_reversed": total, "reversed": total == transfer["amount"], "reversals": reversals}
    state.put("transfer_reversal", reversal, call.account)
    state.put("transfer", transfer, call.account)
    state.emit("transfer.reversed", transfer, call.account)
    return reversal


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/transfers/{id}."""
    return call.state.get("transfer", call.ids[0], call.account)


@takes("description", "metadata")
def update(call: PspApiRequest) -> Json:
    """POST /v1/transfers/{id}: description and metadata."""
    params = call.params
    transfer = call.state.get("transfer", call.ids[0], call.account)
    transfer["metadata"] = params.metadata(transfer["metadata"])
    if "description" in params:
        transfer["description"] = params.text("description")
    call.state.put("transfer", transfer, call.account)
    call.state.emit("transfer.updated", transfer, call.account)
    return transfer


@takes(*PAGING, "transfer_group", "destination", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/transfers, by transfer_group, destination, created."""
    params = call.params
    group, destination = params.text("transfer_group"), params.text("destination")
    lookup, value = ("transfer_group", group) if group is not None else ("destination", destination)
    return page(
        call,
        "transfer",
        lookup=lookup,
        value=value,
        keep=lambda body: destination is None or body["destination"] == destination,
    )


@takes(*PAGING)
def list_reversals(call: PspApiRequest) -> Json:
    """GET /v1/transfers/{id}/reversals."""
    transfer = call.state.get("transfer", call.ids[0], call.account)
    return page(call, "transfer_reversal", lookup="transfer", value=transfer["id"])


@takes()
def retrieve_reversal(call: PspApiRequest) -> Json:
    """GET /v1/transfers/{id}/reversals/{reversal}."""
    reversal = call.state.get("transfer_reversal", call.ids[1], call.account)
    if reversal["transfer"] != call.ids[0]:
        raise missing("transfer_reversal", call.ids[1])
    return reversal
