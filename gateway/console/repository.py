"""What the console reads beside the API's own lists: events of one session, figures of a range of time.

Owns: rows. Must not know a page. `party_id` None is the platform, which sees everybody's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries
from gateway.ids import shard_of

_QUERIES: Final[Any] = named_queries("gateway", "console.sql")
_MOST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEvent(FromRow):
    """An event of one object."""

    id: UUID
    party_id: str
    type: str
    object_id: str
    data: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDelivery(FromRow):
    """An event on its way to an endpoint."""

    event_id: UUID
    endpoint_id: UUID
    state: str
    attempts: int
    last_status: int | None
    last_error: str | None
    last_attempt_at: datetime | None
    delivered_at: datetime | None
    url: str
    party_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAuthorization(FromRow):
    """One of a session's authorizations, with when its row changed last; the hold in minor units."""

    id: UUID
    state: str
    hold_minor: int
    currency: str
    decline_code: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedUsageRecord(FromRow):
    """Usage that checks of CDRs did not let through: the codes of its findings, what became of it."""

    id: UUID
    cdr_id: str
    state: str
    reasons: list[str]
    received_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountFigure(FromRow):
    """Payments of one currency: how many, and how much in minor units."""

    currency: str
    payments: int
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFigure(FromRow):
    """What was captured in one span of time."""

    bucket: datetime
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclineFigure(FromRow):
    """Payments that failed with one code."""

    code: str
    payments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeFigures:
    """What happened in a range of time."""

    captured: Sequence[AmountFigure]
    refunded: Sequence[AmountFigure]
    declined: Sequence[DeclineFigure]
    buckets: Sequence[BucketFigure]


async def list_events_of(
    connection: Connection, *, shard: int, object_ids: Sequence[str], party_id: str | None
) -> list[ObjectEvent]:
    """The events of a session's objects, oldest first."""
    found = _QUERIES.list_events_of(
        connection, shard=shard, object_ids=list(object_ids), party_id=party_id, limit=_MOST
    )
    return [ObjectEvent.from_row(row) async for row in found]


async def list_disputes_of(connection: Connection, *, shard: int, session_id: UUID) -> list[UUID]:
    """The ids of a session's disputes."""
    found = _QUERIES.dispute_ids_of(connection, shard=shard, session_id=session_id, limit=_MOST)
    return [row["id"] async for row in found]


async def list_authorizations_of(
    connection: Connection, *, shard: int, session_id: UUID, party_id: str | None
) -> list[SessionAuthorization]:
    """A session's authorizations, those that failed included, oldest first."""
    found = _QUERIES.authorizations_of(
        connection, shard=shard, session_id=session_id, party_id=party_id, limit=_MOST
    )
    return [SessionAuthorization.from_row(row) async for row in found]


async def list_checked_usage_of(
    connection: Connection, *, shard: int, session_id: UUID
) -> list[CheckedUsageRecord]:
    """The usage of a session that checks of CDRs did not let through, oldest first."""
    found = _QUERIES.checked_usage_of(connection, shard=shard, session_id=session_id, limit=_MOST)
    return [CheckedUsageRecord.from_row(row) async for row in found]


async def find_exception_at(connection: Connection, *, shard: int, session_id: UUID) -> datetime | None:
    """Since when a session is an exception; None: it is none."""
    found: datetime | None = await _QUERIES.exception_at_of(connection, shard=shard, session_id=session_id)
    return found


async def find_time_zones(connection: Connection, session_ids: Sequence[UUID]) -> Mapping[UUID, str]:
    """The time zones of sessions' locations, by session."""
    shards = [shard_of(one) for one in session_ids]
    found = _QUERIES.time_zones_of(connection, shards=shards, ids=list(session_ids))
    return {row["id"]: row["time_zone"] async for row in found}


async def list_deliveries_of(
    connection: Connection, *, shard: int, event_ids: Sequence[UUID]
) -> list[ObjectDelivery]:
    """Where these events were sent."""
    found = _QUERIES.list_deliveries_of(connection, shard=shard, event_ids=list(event_ids), limit=_MOST)
    return [ObjectDelivery.from_row(row) async for row in found]


async def read_figures(
    connection: Connection, *, since: datetime, until: datetime, width: timedelta, party_id: str | None
) -> RangeFigures:
    """What was captured, refunded and declined from `since` on and before `until`."""
    span = {"since": since, "until": until, "party_id": party_id}
    return RangeFigures(
        captured=[AmountFigure.from_row(row) async for row in _QUERIES.captured(connection, **span)],
        refunded=[AmountFigure.from_row(row) async for row in _QUERIES.refunded(connection, **span)],
        declined=[DeclineFigure.from_row(row) async for row in _QUERIES.declined(connection, **span)],
        buckets=[
            BucketFigure.from_row(row)
            async for row in _QUERIES.captured_by_bucket(connection, width=width, **span)
        ],
    )


async def find_last_capture(connection: Connection, *, party_id: str | None) -> datetime | None:
    """When something was captured last: of the newest sessions, which is enough to find the last busy day."""
    found: datetime | None = await _QUERIES.last_captured_at(connection, party_id=party_id, newest=_MOST)
    return found
