"""Idempotency keys as rows.

Owns: claiming a key, taking it over from a dead holder, storing its answer. Must not know HTTP beyond a
status, headers and bytes. Source: draft-ietf-httpapi-idempotency-key-header.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "idempotency.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim of a key: whose, which, for what request, and until when. Times are wall time."""

    party_id: str
    key: str
    request_hash: bytes
    resource_id: UUID
    now: datetime
    locked_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedKey:
    """The caller does the work now, on this resource id, which may be an earlier holder's."""

    resource_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord:
    """The request was answered before."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInFlight:
    """Another call holds the key until then."""

    locked_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRequest:
    """The key was used for another request."""


ClaimOutcome = ClaimedKey | AnswerRecord | RequestInFlight | OtherRequest


async def claim(connection: Connection, wanted: Claim) -> ClaimOutcome:
    """Claim a key, outside any transaction; a race has one winner, the one row there can be."""
    row = await _QUERIES.claim(
        connection,
        party_id=wanted.party_id,
        key=wanted.key,
        request_hash=wanted.request_hash,
        resource_id=wanted.resource_id,
        locked_until=wanted.locked_until,
        now=wanted.now,
    )
    if row is not None:
        return ClaimedKey(resource_id=row["resource_id"])
    found = await _QUERIES.find(connection, party_id=wanted.party_id, key=wanted.key)
    if found is None:
        return RequestInFlight(
            locked_until=wanted.now
        )  # deleted in between: the next attempt stores it again
    if found["request_hash"] != wanted.request_hash:
        return OtherRequest()
    if found["status"] is not None:
        return AnswerRecord(status=found["status"], headers=found["headers"] or {}, body=found["body"])
    return RequestInFlight(locked_until=found["locked_until"] or wanted.now)


async def store_answer(
    connection: Connection,
    *,
    party_id: str,
    key: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> None:
    """Keep the answer for the key's lifetime. The first one is final."""
    await _QUERIES.store_answer(
        connection, party_id=party_id, key=key, status=status, headers=dict(headers), body=body
    )


async def unlock(connection: Connection, *, party_id: str, key: str, locked_until: datetime) -> None:
    """Give a claimed key back without an answer, so that a retry need not wait."""
    await _QUERIES.unlock(connection, party_id=party_id, key=key, locked_until=locked_until)


async def renew(
    connection: Connection, *, party_id: str, key: str, locked_until: datetime, renewed_until: datetime
) -> bool:
    """Keep a claimed key for longer. False: it is not the caller's any more."""
    found = await _QUERIES.renew(
        connection, party_id=party_id, key=key, locked_until=locked_until, renewed_until=renewed_until
    )
    return bool(found)


async def free(connection: Connection, *, party_id: str, key: str, locked_until: datetime) -> None:
    """Forget a claimed key: nothing came of its request, and it may carry another one."""
    await _QUERIES.free(connection, party_id=party_id, key=key, locked_until=locked_until)


async def delete_expired(connection: Connection, *, older_than: datetime, limit: int) -> int:
    """Delete at most `limit` keys made before `older_than`; how many went."""
    outcome: str = await _QUERIES.sweep(connection, older_than=older_than, limit=limit)
    return int(outcome.rpartition(" ")[2])
