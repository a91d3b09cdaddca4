"""Contract pools: a party's feed, its state, the events it received, and the path at which a pool sends them.

Owns: the wire form. Must not know what an event leads to. A pool has no API key: only its signature proves an
event, so an address that sends bodies that are not authentic is turned away before they are read.
"""

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from gateway.api import problems, request_bodies
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page, whole
from gateway.api.field_types import EmptyBody, ListQuery, before
from gateway.api.plug_and_charge.contracts import endpoint
from gateway.api.problems import FieldError, ProblemError
from gateway.api.services import ApiServices
from gateway.errors import GatewayError
from gateway.ids import format_id
from gateway.outbound import check_url
from gateway.plug_and_charge.contract_pool_lookup_repository import NewPoolLookup
from gateway.plug_and_charge.contract_pool_repository import NewPoolFeed, PoolEventRecord, PoolFeedState
from gateway.plug_and_charge.contract_pool_service import EVENT_PREFIX, FEED_PREFIX, ContractPoolService
from gateway.plug_and_charge.errors import PoolEventRejectedError
from gateway.schemas import api_schemas

_PATH: Final = "contract-pool-feeds/{party}"
_EventState = Literal["pending", "applied", "superseded", "ignored", "waiting", "dismissed"]


class ContractPoolLookupBody(WireModel):
    """How a pool is asked for the party's contracts, once a day: where, and as which OAuth client."""

    url: Annotated[str, Field(min_length=8, max_length=500)] = Field(
        description="the pool's address, before /v1/ccp/lookupContract"
    )
    token_url: Annotated[str, Field(min_length=8, max_length=500)] = Field(
        description="where the client gets its token (POST, client_credentials)"
    )
    audience: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[!-~]+$")] = Field(
        description="for which the token is asked, as the pool names it"
    )
    client_id: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")] = Field(
        description="the OAuth client that the pool gave the party"
    )
    client_secret: Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[!-~]+$")] | None = Field(
        None, description="the stored one stays unless it is given"
    )


class ContractPoolFeedBody(WireModel):
    """How a party's contracts follow a contract pool."""

    protocol: Literal["opcp"] = Field(
        "opcp", description="the pool's protocol: Open Plug & Charge Protocol 1.0.0"
    )
    secret: Annotated[str, Field(min_length=16, max_length=255, pattern=r"^[!-~]+$")] | None = Field(
        None, description="the secret of the webhook at the pool; the stored one stays unless it is given"
    )
    authorities: Annotated[str, Field(max_length=65_536)] = Field(
        "", description="PEM of the sub-authorities, as the pool sends a contract certificate alone"
    )
    new_contracts: Literal["wait", "partner_account"] = Field(
        "wait",
        description="a contract that is not stored here yet waits as an exception, or is stored with the "
        "party's funded account",
    )
    enabled: Annotated[bool, Field(description="whether events of the pool are taken in")] = True
    lookup: ContractPoolLookupBody | None = Field(
        None, description="the pool is asked as well, because its events get lost; without it, it is not"
    )


class ContractPoolEventsQuery(ListQuery):
    """The events of a feed, the latest first."""

    state: _EventState | None = None


class DismissPoolEventBody(WireModel):
    """Why the event is left as it is."""

    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


class ContractPoolLookupSchema(api_schemas.PublicSchema):
    """How a pool is asked for the party's contracts, without the client's secret."""

    url: str = Field(description="the pool's address")
    client_id: str = Field(description="the party's OAuth client at the pool")
    looked_up_at: api_schemas.Instant | None = Field(
        description="when every contract had been looked up last; null: not yet"
    )
    problem: str = Field(description="why the pool gives no answer; empty where it does")


class ContractPoolFeedSchema(api_schemas.PublicSchema):
    """A party's feed without its secret, and how many of its events are in which state."""

    id: str = Field(examples=["cpf_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["contract_pool_feed"] = "contract_pool_feed"
    party: str
    protocol: str = Field(description="the pool's protocol")
    url: str = Field(description="where the pool sends its events")
    new_contracts: str = Field(description="what becomes of a contract that is not stored here yet")
    authorities: bool = Field(description="whether sub-authorities are stored")
    enabled: bool = Field(description="whether events of the pool are taken in")
    pending: int = Field(description="events that are stored and not applied yet")
    waiting: int = Field(description="events that wait for a person, each an exception")
    applied: int = Field(description="events that were applied")
    superseded: int = Field(description="events that were older than what had been applied")
    ignored: int = Field(description="events that change no contract")
    last_received_at: api_schemas.Instant | None = Field(description="when the last event arrived")
    oldest_waiting_at: api_schemas.Instant | None = Field(
        description="when the oldest event that waits arrived; null where none waits"
    )
    lookup: ContractPoolLookupSchema | None = Field(description="how the pool is asked; null: it is not")


class ContractPoolEventSchema(api_schemas.PublicSchema):
    """An event of a pool, and what became of it."""

    id: str = Field(examples=["cpe_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["contract_pool_event"] = "contract_pool_event"
    event_id: str = Field(description="the pool's own id")
    type: str = Field(description="the pool's own type", examples=["mo.prov.cert.factory.reset"])
    emaid: str
    vehicle: str = Field(description="the vehicle's provisioning certificate id (PCID)")
    state: _EventState
    reason: str = Field(description="the code of why it waits; empty in other states")
    detail: str = Field(description="the same in words")
    occurred_at: api_schemas.Instant = Field(description="by the pool")
    received_at: api_schemas.Instant = Field(description="when it arrived here")
    decided_at: api_schemas.Instant | None = Field(
        description="when it was applied, set aside or dismissed; null while it is pending"
    )


async def put_feed(call: ApiRequest) -> ApiResponse:
    """Create a party's feed, or change it."""
    body: ContractPoolFeedBody = call.body
    feed = NewPoolFeed(
        party_id=_party(call),
        protocol=body.protocol,
        authorities=body.authorities,
        new_contracts=body.new_contracts,
        enabled=body.enabled,
    )
    lookup, client_secret = None, None
    if body.lookup is not None:
        client_secret = body.lookup.client_secret
        lookup = NewPoolLookup(
            url=_address(call, body.lookup.url, "url"),
            token_url=_address(call, body.lookup.token_url, "token_url"),
            audience=body.lookup.audience,
            client_id=body.lookup.client_id,
        )
    state = await _service(call.services).put_feed(
        feed, secret=body.secret, lookup=lookup, client_secret=client_secret
    )
    return ApiResponse(body=_feed(call, state))


async def list_feeds(call: ApiRequest) -> ApiResponse:
    """The feeds that the caller may see, with their states."""
    found = await _service(call.services).list_feeds(party_id=call.own_party)
    return ApiResponse(body=whole(_feed(call, state) for state in found))


async def list_events(call: ApiRequest) -> ApiResponse:
    """The events of a feed, the latest first."""
    query: ContractPoolEventsQuery = call.query
    found = await _service(call.services).list_events(
        _party(call),
        state=query.state,
        before=before(query, EVENT_PREFIX),
        limit=query.limit + 1,
    )
    return ApiResponse(body=page([_event(record) for record in found], limit=query.limit))


async def apply_event(call: ApiRequest) -> ApiResponse:
    """Apply an event that waits, now that what it waited for is mended."""
    found = await _service(call.services).apply_again(
        call.path_id("id", EVENT_PREFIX), party_id=call.own_party
    )
    return ApiResponse(body=_event(found))


async def dismiss_event(call: ApiRequest) -> ApiResponse:
    """Leave an event that waits as it is, for good."""
    found = await _service(call.services).dismiss(
        call.path_id("id", EVENT_PREFIX), reason=call.body.reason, party_id=call.own_party
    )
    return ApiResponse(body=_event(found))


def contract_pool_routes(services: ApiServices) -> list[web.RouteDef]:
    """POST /v1/plug-and-charge/contract-pool-feeds/{party}/events."""
    options = services.options

    async def receive(request: web.Request) -> web.Response:
        services.addresses.check(request)
        body = await request_bodies.read_body(
            request, limit=options.small_body_bytes, timeout_seconds=options.body_timeout_seconds
        )
        try:
            await _service(services).receive(request.match_info["party"], body=body, headers=request.headers)
        except PoolEventRejectedError:
            services.addresses.count(request)
            raise
        return web.json_response({"received": True})

    return [web.post(f"/v1/plug-and-charge/{_PATH}/events", receive)]


def _address(call: ApiRequest, url: str, name: str) -> str:
    """An address of the pool that this system may ask. Raises ProblemError."""
    try:
        return check_url(url, allow_private=call.services.options.allow_private_receivers).rstrip("/")
    except GatewayError as error:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"/lookup/{name}: {error}.",
            errors=[FieldError(pointer=f"/lookup/{name}", expected="an https address that is public")],
        ) from None


def _party(call: ApiRequest) -> str:
    """The party of the path. Raises ProblemError `not_found` where the caller may not see it."""
    party = call.path["party"]
    if call.own_party not in {None, party}:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {party}.")
    return party


def _service(services: ApiServices) -> ContractPoolService:
    if services.contract_pools is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not available in this process.")
    return services.contract_pools


def _feed(call: ApiRequest, state: PoolFeedState) -> ContractPoolFeedSchema:
    base = call.services.options.base_url.rstrip("/")
    return ContractPoolFeedSchema(
        id=format_id(FEED_PREFIX, state.id),
        party=state.party_id,
        protocol=state.protocol,
        url=f"{base}/v1/plug-and-charge/contract-pool-feeds/{state.party_id}/events",
        new_contracts=state.new_contracts,
        authorities=bool(state.authorities),
        enabled=state.enabled,
        pending=state.pending,
        waiting=state.waiting,
        applied=state.applied,
        superseded=state.superseded,
        ignored=state.ignored,
        last_received_at=state.last_received_at,
        oldest_waiting_at=state.oldest_waiting_at,
        lookup=None
        if state.lookup_url is None
        else ContractPoolLookupSchema(
            url=state.lookup_url,
            client_id=state.lookup_client_id or "",
            looked_up_at=state.looked_up_at,
            problem=state.lookup_problem or "",
        ),
    )


def _event(record: PoolEventRecord) -> ContractPoolEventSchema:
    return ContractPoolEventSchema.model_validate(
        {
            "id": format_id(EVENT_PREFIX, record.id),
            "event_id": str(record.event_id),
            "type": record.name,
            "emaid": record.emaid,
            "vehicle": record.vehicle,
            "state": record.state,
            "reason": record.reason,
            "detail": record.detail,
            "occurred_at": record.occurred_at,
            "received_at": record.received_at,
            "decided_at": record.decided_at,
        }
    )


ENDPOINTS: Final[tuple[ApiEndpoint, ...]] = (
    endpoint(
        "PUT",
        _PATH,
        "putContractPoolFeed",
        "Set up a contract pool feed",
        handler=put_feed,
        body=ContractPoolFeedBody,
        answers={200: ContractPoolFeedSchema},
        problems=(problems.NOT_FOUND,),
    ),
    endpoint(
        "GET",
        "contract-pool-feeds",
        "listContractPoolFeeds",
        "List contract pool feeds",
        handler=list_feeds,
        answers={200: ContractPoolFeedSchema},
        listed=True,
    ),
    endpoint(
        "GET",
        f"{_PATH}/events",
        "listContractPoolEvents",
        "List the events of a contract pool feed",
        handler=list_events,
        query=ContractPoolEventsQuery,
        answers={200: ContractPoolEventSchema},
        listed=True,
        problems=(problems.NOT_FOUND,),
    ),
    endpoint(
        "POST",
        "contract-pool-events/{id}/apply",
        "applyContractPoolEvent",
        "Apply a contract pool event that waits",
        handler=apply_event,
        body=EmptyBody,
        body_required=False,
        answers={200: ContractPoolEventSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    endpoint(
        "POST",
        "contract-pool-events/{id}/dismiss",
        "dismissContractPoolEvent",
        "Dismiss a contract pool event that waits",
        handler=dismiss_event,
        body=DismissPoolEventBody,
        answers={200: ContractPoolEventSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
