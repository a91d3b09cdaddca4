"""Customers and their saved payment methods: create, list, read, remove.

Owns: the wire form. Must not know how the PSP keeps a card. Ids are the PSP's tokens, because the driver's
app gets the same ones from the PSP.
"""

import re
from typing import Final

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page
from gateway.api.field_types import MAX_PAGE, CustomerToken, Line, MetadataIn, PaymentMethodToken
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.payments.presenters import customer_object, saved_method_object
from gateway.schemas import payers

_CREATED: Final = 201
_NO_CONTENT: Final = 204
_TOKEN: Final = re.compile(r"[a-z]+_[A-Za-z0-9_]{1,252}")


class CustomerBody(WireModel):
    """A driver of yours. Send no personal data: your own name for the driver is enough."""

    reference: Line | None = Field(None, description="your own name of the driver", examples=["driver-4711"])
    metadata: MetadataIn = Field(default_factory=dict)


class CustomersQuery(QueryModel):
    """A page of customers, newest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: CustomerToken | None = Field(None, description="next_cursor of the page before")
    reference: Line | None = Field(None, description="your own name of the driver")


class PaymentMethodsQuery(QueryModel):
    """A page of saved payment methods, newest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: PaymentMethodToken | None = Field(None, description="next_cursor of the page before")


async def create(call: ApiRequest) -> ApiResponse:
    """Create a customer at the PSP."""
    customer = await call.services.payments.payers.create_customer(
        customer_id=call.resource_id,
        party_id=call.caller.party_id,
        reference=call.body.reference,
        metadata=call.body.metadata,
    )
    shown = customer_object(customer)
    return ApiResponse(body=shown, status=_CREATED, headers={"Location": f"/v1/customers/{shown.id}"})


async def get(call: ApiRequest) -> ApiResponse:
    """One customer."""
    customer = await call.services.payments.payers.get_customer(
        party_id=call.own_party, psp_customer=token(call, "id")
    )
    return ApiResponse(body=customer_object(customer))


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's customers, newest first."""
    query: CustomersQuery = call.query
    found = await call.services.payments.payers.list_customers(
        party_id=call.own_party,
        reference=query.reference,
        before=query.cursor,
        limit=query.limit + 1,
    )
    return ApiResponse(body=page([customer_object(one) for one in found], limit=query.limit))


async def list_methods(call: ApiRequest) -> ApiResponse:
    """A customer's saved payment methods, newest first."""
    query: PaymentMethodsQuery = call.query
    found = await call.services.payments.payers.list_saved_methods(
        party_id=call.own_party,
        psp_customer=token(call, "id"),
        before=query.cursor,
        limit=query.limit + 1,
    )
    return ApiResponse(body=page([saved_method_object(one) for one in found], limit=query.limit))


async def get_method(call: ApiRequest) -> ApiResponse:
    """One saved payment method."""
    method = await call.services.payments.payers.get_saved_method(
        party_id=call.own_party, psp_method=token(call, "id")
    )
    return ApiResponse(body=saved_method_object(method))


async def remove_method(call: ApiRequest) -> ApiResponse:
    """Make a saved payment method unusable for good."""
    await call.services.payments.payers.remove_saved_method(
        party_id=call.own_party, psp_method=token(call, "id")
    )
    return ApiResponse(body=None, status=_NO_CONTENT)


def token(call: ApiRequest, name: str) -> str:
    """A token of the PSP in the path. Raises ProblemError `not_found` for any other text."""
    text = call.path[name]
    if _TOKEN.fullmatch(text) is None:
        raise ProblemError(problems.NOT_FOUND, "That is no id of the PSP.")
    return text


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/customers",
        operation="createCustomer",
        summary="Create a customer",
        description="A customer is one of your drivers, whose payment methods the PSP may save. It belongs "
        "to your party: for every other party it does not exist.",
        tag="Payment methods",
        handler=create,
        body=CustomerBody,
        answers={201: payers.CustomerSchema},
        located=True,
        key_rule=KeyRule.REQUIRED,
        problems=(problems.PSP_CONFIGURATION, problems.UNAVAILABLE),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/customers",
        operation="listCustomers",
        summary="List customers",
        tag="Payment methods",
        handler=list_all,
        query=CustomersQuery,
        answers={200: payers.CustomerSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/customers/{id}",
        operation="getCustomer",
        summary="Get a customer",
        tag="Payment methods",
        handler=get,
        answers={200: payers.CustomerSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/customers/{id}/payment-methods",
        operation="listPaymentMethods",
        summary="List a customer's payment methods",
        tag="Payment methods",
        handler=list_methods,
        query=PaymentMethodsQuery,
        answers={200: payers.PaymentMethodSchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/payment-methods/{id}",
        operation="getPaymentMethod",
        summary="Get a payment method",
        tag="Payment methods",
        handler=get_method,
        answers={200: payers.PaymentMethodSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="DELETE",
        path="/v1/payment-methods/{id}",
        operation="removePaymentMethod",
        summary="Remove a payment method",
        description="It can't be charged any more, also where a mandate was given. Sessions that it has "
        "secured are captured all the same.",
        tag="Payment methods",
        handler=remove_method,
        answers={204: None},
        problems=(problems.NOT_FOUND, problems.PSP_CONFIGURATION, problems.UNAVAILABLE),
    ),
)
