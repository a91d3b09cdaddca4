"""Setups: the driver's app and the PSP save a payment method; and what the app needs for that.

Owns: the wire form. Must not know how a card is entered. An answer that carries a client secret is never
kept: a repeat of the request reads the secret anew.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.capture.customers import token
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import NO_STORE, EmptyBody, MetadataIn, ReturnUrl
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.payments.presenters import setup_object
from gateway.payments.views import SetupView
from gateway.schemas import api_schemas, payers

_CREATED: Final = 201


class SetupBody(WireModel):
    """How the payment method will be used, and where the driver returns to."""

    return_url: ReturnUrl
    usage: Literal["off_session", "on_session"] = Field(
        "off_session",
        description="off_session: you will charge while the driver is away, so a mandate is asked for",
    )
    metadata: MetadataIn = Field(default_factory=dict)


class ClientConfigurationSchema(api_schemas.PublicSchema):
    """What a driver's app needs to speak to the PSP; nothing of it is secret."""

    object: Literal["client_configuration"] = "client_configuration"
    publishable_key: str = Field(description="the key that the app shows the PSP")
    script_url: str = Field(description="the PSP's script, which draws the form for cards and wallets")
    payment_method_types: list[str] = Field(description="what an app may offer; all of it succeeds at once")


async def configuration(call: ApiRequest) -> ApiResponse:
    """The publishable key and the PSP's script."""
    payers = call.services.payments.psp.payers
    if payers.publishable_key is None:
        raise ProblemError(
            problems.UNAVAILABLE,
            "No publishable key of the PSP is configured: the platform sets NETWORKCORE_PSP_PUBLISHABLE_KEY.",
        )
    return ApiResponse(
        body=ClientConfigurationSchema(
            publishable_key=payers.publishable_key,
            script_url=payers.script_url,
            payment_method_types=["card"],
        )
    )


async def create(call: ApiRequest) -> ApiResponse:
    """Open a setup at the PSP."""
    body: SetupBody = call.body
    view = await call.services.payments.payers.open_setup(
        setup_id=call.resource_id,
        party_id=call.own_party,
        psp_customer=token(call, "id"),
        off_session=body.usage == "off_session",
        return_url=body.return_url,
        metadata=body.metadata,
    )
    return _answer(call, view, status=_CREATED)


async def get(call: ApiRequest) -> ApiResponse:
    """One setup as the PSP has it now."""
    return _answer(
        call,
        await call.services.payments.payers.get_setup(
            party_id=call.own_party, setup_id=call.path_id("id", "setup")
        ),
    )


async def cancel(call: ApiRequest) -> ApiResponse:
    """End a setup that the driver has not finished."""
    return _answer(
        call,
        await call.services.payments.payers.cancel_setup(
            party_id=call.own_party, setup_id=call.path_id("id", "setup")
        ),
    )


def _answer(call: ApiRequest, view: SetupView, *, status: int = 200) -> ApiResponse:
    shown = setup_object(view, publishable_key=call.services.payments.psp.payers.publishable_key)
    location = {"Location": f"/v1/setups/{shown.id}"} if status == _CREATED else {}
    return ApiResponse(
        body=shown,
        status=status,
        version=shown.version,
        headers={**NO_STORE, **location},
        keep=view.client_secret is None,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/client-configuration",
        operation="getClientConfiguration",
        summary="Get the client configuration",
        description="What your app needs to load the PSP's form for cards and wallets.",
        tag="Payment methods",
        handler=configuration,
        answers={200: ClientConfigurationSchema},
        problems=(problems.UNAVAILABLE,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/customers/{id}/setups",
        operation="createSetup",
        summary="Create a setup",
        description="Give `client_secret` and `publishable_key` to the driver's app: the PSP's form in it "
        "takes the card or wallet and confirms the setup. Then the driver may have to confirm it with the "
        "bank and returns to `return_url`. That return proves nothing: read the setup, or wait for "
        "`setup.succeeded`.",
        tag="Payment methods",
        handler=create,
        body=SetupBody,
        answers={201: payers.SetupSchema},
        etag=True,
        located=True,
        key_rule=KeyRule.REQUIRED,
        problems=(
            problems.NOT_FOUND,
            problems.PAYMENT_METHOD_INVALID,
            problems.PSP_CONFIGURATION,
            problems.UNAVAILABLE,
        ),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/setups/{id}",
        operation="getSetup",
        summary="Get a setup",
        tag="Payment methods",
        handler=get,
        answers={200: payers.SetupSchema},
        etag=True,
        problems=(problems.NOT_FOUND, problems.PSP_CONFIGURATION, problems.UNAVAILABLE),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/setups/{id}/cancel",
        operation="cancelSetup",
        summary="Cancel a setup",
        description="Ends a setup that the driver has not finished; its client secret is worthless then.",
        tag="Payment methods",
        handler=cancel,
        body=EmptyBody,
        body_required=False,
        answers={200: payers.SetupSchema},
        etag=True,
        key_rule=KeyRule.OPTIONAL,
        problems=(
            problems.NOT_FOUND,
            problems.STATE_CONFLICT,
            problems.PSP_CONFIGURATION,
            problems.UNAVAILABLE,
        ),
    ),
)
