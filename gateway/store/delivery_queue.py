"""Deliveries on their way as rows: what is made of events, leased, and recorded.

Owns: the queue in gateway.delivery, and the health of endpoints that it changes. Must not know HTTP,
signatures, or when to try again.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, Pool, named_queries, transaction
from gateway.store.webhooks import FromRow, StoredSecret

_QUERIES: Final[Any] = named_queries("gateway", "webhooks.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery(FromRow):
    """One event to send now, with all that is needed to send it; `data` is JSON text."""

    lane: int
    endpoint_id: UUID
    event_id: UUID
    attempts: int
    party_id: str
    type: str
    object_id: str
    data: str
    created_at: datetime
    url: str
    secret: bytes = field(repr=False)
    secret_key: str | None
    previous_secret: bytes | None = field(repr=False)
    previous_secret_key: str | None
    previous_secret_until: datetime | None
    failures_in_a_row: int

    def secrets_in_force(self, *, wall_now: datetime) -> list[StoredSecret]:
        """What signs now: the present secret, and the one before it until its overlap ends."""
        found = [StoredSecret(key=self.secret_key, content=self.secret)]
        until = self.previous_secret_until
        if self.previous_secret is not None and until is not None and until > wall_now:
            found.append(StoredSecret(key=self.previous_secret_key, content=self.previous_secret))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of one sending. `status` None: no answer; `next_attempt_at` only while pending."""

    lane: int
    endpoint_id: UUID
    event_id: UUID
    state: str
    next_attempt_at: datetime | None
    status: int | None
    error: str | None
    at: datetime
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting(FromRow):
    """An endpoint that something is pending for, and whether it may be called now."""

    endpoint_id: UUID
    callable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How an endpoint stands after a failure."""

    endpoint_id: UUID
    failing_since: datetime
    failures_in_a_row: int


@asynccontextmanager
async def light_transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction that does not wait for the disk: for steps that are done again if a crash forgets them.

    Fan-out and leases are such: an event that was leased for nothing is sent again, under its own id.
    """
    async with transaction(pool) as connection:
        await connection.execute("SET LOCAL synchronous_commit TO off")
        yield connection


async def lanes_to_fan_out(connection: Connection) -> list[int]:
    """Lanes with new events."""
    return [row["lane"] async for row in _QUERIES.lanes_to_fan_out(connection)]


async def fan_out(connection: Connection, *, lane: int, batch: int, wall_now: datetime) -> int:
    """Make deliveries of a lane's new events; how many events were taken."""
    taken: int = await _QUERIES.fan_out(connection, lane=lane, batch=batch, wall_now=wall_now)
    return taken


async def lanes_pending(connection: Connection) -> set[int]:
    """Lanes that hold anything pending, due or not."""
    return {row["lane"] async for row in _QUERIES.lanes_pending(connection)}


async def endpoints_waiting(
    connection: Connection, *, lane: int, after: UUID, limit: int, wall_now: datetime
) -> list[Waiting]:
    """The next endpoints of a lane, in the order of their ids, that something is pending for."""
    found = _QUERIES.endpoints_waiting(connection, lane=lane, after=after, limit=limit, wall_now=wall_now)
    return [Waiting.from_row(row) async for row in found]


async def claim(
    connection: Connection,
    *,
    lane: int,
    rooms: Mapping[UUID, int],
    limit: int,
    wall_now: datetime,
    leased_until: datetime,
    pause_after: int,
) -> list[ClaimedDelivery]:
    """Lease due deliveries of a lane in order per object: `rooms` of each endpoint, `limit` of all."""
    if not rooms or limit <= 0:
        return []
    found = _QUERIES.claim(
        connection,
        lane=lane,
        endpoints=list(rooms),
        rooms=list(rooms.values()),
        limit=limit,
        wall_now=wall_now,
        leased_until=leased_until,
        pause_after=pause_after,
    )
    return [ClaimedDelivery.from_row(row) async for row in found]


async def record_attempts(connection: Connection, attempts: Sequence[Attempt]) -> set[int]:
    """Write what became of sendings, in one statement; the lanes where something waited behind one."""
    attempts = sorted(attempts, key=lambda one: (one.endpoint_id, one.event_id))
    found = _QUERIES.record_attempts(
        connection,
        lanes=[one.lane for one in attempts],
        endpoints=[one.endpoint_id for one in attempts],
        events=[one.event_id for one in attempts],
        states=[one.state for one in attempts],
        next_attempts=[one.next_attempt_at for one in attempts],
        statuses=[one.status for one in attempts],
        errors=[one.error for one in attempts],
        ats=[one.at for one in attempts],
        durations=[one.duration_ms for one in attempts],
    )
    return {row["lane"] async for row in found if row["waits"]}


async def hold_endpoints(connection: Connection, ids: Sequence[UUID]) -> None:
    """Hold endpoints for this transaction, in the order of their ids."""
    if ids:
        async for _ in _QUERIES.hold_endpoints(connection, ids=list(ids)):
            pass


async def endpoints_recovered(connection: Connection, ids: Sequence[UUID]) -> None:
    """Note that failing endpoints answered well."""
    if ids:
        await _QUERIES.endpoints_recovered(connection, ids=list(ids))


async def endpoints_failed(
    connection: Connection, failures: Mapping[UUID, int], *, wall_now: datetime
) -> list[Failure]:
    """Note failures of endpoints; those that are enabled no more are left out."""
    if not failures:
        return []
    found = _QUERIES.endpoints_failed(
        connection, ids=list(failures), failures=list(failures.values()), wall_now=wall_now
    )
    return [
        Failure(
            endpoint_id=row["id"],
            failing_since=row["failing_since"],
            failures_in_a_row=row["failures_in_a_row"],
        )
        async for row in found
    ]


async def pause_endpoints(connection: Connection, pauses: Mapping[UUID, datetime]) -> None:
    """Leave failing endpoints alone until then."""
    if pauses:
        await _QUERIES.pause_endpoints(connection, ids=list(pauses), resumes=list(pauses.values()))


async def disable_endpoint(connection: Connection, *, endpoint_id: UUID, reason: str) -> bool:
    """Stop sending to an endpoint; False when it was not enabled."""
    return (await _QUERIES.disable_endpoint(connection, id=endpoint_id, reason=reason)) is not None
