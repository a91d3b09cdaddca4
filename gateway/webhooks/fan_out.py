"""Deliveries of events that the statement which wrote them left: filters decide who receives them.

Owns: applying filters, for new events and for a replay. Must not know how a delivery is sent, HTTP, or who
asked. Where no endpoint of a party has a filter, its deliveries were written with the event.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, Pool, named_queries
from gateway.ids import format_id
from gateway.webhooks import delivery_queue
from gateway.webhooks.event_filter import EventFacts, EventFilter, session_id_of

FAN_OUT_BATCH: Final = 500
_QUERIES: Final[Any] = named_queries("gateway", "webhooks.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventToDeliver(FromRow):
    """An event without its object, and what a filter looks at: `session` is the one that its object names."""

    shard: int
    id: UUID
    party_id: str
    type: str
    object_id: str
    session: str | None
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How many events are sent again, and where the rest begins; `next_after` None: that was all."""

    events: int
    next_after: UUID | None


async def fan_out(pool: Pool, fences: Mapping[int, int], *, batch: int = FAN_OUT_BATCH) -> dict[int, int]:
    """Make deliveries of events that still have none, a bounded batch of each shard; how many of which.

    `fences` are the fencing numbers of the shards: where one is another by now, nothing is made.
    """
    made = {}
    for shard, fence in fences.items():
        async with delivery_queue.non_durable_transaction(pool) as connection:
            made[shard] = await _fan_out_shard(connection, shard=shard, fence=fence, batch=batch)
    return made


async def _fan_out_shard(connection: Connection, *, shard: int, fence: int, batch: int) -> int:
    found = [
        EventToDeliver.from_row(row)
        async for row in _QUERIES.events_to_fan_out(connection, shard=shard, fence=fence, batch=batch)
    ]
    if not found:
        return 0
    parties = sorted({event.party_id for event in found})
    endpoints = [row async for row in _QUERIES.endpoints_of(connection, party_ids=parties)]
    facts = await _facts(connection, found)
    deliveries = [
        (row["id"], event)
        for event in found
        for row in endpoints
        if row["party_id"] == event.party_id
        and not {"*", event.type}.isdisjoint(row["event_types"])
        and (row["filter"] is None or EventFilter.from_json(row["filter"]).allows(facts[event.id]))
    ]
    await _QUERIES.mark_fanned_out(
        connection,
        shard=shard,
        ids=[event.id for event in found],
        endpoints=[endpoint for endpoint, _ in deliveries],
        events=[event.id for _, event in deliveries],
        objects=[event.object_id for _, event in deliveries],
    )
    return len(found)


async def replay(
    connection: Connection,
    *,
    endpoint_id: UUID,
    event_filter: EventFilter | None,
    since: datetime,
    until: datetime,
    after: UUID | None,
    limit: int,
) -> Replayed:
    """Send the events of a time span again that the endpoint's filter allows, oldest first.

    `limit` is of the events that are looked at.
    """
    rows = _QUERIES.events_to_replay(
        connection, endpoint_id=endpoint_id, since=since, until=until, after=after, limit=limit
    )
    found = [EventToDeliver.from_row(row) async for row in rows]
    next_after = found[-1].id if len(found) == limit else None
    if event_filter is not None:
        facts = await _facts(connection, found)
        found = [event for event in found if event_filter.allows(facts[event.id])]
    by_shard: defaultdict[int, list[EventToDeliver]] = defaultdict(list)
    for event in found:
        by_shard[event.shard].append(event)
    for shard, events in sorted(by_shard.items()):
        await _QUERIES.replay_events(
            connection,
            shard=shard,
            endpoint_id=endpoint_id,
            events=[event.id for event in events],
            objects=[event.object_id for event in events],
        )
    return Replayed(events=len(found), next_after=next_after)


async def _facts(connection: Connection, events: Sequence[EventToDeliver]) -> dict[UUID, EventFacts]:
    """What filters look at, by event; the sessions are read shard by shard."""
    sessions = {event.id: session_id_of(object_id=event.object_id, session=event.session) for event in events}
    wanted: defaultdict[int, set[UUID]] = defaultdict(set)
    for event in events:
        session = sessions[event.id]
        if session is not None:
            wanted[event.shard].add(session)
    known: dict[UUID, Mapping[str, Any]] = {}
    for shard, ids in sorted(wanted.items()):
        async for row in _QUERIES.sessions_of_events(connection, shard=shard, ids=sorted(ids)):
            known[row["id"]] = row
    return {event.id: _facts_of(event, sessions[event.id], known) for event in events}


def _facts_of(
    event: EventToDeliver, session: UUID | None, known: Mapping[UUID, Mapping[str, Any]]
) -> EventFacts:
    own = event.metadata or {}
    if session is None:
        return EventFacts(session=None, metadata=own)
    row = known.get(session)
    return EventFacts(
        session=format_id("ses", session),
        metadata=own,
        evse_id=None if row is None else row["evse_id"],
        location_id=None if row is None else row["location_id"],
        session_metadata={} if row is None else row["metadata"] or {},
    )
