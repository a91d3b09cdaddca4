"""Payouts of an account's available balance to its bank, paid after some days, failing on demand.

Owns: the payout object and its balance transactions. Must not know: what earned the money.
"""

from typing import Final

from gateway.sandbox.psp.call import Call
from gateway.sandbox.psp.currencies import check_amount, known_currency
from gateway.sandbox.psp.ledger import DAY_S
from gateway.sandbox.psp.listing import PAGING, page
from gateway.sandbox.psp.problems import Json, ParameterProblem, PspProblem
from gateway.sandbox.psp.settings import PLATFORM_ACCOUNT
from gateway.sandbox.psp.transfers import insufficient
from gateway.sandbox.psp.world import World

PLATFORM_BANK: Final = "ba_platform"
FAILURES: Final = (
    "account_closed", "account_frozen", "bank_account_restricted", "could_not_process", "declined",
    "incorrect_account_holder_name", "insufficient_funds", "invalid_account_number", "invalid_currency",
    "no_account",
)  # fmt: skip


def create(call: Call) -> Json:
    """POST /v1/payouts. Raises PspProblem beyond the available balance or without a bank account."""
    params = call.params.only(
        "amount", "currency", "description", "metadata", "method", "destination", "source_type",
        "statement_descriptor",
    )  # fmt: skip
    world = call.world
    amount = params.required_integer("amount")
    currency = known_currency(params.required_text("currency"))
    metadata = params.metadata()
    check_amount(amount, currency)
    bank = _bank_of(call, currency)
    available = world.ledger.available(call.account, currency, world.now)
    if available < amount:
        raise insufficient(available, currency)
    payout: Json = {
        "id": world.new_id("po_1"), "object": "payout", "amount": amount, "application_fee": None,
        "application_fee_amount": None, "arrival_date": world.now + world.settings.payout_days * DAY_S,
        "automatic": False, "created": world.now, "currency": currency,
        "description": params.text("description"),
        "destination": bank, "failure_balance_transaction": None, "failure_code": None,
        "failure_message": None,
        "livemode": False, "metadata": metadata,
        "method": params.choice("method", ("standard", "instant"), default="standard"),
        "original_payout": None,
        "payout_method": None, "reconciliation_status": "not_applicable", "reversed_by": None,
        "source_type": params.choice("source_type", ("card", "bank_account", "fpx"), default="card"),
        "statement_descriptor": params.text("statement_descriptor", longest=22), "status": "pending",
        "trace_id": {"status": "pending", "value": None}, "type": "bank_account",
    }  # fmt: skip
    posted = world.post(
        kind="payout", source=payout["id"], amount=-amount, currency=currency, account=call.account,
        description=payout["description"] or "STRIPE PAYOUT",
    )  # fmt: skip
    payout["balance_transaction"] = posted["id"]
    world.put("payout", payout, call.account)
    world.emit("payout.created", payout, call.account)
    if world.settings.payout_days == 0:
        pay(world, payout["id"], call.account)
        return world.get("payout", payout["id"], call.account)
    world.at(payout["arrival_date"], "pay", payout["id"], call.account)
    return payout


def _bank_of(call: Call, currency: str) -> str:
    """The bank account that receives the payout."""
    if call.account == PLATFORM_ACCOUNT:
        return PLATFORM_BANK
    account = call.world.get("account", call.account)
    if not account["payouts_enabled"]:
        raise PspProblem("Payouts are not enabled on this account.", code="payouts_not_allowed")
    wanted = call.params.text("destination")
    for bank in account["external_accounts"]["data"]:
        if bank["currency"] == currency and wanted in {None, bank["id"]}:
            return str(bank["id"])
    raise ParameterProblem(
        f"This account has no external accounts in that currency ({currency}).", param="currency"
    )


def pay(world: World, payout_id: str, account: str) -> None:
    """The money has arrived at the bank."""
    payout = world.get("payout", payout_id, account)
    if payout["status"] not in {"pending", "in_transit"}:
        return
    payout |= {
        "status": "paid",
        "trace_id": {"status": "supported", "value": f"SBX{payout_id[-12:].upper()}"},
    }
    world.put("payout", payout, account)
    world.emit("payout.paid", payout, account)


def fail(world: World, payout: Json, code: str, account: str) -> Json:
    """The bank returned the money, also after it was paid. Raises PspProblem if it never left."""
    if payout["status"] not in {"pending", "in_transit", "paid"}:
        raise PspProblem(f"Payout {payout['id']} is {payout['status']} and cannot fail.")
    return _return_funds(
        world, payout, account, kind="payout_failure", status="failed",
        changes={"failure_code": code, "failure_message": f"The bank returned the payout: {code}."},
    )  # fmt: skip


def _return_funds(world: World, payout: Json, account: str, *, kind: str, status: str, changes: Json) -> Json:
    posted = world.post(
        kind=kind, source=payout["id"], amount=payout["amount"], currency=payout["currency"], account=account,
        description=f"PAYOUT {status.upper()}",
    )  # fmt: skip
    payout |= {"status": status, "failure_balance_transaction": posted["id"], **changes}
    world.put("payout", payout, account)
    world.emit(f"payout.{status}", payout, account)
    return payout


def cancel(call: Call) -> Json:
    """POST /v1/payouts/{id}/cancel, while it is pending."""
    call.params.only()
    payout = call.world.get("payout", call.ids[0], call.account)
    if payout["status"] != "pending":
        raise PspProblem(
            f"Payouts can only be canceled while they are pending; this one is {payout['status']}."
        )
    return _return_funds(
        call.world, payout, call.account, kind="payout_cancel", status="canceled", changes={}
    )


def retrieve(call: Call) -> Json:
    """GET /v1/payouts/{id}."""
    return call.world.get("payout", call.ids[0], call.account)


def update(call: Call) -> Json:
    """POST /v1/payouts/{id}: metadata."""
    params = call.params.only("metadata")
    payout = call.world.get("payout", call.ids[0], call.account)
    payout["metadata"] = params.metadata(payout["metadata"])
    return call.world.put("payout", payout, call.account)


def list_all(call: Call) -> Json:
    """GET /v1/payouts, by status, destination, created."""
    params = call.params.only(*PAGING, "status", "destination", "created", "arrival_date")
    status, destination = params.text("status"), params.text("destination")
    return page(
        call, "payout",
        keep=lambda body: (status is None or body["status"] == status)
        and (destination is None or body["destination"] == destination),
    )  # fmt: skip
