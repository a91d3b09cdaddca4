"""Parties and their API keys as rows.

Owns: reads and writes of gateway.party and gateway.api_key. Must not know: how a key is made, checked or
cached.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.limits.address_limit import IpNetwork
from gateway.scopes import Scope, held_by

PLATFORM_ID: Final = "platform"
_QUERIES: Final[Any] = named_queries("gateway", "parties.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyRecord:
    """Who a party is: what its API keys belong to. Its name and terms are in clearing."""

    id: str
    kind: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRecord:
    """An API key without its secret."""

    id: UUID
    party_id: str
    prefix: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    principal: str
    networks: Sequence[IpNetwork]
    api_version: str
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCheck:
    """What a presented key is checked against.

    `certificates` are fingerprints, one of which it needs; `networks` where it works from, none: everywhere.
    """

    id: UUID
    party_id: str
    secret_hash: bytes
    held_scopes: frozenset[Scope]
    principal: str
    expires_at: datetime | None
    revoked_at: datetime | None
    api_version: str
    networks: Sequence[IpNetwork] = ()
    certificates: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A key to be stored: only the hash of its secret."""

    id: UUID
    party_id: str
    prefix: str
    secret_hash: bytes
    scopes: Sequence[str]
    created_at: datetime
    api_version: str
    expires_at: datetime | None = None
    networks: Sequence[IpNetwork] = ()


def _party(row: Mapping[str, Any]) -> PartyRecord:
    return PartyRecord(id=row["id"], kind=row["kind"], created_at=row["created_at"])


def _api_key(row: Mapping[str, Any]) -> ApiKeyRecord:
    return ApiKeyRecord(
        id=row["id"],
        party_id=row["party_id"],
        prefix=row["prefix"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        principal=row["principal"],
        networks=tuple(row["networks"]),
        api_version=row["api_version"],
        last_used_at=row["last_used_at"],
    )


async def add_party(connection: Connection, party: PartyRecord) -> PartyRecord:
    """Store a party unless its id is taken; return what is stored under that id."""
    await _QUERIES.insert_party(connection, id=party.id, kind=party.kind, created_at=party.created_at)
    stored = await find_party(connection, party.id)
    return stored or party


async def ensure_platform(connection: Connection, *, now: datetime) -> PartyRecord:
    """Store the platform's own party unless it is there."""
    return await add_party(connection, PartyRecord(id=PLATFORM_ID, kind="platform", created_at=now))


async def find_party(connection: Connection, party_id: str) -> PartyRecord | None:
    """The party with that id, if there is one."""
    row = await _QUERIES.select_party(connection, id=party_id)
    return None if row is None else _party(row)


async def list_parties(connection: Connection, *, after: str, limit: int) -> list[PartyRecord]:
    """Parties by id, those after `after`."""
    return [_party(row) async for row in _QUERIES.list_parties(connection, after=after, limit=limit)]


async def add_api_key(connection: Connection, key: NewApiKey) -> None:
    """Store a key. A foreign-key violation means that the party does not exist."""
    await _QUERIES.insert_api_key(
        connection,
        id=key.id,
        party_id=key.party_id,
        prefix=key.prefix,
        secret_hash=key.secret_hash,
        scopes=list(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        allowed_networks=list(key.networks) or None,
        api_version=key.api_version,
    )


async def resolve_scopes(connection: Connection, names: Sequence[str]) -> frozenset[str]:
    """The scopes that names stand for, those of the first release for several."""
    return frozenset([row["scope"] async for row in _QUERIES.resolve_scopes(connection, names=list(names))])


async def note_used_keys(connection: Connection, used: Mapping[str, datetime]) -> None:
    """Record when keys were last used, by prefix; wall time."""
    await _QUERIES.note_used_keys(connection, prefixes=list(used), used_at=list(used.values()))


async def find_key_by_prefix(connection: Connection, prefix: str) -> KeyCheck | None:
    """What to check a presented key against, found by its public prefix."""
    row = await _QUERIES.select_api_key_by_prefix(connection, prefix=prefix)
    if row is None:
        return None
    return KeyCheck(
        id=row["id"],
        party_id=row["party_id"],
        secret_hash=row["secret_hash"],
        held_scopes=held_by(row["party_id"], row["scopes"]),
        principal=row["principal"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        api_version=row["api_version"],
        networks=tuple(row["allowed_networks"] or ()),
        certificates=frozenset(row["certificates"] or ()),
    )


async def find_api_key(connection: Connection, *, party_id: str, key_id: UUID) -> ApiKeyRecord | None:
    """One key of a party."""
    row = await _QUERIES.select_api_key(connection, party_id=party_id, id=key_id)
    return None if row is None else _api_key(row)


async def list_api_keys(connection: Connection, *, party_id: str) -> list[ApiKeyRecord]:
    """A party's keys, oldest first."""
    return [_api_key(row) async for row in _QUERIES.list_api_keys(connection, party_id=party_id)]


async def pin_api_key(connection: Connection, *, party_id: str, key_id: UUID, api_version: str) -> str | None:
    """Give a key another version of the API; its prefix, or None where there is no such key."""
    row = await _QUERIES.pin_api_key(connection, party_id=party_id, id=key_id, api_version=api_version)
    return None if row is None else str(row["prefix"])


async def expire_api_key(
    connection: Connection, *, party_id: str, key_id: UUID, expires_at: datetime
) -> str | None:
    """Let a key end at `expires_at` at the latest; its prefix, or None where there is no live key."""
    row = await _QUERIES.expire_api_key(connection, party_id=party_id, id=key_id, expires_at=expires_at)
    return None if row is None else str(row["prefix"])


async def revoke_api_key(
    connection: Connection, *, party_id: str, key_id: UUID, revoked_at: datetime
) -> str | None:
    """Revoke a key at once; its prefix, or None where there is no such key."""
    row = await _QUERIES.revoke_api_key(connection, party_id=party_id, id=key_id, revoked_at=revoked_at)
    return None if row is None else str(row["prefix"])
