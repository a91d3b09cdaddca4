"""The control API under /_sandbox: what a test or an operator may use beyond the provider's API.

Owns no rule: each handler calls the module that does. Must not know: HTTP.
"""

from sandbox.stripe import hold_end, payouts, refunds, setup_intents
from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.balance_transactions import Total
from sandbox.stripe.card_authorization import answer_challenge, authorize
from sandbox.stripe.dispute_funds import appeal, close_dispute, escalate, open_dispute, prevent
from sandbox.stripe.payment_methods import find_method
from sandbox.stripe.problems import Json, unexpected_state
from sandbox.stripe.state import CLOCK_RECORD

_NOTHING = Total()


def health(call: PspApiRequest) -> Json:
    """GET /_sandbox/health."""
    return {"status": "ok", "now": call.state.now}


def summary(call: PspApiRequest) -> Json:
    """GET /_sandbox/summary: per currency, the sums of the account's balance transactions.

    captured, refunded, fees, transferred (net of reversals), topped_up, paid_out, disputed: minor units, all
    positive. balance = available + pending = the sum of every net.
    """
    state = call.state
    held = state.ledger.currencies(call.account, state.now)
    currencies: Json = {}
    for currency, totals in state.ledger.totals(call.account).items():
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
    return {"account": call.account, "currencies": currencies, "webhooks_waiting": len(state.webhooks)}


def add_fault(call: PspApiRequest) -> Json:
    """POST /_sandbox/faults {match, fault}."""
    return call.state.faults.add(call.params).shown()


def list_faults(call: PspApiRequest) -> Json:
    """GET /_sandbox/faults."""
    return {"object": "list", "data": call.state.faults.shown(), "has_more": False, "url": call.path}


def clear_faults(call: PspApiRequest) -> Json:
    """DELETE /_sandbox/faults, or one of them; webhooks held back for disorder are let go."""
    removed = call.state.faults.remove(call.ids[0] if call.ids else None)
    call.state.webhooks.release_held()
    return {"removed": removed}


def show_clock(call: PspApiRequest) -> Json:
    """GET /_sandbox/clock."""
    return {"now": call.state.now, "frozen": call.state.clock.frozen}


def set_clock(call: PspApiRequest) -> Json:
    """POST /_sandbox/clock {now, frozen}: what falls due until then is done by the next request."""
    params = call.params.only("now", "frozen")
    now = params.required_integer("now", least=0)
    frozen = params.boolean("frozen", default=call.state.clock.frozen)
    call.state.clock.set_to(now, frozen=frozen)
    call.state.put("sandbox", {"id": CLOCK_RECORD, **call.state.clock.saved()})
    return show_clock(call)


def reset_clock(call: PspApiRequest) -> Json:
    """DELETE /_sandbox/clock: the wall's time again."""
    call.state.clock.follow_wall()
    call.state.records.remove(CLOCK_RECORD)
    return show_clock(call)


def authenticate_payment(call: PspApiRequest) -> Json:
    """POST /_sandbox/payment_intents/{id}/authenticate {outcome: succeed | fail}: the cardholder answers."""
    passed = (
        call.params.only("outcome").choice("outcome", ("succeed", "fail"), default="succeed") == "succeed"
    )
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    if intent["status"] != "requires_action":
        raise unexpected_state("authenticated", intent, "requires_action")
    return answer_challenge(call.state, intent, call.account, passed=passed)


def capture_by_hand(call: PspApiRequest) -> Json:
    """POST /_sandbox/payment_intents/{id}/capture {amount}: somebody captures a hold in the dashboard."""
    amount = call.params.only("amount").integer("amount", least=1)
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    return hold_end.capture(call.state, intent, amount, call.account, final=True)


def present_card(call: PspApiRequest) -> Json:
    """POST /_sandbox/payment_intents/{id}/present {payment_method}: a card is held to the terminal."""
    method_id = call.params.only("payment_method").text("payment_method") or "pm_card_visa"
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    if intent["status"] != "requires_payment_method" or "card_present" not in intent["payment_method_types"]:
        raise unexpected_state("presented", intent, "requires_payment_method (of type card_present)")
    intent["_present"] = True
    method = find_method(call.state, method_id, call.account)
    return authorize(call.state, intent, method, call.account, never_challenge=True)


def authenticate_setup(call: PspApiRequest) -> Json:
    """POST /_sandbox/setup_intents/{id}/authenticate {outcome: succeed | fail}."""
    passed = (
        call.params.only("outcome").choice("outcome", ("succeed", "fail"), default="succeed") == "succeed"
    )
    intent = call.state.get("setup_intent", call.ids[0], call.account, param="intent")
    if intent["status"] != "requires_action":
        raise unexpected_state("authenticated", intent, "requires_action", noun="SetupIntent")
    return setup_intents.answer_challenge(call.state, intent, call.account, passed=passed)


def revoke_mandate(call: PspApiRequest) -> Json:
    """POST /_sandbox/mandates/{id}/revoke."""
    mandate = call.state.get("mandate", call.ids[0], call.account)
    return setup_intents.revoke_mandate(call.state, mandate, call.account)


def fail_refund(call: PspApiRequest) -> Json:
    """POST /_sandbox/refunds/{id}/fail: the card's bank sends the refund back."""
    refunds.refund_fails(call.state, call.ids[0], call.account)
    return call.state.get("refund", call.ids[0], call.account)


def pay_payout(call: PspApiRequest) -> Json:
    """POST /_sandbox/payouts/{id}/pay: the money arrives now."""
    payouts.pay(call.state, call.ids[0], call.account)
    return call.state.get("payout", call.ids[0], call.account)


def fail_payout(call: PspApiRequest) -> Json:
    """POST /_sandbox/payouts/{id}/fail {failure_code}: the bank returns the money."""
    params = call.params.only("failure_code")
    code = params.choice("failure_code", payouts.FAILURES, default="could_not_process")
    payout = call.state.get("payout", call.ids[0], call.account)
    return payouts.fail(call.state, payout, code or "could_not_process", call.account)


def dispute_charge(call: PspApiRequest) -> Json:
    """POST /_sandbox/charges/{id}/dispute {reason, inquiry}: the cardholder complains to the bank."""
    params = call.params.only("reason", "inquiry")
    charge = call.state.get("charge", call.ids[0], call.account)
    reason = params.text("reason") or "fraudulent"
    return open_dispute(call.state, charge, reason, call.account, inquiry=params.boolean("inquiry"))


def close(call: PspApiRequest) -> Json:
    """POST /_sandbox/disputes/{id}/close {outcome: won | lost}."""
    outcome = call.params.only("outcome").choice("outcome", ("won", "lost"), default="lost")
    dispute = call.state.get("dispute", call.ids[0], call.account)
    return close_dispute(call.state, dispute, outcome or "lost", call.account)


def escalate_dispute(call: PspApiRequest) -> Json:
    """POST /_sandbox/disputes/{id}/escalate: an inquiry becomes a dispute."""
    call.params.only()
    return escalate(call.state, call.state.get("dispute", call.ids[0], call.account), call.account)


def prevent_dispute(call: PspApiRequest) -> Json:
    """POST /_sandbox/disputes/{id}/prevent: an inquiry ends as prevented."""
    call.params.only()
    return prevent(call.state, call.state.get("dispute", call.ids[0], call.account), call.account)


def appeal_dispute(call: PspApiRequest) -> Json:
    """POST /_sandbox/disputes/{id}/appeal: a lost dispute goes on."""
    call.params.only()
    return appeal(call.state, call.state.get("dispute", call.ids[0], call.account), call.account)
