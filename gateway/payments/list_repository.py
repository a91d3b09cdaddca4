"""Pages of sessions, authorizations and captures from PostgreSQL, newest first.

Owns: the translation between filters, rows and values. Must not know: whose object is whose.
`party_id` None is every party's.
"""

from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.records import AuthorizationRecord, CaptureRecord, SessionRecord
from gateway.payments.repository import tables_of
from gateway.payments.requests import AuthorizationFilter, SessionFilter

_sql: Final[Any] = named_queries("gateway", "payment_lists.sql")
ListedSession = tuple[SessionRecord, AuthorizationRecord | None, CaptureRecord | None]


async def plan_each(connection: Connection) -> None:
    """Plan each page of this transaction with its own filters: which index serves it depends on them."""
    await _sql.plan_each(connection)


async def list_sessions(
    connection: Connection, *, party_id: str | None, wanted: SessionFilter, before: UUID | None, limit: int
) -> list[ListedSession]:
    """Sessions, each with the authorization that counts for it and its capture."""
    rows = _sql.list_sessions(
        connection,
        party_id=party_id,
        state=wanted.state,
        session_ref=wanted.session_ref,
        evse_id=wanted.evse_id,
        created_from=wanted.created_from,
        created_before=wanted.created_before,
        amount_min=wanted.amount_min_minor,
        amount_max=wanted.amount_max_minor,
        currency=wanted.currency,
        decline_code=wanted.decline_code,
        metadata=dict(wanted.metadata),
        before=before,
        row_limit=limit,
    )
    return [_session(row) async for row in rows]


async def list_authorizations(
    connection: Connection,
    *,
    party_id: str | None,
    wanted: AuthorizationFilter,
    before: UUID | None,
    limit: int,
) -> list[tuple[AuthorizationRecord, SessionRecord]]:
    """Authorizations, each with its session."""
    rows = _sql.list_authorizations(
        connection,
        party_id=party_id,
        state=wanted.state,
        method=wanted.method,
        evse_id=wanted.evse_id,
        created_from=wanted.created_from,
        created_before=wanted.created_before,
        amount_min=wanted.amount_min_minor,
        amount_max=wanted.amount_max_minor,
        currency=wanted.currency,
        decline_code=wanted.decline_code,
        metadata=dict(wanted.metadata),
        before=before,
        row_limit=limit,
    )
    found = [tables_of(row) async for row in rows]
    return [
        (AuthorizationRecord.from_row(of_authorization), SessionRecord.from_row(of_session))
        for of_authorization, of_session in found
    ]


async def list_captures(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> list[CaptureRecord]:
    """Captures of sessions."""
    rows = _sql.list_captures(connection, party_id=party_id, before=before, row_limit=limit)
    return [CaptureRecord.from_row(row) async for row in rows]


def _session(row: Any) -> ListedSession:
    of_session, of_authorization, of_capture = tables_of(row)
    return (
        SessionRecord.from_row(of_session),
        AuthorizationRecord.from_row(of_authorization) if of_authorization["id"] else None,
        CaptureRecord.from_row(of_capture) if of_capture["id"] else None,
    )
