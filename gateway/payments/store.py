"""Reads and phases of the payment in PostgreSQL, over the named statements of gateway/sql.

Owns: the translation between values and rows. Must not know: what a phase means, or when it is due. Every
method takes the connection; a phase is one statement and so one transaction by itself.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.orders import SessionFilter
from gateway.payments.policy import ask_again_after
from gateway.payments.records import (
    AccountRecord,
    AuthorizationRecord,
    CallRecord,
    CaptureRecord,
    SessionRecord,
    SnapshotRecord,
    TopUpRecord,
)

_payments = named_queries("gateway", "payments.sql")
Events = Sequence[Mapping[str, Any]]


async def find_session(connection: Connection, *, kind: str, foreign_id: str) -> tuple[int, UUID] | None:
    """The lane and id of the session that a foreign name stands for (`session_ref`, `cdr`, `psp_payment`)."""
    row = await _payments.find_session_by_name(connection, kind=kind, foreign_id=foreign_id)
    return None if row is None else (row["lane"], row["session_id"])


async def session(connection: Connection, *, lane: int, session_id: UUID) -> SessionRecord | None:
    """One session."""
    row = await _payments.load_session(connection, lane=lane, id=session_id)
    return None if row is None else SessionRecord.from_row(row)


async def authorization(
    connection: Connection, *, lane: int, authorization_id: UUID
) -> AuthorizationRecord | None:
    """One authorization."""
    row = await _payments.load_authorization(connection, lane=lane, id=authorization_id)
    return None if row is None else AuthorizationRecord.from_row(row)


async def current_authorization(
    connection: Connection, *, lane: int, session_id: UUID
) -> AuthorizationRecord | None:
    """The authorization that counts for a session: the active one, else the latest."""
    row = await _payments.current_authorization(connection, lane=lane, session_id=session_id)
    return None if row is None else AuthorizationRecord.from_row(row)


async def standing(
    connection: Connection, *, lane: int, session_id: UUID
) -> tuple[SessionRecord, AuthorizationRecord | None, CaptureRecord | None] | None:
    """A session, the authorization that counts for it and its capture: one read of one moment."""
    row = await _payments.load_standing(connection, lane=lane, id=session_id)
    if row is None:
        return None
    of_session, of_authorization, of_capture = _tables(row)
    return (
        SessionRecord.from_row(of_session),
        AuthorizationRecord.from_row(of_authorization) if of_authorization["id"] else None,
        CaptureRecord.from_row(of_capture) if of_capture["id"] else None,
    )


async def authorized(
    connection: Connection, *, lane: int, authorization_id: UUID
) -> tuple[AuthorizationRecord, SessionRecord] | None:
    """An authorization and its session: one read of one moment."""
    row = await _payments.load_authorized(connection, lane=lane, id=authorization_id)
    if row is None:
        return None
    of_authorization, of_session = _tables(row)
    return AuthorizationRecord.from_row(of_authorization), SessionRecord.from_row(of_session)


async def capture(connection: Connection, *, lane: int, session_id: UUID) -> CaptureRecord | None:
    """The capture of a session, if it was requested."""
    row = await _payments.load_capture(connection, lane=lane, session_id=session_id)
    return None if row is None else CaptureRecord.from_row(row)


async def capture_by_id(connection: Connection, *, lane: int, capture_id: UUID) -> CaptureRecord | None:
    """A capture by its own id."""
    row = await _payments.load_capture_by_id(connection, lane=lane, id=capture_id)
    return None if row is None else CaptureRecord.from_row(row)


async def snapshot(connection: Connection, *, sha256: str) -> SnapshotRecord | None:
    """A frozen tariff."""
    row = await _payments.load_snapshot(connection, sha256=sha256)
    return None if row is None else SnapshotRecord.from_row(row)


async def sessions(
    connection: Connection,
    *,
    party_id: str | None,
    wanted: SessionFilter,
    before: UUID | None,
    limit: int,
) -> list[SessionRecord]:
    """Sessions of a party (None: all), newest first."""
    rows = await _fetch(
        _payments.list_sessions(
            connection,
            party_id=party_id,
            state=wanted.state,
            session_ref=wanted.session_ref,
            evse_id=wanted.evse_id,
            created_from=wanted.created_from,
            created_before=wanted.created_before,
            metadata=dict(wanted.metadata),
            before=before,
            row_limit=limit,
        )
    )
    return [SessionRecord.from_row(row) for row in rows]


async def authorizations(
    connection: Connection,
    *,
    party_id: str | None,
    state: str | None,
    before: UUID | None,
    limit: int,
) -> list[AuthorizationRecord]:
    """Authorizations of a party (None: all), newest first."""
    rows = await _fetch(
        _payments.list_authorizations(
            connection, party_id=party_id, state=state, before=before, row_limit=limit
        )
    )
    return [AuthorizationRecord.from_row(row) for row in rows]


async def captures(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> list[CaptureRecord]:
    """Captures of a party's sessions (None: all), newest first."""
    rows = await _fetch(
        _payments.list_captures(connection, party_id=party_id, before=before, row_limit=limit)
    )
    return [CaptureRecord.from_row(row) for row in rows]


async def open_authorization(connection: Connection, **fields: Any) -> bool:
    """Phase 1 of authorize; False when a funded account can't bear the hold. Raises UniqueViolationError."""
    return bool(await _payments.open_authorization(connection, **fields))


async def conclude_hold(connection: Connection, **fields: Any) -> bool:
    """Phase 3 of authorize; False when somebody else has recorded the answer."""
    return bool(await _payments.conclude_hold(connection, **fields))


async def complete_session(connection: Connection, **fields: Any) -> bool:
    """Fix the CDR and its price; False when the session was completed before."""
    return bool(await _payments.complete_session(connection, **fields))


async def request_end(connection: Connection, **fields: Any) -> UUID | None:
    """Phase 1 of capture or void: the capture's id; None when the authorization is in no state for it."""
    found: UUID | None = await _payments.request_end(connection, **fields)
    return found


async def conclude_end(connection: Connection, **fields: Any) -> bool:
    """Phase 3 of capture or void; False when somebody else has recorded the answer."""
    return bool(await _payments.conclude_end(connection, **fields))


async def refused_kinds(connection: Connection, *, lane: int, authorization_id: UUID) -> frozenset[str]:
    """Kinds of calls that the PSP has declined for an authorization."""
    rows = await _fetch(_payments.refused_kinds(connection, lane=lane, authorization_id=authorization_id))
    return frozenset(row["kind"] for row in rows)


async def request_increment(connection: Connection, **fields: Any) -> bool:
    """Phase 1 of an increment; False when the hold does not stand or is high enough."""
    return bool(await _payments.request_increment(connection, **fields))


async def conclude_increment(connection: Connection, **fields: Any) -> bool:
    """Phase 3 of an increment; False when somebody else has recorded the answer."""
    return bool(await _payments.conclude_increment(connection, **fields))


async def raise_on_account(connection: Connection, **fields: Any) -> bool:
    """Raise a hold on a funded account; raises CheckViolationError where the account can't bear it."""
    return bool(await _payments.raise_on_account(connection, **fields))


async def request_collect(connection: Connection, **fields: Any) -> bool:
    """Phase 1 of an off-session charge; False when nothing is owed or it was tried before."""
    return bool(await _payments.request_collect(connection, **fields))


async def conclude_collect(connection: Connection, **fields: Any) -> bool:
    """Phase 3 of an off-session charge; False when somebody else has recorded the answer."""
    return bool(await _payments.conclude_collect(connection, **fields))


async def end_on_account(connection: Connection, **fields: Any) -> bool:
    """Capture or release on a funded account, whole; False when the authorization is in no state for it."""
    return bool(await _payments.end_on_account(connection, **fields))


async def conclude_action(connection: Connection, **fields: Any) -> bool:
    """The cardholder has acted; False when the authorization waits for no action."""
    return bool(await _payments.hold_after_action(connection, **fields))


async def expire_authorization(
    connection: Connection, *, lane: int, authorization_id: UUID, now: datetime
) -> bool:
    """The PSP ended the hold; False when it was not standing."""
    row = await _payments.expire_authorization(connection, lane=lane, id=authorization_id, now=now)
    return row is not None


async def postpone_call(
    connection: Connection,
    *,
    lane: int,
    call_id: UUID,
    next_ask_at: datetime,
    reason: str,
    now: datetime,
) -> None:
    """No answer: keep the call open and the authorization `outcome_unknown`."""
    await _payments.postpone_call(
        connection, lane=lane, call_id=call_id, next_ask_at=next_ask_at, reason=reason, now=now
    )


async def ask_later(connection: Connection, call: CallRecord, *, reason: str, wall_now: datetime) -> None:
    """No answer to a call that leaves the authorization as it is: ask again, after a growing wait."""
    await _payments.postpone_plain_call(
        connection,
        lane=call.lane,
        call_id=call.id,
        next_ask_at=wall_now + ask_again_after(call.attempts + 1),
        reason=reason,
    )


async def open_call(connection: Connection, *, lane: int, authorization_id: UUID) -> CallRecord | None:
    """The call in the air for an authorization."""
    row = await _payments.open_call(connection, lane=lane, authorization_id=authorization_id)
    return None if row is None else CallRecord.from_row(row)


async def lanes_with_open_calls(connection: Connection, *, wall_now: datetime) -> list[int]:
    """Lanes in which a call is due to be asked again."""
    rows = await _fetch(_payments.lanes_with_open_calls(connection, wall_now=wall_now))
    return [row["lane"] for row in rows]


async def lease_calls(
    connection: Connection, *, lane: int, wall_now: datetime, leased_until: datetime, batch: int
) -> list[CallRecord]:
    """Calls of one lane that are due, theirs to ask until the lease ends."""
    rows = await _fetch(
        _payments.lease_calls(
            connection, lane=lane, wall_now=wall_now, leased_until=leased_until, batch=batch
        )
    )
    return [CallRecord.from_row(row) for row in rows]


async def psp_event_body(connection: Connection, *, event_id: str) -> bytes | None:
    """The body of an event of the PSP, as it was kept."""
    row = await _payments.load_psp_event(connection, id=event_id)
    return None if row is None else row["body"]


async def keep_psp_event(connection: Connection, **fields: Any) -> bool:
    """Keep an event of the PSP and leave an errand for it; False when it was kept before."""
    return bool(await _payments.keep_psp_event(connection, **fields))


async def fund_account(connection: Connection, **fields: Any) -> bool:
    """Raise a funded account's balance; False when that reference was booked before."""
    return bool(await _payments.fund_account(connection, **fields))


async def funding(connection: Connection, *, party_id: str, reference: str) -> tuple[str, int] | None:
    """Currency and amount of the funding that a party's reference stands for."""
    row = await _payments.load_funding(connection, party_id=party_id, reference=reference)
    return None if row is None else (row["currency"], row["amount_minor"])


async def intend_top_up(connection: Connection, **fields: Any) -> TopUpRecord:
    """Commit what is about to be topped up under a subject; the first request's row, if there was one."""
    row = await _payments.intend_top_up(connection, **fields)
    if row is None:  # another request's row, committed after this statement began: now it is seen
        row = await _payments.intend_top_up(connection, **fields)
    return TopUpRecord.from_row(row)


async def ask_top_up_again(connection: Connection, **fields: Any) -> None:
    """A top-up that the PSP never had is asked for anew: its key counts from now."""
    await _payments.ask_top_up_again(connection, **fields)


async def conclude_top_up(connection: Connection, *, subject: str, psp_object: str) -> None:
    """The PSP has answered."""
    await _payments.conclude_top_up(connection, subject=subject, psp_object=psp_object)


async def set_credit_limit(
    connection: Connection, *, party_id: str, currency: str, credit_limit_minor: int
) -> None:
    """Set how far below zero a funded account may go."""
    await _payments.set_credit_limit(
        connection, party_id=party_id, currency=currency, credit_limit_minor=credit_limit_minor
    )


async def account(connection: Connection, *, party_id: str, currency: str) -> AccountRecord | None:
    """A funded account."""
    row = await _payments.load_account(connection, party_id=party_id, currency=currency)
    return None if row is None else AccountRecord.from_row(row)


def _tables(row: Any) -> list[dict[str, Any]]:
    """A row of several tables' columns, table by table: each of ours begins with `lane`."""
    tables: list[dict[str, Any]] = []
    for name, value in row.items():
        if name == "lane":
            tables.append({})
        tables[-1][name] = value
    return tables


async def _fetch(rows: Any) -> list[Mapping[str, Any]]:
    """All rows of a many-row query, which aiosql hands over one by one."""
    return [row async for row in rows]
