"""Webhook endpoints: where a party wants to hear of its events, and how that went.

Owns: the wire form and whose endpoint is whose. Must not know how a delivery is made. A signing secret is
shown once, in the answer that made it.
"""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway import objects, outbound
from gateway.database import Connection, transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.models import ListQuery, before
from gateway.http.partners.events import event_object
from gateway.http.problems import FieldError, ProblemError
from gateway.ids import format_id, lane_of, new_id, parse_id
from gateway.notify.events import EventType
from gateway.notify.recording import endpoint_object
from gateway.notify.signing import new_secret, secret_text
from gateway.store import webhooks
from gateway.store.webhooks import EndpointRow, EventRow, StoredSecret

_CREATED: Final = 201
_ACCEPTED: Final = 202
_NO_CONTENT: Final = 204
_MAX_ENDPOINTS: Final = 16

Url = Annotated[
    str, Field(min_length=8, max_length=2048, examples=["https://partner.example/hooks/networkcore"])
]
Subscription = Annotated[str, Field(pattern=r"^(\*|[a-z_]+\.[a-z_]+)$")]
Subscriptions = Annotated[
    list[Subscription], Field(min_length=1, max_length=64, description="event types, or * for all")
]


class EndpointIn(WireModel):
    """Where to send which events."""

    url: Url
    events: Subscriptions = Field(default_factory=lambda: ["*"])


class EndpointChange(WireModel):
    """What to change; enabling gives a failing endpoint a fresh start."""

    url: Url | None = None
    events: Subscriptions | None = None
    state: Literal["enabled", "disabled"] | None = None


class TestIn(WireModel):
    """Nothing to say."""


class RotateIn(WireModel):
    """How long the old secret signs beside the new one."""

    overlap_s: int = Field(86_400, ge=0, le=604_800)


async def create(call: Call) -> Answer:
    """Add an endpoint for the caller's events."""
    body: EndpointIn = call.body
    _check(call, body.url, body.events)
    box = call.services.webhook_secrets
    async with transaction(call.services.pool) as connection:
        if await webhooks.count_endpoints(connection, party_id=call.caller.party_id) >= _MAX_ENDPOINTS:
            raise ProblemError(
                problems.STATE_CONFLICT, f"A party has at most {_MAX_ENDPOINTS} endpoints; delete one first."
            )
        await webhooks.add_endpoint(
            connection,
            endpoint_id=call.resource_id,
            party_id=call.caller.party_id,
            url=body.url,
            event_types=body.events,
            secret=box.seal(call.resource_id, new_secret()),
            now=call.services.clock.wall_now(),
        )
        stored = await find_own(call, connection, endpoint_id=format_id("whe", call.resource_id))
    # A call that is repeated under its key finds the secret of the first.
    kept = box.open(stored.id, StoredSecret(key=stored.secret_key, content=stored.secret))
    shown = endpoint_object(stored, secret=secret_text(kept))
    return Answer(
        body=shown,
        status=_CREATED,
        secrets=("secret",),
        headers={"Location": f"/v1/webhook-endpoints/{shown.id}"},
    )


async def get(call: Call) -> Answer:
    """One endpoint."""
    async with call.services.pool.acquire() as connection:
        return Answer(body=endpoint_object(await find_own(call, connection)))


async def list_all(call: Call) -> Answer:
    """The caller's endpoints, newest first."""
    async with call.services.pool.acquire() as connection:
        found = await webhooks.list_endpoints(
            connection,
            party_id=None if call.caller.admin else call.caller.party_id,
            before=before(call.query, "whe"),
            limit=call.query.limit + 1,
        )
    return Answer(body=page([endpoint_object(row) for row in found], limit=call.query.limit))


async def change(call: Call) -> Answer:
    """Change address, subscription or state."""
    body: EndpointChange = call.body
    _check(call, body.url, body.events)
    async with transaction(call.services.pool) as connection:
        stored = await find_own(call, connection)
        await webhooks.update_endpoint(
            connection, endpoint_id=stored.id, url=body.url, event_types=body.events, state=body.state
        )
        return Answer(body=endpoint_object(await find_own(call, connection)))


async def delete(call: Call) -> Answer:
    """Forget the endpoint; what was on its way to it is abandoned."""
    async with transaction(call.services.pool) as connection:
        stored = await find_own(call, connection)
        await webhooks.delete_endpoint(connection, endpoint_id=stored.id)
    return Answer(body=None, status=_NO_CONTENT)


async def rotate(call: Call) -> Answer:
    """A new secret; the old one signs as well until the overlap ends."""
    secret = new_secret()
    now = call.services.clock.wall_now()
    async with transaction(call.services.pool) as connection:
        stored = await find_own(call, connection)
        await webhooks.rotate_secret(
            connection,
            endpoint_id=stored.id,
            secret=call.services.webhook_secrets.seal(stored.id, secret),
            until=now + timedelta(seconds=call.body.overlap_s),
        )
    return Answer(body=endpoint_object(stored, secret=secret_text(secret)), secrets=("secret",))


async def test(call: Call) -> Answer:
    """Send a test event to this endpoint only."""
    async with transaction(call.services.pool) as connection:
        stored = await find_own(call, connection)
        shown = endpoint_object(stored)
        event = EventRow(
            id=new_id(lane=lane_of(stored.id)),
            party_id=stored.party_id,
            type=EventType.WEBHOOK_ENDPOINT_TEST.value,
            object_id=shown.id,
            data=shown.as_json(),
            created_at=call.services.now(),
        )
        await webhooks.add_test_event(
            connection,
            event,
            lane=lane_of(stored.id),
            endpoint_id=stored.id,
            wall_now=call.services.clock.wall_now(),
        )
    return Answer(body=event_object(event), status=_ACCEPTED)


async def find_own(call: Call, connection: Connection, endpoint_id: str | None = None) -> EndpointRow:
    """The endpoint that the path names, if it is the caller's; raises `not_found` otherwise."""
    wanted = call.path_id("id", "whe") if endpoint_id is None else parse_id("whe", endpoint_id)
    found = await webhooks.find_endpoint(
        connection,
        endpoint_id=wanted,
        party_id=None if call.caller.admin else call.caller.party_id,
    )
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such webhook endpoint.")
    return found


def _check(call: Call, url: str | None, subscribed: list[str] | None) -> None:
    known = {"*", *(kind.value for kind in EventType)}
    for index, name in enumerate(subscribed or ()):
        if name not in known:
            raise ProblemError(
                problems.INVALID_PARAMETERS,
                f"/events/{index}: {name} is no event type.",
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


def webhook_endpoint(method: str, tail: str, operation: str, summary: str, **rest: Any) -> Endpoint:
    """A description under /v1/webhook-endpoints."""
    rest.setdefault("problems", (problems.NOT_FOUND,) if "{id}" in tail else ())
    return Endpoint(
        method=method,
        path=f"/v1/webhook-endpoints{tail}",
        operation=operation,
        summary=summary,
        tag="Webhooks",
        scope=Scope.WEBHOOKS,
        **rest,
    )


ENDPOINTS: Final = (
    webhook_endpoint(
        "POST",
        "",
        "createWebhookEndpoint",
        "Add a webhook endpoint",
        description="The signing secret is in this answer only; a replayed answer shows null.",
        handler=create,
        body=EndpointIn,
        answers={201: objects.WebhookEndpoint},
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
        answers={200: objects.WebhookEndpoint},
        listed=True,
    ),
    webhook_endpoint(
        "GET",
        "/{id}",
        "getWebhookEndpoint",
        "Get a webhook endpoint",
        handler=get,
        answers={200: objects.WebhookEndpoint},
    ),
    webhook_endpoint(
        "PATCH",
        "/{id}",
        "changeWebhookEndpoint",
        "Change a webhook endpoint",
        handler=change,
        body=EndpointChange,
        answers={200: objects.WebhookEndpoint},
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
        description="Until the overlap ends each message carries two signatures.",
        handler=rotate,
        body=RotateIn,
        body_required=False,
        answers={200: objects.WebhookEndpoint},
        key_rule=KeyRule.OPTIONAL,
    ),
    webhook_endpoint(
        "POST",
        "/{id}/test",
        "testWebhookEndpoint",
        "Send a test event",
        handler=test,
        body=TestIn,
        body_required=False,
        answers={202: objects.Event},
        key_rule=KeyRule.OPTIONAL,
    ),
)
