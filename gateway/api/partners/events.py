"""Events: what happened to a party's objects, to pull as well as to receive by webhook.

Owns: the paths and the order of the list. Must not know deliveries. Unless asked otherwise the list runs
oldest first, so that a reader keeps the cursor and continues from it.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel
from gateway.api.field_types import MAX_PAGE, Slug, before
from gateway.api.problems import ProblemError
from gateway.schemas import api_schemas
from gateway.webhooks.event_service import event_object


class EventOrder(StrEnum):
    """Which way the list of events runs."""

    OLDEST_FIRST = "oldest_first"
    NEWEST_FIRST = "newest_first"


class EventsQuery(QueryModel):
    """A page of events after a cursor."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="`next_cursor` of the previous page; without one the list starts at its first event",
    )
    order: EventOrder = Field(
        EventOrder.OLDEST_FIRST,
        description="`oldest_first` to keep the cursor and come again, `newest_first` to look back from now",
    )
    type: Annotated[str, Field(max_length=512)] | None = Field(
        None, description="event types, separated by commas"
    )
    party: Slug | None = Field(None, description="for the platform: only this party's events")


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's events after the cursor; oldest first, `next_cursor` is there to come again with."""
    query: EventsQuery = call.query
    party_id = query.party if call.caller.admin else call.caller.party_id
    types = query.type.split(",") if query.type else None
    cursor, limit = before(query, "evt"), query.limit + 1
    service = call.services.events
    if query.order is EventOrder.NEWEST_FIRST:
        found = await service.list_newest(party_id=party_id, types=types, before=cursor, limit=limit)
    else:
        found = await service.list(party_id=party_id, types=types, after=cursor, limit=limit)
    shown = [event_object(row) for row in found[: query.limit]]
    return ApiResponse(
        body={
            "object": "list",
            "data": shown,
            "has_more": len(found) > query.limit,
            "next_cursor": shown[-1].id if shown else query.cursor,
        }
    )


async def get(call: ApiRequest) -> ApiResponse:
    """One event."""
    found = await call.services.events.find(call.path_id("id", "evt"), party_id=call.own_party)
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such event.")
    return ApiResponse(body=event_object(found))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/events",
        operation="listEvents",
        summary="List events",
        description=(
            "Lists events after the cursor, oldest first unless `order` says `newest_first`. Store "
            "`next_cursor` for the next request. An event is listed about a second after it happened."
        ),
        tag="Events",
        handler=list_all,
        query=EventsQuery,
        answers={200: api_schemas.EventSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/events/{id}",
        operation="getEvent",
        summary="Get an event",
        tag="Events",
        handler=get,
        answers={200: api_schemas.EventSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
