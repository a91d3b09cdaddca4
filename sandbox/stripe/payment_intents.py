"""Payment intents over the wire: create, confirm, capture, cancel, increment, retrieve, update, list.

Owns: parameters and the object's shape. Must not know: what a card does (authorizing), how a hold ends
(capturing).
"""

from typing import Final

from sandbox.stripe import hold_end
from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.card_authorization import authorize
from sandbox.stripe.currencies import check_amount, check_charge, known_currency
from sandbox.stripe.forms import Params
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.ownership import living_customer
from sandbox.stripe.payment_methods import usable_method
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem, missing, unexpected_state

_DESCRIPTIVE: Final = (
    "description",
    "metadata",
    "receipt_email",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "shipping",
    "transfer_group",
)
_CONFIRMING: Final = (
    "client_secret",
    "payment_method",
    "payment_method_options",
    "off_session",
    "mandate",
    "mandate_data",
    "return_url",
    "error_on_requires_action",
    "setup_future_usage",
    "use_stripe_sdk",
    "capture_method",
)
_CREATING: Final = (
    *_DESCRIPTIVE,
    *_CONFIRMING,
    "amount",
    "currency",
    "customer",
    "confirm",
    "confirmation_method",
    "on_behalf_of",
    "payment_method_types",
    "automatic_payment_methods",
)
CAPTURE_METHODS: Final = ("automatic", "automatic_async", "manual")
_CONFIRMABLE: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
_CARD_OPTIONS: Final = (
    "request_extended_authorization",
    "request_incremental_authorization",
    "request_multicapture",
    "request_overcapture",
    "request_three_d_secure",
    "setup_future_usage",
    "capture_method",
    "moto",
    "network",
    "mandate_options",
    "statement_descriptor_suffix_kana",
    "statement_descriptor_suffix_kanji",
    "cvc_token",
    "installments",
    "require_cvc_recollection",
    "three_d_secure",
)
_TEMPLATE: Final[Json] = {
    "object": "payment_intent",
    "amount_capturable": 0,
    "amount_details": {"tip": {}},
    "amount_received": 0,
    "application": None,
    "application_fee_amount": None,
    "automatic_payment_methods": None,
    "canceled_at": None,
    "cancellation_reason": None,
    "confirmation_method": "automatic",
    "customer_account": None,
    "description": None,
    "excluded_payment_method_types": None,
    "last_payment_error": None,
    "latest_charge": None,
    "livemode": False,
    "managed_payments": {"enabled": False},
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": None,
    "payment_method_configuration_details": None,
    "payment_method_options": {},
    "payment_method_types": ["card"],
    "processing": None,
    "receipt_email": None,
    "review": None,
    "setup_future_usage": None,
    "shipping": None,
    "source": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": "requires_payment_method",
    "transfer_data": None,
    "transfer_group": None,
}


def create(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents, confirming at once if requested."""
    params, state = call.params.only(*_CREATING), call.state
    amount = params.required_integer("amount")
    currency = known_currency(params.required_text("currency"))
    metadata = params.metadata()
    confirm = params.boolean("confirm")
    for name in ("off_session", "mandate", "error_on_requires_action", "return_url"):
        if name in params and not confirm:
            raise ParameterProblem(f"You cannot pass {name} unless confirm is set to true.", param=name)
    check_charge(amount, currency)
    customer_id = params.text("customer")
    if customer_id is not None:
        living_customer(call, customer_id)
    intent_id = state.new_id("pi_3")
    intent: Json = {
        **_TEMPLATE,
        "id": intent_id,
        "amount": amount,
        "capture_method": params.choice("capture_method", CAPTURE_METHODS, default="automatic_async"),
        "client_secret": state.new_id(f"{intent_id}_secret_", 25),
        "created": state.now,
        "currency": currency,
        "customer": customer_id,
        "metadata": metadata,
        "on_behalf_of": params.text("on_behalf_of"),
    }
    _describe(params, intent)
    method = _read_confirmation(call, intent)
    kinds = params.texts("payment_method_types")
    if kinds:
        intent["payment_method_types"] = kinds
    if "automatic_payment_methods" in params:
        intent["automatic_payment_methods"] = {
            "enabled": params.section("automatic_payment_methods").boolean("enabled")
        }
    state.put("payment_intent", intent, call.account)
    state.emit("payment_intent.created", intent, call.account)
    if not confirm:
        return intent
    return _confirm(call, intent, method)


def _describe(params: Params, intent: Json) -> None:
    for name in (
        "description",
        "receipt_email",
        "statement_descriptor",
        "statement_descriptor_suffix",
        "transfer_group",
    ):
        if name in params:
            intent[name] = params.text(name, longest=22 if name.startswith("statement") else 5000)


def _read_confirmation(call: PspApiRequest, intent: Json) -> Json | None:
    """Read what create, update and confirm share into the intent; the method it names comes back."""
    params = call.params
    if "setup_future_usage" in params:
        usage = params.choice("setup_future_usage", ("off_session", "on_session"))
        intent["setup_future_usage"] = usage
    if "payment_method_options" in params:
        options = params.section("payment_method_options")
        card = options.section("card").only(*_CARD_OPTIONS)
        for name in card.raw():
            if name.startswith("request_") and name != "request_three_d_secure":
                card.choice(name, ("if_available", "never"))
        intent["payment_method_options"] = {**intent["payment_method_options"], **options.raw()}
    if "return_url" in params:
        intent["_return_url"] = params.text("return_url")
    method_id = params.text("payment_method")
    if method_id is None:
        return None
    method = usable_method(call.state, method_id, intent["customer"], call.account)
    intent["payment_method"] = method["id"]
    if intent["status"] == "requires_payment_method":
        intent["status"] = "requires_confirmation"
    return method


def confirm(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}/confirm."""
    call.params.only(*_CONFIRMING, "receipt_email", "shipping")
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    if intent["status"] not in _CONFIRMABLE:
        raise unexpected_state("confirmed", intent, ", ".join(_CONFIRMABLE))
    if "capture_method" in call.params:
        intent["capture_method"] = call.params.choice("capture_method", CAPTURE_METHODS)
    method = _read_confirmation(call, intent)
    if method is None and intent["payment_method"] is not None:
        method = usable_method(call.state, intent["payment_method"], intent["customer"], call.account)
    return _confirm(call, intent, method)


def _confirm(call: PspApiRequest, intent: Json, method: Json | None) -> Json:
    params, state = call.params, call.state
    if "card" not in intent["payment_method_types"] and not intent.get("_present"):
        taken = ", ".join(intent["payment_method_types"])
        raise ParameterProblem(
            f"This PaymentIntent takes {taken} only: a terminal presents the card.",
            param="payment_method",
        )
    if method is None:
        raise PspProblem(
            "This PaymentIntent cannot be confirmed: it is missing a payment method. Send one with the "
            "confirmation, or update the PaymentIntent first.",
            code="payment_intent_unexpected_state",
            extra={"payment_intent": intent},
        )
    off_session = params.text("off_session") in {"true", "one_off", "recurring"}
    intent["_off_session"] = off_session
    mandate_id = params.text("mandate")
    if mandate_id is not None:
        _check_mandate(call, mandate_id, method)
        intent["_mandate"] = mandate_id
    never_challenge = off_session or params.boolean("error_on_requires_action")
    return authorize(state, intent, method, call.account, never_challenge=never_challenge)


def _check_mandate(call: PspApiRequest, mandate_id: str, method: Json) -> None:
    mandate = call.state.peek("mandate", mandate_id)
    if mandate is None:
        raise missing("mandate", mandate_id, param="mandate", status=400)
    if mandate["payment_method"] != method["id"] or mandate["status"] != "active":
        raise PspProblem(
            "The provided mandate is invalid and can't be used for the payment intent.",
            code="payment_intent_mandate_invalid",
            param="mandate",
        )


def capture(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}/capture: all, less, or (over-capture) more than the hold."""
    params = call.params.only(
        "amount_to_capture",
        "final_capture",
        "metadata",
        "statement_descriptor",
        "statement_descriptor_suffix",
        "application_fee_amount",
        "transfer_data",
        "amount_details",
        "payment_details",
    )
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    amount = params.integer("amount_to_capture", least=1)
    final = params.boolean("final_capture", default=True)
    intent["metadata"] = params.metadata(intent["metadata"])
    if amount is not None:
        check_amount(amount, intent["currency"], param="amount_to_capture")
    return hold_end.capture(call.state, intent, amount, call.account, final=final)


def cancel(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}/cancel."""
    params = call.params.only("cancellation_reason")
    reasons = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
    reason = params.choice("cancellation_reason", reasons)
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    return hold_end.cancel(call.state, intent, reason, call.account)


def increment(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}/increment_authorization: `amount` is the new total."""
    params = call.params.only(
        "amount", "description", "metadata", "statement_descriptor", "transfer_data", "payment_details"
    )
    amount = params.required_integer("amount", least=1)
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    intent["metadata"] = params.metadata(intent["metadata"])
    check_amount(amount, intent["currency"])
    return hold_end.increment(call.state, intent, amount, call.account)


def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/payment_intents/{id}."""
    call.params.only("client_secret")
    return call.state.get("payment_intent", call.ids[0], call.account, param="intent")


def update(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}: descriptions at any time.

    Amount, currency, customer and method before confirmation.
    """
    params = call.params.only(
        *_DESCRIPTIVE,
        "amount",
        "currency",
        "customer",
        "payment_method",
        "setup_future_usage",
        "payment_method_options",
        "payment_method_types",
        "capture_method",
    )
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    open_still = intent["status"] in _CONFIRMABLE
    for name in ("amount", "currency", "customer", "payment_method", "setup_future_usage", "capture_method"):
        if name in params and not open_still:
            raise unexpected_state("updated", intent, ", ".join(_CONFIRMABLE))
    intent["metadata"] = params.metadata(intent["metadata"])
    _describe(params, intent)
    currency = params.text("currency")
    if currency is not None:
        intent["currency"] = known_currency(currency)
    amount = params.integer("amount", least=1)
    if amount is not None:
        intent["amount"] = check_charge(amount, intent["currency"])
    customer_id = params.text("customer")
    if customer_id is not None:
        intent["customer"] = living_customer(call, customer_id)["id"]
    if "capture_method" in params:
        intent["capture_method"] = params.choice("capture_method", CAPTURE_METHODS)
    _read_confirmation(call, intent)
    return call.state.put("payment_intent", intent, call.account)


def list_all(call: PspApiRequest) -> Json:
    """GET /v1/payment_intents, by customer and created."""
    params = call.params.only(*PAGING, "customer", "created")
    return page(call, "payment_intent", lookup="customer", value=params.text("customer"))
