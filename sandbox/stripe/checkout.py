"""Checkout Sessions: a page of the PSP's on which a customer pays once, by card.

Owns: parameters, the object's shape, and that a session has no PaymentIntent before its customer confirms.
Must not know: what a card does (card_authorization), the page's HTML (pages).
Played: mode `payment` on the hosted page, prices given with the session. Source:
docs.stripe.com/api/checkout/sessions.
"""

from typing import Final
from urllib.parse import urlsplit

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.card_authorization import authorize
from sandbox.stripe.checkout_end import CHECKOUT, EXPIRE
from sandbox.stripe.checkout_end import expire as end
from sandbox.stripe.currencies import check_charge, known_currency
from sandbox.stripe.forms import Params
from sandbox.stripe.method_types import ALLOWED, choose
from sandbox.stripe.parameters import VALUE, Leaf, ListOf, Shape, takes
from sandbox.stripe.payment_intents import CAPTURE_METHODS, INTENT, card_options
from sandbox.stripe.payment_methods import usable_method
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem
from sandbox.stripe.statement import suffix_of

_SHORTEST_S: Final = 1_800
_LONGEST_S: Final = 86_400
_MOST_ITEMS: Final = 100
_MESSAGE: Final = 1_200
_REFERENCE: Final = 200
_LOCALES: Final = ("auto", "de", "en", "en-GB", "fr", "it")
_PRICE: Final[Shape] = {"currency": VALUE, "unit_amount": VALUE, "product_data": {"name": VALUE}}
_CREATING: Final[dict[str, "Leaf | Shape | ListOf"]] = {
    "adaptive_pricing": {"enabled": VALUE},
    "custom_text": {"submit": {"message": VALUE}},
    "line_items": ListOf({"price_data": _PRICE, "quantity": VALUE}),
    "payment_intent_data": {
        **dict.fromkeys(("capture_method", "description", "receipt_email", "transfer_group"), VALUE),
        "statement_descriptor_suffix": VALUE,
        "metadata": Leaf.MAP,
    },
    "payment_method_options": {
        "card": dict.fromkeys(
            ("request_incremental_authorization", "request_multicapture", "request_overcapture"), VALUE
        )
    },
    "wallet_options": {"link": {"display": VALUE}},
    **ALLOWED,
}
_TEMPLATE: Final[Json] = {
    "object": CHECKOUT,
    "after_expiration": None,
    "allow_promotion_codes": None,
    "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
    "billing_address_collection": None,
    "client_secret": None,
    "collected_information": None,
    "consent": None,
    "consent_collection": None,
    "currency_conversion": None,
    "custom_fields": [],
    "customer": None,
    "customer_account": None,
    "customer_creation": "if_required",
    "customer_details": None,
    "customer_email": None,
    "discounts": [],
    "excluded_payment_method_types": None,
    "integration_identifier": None,
    "invoice": None,
    "invoice_creation": None,
    "livemode": False,
    "managed_payments": {"enabled": False},
    "mode": "payment",
    "origin_context": None,
    "payment_intent": None,
    "payment_link": None,
    "payment_method_collection": "if_required",
    "payment_method_configuration_details": None,
    "payment_status": "unpaid",
    "permissions": None,
    "phone_number_collection": {"enabled": False},
    "recovered_from": None,
    "saved_payment_method_options": None,
    "setup_intent": None,
    "shipping_address_collection": None,
    "shipping_cost": None,
    "shipping_options": [],
    "status": "open",
    "submit_type": None,
    "subscription": None,
    "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    "ui_mode": "hosted_page",
}


@takes(
    *("mode", "ui_mode", "success_url", "cancel_url", "expires_at", "locale", "client_reference_id"),
    "metadata",
    **_CREATING,
)
def create(call: PspApiRequest) -> Json:
    """POST /v1/checkout/sessions."""
    params, state = call.params, call.state
    if params.required_text("mode") != "payment":
        raise ParameterProblem("This PSP plays the mode payment only.", param="mode")
    params.choice("ui_mode", ("hosted_page",))
    amount, currency, name = _total(params)
    check_charge(amount, currency)
    adaptive, link = params.section("adaptive_pricing"), params.section("wallet_options").section("link")
    session_id = state.new_id("cs_test_a1", 56)
    chosen = choose(state, params)
    session: Json = {
        **_TEMPLATE,
        "id": session_id,
        "adaptive_pricing": {"enabled": adaptive.boolean("enabled")},
        "allowed_payment_method_types": chosen["allowed_payment_method_types"],
        "amount_subtotal": amount,
        "amount_total": amount,
        "cancel_url": _address(params, "cancel_url"),
        "client_reference_id": params.text("client_reference_id", longest=_REFERENCE),
        "created": state.now,
        "currency": currency,
        "custom_text": _custom_text(params),
        "expires_at": _expiry(params, state.now),
        "locale": params.choice("locale", _LOCALES),
        "metadata": params.metadata(),
        "payment_method_options": card_options(call),
        "payment_method_types": chosen["payment_method_types"],
        "success_url": _address(params, "success_url", required=True),
        "url": f"{state.public_url}/c/pay/{session_id}",
        "wallet_options": {"link": {"display": link.choice("display", ("auto", "never"), default="auto")}},
        "_name": name,
        "_intent": _intent_data(params.section("payment_intent_data")),
    }
    state.at(session["expires_at"], EXPIRE, session_id, call.account)
    return state.put(CHECKOUT, session, call.account)


def _total(params: Params) -> tuple[int, str, str]:
    """Amount, currency and the first item's name. Raises ParameterProblem."""
    given = params.section("line_items")
    items = [given.section(at) for at in given.raw()]
    if not 0 < len(items) <= _MOST_ITEMS:
        raise ParameterProblem(
            "You must pass 1 to 100 line_items in payment mode.", code="parameter_missing", param="line_items"
        )
    amount, currencies, names = 0, [], []
    for item in items:
        price = item.section("price_data")
        amount += price.required_integer("unit_amount", least=0) * item.required_integer("quantity", least=1)
        currencies.append(known_currency(price.required_text("currency")))
        names.append(price.section("product_data").required_text("name"))
    if len(set(currencies)) > 1:
        raise ParameterProblem("All line_items must have the same currency.", param="line_items")
    return amount, currencies[0], names[0]


def _expiry(params: Params, now: int) -> int:
    expires_at = params.integer("expires_at", least=0)
    if expires_at is None:
        return now + _LONGEST_S
    if expires_at < now + _SHORTEST_S:
        raise ParameterProblem(
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.",
            param="expires_at",
        )
    if expires_at > now + _LONGEST_S:
        raise ParameterProblem(
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.",
            param="expires_at",
        )
    return expires_at


def _address(params: Params, name: str, *, required: bool = False) -> str | None:
    address = params.required_text(name) if required else params.text(name)
    if address is not None and urlsplit(address).scheme not in {"http", "https"}:
        raise ParameterProblem("Not a valid URL", code="url_invalid", param=name)
    return address


def _custom_text(params: Params) -> Json:
    message = params.section("custom_text").section("submit").text("message", longest=_MESSAGE)
    shown: Json = dict.fromkeys(("after_submit", "shipping_address", "terms_of_service_acceptance"))
    return shown | {"submit": None if message is None else {"message": message}}


def _intent_data(data: Params) -> Json:
    return {
        "capture_method": data.choice("capture_method", CAPTURE_METHODS, default="automatic_async"),
        "description": data.text("description"),
        "metadata": data.metadata(),
        "receipt_email": data.text("receipt_email"),
        "statement_descriptor_suffix": suffix_of(data) if "statement_descriptor_suffix" in data else None,
        "transfer_group": data.text("transfer_group"),
    }


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/checkout/sessions/{id}."""
    return call.state.get(CHECKOUT, call.ids[0], call.account, param="session")


@takes()
def expire(call: PspApiRequest) -> Json:
    """POST /v1/checkout/sessions/{id}/expire."""
    return end(call.state, call.ids[0], call.account)


def visit(call: PspApiRequest) -> Json:
    """POST /_sandbox/checkout_sessions/{id}/visit: what the hosted page shows, and what a try has come to."""
    session = call.state.get(CHECKOUT, call.ids[0], call.account, param="session")
    intent = call.state.peek("payment_intent", session["payment_intent"] or "") or {}
    return {
        **session,
        "name": session["_name"],
        "last_error": intent.get("last_payment_error"),
        "next_action": intent.get("next_action"),
    }


def pay(call: PspApiRequest) -> Json:
    """POST /_sandbox/checkout_sessions/{id}/pay {payment_method}: the customer confirms with a card.

    The PaymentIntent is made now, and one that failed is tried again. Raises PspProblem, CardProblem.
    """
    state, params = call.state, call.params.only("payment_method")
    session = state.get(CHECKOUT, call.ids[0], call.account, param="session")
    if session["status"] != "open":
        raise PspProblem(f"This Checkout Session has a status of `{session['status']}`.")
    intent = _intent_of(call, session)
    if intent["status"] not in {"requires_payment_method", "requires_action"}:
        raise PspProblem(f"Its PaymentIntent has a status of {intent['status']}.")
    method = usable_method(state, params.required_text("payment_method"), None, call.account)
    return authorize(state, intent, method, call.account, never_challenge=False)


def _intent_of(call: PspApiRequest, session: Json) -> Json:
    state = call.state
    if session["payment_intent"] is not None:
        return state.get("payment_intent", session["payment_intent"], call.account)
    intent_id = state.new_id("pi_3")
    intent: Json = {
        **INTENT,
        **session["_intent"],
        "id": intent_id,
        "amount": session["amount_total"],
        "allowed_payment_method_types": session["allowed_payment_method_types"],
        "client_secret": state.new_id(f"{intent_id}_secret_", 25),
        "created": state.now,
        "currency": session["currency"],
        "customer": None,
        "payment_method_options": session["payment_method_options"],
        "payment_method_types": session["payment_method_types"],
        "_checkout_session": session["id"],
        "_return_url": f"{state.public_url}/c/pay/{session['id']}",
    }
    state.put("payment_intent", intent, call.account)
    state.emit("payment_intent.created", intent, call.account)
    state.put(CHECKOUT, session | {"payment_intent": intent_id}, call.account)
    return intent
