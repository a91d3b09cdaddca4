"""Customers: create, retrieve, update, delete, list, search, and the payment methods they own."""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.ownership import living_customer
from sandbox.stripe.parameters import ADDRESS, VALUE, takes
from sandbox.stripe.payment_methods import attach_to
from sandbox.stripe.problems import Json

_TEXTS: Final = ("name", "email", "phone", "description")
_INVOICES: Final = {"default_payment_method": VALUE}


@takes(*_TEXTS, "metadata", "payment_method", address=ADDRESS, invoice_settings=_INVOICES)
def create(call: PspApiRequest) -> Json:
    """POST /v1/customers."""
    params = call.params
    state = call.state
    customer: Json = {
        "id": state.new_id("cus_", 14),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": state.now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": state.new_id("", 8).upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": params.metadata(),
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    _fill(call, customer)
    state.put("customer", customer, call.account)
    method_id = params.text("payment_method")
    if method_id is not None:
        attach_to(state, method_id, customer["id"], call.account)
    state.emit("customer.created", customer, call.account)
    return customer


def _fill(call: PspApiRequest, customer: Json) -> None:
    for name in _TEXTS:
        if name in call.params:
            customer[name] = call.params.text(name, longest=350 if name == "description" else 512)
    if "address" in call.params:
        address = call.params.section("address")
        customer["address"] = {
            name: address.text(name) for name in ("city", "country", "line1", "line2", "postal_code", "state")
        }
    if "invoice_settings" in call.params:
        default = call.params.section("invoice_settings").text("default_payment_method")
        customer["invoice_settings"] = {**customer["invoice_settings"], "default_payment_method": default}


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/customers/{id}; a deleted one answers with `deleted: true`."""
    return call.state.get("customer", call.ids[0], call.account)


@takes(*_TEXTS, "metadata", address=ADDRESS, invoice_settings=_INVOICES)
def update(call: PspApiRequest) -> Json:
    """POST /v1/customers/{id}."""
    params = call.params
    customer = living_customer(call, call.ids[0], param="id", status=404)
    customer["metadata"] = params.metadata(customer["metadata"])
    _fill(call, customer)
    call.state.put("customer", customer, call.account)
    call.state.emit("customer.updated", customer, call.account)
    return customer


@takes()
def delete(call: PspApiRequest) -> Json:
    """DELETE /v1/customers/{id}: its payment methods are detached."""
    customer = living_customer(call, call.ids[0], param="id", status=404)
    stub: Json = {"id": customer["id"], "object": "customer", "deleted": True, "created": customer["created"]}
    for method in call.state.records.scan(
        "payment_method", call.account, field="customer", values=(customer["id"],)
    ):
        if method["customer"] == customer["id"]:
            call.state.put("payment_method", {**method, "customer": None, "_spent": True}, call.account)
    call.state.put("customer", stub, call.account)
    call.state.emit("customer.deleted", customer, call.account)
    return stub


@takes(*PAGING, "email", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/customers, by email or created."""
    return page(
        call,
        "customer",
        lookup="email",
        value=call.params.text("email"),
        keep=lambda body: "deleted" not in body,
    )
