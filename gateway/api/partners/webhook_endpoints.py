"""Webhook endpoints: where a party receives its events.

Owns: the wire form. Must not know how a delivery is made. A signing secret is
shown once, in the answer that made it.
"""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway import api_schemas, outbound
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import EmptyBody, ListQuery, before
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from gateway.webhooks.delivery_results import endpoint_object
from gateway.webhooks.event_filter import EventFilter
from gateway.webhooks.event_service import event_object
from gateway.webhooks.events import EventType

_CREATED: Final = 201
_ACCEPTED: Final = 202
_NO_CONTENT: Final = 204

Url = Annotated[
    str, Field(min_length=8, max_length=2048, examples=["https://partner.example/hooks/networkcore"])
]
Subscription = Annotated[str, Field(pattern=r"^(\*|[a-z_]+\.[a-z_]+)$")]
Subscriptions = Annotated[
    list[Subscription], Field(min_length=1, max_length=64, description="event types, or * for all")
]


_Entries = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]], Field(default_factory=list, max_length=100)
]


class EventFilterBody(WireModel):
    """Which events the endpoint receives; what is left out allows all, what is given must all match."""

    sessions: _Entries = Field(description="events of these sessions")
    evse_prefixes: _Entries = Field(
        description="events of sessions at EVSEs whose id begins like one of these"
    )
    locations: _Entries = Field(description="events of sessions at these locations")
    metadata: dict[str, str] = Field(
        default_factory=dict, max_length=10, description="events of objects or sessions with these values"
    )


class WebhookEndpointBody(WireModel):
    """The URL, the event types and the filter of an endpoint."""

    url: Url
    events: Subscriptions = Field(default_factory=lambda: ["*"])
    filter: EventFilterBody | None = None


class ChangeWebhookEndpointBody(WireModel):
    """What to change; enabling resets a failing endpoint."""

    url: Url | None = None
    events: Subscriptions | None = None
    state: Literal["enabled", "disabled"] | None = None
    filter: EventFilterBody | None = Field(None, description="replaces the filter; {} takes it away")


class RotateWebhookSecretBody(WireModel):
    """How long messages are signed with both secrets."""

    overlap_s: int = Field(86_400, ge=0, le=604_800)


async def create(call: ApiRequest) -> ApiResponse:
    """Create an endpoint for the caller's events."""
    body: WebhookEndpointBody = call.body
    _check(call, body.url, body.events)
    created = await call.services.webhook_endpoints.create(
        endpoint_id=call.resource_id,
        party_id=call.caller.party_id,
        url=body.url,
        event_types=body.events,
        event_filter=_filter(body.filter),
    )
    shown = endpoint_object(created.endpoint, secret=created.secret)
    return ApiResponse(
        body=shown,
        status=_CREATED,
        secrets=("secret",),
        headers={"Location": f"/v1/webhook-endpoints/{shown.id}"},
    )


async def get(call: ApiRequest) -> ApiResponse:
    """One endpoint."""
    found = await call.services.webhook_endpoints.get(call.path_id("id", "whe"), party_id=call.own_party)
    return ApiResponse(body=endpoint_object(found))


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's endpoints, newest first."""
    found = await call.services.webhook_endpoints.list(
        party_id=call.own_party, before=before(call.query, "whe"), limit=call.query.limit + 1
    )
    return ApiResponse(body=page([endpoint_object(row) for row in found], limit=call.query.limit))


async def update(call: ApiRequest) -> ApiResponse:
    """Change address, subscription or state."""
    body: ChangeWebhookEndpointBody = call.body
    _check(call, body.url, body.events)
    changed = await call.services.webhook_endpoints.update(
        call.path_id("id", "whe"),
        party_id=call.own_party,
        url=body.url,
        event_types=body.events,
        state=body.state,
        event_filter=_filter(body.filter),
    )
    return ApiResponse(body=endpoint_object(changed))


async def delete(call: ApiRequest) -> ApiResponse:
    """Delete the endpoint with its pending deliveries."""
    await call.services.webhook_endpoints.delete(call.path_id("id", "whe"), party_id=call.own_party)
    return ApiResponse(body=None, status=_NO_CONTENT)


async def rotate(call: ApiRequest) -> ApiResponse:
    """A new secret; the old one signs as well until the overlap ends."""
    rotated = await call.services.webhook_endpoints.rotate_secret(
        call.path_id("id", "whe"),
        party_id=call.own_party,
        overlap=timedelta(seconds=call.body.overlap_s),
    )
    return ApiResponse(body=endpoint_object(rotated.endpoint, secret=rotated.secret), secrets=("secret",))


async def test(call: ApiRequest) -> ApiResponse:
    """Send a test event to this endpoint only."""
    event = await call.services.webhook_endpoints.send_test(
        call.path_id("id", "whe"), party_id=call.own_party
    )
    return ApiResponse(body=event_object(event), status=_ACCEPTED)


def _filter(body: EventFilterBody | None) -> EventFilter | None:
    if body is None:
        return None
    return EventFilter(
        sessions=[_session(name, index=index) for index, name in enumerate(body.sessions)],
        evse_prefixes=body.evse_prefixes,
        locations=body.locations,
        metadata=body.metadata,
    )


def _session(name: str, *, index: int) -> str:
    try:
        return format_id("ses", parse_id("ses", name))
    except MalformedIdError as error:
        pointer = f"/filter/sessions/{index}"
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"{pointer}: {error}.",
            errors=[FieldError(pointer=pointer, expected="an id of the form ses_...")],
        ) from None


def _check(call: ApiRequest, url: str | None, subscribed: list[str] | None) -> None:
    known = {"*", *(kind.value for kind in EventType)}
    for index, name in enumerate(subscribed or ()):
        if name not in known:
            raise ProblemError(
                problems.INVALID_PARAMETERS,
                f"/events/{index}: {name} is not an event type.",
                errors=[
                    FieldError(pointer=f"/events/{index}", expected=f"one of {', '.join(sorted(known))}")
                ],
            )
    if url is None:
        return
    try:
        outbound.check_url(url, allow_private=call.services.options.allow_private_receivers)
    except outbound.ForbiddenAddressError as error:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"/url: {error}.",
            errors=[FieldError(pointer="/url", expected="a public https address")],
        ) from None


def webhook_endpoint(method: str, tail: str, operation: str, summary: str, **rest: Any) -> ApiEndpoint:
    """A description under /v1/webhook-endpoints."""
    rest.setdefault("problems", (problems.NOT_FOUND,) if "{id}" in tail else ())
    return ApiEndpoint(
        method=method,
        path=f"/v1/webhook-endpoints{tail}",
        operation=operation,
        summary=summary,
        tag="Webhooks",
        **rest,
    )


ENDPOINTS: Final = (
    webhook_endpoint(
        "POST",
        "",
        "createWebhookEndpoint",
        "Create a webhook endpoint",
        description=(
            "Only this response contains the signing secret; a replayed response has null in its place."
        ),
        handler=create,
        body=WebhookEndpointBody,
        answers={201: api_schemas.WebhookEndpointSchema},
        located=True,
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.STATE_CONFLICT,),
    ),
    webhook_endpoint(
        "GET",
        "",
        "listWebhookEndpoints",
        "List webhook endpoints",
        handler=list_all,
        query=ListQuery,
        answers={200: api_schemas.WebhookEndpointSchema},
        listed=True,
    ),
    webhook_endpoint(
        "GET",
        "/{id}",
        "getWebhookEndpoint",
        "Get a webhook endpoint",
        handler=get,
        answers={200: api_schemas.WebhookEndpointSchema},
    ),
    webhook_endpoint(
        "PATCH",
        "/{id}",
        "changeWebhookEndpoint",
        "Change a webhook endpoint",
        handler=update,
        body=ChangeWebhookEndpointBody,
        answers={200: api_schemas.WebhookEndpointSchema},
    ),
    webhook_endpoint(
        "DELETE",
        "/{id}",
        "deleteWebhookEndpoint",
        "Delete a webhook endpoint",
        handler=delete,
        answers={204: None},
    ),
    webhook_endpoint(
        "POST",
        "/{id}/rotate-secret",
        "rotateWebhookSecret",
        "Rotate the signing secret",
        description=("Until the overlap ends, each message is signed with both secrets."),
        handler=rotate,
        body=RotateWebhookSecretBody,
        body_required=False,
        answers={200: api_schemas.WebhookEndpointSchema},
        key_rule=KeyRule.OPTIONAL,
    ),
    webhook_endpoint(
        "POST",
        "/{id}/test",
        "testWebhookEndpoint",
        "Send a test event",
        handler=test,
        body=EmptyBody,
        body_required=False,
        answers={202: api_schemas.EventSchema},
        key_rule=KeyRule.OPTIONAL,
    ),
)
