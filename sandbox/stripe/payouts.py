"""Payouts of an account's available balance to its bank, paid after some days, failing on demand.

Owns: the payout object and its balance transactions. Must not know: what earned the money.
"""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.balance_transactions import DAY_S
from sandbox.stripe.currencies import check_amount, known_currency
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import takes
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem
from sandbox.stripe.settings import PLATFORM_ACCOUNT
from sandbox.stripe.state import PspState
from sandbox.stripe.transfers import insufficient

PLATFORM_BANK: Final = "ba_platform"
FAILURES: Final = (
    "account_closed",
    "account_frozen",
    "bank_account_restricted",
    "could_not_process",
    "declined",
    "incorrect_account_holder_name",
    "insufficient_funds",
    "invalid_account_number",
    "invalid_currency",
    "no_account",
)


@takes(
    "amount",
    "currency",
    "description",
    "metadata",
    "method",
    "destination",
    "source_type",
    "statement_descriptor",
)
def create(call: PspApiRequest) -> Json:
    """POST /v1/payouts. Raises PspProblem beyond the available balance or without a bank account."""
    params = call.params
    state = call.state
    amount = params.required_integer("amount")
    currency = known_currency(params.required_text("currency"))
    metadata = params.metadata()
    check_amount(amount, currency)
    bank = _bank_of(call, currency)
    available = state.ledger.available(call.account, currency, state.now)
    if available < amount:
        raise insufficient(available, currency)
    payout: Json = {
        "id": state.new_id("po_1"),
        "object": "payout",
        "amount": amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": state.now + state.settings.payout_days * DAY_S,
        "automatic": False,
        "created": state.now,
        "currency": currency,
        "description": params.text("description"),
        "destination": bank,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": metadata,
        "method": params.choice("method", ("standard", "instant"), default="standard"),
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": "not_applicable",
        "reversed_by": None,
        "source_type": params.choice("source_type", ("card", "bank_account", "fpx"), default="card"),
        "statement_descriptor": params.text("statement_descriptor", longest=22),
        "status": "pending",
        "trace_id": {"status": "pending", "value": None},
        "type": "bank_account",
    }
    posted = state.post(
        kind="payout",
        source=payout["id"],
        amount=-amount,
        currency=currency,
        account=call.account,
        description=payout["description"] or "STRIPE PAYOUT",
    )
    payout["balance_transaction"] = posted["id"]
    state.put("payout", payout, call.account)
    state.emit("payout.created", payout, call.account)
    if state.settings.payout_days == 0:
        pay(state, payout["id"], call.account)
        return state.get("payout", payout["id"], call.account)
    state.at(payout["arrival_date"], "pay", payout["id"], call.account)
    return payout


def _bank_of(call: PspApiRequest, currency: str) -> str:
    """The bank account that receives the payout."""
    if call.account == PLATFORM_ACCOUNT:
        return PLATFORM_BANK
    account = call.state.get("account", call.account)
    if not account["payouts_enabled"]:
        raise PspProblem("Payouts are not enabled on this account.", code="payouts_not_allowed")
    wanted = call.params.text("destination")
    for bank in account["external_accounts"]["data"]:
        if bank["currency"] == currency and wanted in {None, bank["id"]}:
            return str(bank["id"])
    raise ParameterProblem(
        f"This account has no external accounts in that currency ({currency}).", param="currency"
    )


def pay(state: PspState, payout_id: str, account: str) -> None:
    """The money has arrived at the bank."""
    payout = state.get("payout", payout_id, account)
    if payout["status"] not in {"pending", "in_transit"}:
        return
    payout |= {
        "status": "paid",
        "trace_id": {"status": "supported", "value": f"SBX{payout_id[-12:].upper()}"},
    }
    state.put("payout", payout, account)
    state.emit("payout.paid", payout, account)


def fail(state: PspState, payout: Json, code: str, account: str) -> Json:
    """The bank returned the money, also after it was paid. Raises PspProblem if it was never sent."""
    if payout["status"] not in {"pending", "in_transit", "paid"}:
        raise PspProblem(f"Payout {payout['id']} is {payout['status']} and cannot fail.")
    return _return_funds(
        state,
        payout,
        account,
        kind="payout_failure",
        status="failed",
        changes={"failure_code": code, "failure_message": f"The bank returned the payout: {code}."},
    )


def _return_funds(
    state: PspState, payout: Json, account: str, *, kind: str, status: str, changes: Json
) -> Json:
    posted = state.post(
        kind=kind,
        source=payout["id"],
        amount=payout["amount"],
        currency=payout["currency"],
        account=account,
        description=f"PAYOUT {status.upper()}",
    )
    payout |= {"status": status, "failure_balance_transaction": posted["id"], **changes}
    state.put("payout", payout, account)
    state.emit(f"payout.{status}", payout, account)
    return payout


@takes()
def cancel(call: PspApiRequest) -> Json:
    """POST /v1/payouts/{id}/cancel, while it is pending."""
    payout = call.state.get("payout", call.ids[0], call.account)
    if payout["status"] != "pending":
        raise PspProblem(
            f"Payouts can only be canceled while they are pending; this one is {payout['status']}."
        )
    return _return_funds(
        call.state, payout, call.account, kind="payout_cancel", status="canceled", changes={}
    )


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/payouts/{id}."""
    return call.state.get("payout", call.ids[0], call.account)


@takes("metadata")
def update(call: PspApiRequest) -> Json:
    """POST /v1/payouts/{id}: metadata."""
    params = call.params
    payout = call.state.get("payout", call.ids[0], call.account)
    payout["metadata"] = params.metadata(payout["metadata"])
    return call.state.put("payout", payout, call.account)


@takes(*PAGING, "status", "destination", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/payouts, by status, destination, created."""
    params = call.params
    status, destination = params.text("status"), params.text("destination")
    return page(
        call,
        "payout",
        keep=lambda body: (
            (status is None or body["status"] == status)
            and (destination is None or body["destination"] == destination)
        ),
    )
