"""Payment terminals: locations, readers, connection tokens, and a card presented for an authorization.

Owns: the wire form. Must not know how a reader works. A connection token is a bearer secret for a few
minutes: no answer with one is kept.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.capture.customers import token
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page, whole
from gateway.api.field_types import MAX_PAGE, NO_STORE, EmptyBody, Line, MetadataIn
from gateway.api.idempotency import KeyRule
from gateway.payments.psp.terminal_port import Reader
from gateway.payments.terminal_repository import LocationRecord
from gateway.schemas import api_schemas

_CREATED: Final = 201
LocationToken = Annotated[
    str, Field(pattern=r"^tml_[A-Za-z0-9_]{1,251}$", description="location, a token of the PSP")
]
ReaderToken = Annotated[
    str, Field(pattern=r"^tmr_[A-Za-z0-9_]{1,251}$", description="reader, a token of the PSP")
]


class TerminalAddressBody(WireModel):
    """Where the terminals are."""

    line1: Line = Field(description="street and number")
    city: Line = Field(description="city or town")
    postal_code: Line = Field(description="postal code")
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1", examples=["DE"])]
    state: Line | None = Field(None, description="where the country's addresses have one")


class TerminalLocationBody(WireModel):
    """A place with payment terminals."""

    display_name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = Field(
        description="what the driver sees on a receipt"
    )
    address: TerminalAddressBody
    metadata: MetadataIn = Field(default_factory=dict)


class ReaderBody(WireModel):
    """A reader to be registered."""

    registration_code: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")] = Field(
        description="the code that the reader shows", examples=["simulated-wpe"]
    )
    label: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = Field(
        description="your own name of the reader"
    )


class PresentBody(WireModel):
    """Which reader takes the card."""

    reader: ReaderToken


class TerminalLocationsQuery(QueryModel):
    """A page of locations, newest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: LocationToken | None = Field(None, description="next_cursor of the page before")


class TerminalLocationSchema(api_schemas.PublicSchema):
    """A place with payment terminals."""

    id: str = Field(description="the PSP's id", examples=["tml_123"])
    object: Literal["terminal_location"] = "terminal_location"
    display_name: str = Field(description="what the driver sees on a receipt")
    metadata: dict[str, str]
    created: api_schemas.Instant


class TerminalReaderSchema(api_schemas.PublicSchema):
    """A payment terminal."""

    id: str = Field(description="the PSP's id", examples=["tmr_123"])
    object: Literal["terminal_reader"] = "terminal_reader"
    location: str | None = Field(description="id of its location")
    label: str = Field(description="your own name of the reader")
    device_type: str = Field(description="the reader's model, as the PSP names it")
    serial_number: str = Field(description="the reader's serial number")
    online: bool | None = Field(description="whether the PSP reaches it; null: not known")


class ConnectionTokenSchema(api_schemas.PublicSchema):
    """What the terminal's software connects to the readers of one location with."""

    object: Literal["connection_token"] = "connection_token"
    location: str = Field(description="id of the location")
    secret: str = Field(description="a secret for a few minutes; never log or store it")


async def create(call: ApiRequest) -> ApiResponse:
    """Create a location at the PSP."""
    body: TerminalLocationBody = call.body
    location = await call.services.payments.terminals.create_location(
        location_id=call.resource_id,
        party_id=call.caller.party_id,
        display_name=body.display_name,
        address=body.address.model_dump(exclude_none=True),
        metadata=body.metadata,
    )
    shown = _location(location)
    return ApiResponse(
        body=shown, status=_CREATED, headers={"Location": f"/v1/terminal-locations/{shown.id}"}
    )


async def get(call: ApiRequest) -> ApiResponse:
    """One location."""
    location = await call.services.payments.terminals.get_location(
        party_id=call.own_party, psp_location=token(call, "id")
    )
    return ApiResponse(body=_location(location))


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's locations, newest first."""
    query: TerminalLocationsQuery = call.query
    found = await call.services.payments.terminals.list_locations(
        party_id=call.own_party, before=query.cursor, limit=query.limit + 1
    )
    return ApiResponse(body=page([_location(one) for one in found], limit=query.limit))


async def connect(call: ApiRequest) -> ApiResponse:
    """A token for the readers of one location."""
    psp_location = token(call, "id")
    made = await call.services.payments.terminals.connect(
        party_id=call.own_party, psp_location=psp_location, token_id=call.resource_id
    )
    return ApiResponse(
        body=ConnectionTokenSchema(location=psp_location, secret=made.secret),
        status=_CREATED,
        headers=NO_STORE,
    )


async def register(call: ApiRequest) -> ApiResponse:
    """Register a reader at a location."""
    reader = await call.services.payments.terminals.register_reader(
        party_id=call.own_party,
        psp_location=token(call, "id"),
        reader_id=call.resource_id,
        registration_code=call.body.registration_code,
        label=call.body.label,
    )
    return ApiResponse(body=_reader(reader), status=_CREATED)


async def list_readers(call: ApiRequest) -> ApiResponse:
    """The readers of a location, as the PSP has them now."""
    found = await call.services.payments.terminals.list_readers(
        party_id=call.own_party, psp_location=token(call, "id")
    )
    return ApiResponse(body=whole([_reader(one) for one in found]))


async def present(call: ApiRequest) -> ApiResponse:
    """Let a reader take the card for an authorization."""
    view = await call.services.payments.get_authorization(
        party_id=call.caller.party_id,
        authorization_id=call.path_id("id", "auth"),
        admin=call.caller.admin,
    )
    reader = await call.services.payments.terminals.present(
        view.authorization,
        party_id=call.own_party,
        psp_reader=call.body.reader,
        presentation_id=call.resource_id,
    )
    return ApiResponse(body=_reader(reader))


def _location(location: LocationRecord) -> TerminalLocationSchema:
    return TerminalLocationSchema(
        id=location.psp_location or "",
        display_name=location.display_name,
        metadata=dict(location.metadata),
        created=location.created_at,
    )


def _reader(reader: Reader) -> TerminalReaderSchema:
    return TerminalReaderSchema(
        id=reader.psp_reader,
        location=reader.psp_location,
        label=reader.label,
        device_type=reader.device_type,
        serial_number=reader.serial_number,
        online=reader.online,
    )


_UNKNOWN: Final = (
    problems.NOT_FOUND,
    problems.STATE_CONFLICT,
    problems.PSP_CONFIGURATION,
    problems.UNAVAILABLE,
)
ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/terminal-locations",
        operation="createTerminalLocation",
        summary="Create a terminal location",
        tag="Terminals",
        handler=create,
        body=TerminalLocationBody,
        answers={201: TerminalLocationSchema},
        located=True,
        key_rule=KeyRule.REQUIRED,
        problems=(problems.STATE_CONFLICT, problems.PSP_CONFIGURATION, problems.UNAVAILABLE),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/terminal-locations",
        operation="listTerminalLocations",
        summary="List terminal locations",
        tag="Terminals",
        handler=list_all,
        query=TerminalLocationsQuery,
        answers={200: TerminalLocationSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/terminal-locations/{id}",
        operation="getTerminalLocation",
        summary="Get a terminal location",
        tag="Terminals",
        handler=get,
        answers={200: TerminalLocationSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/terminal-locations/{id}/connection-tokens",
        operation="createConnectionToken",
        summary="Create a connection token",
        description="For the software of a terminal, which connects with it to the readers of this location "
        "and of no other.",
        tag="Terminals",
        handler=connect,
        body=EmptyBody,
        body_required=False,
        answers={201: ConnectionTokenSchema},
        problems=_UNKNOWN,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/terminal-locations/{id}/readers",
        operation="registerReader",
        summary="Register a reader",
        tag="Terminals",
        handler=register,
        body=ReaderBody,
        answers={201: TerminalReaderSchema},
        key_rule=KeyRule.REQUIRED,
        problems=_UNKNOWN,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/terminal-locations/{id}/readers",
        operation="listReaders",
        summary="List the readers of a location",
        tag="Terminals",
        handler=list_readers,
        answers={200: TerminalReaderSchema},
        listed=True,
        problems=_UNKNOWN,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/authorizations/{id}/present",
        operation="presentCard",
        summary="Present a card",
        description="Lets a reader take the card for an authorization of `card_present` that waits for one. "
        "The reader confirms the payment; the authorization's state tells how it ended, by event or when you "
        "read it.",
        tag="Terminals",
        handler=present,
        body=PresentBody,
        answers={200: TerminalReaderSchema},
        key_rule=KeyRule.REQUIRED,
        problems=_UNKNOWN,
    ),
)
