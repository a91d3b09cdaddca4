"""Events: what happened to a party's objects, to pull as well as to be told of.

Owns: the paths and the order of the list. Must not know deliveries. The list runs oldest first, so that a
reader keeps the cursor and comes again; it stops short of the last second, in which a commit may still
arrive late.
"""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from gateway import objects
from gateway.http import problems
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel
from gateway.http.models import MAX_PAGE, Slug, before
from gateway.http.problems import ProblemError
from gateway.ids import format_id, lane_of
from gateway.notify.events import API_VERSION
from gateway.store import webhooks
from gateway.store.webhooks import EventRow

SETTLE_MS: Final = 1000
_UUID7_TIME_SHIFT: Final = 80


class EventsQuery(QueryModel):
    """A page of events after a cursor."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=64)] | None = Field(
        None, description="the last next_cursor you were given; none starts at the beginning"
    )
    type: Annotated[str, Field(max_length=512)] | None = Field(
        None, description="event types, separated by commas"
    )
    party: Slug | None = Field(None, description="for the platform: only this party's events")


def event_object(row: EventRow) -> objects.Event:
    """The public event."""
    return objects.Event(
        id=format_id("evt", row.id),
        type=row.type,
        api_version=API_VERSION,
        created=row.created_at,
        object_id=row.object_id,
        data=dict(row.data),
    )


async def list_all(call: Call) -> Answer:
    """The caller's events after the cursor, oldest first; `next_cursor` is there to come again with."""
    query: EventsQuery = call.query
    async with call.services.pool.acquire() as connection:
        found = await webhooks.list_events(
            connection,
            party_id=query.party if call.caller.admin else call.caller.party_id,
            types=query.type.split(",") if query.type else None,
            after=before(query, "evt"),
            horizon=_horizon(call.services.clock.wall_now()),
            limit=query.limit + 1,
        )
    shown = [event_object(row) for row in found[: query.limit]]
    return Answer(
        body={
            "object": "list",
            "data": shown,
            "has_more": len(found) > query.limit,
            "next_cursor": shown[-1].id if shown else query.cursor,
        }
    )


async def get(call: Call) -> Answer:
    """One event."""
    event_id = call.path_id("id", "evt")
    async with call.services.pool.acquire() as connection:
        found = await webhooks.find_event(
            connection,
            lane=lane_of(event_id),
            event_id=event_id,
            party_id=None if call.caller.admin else call.caller.party_id,
        )
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such event.")
    return Answer(body=event_object(found))


def _horizon(wall_now: datetime) -> UUID:
    """The smallest UUIDv7 of the instant up to which every commit has arrived (RFC 9562 section 5.7)."""
    milliseconds = int(wall_now.timestamp() * 1000) - SETTLE_MS
    return UUID(int=milliseconds << _UUID7_TIME_SHIFT)


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/events",
        operation="listEvents",
        summary="List events",
        description="Oldest first after the cursor: keep `next_cursor` and come again. "
        "An event shows up within about a second.",
        tag="Events",
        handler=list_all,
        query=EventsQuery,
        answers={200: objects.Event},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/events/{id}",
        operation="getEvent",
        summary="Get an event",
        tag="Events",
        handler=get,
        answers={200: objects.Event},
        problems=(problems.NOT_FOUND,),
    ),
)
