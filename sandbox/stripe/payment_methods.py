"""Payment methods: cards by test id or token only, attached to customers, and who may use them.

Owns: the rule that an unattached method serves one payment. Must not know: intents.
"""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.cards import TEST_CARDS, TestCard, card_of_token
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.ownership import living_customer
from sandbox.stripe.parameters import ADDRESS, VALUE, Shape, takes
from sandbox.stripe.problems import CardProblem, Json, ParameterProblem, PspProblem, missing
from sandbox.stripe.state import PspState

_EMPTY_ADDRESS: Final[Json] = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
EMPTY_BILLING: Final[Json] = {
    "address": _EMPTY_ADDRESS,
    "email": None,
    "name": None,
    "phone": None,
    "tax_id": None,
}
_BILLING: Final[Shape] = {**dict.fromkeys(("email", "name", "phone", "tax_id"), VALUE), "address": ADDRESS}
_CHECKS: Final[Json] = {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}


def card_of(method: Json) -> TestCard:
    """The test card behind a stored payment method."""
    return TEST_CARDS[method["_card"]]


def card_summary(method: Json) -> Json:
    """The card details shared by the payment method and the charge."""
    card = card_of(method)
    return {
        "brand": card.brand,
        "checks": _CHECKS,
        "country": card.country,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": f"sandbox{card.brand}{card.last4}",
        "funding": card.funding,
        "last4": card.last4,
        "regulated_status": "unregulated",
        "wallet": None,
    }


def build(state: PspState, card_id: str, account: str) -> Json:
    """Stage a new, unattached payment method for a test card."""
    method: Json = {
        "id": state.new_id("pm_1"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": EMPTY_BILLING,
        "created": state.now,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
        "_card": card_id,
    }
    brand = TEST_CARDS[card_id].brand
    method["card"] = {
        **card_summary(method),
        "display_brand": brand,
        "generated_from": None,
        "networks": {"available": [brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
    }
    return state.put("payment_method", method, account)


def find_method(
    state: PspState, method_id: str, account: str, *, param: str = "payment_method", status: int = 400
) -> Json:
    """A copy of the stored method; a test id such as `pm_card_visa` makes a new one. Raises PspProblem."""
    if method_id in TEST_CARDS:
        return build(state, method_id, account)
    record = state.records.find(method_id)
    if record is None or record.kind != "payment_method" or record.account != account:
        raise missing("payment_method", method_id, param=param, status=status)
    return dict(record.body)


def usable_method(state: PspState, method_id: str, customer_id: str | None, account: str) -> Json:
    """The method, if this customer (or one without a customer) may pay with it. Raises PspProblem."""
    method = find_method(state, method_id, account)
    owner = method["customer"]
    if owner is not None and owner != customer_id:
        raise PspProblem(
            f"PaymentMethod {method['id']} belongs to a Customer; name that Customer in `customer`.",
            param="payment_method",
        )
    if owner is None and method.get("_spent"):
        raise PspProblem(
            "This PaymentMethod has paid without a Customer, or was detached from one, and may not be used "
            "again. To use one several times, attach it to a Customer first.",
            param="payment_method",
        )
    return method


@takes("type", "metadata", card={"token": VALUE}, billing_details=_BILLING)
def create(call: PspApiRequest) -> Json:
    """POST /v1/payment_methods with `card[token]`."""
    params = call.params
    params.choice("type", ("card",), default="card")
    token = params.section("card").required_text("token")
    card_id = card_of_token(token)
    if card_id is None:
        raise missing("token", token, param="card[token]", status=400)
    method = dict(build(call.state, card_id, call.account))
    method["metadata"] = params.metadata()
    _fill_billing(call, method)
    return call.state.put("payment_method", method, call.account)


def _fill_billing(call: PspApiRequest, method: Json) -> None:
    if "billing_details" not in call.params:
        return
    billing = call.params.section("billing_details")
    address = billing.section("address")
    method["billing_details"] = {
        **{name: billing.text(name) for name in ("email", "name", "phone", "tax_id")},
        "address": {name: address.text(name) for name in _EMPTY_ADDRESS},
    }


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/payment_methods/{id}."""
    return find_method(call.state, call.ids[0], call.account, status=404)


@takes("metadata", billing_details=_BILLING)
def update(call: PspApiRequest) -> Json:
    """POST /v1/payment_methods/{id}: metadata and billing details."""
    params = call.params
    method = call.state.get("payment_method", call.ids[0], call.account)
    method["metadata"] = params.metadata(method["metadata"])
    _fill_billing(call, method)
    return call.state.put("payment_method", method, call.account)


def attach_to(state: PspState, method_id: str, customer_id: str, account: str) -> Json:
    """Attach a method to a customer. Raises CardProblem for the cards that decline it."""
    method = find_method(state, method_id, account)
    card = card_of(method)
    if method["customer"] not in {None, customer_id}:
        raise PspProblem("This PaymentMethod is attached to another Customer already.")
    if method.get("_spent") and method["customer"] is None:
        raise PspProblem(
            "This PaymentMethod has paid without a Customer, or was detached from one, and may not be used "
            "again."
        )
    if not card.attachable and card.decline is not None:
        raise CardProblem(
            card.decline.message, code=card.decline.code, decline_code=card.decline.decline_code
        )
    method["customer"] = customer_id
    state.put("payment_method", method, account)
    state.emit("payment_method.attached", method, account)
    return method


@takes("customer")
def attach(call: PspApiRequest) -> Json:
    """POST /v1/payment_methods/{id}/attach."""
    params = call.params
    customer = living_customer(call, params.required_text("customer"))
    return attach_to(call.state, call.ids[0], customer["id"], call.account)


@takes()
def detach(call: PspApiRequest) -> Json:
    """POST /v1/payment_methods/{id}/detach: the method can never be used again."""
    method = call.state.get("payment_method", call.ids[0], call.account)
    if method["customer"] is None:
        raise PspProblem("This PaymentMethod is attached to no Customer.")
    method["customer"], method["_spent"] = None, True
    call.state.put("payment_method", method, call.account)
    call.state.emit("payment_method.detached", method, call.account)
    return method


@takes(*PAGING, "customer", "type")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/payment_methods?customer=..."""
    customer = call.params.text("customer")
    if customer is None:
        raise ParameterProblem(
            "Missing required param: customer.", code="parameter_missing", param="customer"
        )
    return page(call, "payment_method", lookup="customer", value=customer)


@takes(*PAGING, "type")
def list_of_customer(call: PspApiRequest) -> Json:
    """GET /v1/customers/{id}/payment_methods."""
    customer = living_customer(call, call.ids[0], param="customer", status=404)
    return page(call, "payment_method", lookup="customer", value=customer["id"])


@takes()
def retrieve_of_customer(call: PspApiRequest) -> Json:
    """GET /v1/customers/{id}/payment_methods/{method}."""
    method = call.state.get("payment_method", call.ids[1], call.account)
    if method["customer"] != call.ids[0]:
        raise missing("payment_method", call.ids[1])
    return method
