"""The rows of deliveries: made of events, leased, and recorded with each attempt.

Owns: the queue in gateway.delivery, gateway.delivery_attempt, and the health of endpoints that it changes.
Must not know HTTP, signatures, or when to try again.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, Pool, named_queries, transaction
from gateway.webhooks.events import NewEvent
from gateway.webhooks.repository import SecretRecord
from gateway.webhooks.signing import WebhookScheme

_QUERIES: Final[Any] = named_queries("gateway", "webhooks.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery(FromRow):
    """One event to send now, with all that is needed to send it; `data` is JSON text."""

    shard: int
    endpoint_id: UUID
    event_id: UUID
    attempts: int
    party_id: str
    type: str
    object_id: str
    data: str
    created_at: datetime
    url: str
    signature: str
    secret: bytes = field(repr=False)
    encryption_key: str | None
    previous_signature: str | None
    previous_secret: bytes | None = field(repr=False)
    previous_encryption_key: str | None
    previous_secret_until: datetime | None
    headers: bytes | None = field(repr=False)
    headers_encryption_key: str | None
    api_version: str
    failures_in_a_row: int
    traceparent: str | None

    def secrets_in_force(self, *, wall_now: datetime) -> list[tuple[WebhookScheme, SecretRecord]]:
        """What signs now: the present secret, and the one before it until its overlap ends."""
        scheme = WebhookScheme(self.signature)
        found = [(scheme, SecretRecord(key=self.encryption_key, content=self.secret))]
        until = self.previous_secret_until
        if self.previous_secret is not None and until is not None and until > wall_now:
            # A rotation of a release without schemes leaves none: it knew shared secrets only.
            scheme = WebhookScheme(self.previous_signature or WebhookScheme.SYMMETRIC)
            found.append(
                (scheme, SecretRecord(key=self.previous_encryption_key, content=self.previous_secret))
            )
        return found

    @property
    def sealed_headers(self) -> SecretRecord | None:
        """The endpoint's own headers, sealed."""
        if self.headers is None:
            return None
        return SecretRecord(key=self.headers_encryption_key, content=self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The outcome of one attempt. `status` None: no answer; `next_attempt_at` only while pending.

    `attempts`: how many there were with this one.
    """

    shard: int
    endpoint_id: UUID
    event_id: UUID
    attempts: int
    state: str
    next_attempt_at: datetime | None
    status: int | None
    error: str | None
    at: datetime
    duration_ms: int
    id: UUID
    answer: str | None
    answer_cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEndpoint(FromRow):
    """An endpoint that something is pending for in a shard; whether it may be called now, or is deleted."""

    shard: int
    endpoint_id: UUID
    callable: bool
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How many deliveries may be leased: of an endpoint in a shard, and of the endpoint in all shards."""

    shard: int
    endpoint_id: UUID
    quota: int
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFailure:
    """An endpoint after a failure."""

    endpoint_id: UUID
    failing_since: datetime
    failures_in_a_row: int
    warnings: int


@asynccontextmanager
async def non_durable_transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction that does not wait for the disk: for steps that are done again after a crash.

    Fan-out and leases are such: an event that was leased and not sent is sent again, under its own id.
    """
    async with transaction(pool) as connection:
        await connection.execute("SET LOCAL synchronous_commit TO off")
        yield connection


async def list_pending_endpoints(
    connection: Connection, *, after: Mapping[int, UUID], limit: int, wall_now: datetime
) -> list[PendingEndpoint]:
    """The next endpoints of each shard that something is pending for, in the order of their ids.

    `after`: the shards, and the endpoint behind which each begins; `limit` is of each shard.
    """
    if len(after) == 1:
        ((shard, behind),) = after.items()
        found = _QUERIES.pending_endpoints(
            connection, shard=shard, after=behind, limit=limit, wall_now=wall_now
        )
    else:
        found = _QUERIES.pending_endpoints_in_shards(
            connection, shards=list(after), after=list(after.values()), limit=limit, wall_now=wall_now
        )
    return [PendingEndpoint.from_row(row) async for row in found]


async def abandon_pending(connection: Connection, *, shard: int, endpoints: Sequence[UUID]) -> None:
    """Abandon what is pending in a shard for endpoints that were deleted."""
    await _QUERIES.abandon_pending(connection, shard=shard, endpoints=list(endpoints))


async def claim(
    connection: Connection,
    *,
    quotas: Sequence[Quota],
    fences: Mapping[int, int],
    limit: int,
    wall_now: datetime,
    leased_until: datetime,
    pause_after: int,
) -> list[ClaimedDelivery]:
    """Lease due deliveries in order per object, in one statement for all shards of the quotas.

    At most the quota of each shard and endpoint, the capacity of each endpoint, and `limit` of all; none of a
    shard that has another fencing number by now.
    """
    if not quotas or limit <= 0:
        return []
    given = {
        "endpoints": [one.endpoint_id for one in quotas],
        "capacities": [one.capacity for one in quotas],
        "limit": limit,
        "wall_now": wall_now,
        "leased_until": leased_until,
        "pause_after": pause_after,
    }
    shards = [one.shard for one in quotas]
    if len(set(shards)) == 1:
        found = _QUERIES.claim(connection, shard=shards[0], fence=fences[shards[0]], **given)
    else:
        found = _QUERIES.claim_in_shards(
            connection,
            shards=shards,
            fences=[fences[shard] for shard in shards],
            quotas=[one.quota for one in quotas],
            **given,
        )
    return [ClaimedDelivery.from_row(row) async for row in found]


async def record_attempts(connection: Connection, attempts: Sequence[Attempt]) -> set[int]:
    """Write the outcomes of attempts; the shards where a later event may be sent now."""
    attempts = sorted(attempts, key=lambda one: (one.endpoint_id, one.event_id))
    found = _QUERIES.record_attempts(
        connection,
        shards=[one.shard for one in attempts],
        endpoints=[one.endpoint_id for one in attempts],
        events=[one.event_id for one in attempts],
        states=[one.state for one in attempts],
        next_attempts=[one.next_attempt_at for one in attempts],
        statuses=[one.status for one in attempts],
        errors=[one.error for one in attempts],
        ats=[one.at for one in attempts],
        durations=[one.duration_ms for one in attempts],
        ids=[one.id for one in attempts],
        answers=[one.answer for one in attempts],
        attempts=[one.attempts for one in attempts],
    )
    recorded = [row async for row in found]
    held = {row["attempt_id"] for row in recorded}
    await _keep_attempts(connection, [one for one in attempts if one.id not in held])
    return {row["shard"] for row in recorded if row["followed"]}


async def _keep_attempts(connection: Connection, attempts: Sequence[Attempt]) -> None:
    if attempts:
        await _QUERIES.keep_attempts(
            connection,
            shards=[one.shard for one in attempts],
            endpoints=[one.endpoint_id for one in attempts],
            events=[one.event_id for one in attempts],
            ids=[one.id for one in attempts],
            statuses=[one.status for one in attempts],
            errors=[one.error for one in attempts],
            answers=[one.answer for one in attempts],
            cuts=[one.answer_cut for one in attempts],
            durations=[one.duration_ms for one in attempts],
            ats=[one.at for one in attempts],
        )


async def lock_endpoints(connection: Connection, ids: Sequence[UUID]) -> None:
    """Lock endpoints until the transaction ends, in the order of their ids."""
    if ids:
        async for _ in _QUERIES.lock_endpoints(connection, ids=list(ids)):
            pass


async def mark_endpoints_recovered(connection: Connection, ids: Sequence[UUID]) -> None:
    """Record that failing endpoints acknowledged again."""
    if ids:
        await _QUERIES.endpoints_recovered(connection, ids=list(ids))


async def mark_endpoints_failed(
    connection: Connection, failures: Mapping[UUID, int], *, wall_now: datetime
) -> list[EndpointFailure]:
    """Record failures of endpoints; those that are no longer enabled are left out."""
    if not failures:
        return []
    found = _QUERIES.endpoints_failed(
        connection, ids=list(failures), failures=list(failures.values()), wall_now=wall_now
    )
    return [
        EndpointFailure(
            endpoint_id=row["id"],
            failing_since=row["failing_since"],
            failures_in_a_row=row["failures_in_a_row"],
            warnings=row["warnings"],
        )
        async for row in found
    ]


async def put_warnings(connection: Connection, *, endpoint_id: UUID, warnings: int) -> None:
    """Record how many times an endpoint's party was warned since it has been failing."""
    await _QUERIES.put_warnings(connection, id=endpoint_id, warnings=warnings)


async def skip_own_event(connection: Connection, *, endpoint_id: UUID, event: NewEvent) -> None:
    """Keep an event about an endpoint, recorded in this transaction, from being sent to it."""
    await _QUERIES.skip_own_event(
        connection,
        shard=event.shard,
        endpoint_id=endpoint_id,
        object_id=event.object_id,
        type=event.type.value,
    )


async def pause_endpoints(connection: Connection, pauses: Mapping[UUID, datetime]) -> None:
    """Send nothing to failing endpoints until the given times."""
    if pauses:
        await _QUERIES.pause_endpoints(connection, ids=list(pauses), resumes=list(pauses.values()))


async def disable_endpoint(connection: Connection, *, endpoint_id: UUID, reason: str) -> bool:
    """Stop sending to an endpoint; False when it was not enabled."""
    return (await _QUERIES.disable_endpoint(connection, id=endpoint_id, reason=reason)) is not None
