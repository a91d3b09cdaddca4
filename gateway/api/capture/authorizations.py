"""Authorizations: secure a session's payment, read it, raise it, release it.

Owns: the wire form of a request. Must not know how a hold is made.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from clearing.captured_session import AuthorizationMethod
from gateway.api import problems
from gateway.api.capture.buyers import BuyerId
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, KeyedWork, WireModel, page
from gateway.api.field_types import (
    NO_STORE,
    CustomerToken,
    Email,
    EmptyBody,
    EvseId,
    Line,
    MetadataIn,
    PaymentFilterQuery,
    PaymentMethodToken,
    PositiveMinor,
    ReturnUrl,
    before,
    metadata_pair,
)
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.ids import format_id
from gateway.payments.presenters import authorization_object
from gateway.payments.psp.port import (
    CARD_PRESENT,
    INVALID_AMOUNT,
    INVALID_CUSTOMER,
    INVALID_PAYMENT_METHOD,
    PSP_CONFIGURATION,
)
from gateway.payments.requests import (
    AuthorizationFilter,
    AuthorizationRequest,
    ChargingProfile,
    Estimate,
    PartnerAccount,
    PspMethod,
    SavedUse,
    TariffChoice,
)
from gateway.payments.views import AuthorizationView
from gateway.schemas import api_schemas

_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_UNDECIDED: Final = frozenset(
    {api_schemas.AuthorizationState.OUTCOME_UNKNOWN, api_schemas.AuthorizationState.REQUIRES_AUTHORIZATION}
)
_POINTERS: Final = {
    INVALID_PAYMENT_METHOD: "/payment/payment_method",
    INVALID_CUSTOMER: "/payment/customer",
    INVALID_AMOUNT: "/amount",
}
_EXPECTED: Final = {
    INVALID_PAYMENT_METHOD: "a payment method that exists at the PSP and belongs to the customer named",
    INVALID_CUSTOMER: "the customer at the PSP that the payment method belongs to",
    INVALID_AMOUNT: "an amount that the PSP can charge in the tariff's currency",
}
_RETRY_LATER: Final = {"Retry-After": "60"}


class SaveMethodBody(WireModel):
    """Save the payment method with the customer, with the driver's consent."""

    usage: Literal["off_session", "on_session"] = Field(
        description="off_session: you will charge while the driver is away"
    )
    consent: Line = Field(
        description="your record of the driver's consent, such as the version and time of the text agreed to",
        examples=["terms-7 accepted 2026-11-20T09:14:03Z"],
    )


class PspPaymentMethodBody(WireModel):
    """A payment method tokenized at the PSP; never card data."""

    type: Literal["psp_payment_method"]
    payment_method: PaymentMethodToken = Field(examples=["pm_card_visa"])
    customer: CustomerToken | None = Field(None, examples=["cus_123"])
    off_session: bool = Field(default=False, description="merchant-initiated under a stored mandate")
    return_url: ReturnUrl | None = Field(
        None, description="where the driver returns to after a challenge; send it while the driver is there"
    )
    save: SaveMethodBody | None = Field(
        None,
        description="save the payment method for later; needs `customer` and a driver who is there. It is "
        "among the customer's payment methods once the hold is authorized",
    )

    @model_validator(mode="after")
    def _saves_for_a_driver_who_is_there(self) -> Self:
        if self.save is not None and (self.customer is None or self.off_session):
            raise ValueError("save: name the customer, and leave off_session out: the driver has to be there")
        return self


class CardPresentBody(WireModel):
    """A card that is about to be presented to a payment terminal."""

    type: Literal["card_present"]


class PartnerAccountBody(WireModel):
    """The caller's funded account."""

    type: Literal["partner_account"]


class EstimateBody(WireModel):
    """The expected energy and duration. The hold is their price by the tariff."""

    energy_wh: int = Field(ge=0, le=10_000_000, examples=[40_000])
    duration_s: int = Field(ge=0, le=2_592_000, examples=[3600])


class AuthorizationBody(WireModel):
    """A request to secure the payment of a session about to start."""

    evse_id: EvseId
    method: Literal["card", "app"]
    payment: Annotated[
        PspPaymentMethodBody | CardPresentBody | PartnerAccountBody, Field(discriminator="type")
    ]
    profile: ChargingProfile | None = Field(
        None, description="the charging preference that the driver asked for, where the CPO prices it apart"
    )
    session_ref: Line | None = Field(None, description="your or the CPO's name for the session")
    estimate: EstimateBody | None = None
    amount: PositiveMinor | None = Field(
        None, description="hold exactly this, instead of the estimate's price"
    )
    receipt_email: Email | None = Field(None, description="where the PSP sends the driver a receipt")
    buyer: BuyerId | None = Field(None, description="the business in whose name the invoice is written")
    allow_repeat: bool = Field(
        default=False,
        description="hold again although the same payment method was authorized at this EVSE a moment ago",
    )
    metadata: MetadataIn = Field(default_factory=dict)


class IncrementBody(WireModel):
    """The new total amount of the hold."""

    amount: PositiveMinor


class AuthorizationsQuery(PaymentFilterQuery):
    """A page of authorizations; all filters in the query must match. Amounts are what is held."""

    state: api_schemas.AuthorizationState | None = None
    method: AuthorizationMethod | None = Field(None, description="only authorizations by this method")


async def create(call: ApiRequest) -> ApiResponse:
    """Hold the session's estimated cost on the means of payment."""
    return _created(call, await _authorize(call))


async def _authorize(call: ApiRequest) -> AuthorizationView:
    return await call.services.payments.authorize(_order(call, call.body), key=call.key)


def _created(call: ApiRequest, view: AuthorizationView) -> ApiResponse:
    shown = _shown(view)
    if shown.state is api_schemas.AuthorizationState.FAILED:
        raise _failed(call, shown)
    repeated = call.body.session_ref is None and shown.id != format_id("auth", call.resource_id)
    status = _OK if repeated else _CREATED
    if shown.state in _UNDECIDED:
        status = _ACCEPTED
    acts = shown.state is api_schemas.AuthorizationState.REQUIRES_ACTION
    return ApiResponse(
        body=shown,
        status=status,
        version=shown.version,
        headers={"Location": f"/v1/authorizations/{shown.id}", **(NO_STORE if acts else {})},
        # The outcome is not known yet, or the answer holds a client secret: a repeat looks again.
        keep=status != _ACCEPTED and not acts,
    )


def _failed(call: ApiRequest, shown: api_schemas.AuthorizationSchema) -> ProblemError:
    """The answer to a hold that the PSP did not make: the caller's value, our configuration, or the card."""
    code = shown.decline_code or ""
    if code in _POINTERS:
        return ProblemError(
            problems.PAYMENT_METHOD_INVALID,
            f"The payment service provider does not take the value of {_POINTERS[code]}.",
            errors=[FieldError(pointer=_POINTERS[code], expected=_EXPECTED[code])],
        )
    if code == PSP_CONFIGURATION:
        return ProblemError(
            problems.PSP_CONFIGURATION,
            "The payment service provider refuses our requests at the moment.",
            headers=_RETRY_LATER,
        )
    advice = call.services.payments.psp.rules.advice(code)
    return ProblemError(
        problems.CARD_DECLINED,
        f"The payment method was declined: {code}.",
        extra={
            "decline_code": shown.decline_code,
            "advice": advice.value,
            "authorization": shown.id,
            "session": shown.session,
        },
    )


async def get(call: ApiRequest) -> ApiResponse:
    """One authorization."""
    view = await call.services.payments.get_authorization(
        party_id=call.caller.party_id,
        authorization_id=call.path_id("id", "auth"),
        admin=call.caller.admin,
        with_action=True,
    )
    shown = _shown(view)
    return ApiResponse(body=shown, version=shown.version, headers=NO_STORE if view.action is not None else {})


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's authorizations, newest first."""
    query: AuthorizationsQuery = call.query
    views = await call.services.payments.lists.list_authorizations(
        party_id=call.caller.party_id,
        admin=call.caller.admin,
        wanted=AuthorizationFilter(
            state=query.state.value if query.state else None,
            method=query.method.value if query.method else None,
            evse_id=query.evse_id,
            created_from=query.created_from,
            created_before=query.created_before,
            amount_min_minor=query.amount_min,
            amount_max_minor=query.amount_max,
            currency=query.currency,
            decline_code=query.decline_code,
            metadata=metadata_pair(query.metadata),
        ),
        limit=call.query.limit + 1,
        before=before(call.query, "auth"),
    )
    return ApiResponse(body=page([_shown(view) for view in views], limit=call.query.limit))


async def increment(call: ApiRequest) -> ApiResponse:
    """Raise the hold, where the PSP and the issuer allow it."""
    view = await call.services.payments.increment(
        party_id=call.caller.party_id,
        authorization_id=call.path_id("id", "auth"),
        amount_minor=call.body.amount,
        expected_version=call.expected_version,
        admin=call.caller.admin,
    )
    shown = _shown(view)
    return ApiResponse(body=shown, version=shown.version)


async def release(call: ApiRequest) -> ApiResponse:
    """Release the whole hold; nothing is captured."""
    view = await call.services.payments.release(
        party_id=call.caller.party_id,
        authorization_id=call.path_id("id", "auth"),
        expected_version=call.expected_version,
        admin=call.caller.admin,
    )
    shown = _shown(view)
    return ApiResponse(body=shown, version=shown.version)


def _shown(view: AuthorizationView) -> api_schemas.AuthorizationSchema:
    return authorization_object(view)


def _payment(body: AuthorizationBody) -> PspMethod | PartnerAccount:
    given = body.payment
    if isinstance(given, PspPaymentMethodBody):
        return PspMethod(
            payment_method=given.payment_method,
            customer=given.customer,
            off_session=given.off_session,
            return_url=given.return_url,
            save=None if given.save is None else SavedUse(usage=given.save.usage, consent=given.save.consent),
        )
    if isinstance(given, CardPresentBody):
        return PspMethod(payment_method=CARD_PRESENT)
    if body.method == "card":
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            "The card method needs a payment method of the PSP.",
            errors=[FieldError(pointer="/payment/type", expected="psp_payment_method for method card")],
        )
    return PartnerAccount()


def _order(call: ApiRequest, body: AuthorizationBody) -> AuthorizationRequest:
    given = body.estimate
    estimate = None if given is None else Estimate(energy_wh=given.energy_wh, duration_s=given.duration_s)
    return AuthorizationRequest(
        authorization_id=call.resource_id,
        party_id=call.caller.party_id,
        evse_id=body.evse_id,
        method=body.method,
        payment=_payment(body),
        session_ref=body.session_ref,
        tariff=TariffChoice.of_method(body.method, body.profile),
        estimate=estimate,
        amount_minor=body.amount,
        receipt_email=body.receipt_email,
        buyer_id=body.buyer,
        # With a reference the session itself is held once. An account pays for every driver of the partner,
        # and which card a terminal reads is not known yet: neither tells one driver from the next.
        reuses_recent=body.session_ref is None
        and not body.allow_repeat
        and isinstance(body.payment, PspPaymentMethodBody),
        metadata=body.metadata,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/authorizations",
        operation="createAuthorization",
        summary="Authorize a session",
        description=(
            "Freezes the public tariff in force at the EVSE and secures the estimated cost. 201: the PSP has "
            "answered; `state` has the result. 202: the PSP has not answered yet; wait for a webhook or poll."
            " 402: declined; `advice` says what helps. 422: the PSP does not take the payment method, "
            "customer or amount. 503 `psp_configuration`: our own mistake. 200: a double tap; the same "
            "payment method was authorized at this EVSE a moment ago, and that authorization is answered "
            "(`PUT /v1/parties/{id}/double-tap-policy`)."
        ),
        tag="Authorizations",
        handler=create,
        keyed_work=KeyedWork(perform=_authorize, answer=_created),
        body=AuthorizationBody,
        answers={
            200: api_schemas.AuthorizationSchema,
            201: api_schemas.AuthorizationSchema,
            202: api_schemas.AuthorizationSchema,
        },
        etag=True,
        located=True,
        key_rule=KeyRule.REQUIRED,
        problems=(
            problems.CARD_DECLINED,
            problems.PAYMENT_METHOD_INVALID,
            problems.PSP_CONFIGURATION,
            problems.ACCOUNT_LIMIT_EXCEEDED,
            problems.EVSE_NOT_FOUND,
            problems.NOT_FOUND,
            problems.TARIFF_MISSING,
            problems.SESSION_ALREADY_AUTHORIZED,
        ),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/authorizations",
        operation="listAuthorizations",
        summary="List authorizations",
        tag="Authorizations",
        handler=list_all,
        query=AuthorizationsQuery,
        answers={200: api_schemas.AuthorizationSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/authorizations/{id}",
        operation="getAuthorization",
        summary="Get an authorization",
        tag="Authorizations",
        handler=get,
        answers={200: api_schemas.AuthorizationSchema},
        etag=True,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/authorizations/{id}/increment",
        operation="incrementAuthorization",
        summary="Increment an authorization",
        description=(
            "Raises the hold to the total `amount`. A hold that is already that high does not change. 409 "
            "`state_conflict` if the issuer rejects the increment: stop the session at `cost_limit`."
        ),
        tag="Authorizations",
        handler=increment,
        body=IncrementBody,
        answers={200: api_schemas.AuthorizationSchema},
        etag=True,
        key_rule=KeyRule.REQUIRED,
        problems=(
            problems.NOT_FOUND,
            problems.STATE_CONFLICT,
            problems.OUTCOME_PENDING,
            problems.VERSION_CONFLICT,
        ),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/authorizations/{id}/release",
        operation="releaseAuthorization",
        summary="Release an authorization",
        description=(
            "Releases the whole hold, for a session that did not take place. Send If-Match with the ETag to "
            "release only the version that you have read. Where the operator is connected by OCPI or opened "
            "the session by Plug & Charge, the payer releases nothing once the operator reports that the "
            "session runs, or where it had begun before its payment was secured; nor while usage that the "
            "operator stated waits for a decision (409)."
        ),
        tag="Authorizations",
        handler=release,
        body=EmptyBody,
        body_required=False,
        answers={200: api_schemas.AuthorizationSchema},
        etag=True,
        key_rule=KeyRule.REQUIRED,
        problems=(
            problems.NOT_FOUND,
            problems.STATE_CONFLICT,
            problems.OUTCOME_PENDING,
            problems.VERSION_CONFLICT,
        ),
    ),
)
