"""The balance and the balance transactions, as the account sees them."""

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import takes
from sandbox.stripe.problems import Json


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/balance: available and pending per currency."""
    held = call.state.ledger.currencies(call.account, call.state.now)
    if not held:
        held = {"eur": (0, 0)}
    return {
        "object": "balance",
        "available": [_amount(currency, amounts[0]) for currency, amounts in held.items()],
        "connect_reserved": [{"amount": 0, "currency": currency} for currency in held],
        "livemode": False,
        "pending": [_amount(currency, amounts[1]) for currency, amounts in held.items()],
    }


def _amount(currency: str, amount: int) -> Json:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}


@takes()
def retrieve_transaction(call: PspApiRequest) -> Json:
    """GET /v1/balance_transactions/{id}."""
    return call.state.get("balance_transaction", call.ids[0], call.account)


@takes(*PAGING, "type", "currency", "source", "payout", "created")
def list_transactions(call: PspApiRequest) -> Json:
    """GET /v1/balance_transactions, by type, currency, source, payout and created."""
    params = call.params
    kind, currency, payout = params.text("type"), params.text("currency"), params.text("payout")
    source = params.text("source") or payout
    lookup, value = ("source", source) if source is not None else ("type", kind)
    return page(
        call,
        "balance_transaction",
        lookup=lookup,
        value=value,
        keep=lambda body: (
            (kind is None or body["type"] == kind)
            and (currency is None or body["currency"] == currency.lower())
        ),
    )
