"""Setup intents and mandates: a card made ready for payments while its holder is away.

Owns: both objects, and that a set-up method joins its customer. Must not know: payments.
"""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.cards import Authentication, Decline
from sandbox.stripe.expansion import visible
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.method_types import ALLOWED, CHOICES, check_return_url, choose
from sandbox.stripe.ownership import living_customer
from sandbox.stripe.parameters import takes
from sandbox.stripe.payment_methods import card_of, card_summary, usable_method
from sandbox.stripe.problems import CardProblem, Json, ParameterProblem, PspProblem, unexpected_state
from sandbox.stripe.state import PspState

_CONFIRMABLE: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
_CONFIRMING: Final = ("payment_method", "return_url")
_TEMPLATE: Final[Json] = {
    "object": "setup_intent",
    "application": None,
    "automatic_payment_methods": None,
    "cancellation_reason": None,
    "description": None,
    "excluded_payment_method_types": None,
    "flow_directions": None,
    "last_setup_error": None,
    "latest_attempt": None,
    "livemode": False,
    "mandate": None,
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": None,
    "payment_method_configuration_details": None,
    "payment_method_options": {},
    "payment_method_types": ["card"],
    "single_use_mandate": None,
    "status": "requires_payment_method",
}
NOT_AUTHENTICATED: Final = Decline(
    code="setup_intent_authentication_failure",
    decline_code=None,
    message="The latest attempt to set up the payment method has failed because authentication failed.",
)


@takes(*_CONFIRMING, "confirm", "customer", "description", "metadata", "usage", **CHOICES, **ALLOWED)
def create(call: PspApiRequest) -> Json:
    """POST /v1/setup_intents, confirming at once if requested."""
    params, state = call.params, call.state
    customer_id = params.text("customer")
    if customer_id is not None:
        living_customer(call, customer_id)
    intent_id = state.new_id("seti_1")
    intent: Json = {
        **_TEMPLATE,
        "id": intent_id,
        "client_secret": state.new_id(f"{intent_id}_secret_"),
        "created": state.now,
        "customer": customer_id,
        "description": params.text("description"),
        "metadata": params.metadata(),
        "usage": params.choice("usage", ("off_session", "on_session"), default="off_session"),
        "_return_url": params.text("return_url"),
    }
    if "return_url" in params and not params.boolean("confirm"):
        raise ParameterProblem(
            "You cannot pass return_url unless confirm is set to true.", param="return_url"
        )
    intent |= choose(state, params)
    method = _named_method(call, intent)
    state.put("setup_intent", intent, call.account)
    state.emit("setup_intent.created", intent, call.account)
    return _attempt(call, intent, method) if params.boolean("confirm") else intent


def _named_method(call: PspApiRequest, intent: Json) -> Json | None:
    method_id = call.params.text("payment_method")
    if method_id is None:
        return None
    method = usable_method(call.state, method_id, intent["customer"], call.account)
    intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    return method


@takes(*_CONFIRMING)
def confirm(call: PspApiRequest) -> Json:
    """POST /v1/setup_intents/{id}/confirm."""
    intent = call.state.get("setup_intent", call.ids[0], call.account, param="intent")
    if intent["status"] not in _CONFIRMABLE:
        raise unexpected_state("confirmed", intent, ", ".join(_CONFIRMABLE), noun="SetupIntent")
    if "return_url" in call.params:
        intent["_return_url"] = call.params.text("return_url")
    method = _named_method(call, intent)
    if method is None and intent["payment_method"] is not None:
        method = usable_method(call.state, intent["payment_method"], intent["customer"], call.account)
    return _attempt(call, intent, method)


def _attempt(call: PspApiRequest, intent: Json, method: Json | None) -> Json:
    state = call.state
    if method is None:
        raise PspProblem(
            "You cannot confirm this SetupIntent because it's missing a payment method.",
            code="setup_intent_unexpected_state",
            extra={"setup_intent": intent},
        )
    check_return_url(intent, off_session=False, noun="SetupIntent")
    card = card_of(method)
    if card.decline is not None and not card.attachable:
        return _reject(state, intent, method, call.account, card.decline)
    if card.authentication is not Authentication.NEVER:
        return _request_authentication(state, intent, method, call)
    return succeed(state, intent, method, call.account)


def _request_authentication(state: PspState, intent: Json, method: Json, call: PspApiRequest) -> Json:
    return_url = intent.get("_return_url")
    url = f"/_sandbox/setup_intents/{intent['id']}/authenticate"
    action: Json = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
    if return_url is not None:
        action = {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": url}}
    intent |= {"status": "requires_action", "payment_method": method["id"], "next_action": action}
    state.put("setup_intent", intent, call.account)
    state.emit("setup_intent.requires_action", intent, call.account)
    return intent


def succeed(state: PspState, intent: Json, method: Json, account: str) -> Json:
    """The method may be charged later; used off session it carries a mandate."""
    customer = intent["customer"]
    kept = {**method, "customer": customer or method["customer"], "_set_up": True}
    state.put("payment_method", kept, account)
    if customer is not None and method["customer"] is None:
        state.emit("payment_method.attached", kept, account)
    attempt = _record_attempt(state, intent, method, account, error=None)
    intent |= {
        "status": "succeeded",
        "payment_method": method["id"],
        "next_action": None,
        "last_setup_error": None,
        "latest_attempt": attempt,
        "mandate": _grant(state, method, account) if intent["usage"] == "off_session" else None,
    }
    state.put("setup_intent", intent, account)
    state.emit("setup_intent.succeeded", intent, account)
    return intent


def _grant(state: PspState, method: Json, account: str) -> str:
    mandate: Json = {
        "id": state.new_id("mandate_1"),
        "object": "mandate",
        "customer_acceptance": {
            "accepted_at": state.now,
            "online": {"ip_address": None, "user_agent": None},
            "type": "online",
        },
        "livemode": False,
        "multi_use": {},
        "payment_method": method["id"],
        "payment_method_details": {"card": {}, "type": "card"},
        "status": "active",
        "type": "multi_use",
    }
    return str(state.put("mandate", mandate, account)["id"])


def _record_attempt(state: PspState, intent: Json, method: Json, account: str, *, error: Json | None) -> str:
    summary = card_summary(method)
    card = {**summary, "moto": None, "network": summary["brand"], "three_d_secure": None}
    attempt: Json = {
        "id": state.new_id("setatt_1"),
        "object": "setup_attempt",
        "application": None,
        "created": state.now,
        "customer": intent["customer"],
        "customer_account": None,
        "flow_directions": None,
        "livemode": False,
        "on_behalf_of": None,
        "payment_method": method["id"],
        "payment_method_details": {"card": card, "type": "card"},
        "setup_error": error,
        "setup_intent": intent["id"],
        "status": "failed" if error else "succeeded",
        "usage": intent["usage"],
    }
    return str(state.put("setup_attempt", attempt, account)["id"])


def _reject(state: PspState, intent: Json, method: Json, account: str, decline: Decline) -> Json:
    """Record the failed attempt. Raises CardProblem always."""
    error = record_failure(state, intent, method, account, decline)
    raise CardProblem(
        decline.message,
        code=decline.code,
        decline_code=decline.decline_code,
        extra={"setup_intent": intent, "payment_method": error["payment_method"]},
    )


def record_failure(state: PspState, intent: Json, method: Json, account: str, decline: Decline) -> Json:
    """Stage the intent as failed and announce it; the error object is returned."""
    shown = visible(method, now=state.now)
    error: Json = {
        "type": "card_error",
        "code": decline.code,
        "message": decline.message,
        "payment_method": shown,
    }
    if decline.decline_code is not None:
        error["decline_code"] = decline.decline_code
    attempt = _record_attempt(state, intent, method, account, error=error)
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_setup_error": error,
        "latest_attempt": attempt,
    }
    state.put("setup_intent", intent, account)
    state.emit("setup_intent.setup_failed", intent, account)
    return error


def answer_challenge(state: PspState, intent: Json, account: str, *, passed: bool) -> Json:
    """The cardholder's answer to a set-up that waits for it."""
    method = state.get("payment_method", intent["payment_method"], account)
    if passed:
        return succeed(state, intent, method, account)
    record_failure(state, intent, method, account, NOT_AUTHENTICATED)
    return intent


@takes("cancellation_reason")
def cancel(call: PspApiRequest) -> Json:
    """POST /v1/setup_intents/{id}/cancel."""
    params = call.params
    reason = params.choice("cancellation_reason", ("abandoned", "requested_by_customer", "duplicate"))
    intent = call.state.get("setup_intent", call.ids[0], call.account, param="intent")
    if intent["status"] not in _CONFIRMABLE:
        raise unexpected_state("canceled", intent, ", ".join(_CONFIRMABLE), noun="SetupIntent")
    intent |= {"status": "canceled", "cancellation_reason": reason, "next_action": None}
    call.state.put("setup_intent", intent, call.account)
    call.state.emit("setup_intent.canceled", intent, call.account)
    return intent


@takes("description", "metadata", "customer", "payment_method")
def update(call: PspApiRequest) -> Json:
    """POST /v1/setup_intents/{id}: description, metadata, and before confirmation customer and method."""
    params = call.params
    intent = call.state.get("setup_intent", call.ids[0], call.account, param="intent")
    if intent["status"] not in _CONFIRMABLE and ("customer" in params or "payment_method" in params):
        raise unexpected_state("updated", intent, ", ".join(_CONFIRMABLE), noun="SetupIntent")
    intent["metadata"] = params.metadata(intent["metadata"])
    if "description" in params:
        intent["description"] = params.text("description")
    customer_id = params.text("customer")
    if customer_id is not None:
        intent["customer"] = living_customer(call, customer_id)["id"]
    _named_method(call, intent)
    return call.state.put("setup_intent", intent, call.account)


@takes("client_secret")
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/setup_intents/{id}."""
    return call.state.get("setup_intent", call.ids[0], call.account, param="intent")


@takes(*PAGING, "customer", "payment_method", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/setup_intents, by customer, payment_method, created."""
    params = call.params
    method = params.text("payment_method")
    return page(
        call,
        "setup_intent",
        lookup="customer",
        value=params.text("customer"),
        keep=lambda body: method is None or body["payment_method"] == method,
    )


@takes(*PAGING, "setup_intent", "created")
def list_attempts(call: PspApiRequest) -> Json:
    """GET /v1/setup_attempts?setup_intent=..."""
    params = call.params
    wanted = params.text("setup_intent")
    if wanted is None:
        raise ParameterProblem(
            "Missing required param: setup_intent.", code="parameter_missing", param="setup_intent"
        )
    return page(call, "setup_attempt", keep=lambda body: body["setup_intent"] == wanted)


@takes()
def retrieve_mandate(call: PspApiRequest) -> Json:
    """GET /v1/mandates/{id}."""
    return call.state.get("mandate", call.ids[0], call.account)


def revoke_mandate(state: PspState, mandate: Json, account: str) -> Json:
    """The cardholder's bank revokes the mandate: payments under it are declined from now on."""
    mandate["status"] = "inactive"
    state.put("mandate", mandate, account)
    state.emit("mandate.updated", mandate, account)
    return mandate
