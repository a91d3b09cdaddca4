"""The card details of a charge, online or at a terminal: the hold's end and the options the scheme grants.

Owns: how long a hold lasts. Must not know: what is done with the hold.
Hold validity: online 7 days, Visa merchant-initiated 4 days 18 hours, at a terminal 2 days
(docs.stripe.com/payments/place-a-hold-on-a-payment-method and docs.stripe.com/terminal).
"""

from typing import Final

from sandbox.stripe.balance_transactions import DAY_S
from sandbox.stripe.payment_methods import card_of, card_summary
from sandbox.stripe.problems import Json
from sandbox.stripe.state import PspState

HOLD_S: Final = 7 * DAY_S
VISA_MERCHANT_HOLD_S: Final = 4 * DAY_S + 18 * 3600
TERMINAL_HOLD_S: Final = 2 * DAY_S


def grants_for(state: PspState, intent: Json) -> Json:
    """What may be done with the hold: `incremental`, `multicapture`, `overcapture`, and `most` to capture."""
    manual = intent["capture_method"] == "manual"
    if intent.get("_present"):
        options = intent["payment_method_options"].get("card_present", {})
        incremental = bool(options.get("request_incremental_authorization_support"))
        grants: Json = {"incremental": incremental and manual, "multicapture": False, "overcapture": manual}
    else:
        options = intent["payment_method_options"].get("card", {})
        names = {
            "incremental": "request_incremental_authorization",
            "multicapture": "request_multicapture",
            "overcapture": "request_overcapture",
        }
        grants = {name: manual and options.get(asked) == "if_available" for name, asked in names.items()}
    return {**grants, "most": most_capturable(state, intent["amount"], granted=grants["overcapture"])}


def most_capturable(state: PspState, amount: int, *, granted: bool) -> int:
    """The upper bound of a capture of a hold of `amount` minor units."""
    return amount * (100 + state.settings.overcapture_percent) // 100 if granted else amount


def describe(state: PspState, intent: Json, method: Json, grants: Json) -> Json:
    """The charge's `payment_method_details`."""
    kind = "card_present" if intent.get("_present") else "card"
    details = (
        _at_terminal(state, intent, method, grants)
        if intent.get("_present")
        else _online(state, intent, method, grants)
    )
    if intent["capture_method"] == "manual":
        details["capture_before"] = state.now + _hold_s(intent, method)
    return {"type": kind, kind: details}


def _hold_s(intent: Json, method: Json) -> int:
    if intent.get("_present"):
        return TERMINAL_HOLD_S
    merchant_initiated = intent.get("_off_session", False)
    return VISA_MERCHANT_HOLD_S if merchant_initiated and card_of(method).brand == "visa" else HOLD_S


def _online(state: PspState, intent: Json, method: Json, grants: Json) -> Json:
    return {
        **card_summary(method),
        "amount_authorized": intent["amount"],
        "authorization_code": state.new_id("", 6).upper(),
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": _said(granted=grants["incremental"])},
        "installments": None,
        "mandate": intent.get("_mandate"),
        "multicapture": {"status": _said(granted=grants["multicapture"])},
        "network": card_of(method).brand,
        "network_token": {"used": False},
        "network_transaction_id": state.new_id("", 15),
        "overcapture": {
            "maximum_amount_capturable": grants["most"],
            "status": _said(granted=grants["overcapture"]),
        },
        "three_d_secure": _authenticated(state) if intent.get("_authenticated") else None,
        "transaction_link_id": None,
    }


def _at_terminal(state: PspState, intent: Json, method: Json, grants: Json) -> Json:
    card = card_of(method)
    return {
        "amount_authorized": intent["amount"],
        "brand": card.brand,
        "brand_product": None,
        "cardholder_name": None,
        "country": card.country,
        "description": None,
        "emv_auth_data": None,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": f"sandbox{card.brand}{card.last4}",
        "funding": card.funding,
        "generated_card": None,
        "incremental_authorization_supported": grants["incremental"],
        "issuer": None,
        "last4": card.last4,
        "network": card.brand,
        "network_transaction_id": state.new_id("", 15),
        "offline": None,
        "overcapture_supported": grants["overcapture"],
        "preferred_locales": None,
        "read_method": "contactless_emv",
        "receipt": None,
        "wallet": None,
    }


def _said(*, granted: bool) -> str:
    return "available" if granted else "unavailable"


def raised(charge: Json, amount: int, most: int) -> Json:
    """The charge with its hold raised to `amount`, of which `most` may be captured."""
    kind = charge["payment_method_details"]["type"]
    details = {**charge["payment_method_details"][kind], "amount_authorized": amount}
    if "overcapture" in details:
        details["overcapture"] = {**details["overcapture"], "maximum_amount_capturable": most}
    return charge | {
        "amount": amount,
        "payment_method_details": {"type": kind, kind: details},
        "_grants": {**charge["_grants"], "most": most},
    }


def details_of(charge: Json) -> Json:
    """The details of the charge's card, whichever way it was read."""
    found: Json = charge["payment_method_details"][charge["payment_method_details"]["type"]]
    return found


def _authenticated(state: PspState) -> Json:
    return {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": state.new_id("", 36),
        "version": "2.2.0",
    }
