"""Sessions, authorizations and captures in PostgreSQL: reads, and the phases without a request to the PSP.

Owns: the translation between values and rows. Must not know: what a phase means, or when it is due. Every
function takes the connection; a phase is one statement and so one transaction by itself.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    SessionRecord,
)

_sql = named_queries("gateway", "payments.sql")


async def find_session_by_foreign_id(
    connection: Connection, *, kind: str, foreign_id: str
) -> tuple[int, UUID] | None:
    """Shard and id of the session that a foreign name refers to (`session_ref`, `cdr`, `psp_payment`)."""
    row = await _sql.find_session(connection, kind=kind, foreign_id=foreign_id)
    return None if row is None else (row["shard"], row["session_id"])


async def find_session(connection: Connection, *, shard: int, session_id: UUID) -> SessionRecord | None:
    """One session."""
    row = await _sql.load_session(connection, shard=shard, id=session_id)
    return None if row is None else SessionRecord.from_row(row)


async def is_shown_to(connection: Connection, party_id: str | None, *, shard: int, session_id: UUID) -> bool:
    """Whether a session, and so what belongs to it, is the party's to read; None: the platform reads all."""
    session = await find_session(connection, shard=shard, session_id=session_id)
    return session is not None and party_id in {None, session.demand_partner_id, session.cpo_id}


async def find_authorization(
    connection: Connection, *, shard: int, authorization_id: UUID
) -> AuthorizationRecord | None:
    """One authorization."""
    row = await _sql.load_authorization(connection, shard=shard, id=authorization_id)
    return None if row is None else AuthorizationRecord.from_row(row)


async def find_current_authorization(
    connection: Connection, *, shard: int, session_id: UUID
) -> AuthorizationRecord | None:
    """The current authorization of a session: the active one, else the latest."""
    row = await _sql.current_authorization(connection, shard=shard, session_id=session_id)
    return None if row is None else AuthorizationRecord.from_row(row)


async def find_session_with_payment(
    connection: Connection, *, shard: int, session_id: UUID
) -> tuple[SessionRecord, AuthorizationRecord | None, CaptureRecord | None] | None:
    """A session, its current authorization and its capture: one read of one moment."""
    row = await _sql.load_session_with_payment(connection, shard=shard, id=session_id)
    if row is None:
        return None
    of_session, of_authorization, of_capture = tables_of(row)
    return (
        SessionRecord.from_row(of_session),
        AuthorizationRecord.from_row(of_authorization) if of_authorization["id"] else None,
        CaptureRecord.from_row(of_capture) if of_capture["id"] else None,
    )


async def find_authorization_with_session(
    connection: Connection, *, shard: int, authorization_id: UUID
) -> tuple[AuthorizationRecord, SessionRecord] | None:
    """An authorization and its session: one read of one moment."""
    row = await _sql.load_authorization_with_session(connection, shard=shard, id=authorization_id)
    if row is None:
        return None
    of_authorization, of_session = tables_of(row)
    return AuthorizationRecord.from_row(of_authorization), SessionRecord.from_row(of_session)


async def find_capture(connection: Connection, *, shard: int, session_id: UUID) -> CaptureRecord | None:
    """The capture of a session, if it was requested."""
    row = await _sql.load_capture(connection, shard=shard, session_id=session_id)
    return None if row is None else CaptureRecord.from_row(row)


async def find_capture_by_id(connection: Connection, *, shard: int, capture_id: UUID) -> CaptureRecord | None:
    """A capture by its own id."""
    row = await _sql.load_capture_by_id(connection, shard=shard, id=capture_id)
    return None if row is None else CaptureRecord.from_row(row)


async def record_start(
    connection: Connection, *, shard: int, session_id: UUID, started_at: datetime, now: datetime
) -> None:
    """Record when a running session began; a session that has a start or a CDR keeps its own."""
    await _sql.record_start(connection, shard=shard, session_id=session_id, started_at=started_at, now=now)


async def raise_on_account(connection: Connection, **fields: Any) -> bool:
    """Raise a hold on a funded account; raises CheckViolationError where the account does not cover it."""
    return bool(await _sql.raise_on_account(connection, **fields))


async def end_on_account(connection: Connection, **fields: Any) -> bool:
    """Capture or release on a funded account, whole; False when the authorization is in no state for it."""
    return bool(await _sql.end_on_account(connection, **fields))


async def record_action(connection: Connection, **fields: Any) -> bool:
    """The cardholder has acted; False when the authorization waits for no action."""
    return bool(await _sql.record_action(connection, **fields))


async def expire_authorization(
    connection: Connection, authorization: AuthorizationRecord, *, now: datetime
) -> bool:
    """The PSP ended the hold; False when it was not active."""
    row = await _sql.expire_authorization(
        connection,
        shard=authorization.shard,
        id=authorization.id,
        session_id=authorization.session_id,
        now=now,
    )
    return row is not None


async def find_psp_event_body(connection: Connection, *, shard: int, event_id: str) -> bytes | None:
    """The body of an event of the PSP, as it was kept."""
    row = await _sql.load_psp_event(connection, shard=shard, id=event_id)
    return None if row is None else row["body"]


async def find_kept_psp_events(connection: Connection, events: Sequence[tuple[int, str]]) -> set[str]:
    """Which events of the PSP, each by its shard and id, were kept."""
    found = _sql.kept_psp_events(
        connection, shards=[shard for shard, _ in events], ids=[event_id for _, event_id in events]
    )
    return {row["id"] async for row in found}


def tables_of(row: Any) -> list[dict[str, Any]]:
    """A row of several tables' columns, table by table: each of ours begins with `shard`."""
    tables: list[dict[str, Any]] = []
    for name, value in row.items():
        if name == "shard":
            tables.append({})
        tables[-1][name] = value
    return tables


async def _fetch(rows: Any) -> list[Mapping[str, Any]]:
    """All rows of a many-row query, which aiosql hands over one by one."""
    return [row async for row in rows]
