"""The control API under /_sandbox: what a test or an operator may ask beyond the provider's API.

Owns no rule: each handler calls the room that does. Must not know: HTTP.
"""

from gateway.sandbox.psp import payouts, refunds, setup_intents
from gateway.sandbox.psp.authorizing import answer_challenge, authorize
from gateway.sandbox.psp.call import Call
from gateway.sandbox.psp.disputing import close_dispute, open_dispute
from gateway.sandbox.psp.ledger import Total
from gateway.sandbox.psp.payment_methods import find_method
from gateway.sandbox.psp.problems import Json, unexpected_state
from gateway.sandbox.psp.world import CLOCK_RECORD

_NOTHING = Total()


def health(call: Call) -> Json:
    """GET /_sandbox/health."""
    return {"status": "ok", "now": call.world.now}


def summary(call: Call) -> Json:
    """GET /_sandbox/summary: per currency, what the balance transactions of the account say.

    captured, refunded, fees, transferred (net of reversals), topped_up, paid_out, disputed: minor units, all
    positive. balance = available + pending = the sum of every net.
    """
    world = call.world
    held = world.ledger.currencies(call.account, world.now)
    currencies: Json = {}
    for currency, totals in world.ledger.totals(call.account).items():
        available, pending = held[currency]

        def amount(category: str, totals: dict[str, Total] = totals) -> int:
            return totals.get(category, _NOTHING).amount

        currencies[currency] = {
            "captured": amount("charge"),
            "captures": totals.get("charge", _NOTHING).count,
            "refunded": -amount("refund") - amount("refund_failure"),
            "fees": sum(total.fee for total in totals.values()),
            "transferred": -amount("transfer") - amount("transfer_reversal"),
            "transfers": totals.get("transfer", _NOTHING).count,
            "topped_up": amount("topup"),
            "paid_out": -amount("payout") - amount("payout_reversal"),
            "disputed": -amount("dispute") - amount("dispute_reversal"),
            "available": available,
            "pending": pending,
            "balance": available + pending,
        }
    return {"account": call.account, "currencies": currencies, "webhooks_waiting": len(world.webhooks)}


def add_fault(call: Call) -> Json:
    """POST /_sandbox/faults {match, fault}."""
    return call.world.faults.add(call.params).shown()


def list_faults(call: Call) -> Json:
    """GET /_sandbox/faults."""
    return {"object": "list", "data": call.world.faults.shown(), "has_more": False, "url": call.path}


def clear_faults(call: Call) -> Json:
    """DELETE /_sandbox/faults, or one of them; webhooks held back for disorder are let go."""
    removed = call.world.faults.remove(call.ids[0] if call.ids else None)
    call.world.webhooks.release_held()
    return {"removed": removed}


def show_clock(call: Call) -> Json:
    """GET /_sandbox/clock."""
    return {"now": call.world.now, "frozen": call.world.clock.frozen}


def set_clock(call: Call) -> Json:
    """POST /_sandbox/clock {now, frozen}: what falls due until then is done by the next request."""
    params = call.params.only("now", "frozen")
    now = params.required_integer("now", least=0)
    frozen = params.boolean("frozen", default=call.world.clock.frozen)
    call.world.clock.set_to(now, frozen=frozen)
    call.world.put("sandbox", {"id": CLOCK_RECORD, **call.world.clock.saved()})
    return show_clock(call)


def reset_clock(call: Call) -> Json:
    """DELETE /_sandbox/clock: the wall's time again."""
    call.world.clock.follow_wall()
    call.world.records.remove(CLOCK_RECORD)
    return show_clock(call)


def authenticate_payment(call: Call) -> Json:
    """POST /_sandbox/payment_intents/{id}/authenticate {outcome: succeed | fail}: the cardholder answers."""
    passed = (
        call.params.only("outcome").choice("outcome", ("succeed", "fail"), default="succeed") == "succeed"
    )
    intent = call.world.get("payment_intent", call.ids[0], call.account, param="intent")
    if intent["status"] != "requires_action":
        raise unexpected_state("authenticated", intent, "requires_action")
    return answer_challenge(call.world, intent, call.account, passed=passed)


def present_card(call: Call) -> Json:
    """POST /_sandbox/payment_intents/{id}/present {payment_method}: a card is held to the terminal."""
    method_id = call.params.only("payment_method").text("payment_method") or "pm_card_visa"
    intent = call.world.get("payment_intent", call.ids[0], call.account, param="intent")
    if intent["status"] != "requires_payment_method" or "card_present" not in intent["payment_method_types"]:
        raise unexpected_state("presented", intent, "requires_payment_method (of type card_present)")
    intent["_present"] = True
    method = find_method(call.world, method_id, call.account)
    return authorize(call.world, intent, method, call.account, never_ask=True)


def authenticate_setup(call: Call) -> Json:
    """POST /_sandbox/setup_intents/{id}/authenticate {outcome: succeed | fail}."""
    passed = (
        call.params.only("outcome").choice("outcome", ("succeed", "fail"), default="succeed") == "succeed"
    )
    intent = call.world.get("setup_intent", call.ids[0], call.account, param="intent")
    if intent["status"] != "requires_action":
        raise unexpected_state("authenticated", intent, "requires_action", noun="SetupIntent")
    return setup_intents.answer_challenge(call.world, intent, call.account, passed=passed)


def revoke_mandate(call: Call) -> Json:
    """POST /_sandbox/mandates/{id}/revoke."""
    mandate = call.world.get("mandate", call.ids[0], call.account)
    return setup_intents.revoke_mandate(call.world, mandate, call.account)


def fail_refund(call: Call) -> Json:
    """POST /_sandbox/refunds/{id}/fail: the card's bank sends the refund back."""
    refunds.refund_fails(call.world, call.ids[0], call.account)
    return call.world.get("refund", call.ids[0], call.account)


def pay_payout(call: Call) -> Json:
    """POST /_sandbox/payouts/{id}/pay: the money arrives now."""
    payouts.pay(call.world, call.ids[0], call.account)
    return call.world.get("payout", call.ids[0], call.account)


def fail_payout(call: Call) -> Json:
    """POST /_sandbox/payouts/{id}/fail {failure_code}: the bank returns the money."""
    params = call.params.only("failure_code")
    code = params.choice("failure_code", payouts.FAILURES, default="could_not_process")
    payout = call.world.get("payout", call.ids[0], call.account)
    return payouts.fail(call.world, payout, code or "could_not_process", call.account)


def dispute_charge(call: Call) -> Json:
    """POST /_sandbox/charges/{id}/dispute {reason, inquiry}: the cardholder complains to the bank."""
    params = call.params.only("reason", "inquiry")
    charge = call.world.get("charge", call.ids[0], call.account)
    reason = params.text("reason") or "fraudulent"
    return open_dispute(call.world, charge, reason, call.account, inquiry=params.boolean("inquiry"))


def close(call: Call) -> Json:
    """POST /_sandbox/disputes/{id}/close {outcome: won | lost}."""
    outcome = call.params.only("outcome").choice("outcome", ("won", "lost"), default="lost")
    dispute = call.world.get("dispute", call.ids[0], call.account)
    return close_dispute(call.world, dispute, outcome or "lost", call.account)
