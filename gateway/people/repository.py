"""People, their links and sessions, and the record of their acts, in PostgreSQL.

Owns: rows. Must not know HTTP, or what a role allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.people.person import PersonActRecord, PersonRecord
from gateway.people.roles import PersonRole

_QUERIES: Final = named_queries("gateway", "people.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A live session with its person."""

    person: PersonRecord
    signed_in_at: datetime
    seen_at: datetime
    expires_at: datetime


async def add_person(connection: Connection, person: PersonRecord) -> None:
    """Store a person. A unique violation: the address is taken; a foreign-key one: there is no such party."""
    await _QUERIES.insert_person(
        connection,
        id=person.id,
        party_id=person.party_id,
        email=person.email,
        name=person.name,
        role=person.role.value,
        created_at=person.created_at,
        created_by=person.created_by,
    )


async def list_people(connection: Connection, *, party_id: str | None, limit: int) -> list[PersonRecord]:
    """People in the order in which they were invited; of one party, or of all."""
    return [_person(row) async for row in _QUERIES.list_people(connection, party_id=party_id, limit=limit)]


async def find_person(
    connection: Connection, person_id: UUID, *, party_id: str | None
) -> PersonRecord | None:
    """One person; None where there is none or they are of another party."""
    row = await _QUERIES.find_person(connection, id=person_id, party_id=party_id)
    return None if row is None else _person(row)


async def names_of(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The names of people by id."""
    return {row["id"]: row["name"] async for row in _QUERIES.names_of(connection, ids=list(ids))}


async def revoke_person(
    connection: Connection, person_id: UUID, *, party_id: str | None, by: str, now: datetime
) -> bool:
    """End a person's access with their links and sessions; False where there is nobody to end."""
    row = await _QUERIES.revoke_person(connection, id=person_id, party_id=party_id, by=by, now=now)
    if row is None:
        return False
    await _QUERIES.end_links(connection, person_id=person_id, now=now)
    await _QUERIES.end_sessions_of(connection, person_id=person_id, now=now)
    return True


async def add_link(
    connection: Connection, *, digest: bytes, person_id: UUID, by: str, now: datetime, expires_at: datetime
) -> None:
    """Store a link in the place of those that were not used."""
    await _QUERIES.end_links(connection, person_id=person_id, now=now)
    await _QUERIES.insert_link(
        connection,
        token_sha256=digest,
        person_id=person_id,
        created_at=now,
        created_by=by,
        expires_at=expires_at,
    )


async def use_link(connection: Connection, *, digest: bytes, now: datetime) -> PersonRecord | None:
    """The person of a link that is used now, once; None where it is used, over or unknown."""
    row = await _QUERIES.use_link(connection, token_sha256=digest, now=now)
    return None if row is None else _person(row)


async def bind_subject(
    connection: Connection, *, issuer: str, subject: str, email: str
) -> PersonRecord | None:
    """The person of an OpenID subject, found by it or, the first time, by the verified address."""
    row = await _QUERIES.bind_subject(connection, issuer=issuer, subject=subject, email=email)
    return None if row is None else _person(row)


async def add_session(
    connection: Connection,
    *,
    digest: bytes,
    person_id: UUID,
    method: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Store a session."""
    await _QUERIES.insert_session(
        connection,
        token_sha256=digest,
        person_id=person_id,
        method=method,
        now=now,
        expires_at=expires_at,
    )


async def find_session(
    connection: Connection, *, digest: bytes, now: datetime, idle_since: datetime
) -> SessionRow | None:
    """A session that has not ended, with its person."""
    row = await _QUERIES.find_session(connection, token_sha256=digest, now=now, idle_since=idle_since)
    if row is None:
        return None
    return SessionRow(
        person=_person(row),
        signed_in_at=row["signed_in_at"],
        seen_at=row["session_seen_at"],
        expires_at=row["expires_at"],
    )


async def touch_session(connection: Connection, *, digest: bytes, now: datetime) -> None:
    """Note that a session is in use."""
    await _QUERIES.touch_session(connection, token_sha256=digest, now=now)


async def end_session(connection: Connection, *, digest: bytes, now: datetime) -> None:
    """End one session."""
    await _QUERIES.end_session(connection, token_sha256=digest, now=now)


async def end_sessions_of(connection: Connection, *, person_id: UUID, now: datetime) -> None:
    """End every session of a person."""
    await _QUERIES.end_sessions_of(connection, person_id=person_id, now=now)


async def add_attempt(
    connection: Connection,
    *,
    state: bytes,
    browser: bytes,
    nonce: str,
    code_verifier: str,
    expires_at: datetime,
) -> None:
    """Store a sign-in under way."""
    await _QUERIES.insert_attempt(
        connection,
        state_sha256=state,
        browser_sha256=browser,
        nonce=nonce,
        code_verifier=code_verifier,
        expires_at=expires_at,
    )


async def take_attempt(
    connection: Connection, *, state: bytes, browser: bytes, now: datetime
) -> tuple[str, str] | None:
    """Nonce and code verifier of a sign-in that this browser began; it can be taken once."""
    row = await _QUERIES.take_attempt(connection, state_sha256=state, browser_sha256=browser, now=now)
    return None if row is None else (row["nonce"], row["code_verifier"])


async def delete_ended(connection: Connection, *, now: datetime, before: datetime) -> None:
    """Delete attempts that are over, and links and sessions that ended before `before`."""
    await _QUERIES.delete_ended_attempts(connection, now=now)
    await _QUERIES.delete_ended_sessions(connection, before=before)
    await _QUERIES.delete_ended_links(connection, before=before)


async def add_act(connection: Connection, act: PersonActRecord) -> None:
    """Record an act."""
    await _QUERIES.insert_act(
        connection,
        id=act.id,
        person_id=act.person_id,
        party_id=act.party_id,
        operation=act.operation,
        subject=act.subject,
        status=act.status,
        acted_at=act.acted_at,
    )


async def list_acts(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> list[PersonActRecord]:
    """Acts, newest first; of one party's people, or of everybody."""
    return [
        PersonActRecord(**dict(row))
        async for row in _QUERIES.list_acts(connection, party_id=party_id, before=before, limit=limit)
    ]


def _person(row: Mapping[str, Any]) -> PersonRecord:
    return PersonRecord(
        id=row["id"],
        party_id=row["party_id"],
        email=row["email"],
        name=row["name"],
        role=PersonRole(row["role"]),
        created_at=row["created_at"],
        created_by=row["created_by"],
        revoked_at=row["revoked_at"],
        last_seen_at=row["last_seen_at"],
    )
