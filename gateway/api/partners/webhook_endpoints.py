"""Webhook endpoints: where a party receives its events.

Owns: the wire form. Must not know how a delivery is made. A shared secret is shown once, in the answer that
made it; a private key and the values of headers never are.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway import outbound
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import EmptyBody, ListQuery, before
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.api.versioning import check_version
from gateway.api_versions import NEWEST
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from gateway.schemas import api_schemas
from gateway.webhooks.delivery_results import endpoint_object
from gateway.webhooks.endpoint_service import EndpointChange, EndpointWishes
from gateway.webhooks.event_filter import EventFilter
from gateway.webhooks.event_service import event_object
from gateway.webhooks.events import EventType
from gateway.webhooks.own_headers import MAX_HEADERS, MAX_VALUE, OwnHeaderError
from gateway.webhooks.signing import WebhookScheme, public_key_text

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


Signature = Annotated[WebhookScheme, Field(strict=False)]
Version = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", examples=[NEWEST])]
OwnHeaders = Annotated[
    dict[str, Annotated[str, Field(max_length=MAX_VALUE)] | None], Field(max_length=2 * MAX_HEADERS)
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
    """The URL, the event types and the filter of an endpoint, and how its messages are signed."""

    url: Url
    events: Subscriptions = Field(default_factory=lambda: ["*"])
    filter: EventFilterBody | None = Field(None, description="which events it receives; null: all")
    signature: Signature = Field(
        WebhookScheme.SYMMETRIC,
        description="v1: HMAC with a shared secret; v1a: Ed25519, checked with a public key",
    )
    headers: OwnHeaders = Field(default_factory=dict, description="headers that each message carries as well")
    api_version: Version | None = Field(
        None, description="version of the objects that it is sent; null: that of this request"
    )


class ChangeWebhookEndpointBody(WireModel):
    """What to change; enabling resets a failing endpoint."""

    url: Url | None = None
    events: Subscriptions | None = None
    state: Literal["enabled", "disabled"] | None = None
    filter: EventFilterBody | None = Field(None, description="replaces the filter; {} takes it away")
    headers: OwnHeaders | None = Field(
        None, description="a value sets a header, null removes it, what is not named stays"
    )
    api_version: Version | None = Field(None, description="version of the objects that it is sent")


class RotateWebhookSecretBody(WireModel):
    """How long messages are signed with both keys, and how the new one signs."""

    overlap_s: int = Field(86_400, ge=0, le=604_800)
    signature: Signature | None = Field(None, description="scheme of the new key; null: as before")


class PublicJwkSchema(api_schemas.PublicSchema):
    """A public key of an endpoint as a JSON Web Key (RFC 7517, RFC 8037)."""

    kty: Literal["OKP"] = Field("OKP", description="an octet key pair")
    crv: Literal["Ed25519"] = Field("Ed25519", description="its curve")
    alg: Literal["EdDSA"] = Field("EdDSA", description="its algorithm")
    use: Literal["sig"] = Field("sig", description="for signatures only")
    kid: str = Field(description="the key's thumbprint (RFC 7638)")
    x: str = Field(description="the 32 bytes of the key in base64url")
    public_key: str = Field(description="the same key as whpk_ text")


class WebhookKeySetSchema(api_schemas.PublicSchema):
    """The public keys that prove an endpoint's messages now; none where it has a shared secret."""

    keys: list[PublicJwkSchema] = Field(description="the present key first")


async def create(call: ApiRequest) -> ApiResponse:
    """Create an endpoint for the caller's events."""
    body: WebhookEndpointBody = call.body
    _check(call, body.url, body.events, body.api_version)
    with _headers_named():
        created = await call.services.webhook_endpoints.create(
            endpoint_id=call.resource_id,
            party_id=call.caller.party_id,
            wishes=EndpointWishes(
                url=body.url,
                event_types=body.events,
                event_filter=_filter(body.filter),
                signature=body.signature,
                headers=body.headers,
                api_version=body.api_version or call.api_version,
            ),
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
    """Change address, subscription, headers, version or state."""
    body: ChangeWebhookEndpointBody = call.body
    _check(call, body.url, body.events, body.api_version)
    with _headers_named():
        changed = await call.services.webhook_endpoints.update(
            call.path_id("id", "whe"),
            party_id=call.own_party,
            change=EndpointChange(
                url=body.url,
                event_types=body.events,
                event_filter=_filter(body.filter),
                state=body.state,
                api_version=body.api_version,
                headers=body.headers,
            ),
        )
    return ApiResponse(body=endpoint_object(changed))


async def delete(call: ApiRequest) -> ApiResponse:
    """Delete the endpoint with its pending deliveries."""
    await call.services.webhook_endpoints.delete(call.path_id("id", "whe"), party_id=call.own_party)
    return ApiResponse(body=None, status=_NO_CONTENT)


async def rotate(call: ApiRequest) -> ApiResponse:
    """A new key; the old one signs as well until the overlap ends."""
    rotated = await call.services.webhook_endpoints.rotate_secret(
        call.path_id("id", "whe"),
        party_id=call.own_party,
        overlap=timedelta(seconds=call.body.overlap_s),
        signature=call.body.signature,
    )
    return ApiResponse(body=endpoint_object(rotated.endpoint, secret=rotated.secret), secrets=("secret",))


async def list_keys(call: ApiRequest) -> ApiResponse:
    """The public keys in force."""
    found = await call.services.webhook_endpoints.list_public_keys(call.path_id("id", "whe"))
    return ApiResponse(
        body=WebhookKeySetSchema(keys=[_jwk(key) for key in found]),
        headers={"Cache-Control": "public, max-age=300"},
    )


def _jwk(key: bytes) -> PublicJwkSchema:
    x = _base64url(key)
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return PublicJwkSchema(kid=_base64url(thumbprint), x=x, public_key=public_key_text(key))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


async def test(call: ApiRequest) -> ApiResponse:
    """Send a test event to this endpoint only."""
    event = await call.services.webhook_endpoints.send_test(
        call.path_id("id", "whe"), party_id=call.own_party
    )
    return ApiResponse(body=event_object(event), status=_ACCEPTED)


@contextmanager
def _headers_named() -> Iterator[None]:
    """Answer a header that can't be added with its place in the body."""
    try:
        yield
    except OwnHeaderError as error:
        place = error.name.replace("~", "~0").replace("/", "~1")
        pointer = f"/headers/{place}" if place else "/headers"
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"{pointer}: {error}.",
            errors=[FieldError(pointer=pointer, expected=str(error))],
        ) from None


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


def _check(call: ApiRequest, url: str | None, subscribed: list[str] | None, version: str | None) -> None:
    if version is not None:
        check_version(call.services.options.versions, version, pointer="/api_version")
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
            "Only this response contains a shared secret; a replayed response has null in its place. With "
            "signature v1a there is none: `public_key` proves the messages."
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
        "GET",
        "/{id}/keys",
        "listWebhookKeys",
        "List public keys",
        description=(
            "A JSON Web Key Set of the keys in force, for receivers that follow rotations. It needs no key."
        ),
        handler=list_keys,
        public=True,
        answers={200: WebhookKeySetSchema},
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
        description=(
            "Until the overlap ends, each message is signed with both keys. Only this response contains a "
            "new shared secret; a v1a key is known by its `public_key`."
        ),
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
