"""Idempotency keys as rows.

Owns: which shard a key lies in, claiming it, taking it over from a dead holder, storing its answer. Must not
know HTTP beyond a status, headers and bytes. Source: draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import SHARD_COUNT

_QUERIES: Final[Any] = named_queries("gateway", "idempotency.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyName:
    """Which key: its shard (0 to 63), whose it is, and its text."""

    shard: int
    party_id: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim of a key: for what request, for which resource, and until when. Times are wall time."""

    name: KeyName
    request_hash: bytes
    resource_id: UUID
    now: datetime
    locked_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedKey:
    """The caller does the work now, on this resource id, which may be an earlier holder's, as its shard."""

    resource_id: UUID
    name: KeyName


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


def shard_of_key(party_id: str, key: str) -> int:
    """The shard, 0 to 63, of a key that creates something: all that it creates for a session lies there."""
    return hashlib.blake2b(f"{party_id}\n{key}".encode(), digest_size=1).digest()[0] % SHARD_COUNT


async def claim(connection: Connection, wanted: Claim) -> ClaimOutcome:
    """Claim a key, outside any transaction; a race has one winner, the one row there can be."""
    name = wanted.name
    claimed = await _QUERIES.claim(
        connection,
        shard=name.shard,
        party_id=name.party_id,
        key=name.key,
        request_hash=wanted.request_hash,
        resource_id=wanted.resource_id,
        locked_until=wanted.locked_until,
        now=wanted.now,
    )
    if claimed:
        return ClaimedKey(resource_id=wanted.resource_id, name=name)
    found = await _QUERIES.find(connection, shard=name.shard, party_id=name.party_id, key=name.key)
    if found is None:  # deleted in between: the next attempt stores it again
        return RequestInFlight(locked_until=wanted.now)
    if found["request_hash"] != wanted.request_hash:
        return OtherRequest()
    if found["status"] is not None:
        return AnswerRecord(status=found["status"], headers=found["headers"] or {}, body=found["body"])
    there = KeyName(shard=found["shard"], party_id=name.party_id, key=name.key)
    resource_id = await _QUERIES.take_over(
        connection,
        shard=there.shard,
        party_id=there.party_id,
        key=there.key,
        request_hash=wanted.request_hash,
        locked_until=wanted.locked_until,
        now=wanted.now,
    )
    if resource_id is not None:
        return ClaimedKey(resource_id=resource_id, name=there)
    return RequestInFlight(locked_until=found["locked_until"] or wanted.now)


async def store_answer(
    connection: Connection,
    name: KeyName,
    *,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
) -> bool:
    """Keep the answer for the key's lifetime. The first one is final; False: there is one, or no key."""
    stored = await _QUERIES.store_answer(
        connection,
        shard=name.shard,
        party_id=name.party_id,
        key=name.key,
        status=status,
        headers=dict(headers),
        body=body,
    )
    return bool(stored)


async def find_answer(connection: Connection, name: KeyName) -> AnswerRecord | None:
    """The answer that is kept of a key, if there is one."""
    found = await _QUERIES.find(connection, shard=name.shard, party_id=name.party_id, key=name.key)
    if found is None or found["status"] is None:
        return None
    return AnswerRecord(status=found["status"], headers=found["headers"] or {}, body=found["body"])


async def unlock(connection: Connection, name: KeyName, *, locked_until: datetime) -> None:
    """Give a claimed key back without an answer, so that a retry need not wait."""
    await _QUERIES.unlock(
        connection, shard=name.shard, party_id=name.party_id, key=name.key, locked_until=locked_until
    )


async def renew(
    connection: Connection, name: KeyName, *, locked_until: datetime, renewed_until: datetime
) -> bool:
    """Keep a claimed key for longer. False: it is not the caller's any more."""
    found = await _QUERIES.renew(
        connection,
        shard=name.shard,
        party_id=name.party_id,
        key=name.key,
        locked_until=locked_until,
        renewed_until=renewed_until,
    )
    return bool(found)


async def free(connection: Connection, name: KeyName, *, locked_until: datetime) -> None:
    """Forget a claimed key: nothing came of its request, and it may carry another one."""
    await _QUERIES.free(
        connection, shard=name.shard, party_id=name.party_id, key=name.key, locked_until=locked_until
    )


async def delete_expired(connection: Connection, *, older_than: datetime, limit: int) -> int:
    """Delete at most `limit` keys made before `older_than`; how many went."""
    outcome: str = await _QUERIES.sweep(connection, older_than=older_than, limit=limit)
    return int(outcome.rpartition(" ")[2])
