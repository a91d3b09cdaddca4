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
from sandbox.stripe.method_types import ALLOWED, CHOICES, check_return_url, choose
from sandbox.stripe.ownership import living_customer
from sandbox.stripe.parameters import VALUE, Shape, takes, takes_from_client
from sandbox.stripe.payment_methods import usable_method
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem, missing, unexpected_state
from sandbox.stripe.statement import LONGEST, reject_whole_descriptor, suffix_of

_DESCRIPTIVE: Final = (
    "description",
    "metadata",
    "receipt_email",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
_CONFIRMING: Final = (
    "payment_method",
    "off_session",
    "mandate",
    "return_url",
    "error_on_requires_action",
    "setup_future_usage",
    "capture_method",
)
_CREATING: Final = ("amount", "currency", "customer", "confirm", "confirmation_method", "on_behalf_of")
_PRESENT: Final = (None, "false")  # the payer is there
CAPTURE_METHODS: Final = ("automatic", "automatic_async", "manual")
_CONFIRMABLE: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
_CARD_FEATURES: Final = (
    "request_incremental_authorization",
    "request_multicapture",
    "request_overcapture",
)
_OPTIONS: Final[dict[str, Shape]] = {
    "payment_method_options": {
        "card": dict.fromkeys(_CARD_FEATURES, VALUE),
        "card_present": {"request_incremental_authorization_support": VALUE},
    }
}
INTENT: Final[Json] = {
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


@takes(*_DESCRIPTIVE, *_CONFIRMING, *_CREATING, **_OPTIONS, **CHOICES, **ALLOWED)
def create(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents, confirming at once if requested."""
    params, state = call.params, call.state
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
        **INTENT,
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
    intent |= choose(state, params)
    _describe(params, intent)
    method = _read_confirmation(call, intent)
    state.put("payment_intent", intent, call.account)
    state.emit("payment_intent.created", intent, call.account)
    if not confirm:
        return intent
    return _confirm(call, intent, method)


def _describe(params: Params, intent: Json) -> None:
    reject_whole_descriptor(params, intent["payment_method_types"])
    for name in ("description", "receipt_email", "transfer_group"):
        if name in params:
            intent[name] = params.text(name)
    if "statement_descriptor" in params:
        intent["statement_descriptor"] = params.text("statement_descriptor", longest=LONGEST)
    if "statement_descriptor_suffix" in params:
        intent["statement_descriptor_suffix"] = suffix_of(params)


def _read_confirmation(call: PspApiRequest, intent: Json) -> Json | None:
    """Read what create, update and confirm share into the intent; the method it names comes back."""
    params = call.params
    if "setup_future_usage" in params:
        usage = params.choice("setup_future_usage", ("off_session", "on_session"))
        intent["setup_future_usage"] = usage
    if "payment_method_options" in params:
        intent["payment_method_options"] = {**intent["payment_method_options"], **card_options(call)}
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


def card_options(call: PspApiRequest) -> Json:
    """What is asked of the card. Raises ParameterProblem where the account may not have it."""
    options = call.params.section("payment_method_options")
    card, terminal = options.section("card"), options.section("card_present")
    chosen = {name: card.choice(name, ("if_available", "never")) for name in card.raw()}
    wanted = [name for name, value in chosen.items() if value == "if_available"]
    presented = {name: terminal.boolean(name) for name in terminal.raw()}
    if (wanted or any(presented.values())) and not call.state.settings.card_features:
        raise ParameterProblem(
            "This account is not eligible for the requested card features. See "
            "https://stripe.com/docs/payments/flexible-payments for more details."
        )
    found: Json = {}
    if chosen:
        found["card"] = chosen
    if presented:
        found["card_present"] = presented
    return found


@takes(*_CONFIRMING, "receipt_email", **_OPTIONS, **ALLOWED)
@takes_from_client("client_secret", "payment_method", "return_url", "setup_future_usage", "receipt_email")
def confirm(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}/confirm."""
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
    off_session = params.choice("off_session", ("true", "one_off", "recurring", "false")) not in _PRESENT
    intent["_off_session"] = off_session
    check_return_url(intent, off_session=off_session, noun="PaymentIntent")
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


@takes(
    "amount_to_capture", "final_capture", "metadata", "statement_descriptor", "statement_descriptor_suffix"
)
def capture(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}/capture: all, less, or (over-capture) more than the hold."""
    params = call.params
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    amount = params.integer("amount_to_capture", least=1)
    final = params.boolean("final_capture", default=True)
    reject_whole_descriptor(params, intent["payment_method_types"])
    if "statement_descriptor_suffix" in params:
        intent["statement_descriptor_suffix"] = suffix_of(params)
    intent["metadata"] = params.metadata(intent["metadata"])
    if amount is not None:
        check_amount(amount, intent["currency"], param="amount_to_capture")
    return hold_end.capture(call.state, intent, amount, call.account, final=final)


@takes("cancellation_reason")
def cancel(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}/cancel."""
    params = call.params
    reasons = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
    reason = params.choice("cancellation_reason", reasons)
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    return hold_end.cancel(call.state, intent, reason, call.account)


@takes("amount", "description", "metadata", "statement_descriptor")
def increment(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}/increment_authorization: `amount` is the new total."""
    params = call.params
    amount = params.required_integer("amount", least=1)
    intent = call.state.get("payment_intent", call.ids[0], call.account, param="intent")
    reject_whole_descriptor(params, intent["payment_method_types"])
    if "description" in params:
        intent["description"] = params.text("description")
    intent["metadata"] = params.metadata(intent["metadata"])
    check_amount(amount, intent["currency"])
    return hold_end.increment(call.state, intent, amount, call.account)


@takes("client_secret")
@takes_from_client("client_secret")
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/payment_intents/{id}."""
    return call.state.get("payment_intent", call.ids[0], call.account, param="intent")


@takes(
    *_DESCRIPTIVE,
    "amount",
    "currency",
    "customer",
    "payment_method",
    "setup_future_usage",
    "capture_method",
    **_OPTIONS,
)
def update(call: PspApiRequest) -> Json:
    """POST /v1/payment_intents/{id}: descriptions at any time.

    Amount, currency, customer and method before confirmation.
    """
    params = call.params
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


@takes(*PAGING, "customer", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/payment_intents, by customer and created."""
    params = call.params
    return page(call, "payment_intent", lookup="customer", value=params.text("customer"))
