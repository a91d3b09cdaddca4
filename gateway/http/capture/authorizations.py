"""Authorizations: secure a session's payment, look at it, give it back.

Owns: the wire form of the order. Must not know how a hold is made.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.models import EvseId, Line, ListQuery, MetadataIn, PositiveMinor, Token, before
from gateway.http.problems import FieldError, ProblemError
from gateway.payments.orders import (
    AuthorizationView,
    AuthorizeOrder,
    Estimate,
    PartnerAccount,
    PspMethod,
)
from gateway.payments.psp import CARD_PRESENT
from gateway.payments.public import authorization_object

_CREATED: Final = 201
_ACCEPTED: Final = 202
_UNDECIDED: Final = frozenset(
    {objects.AuthorizationState.OUTCOME_UNKNOWN, objects.AuthorizationState.REQUIRES_AUTHORIZATION}
)


class PspPaymentMethodIn(WireModel):
    """A payment method tokenized at the PSP; never card data."""

    type: Literal["psp_payment_method"]
    payment_method: Token = Field(examples=["pm_card_visa"])
    customer: Token | None = Field(None, examples=["cus_123"])
    off_session: bool = Field(default=False, description="merchant-initiated under a stored mandate")


class CardPresentIn(WireModel):
    """A card that is about to be presented to a payment terminal."""

    type: Literal["card_present"]


class PartnerAccountIn(WireModel):
    """The caller's funded account."""

    type: Literal["partner_account"]


class EstimateIn(WireModel):
    """What the driver is expected to take; the hold is the tariff's price for it."""

    energy_wh: int = Field(ge=0, le=10_000_000, examples=[40_000])
    duration_s: int = Field(ge=0, le=2_592_000, examples=[3600])


class AuthorizationIn(WireModel):
    """An order to secure the payment of a session about to start."""

    evse_id: EvseId
    rail: Literal["card", "app"]
    payment: Annotated[PspPaymentMethodIn | CardPresentIn | PartnerAccountIn, Field(discriminator="type")]
    session_ref: Line | None = Field(None, description="your or the CPO's name for the session")
    estimate: EstimateIn | None = None
    amount: PositiveMinor | None = Field(
        None, description="hold exactly this, instead of the estimate's price"
    )
    metadata: MetadataIn = Field(default_factory=dict)


class IncrementIn(WireModel):
    """How high the hold shall be, in all."""

    amount: PositiveMinor


class ReleaseIn(WireModel):
    """Nothing to say."""


async def create(call: Call) -> Answer:
    """Hold the session's estimated cost on the payment given."""
    view = await call.services.payments.authorize(_order(call, call.body))
    shown = _shown(view)
    if shown.state is objects.AuthorizationState.FAILED:
        raise ProblemError(
            problems.CARD_DECLINED,
            f"The payment method was declined: {shown.decline_code}.",
            extra={
                "decline_code": shown.decline_code,
                "authorization": shown.id,
                "session": shown.session,
            },
        )
    status = _ACCEPTED if shown.state in _UNDECIDED else _CREATED
    return Answer(
        body=shown,
        status=status,
        version=shown.version,
        headers={"Location": f"/v1/authorizations/{shown.id}"},
        keep=status == _CREATED,  # undecided is no answer yet: the same request again looks once more
    )


async def get(call: Call) -> Answer:
    """One authorization, as it stands."""
    view = await call.services.payments.get_authorization(
        party_id=call.caller.party_id,
        authorization_id=call.path_id("id", "auth"),
        admin=call.caller.admin,
    )
    shown = _shown(view)
    return Answer(body=shown, version=shown.version)


async def list_all(call: Call) -> Answer:
    """The caller's authorizations, newest first."""
    views = await call.services.payments.list_authorizations(
        party_id=call.caller.party_id,
        admin=call.caller.admin,
        limit=call.query.limit + 1,
        before=before(call.query, "auth"),
    )
    return Answer(body=page([_shown(view) for view in views], limit=call.query.limit))


async def increment(call: Call) -> Answer:
    """Raise the hold, where the PSP and the issuer allow it."""
    view = await call.services.payments.increment(
        party_id=call.caller.party_id,
        authorization_id=call.path_id("id", "auth"),
        amount_minor=call.body.amount,
        expected_version=call.expected_version,
        admin=call.caller.admin,
    )
    shown = _shown(view)
    return Answer(body=shown, version=shown.version)


async def release(call: Call) -> Answer:
    """Give the hold back whole; nothing is captured."""
    view = await call.services.payments.release(
        party_id=call.caller.party_id,
        authorization_id=call.path_id("id", "auth"),
        expected_version=call.expected_version,
        admin=call.caller.admin,
    )
    shown = _shown(view)
    return Answer(body=shown, version=shown.version)


def _shown(view: AuthorizationView) -> objects.Authorization:
    return authorization_object(
        view.authorization,
        view.session,
        tariff_version=view.tariff_version or None,
        tariff_display=view.tariff_display,
    )


def _payment(body: AuthorizationIn) -> PspMethod | PartnerAccount:
    given = body.payment
    if isinstance(given, PspPaymentMethodIn):
        return PspMethod(
            payment_method=given.payment_method, customer=given.customer, off_session=given.off_session
        )
    if isinstance(given, CardPresentIn):
        return PspMethod(payment_method=CARD_PRESENT)
    if body.rail == "card":
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            "The card rail needs a payment method of the PSP.",
            errors=[FieldError(pointer="/payment/type", expected="psp_payment_method for rail card")],
        )
    return PartnerAccount()


def _order(call: Call, body: AuthorizationIn) -> AuthorizeOrder:
    given = body.estimate
    estimate = None if given is None else Estimate(energy_wh=given.energy_wh, duration_s=given.duration_s)
    return AuthorizeOrder(
        authorization_id=call.resource_id,
        party_id=call.caller.party_id,
        evse_id=body.evse_id,
        rail=body.rail,
        payment=_payment(body),
        session_ref=body.session_ref,
        estimate=estimate,
        amount_minor=body.amount,
        metadata=body.metadata,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/authorizations",
        operation="createAuthorization",
        summary="Authorize a session",
        description="Freezes the public tariff in force at the EVSE and secures the estimated cost. "
        "201: decided, look at `state`. 202: the PSP has not answered yet; wait for a webhook or poll. "
        "402: declined.",
        tag="Authorizations",
        scope=Scope.CAPTURE,
        handler=create,
        body=AuthorizationIn,
        answers={201: objects.Authorization, 202: objects.Authorization},
        key_rule=KeyRule.REQUIRED,
        problems=(
            problems.CARD_DECLINED,
            problems.ACCOUNT_LIMIT_EXCEEDED,
            problems.EVSE_NOT_FOUND,
            problems.TARIFF_MISSING,
            problems.SESSION_ALREADY_AUTHORIZED,
        ),
    ),
    Endpoint(
        method="GET",
        path="/v1/authorizations",
        operation="listAuthorizations",
        summary="List authorizations",
        tag="Authorizations",
        scope=Scope.CAPTURE,
        handler=list_all,
        query=ListQuery,
        answers={200: objects.Authorization},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/authorizations/{id}",
        operation="getAuthorization",
        summary="Get an authorization",
        tag="Authorizations",
        scope=Scope.CAPTURE,
        handler=get,
        answers={200: objects.Authorization},
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="POST",
        path="/v1/authorizations/{id}/increment",
        operation="incrementAuthorization",
        summary="Increment an authorization",
        description="Raises the hold to `amount` in all, as the running cost nears it. "
        "A hold that is as high already stays as it is. "
        "409 `state_conflict` when the issuer refuses: stop the session at `cost_limit`.",
        tag="Authorizations",
        scope=Scope.CAPTURE,
        handler=increment,
        body=IncrementIn,
        answers={200: objects.Authorization},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT, problems.VERSION_CONFLICT),
    ),
    Endpoint(
        method="POST",
        path="/v1/authorizations/{id}/release",
        operation="releaseAuthorization",
        summary="Release an authorization",
        description="Gives the hold back whole, for a session that did not take place. "
        "Send If-Match with the ETag you read to release only what you saw.",
        tag="Authorizations",
        scope=Scope.CAPTURE,
        handler=release,
        body=ReleaseIn,
        body_required=False,
        answers={200: objects.Authorization},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT, problems.VERSION_CONFLICT),
    ),
)
