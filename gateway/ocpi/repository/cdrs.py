"""CDRs as CPOs sent them, in PostgreSQL: kept once, followed until completed, replayed after a correction.

Owns: the row of a CDR, its task for the worker, lookups of sessions by what a CDR names.
Must not know: which lookup decides, how a CDR is priced, or HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, named_queries
from gateway.errors import MalformedIdError
from gateway.ids import new_id, parse_id, shard_of

_sql = named_queries("gateway", "ocpi_cdrs.sql")
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CdrStatus(StrEnum):
    """The state of a CDR."""

    PENDING = "pending"  # the worker has it to do
    UNMATCHED = "unmatched"  # no session of ours; waits with a reason
    UNPRICEABLE = "unpriceable"  # the session's tariff can't price it; waits with a reason
    EXCEPTION = "exception"  # a check found it odd; a person decides
    REJECTED = "rejected"  # a person decided that it is not captured
    COMPLETED = "completed"  # its session is completed by it, or corrected
    CREDIT = "credit"  # reverses another CDR; kept for the refund


class CreditState(StrEnum):
    """What became of a credit CDR."""

    PENDING = "pending"  # waits for the CDR that takes the credited one's place
    APPLIED = "applied"  # the credited CDR is reversed, replaced, or was never captured
    EXCEPTION = "exception"  # a person decides


WAITING: Final = (CdrStatus.UNMATCHED, CdrStatus.UNPRICEABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCdr:
    """A CDR to be kept: its raw bytes and the fields by which it is found.

    `fingerprint` is the SHA-256 of its content.
    """

    cpo_id: str
    cdr_id: str
    version: OcpiVersion
    raw: bytes
    fingerprint: bytes
    session_ref: str | None
    authorization_reference: str | None
    currency: str
    ended_at: datetime
    credit: bool
    credit_reference_id: str | None
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrRecord:
    """A kept CDR and its state.

    `session_ref` is the CPO's Session.id, `session_id` our session's id.
    """

    cpo_id: str
    cdr_id: str
    version: OcpiVersion
    raw: bytes
    fingerprint: bytes
    session_ref: str | None
    authorization_reference: str | None
    currency: str
    ended_at: datetime
    credit: bool
    credit_reference_id: str | None
    last_updated: datetime
    received_at: datetime
    status: CdrStatus
    reason: str | None
    session_id: UUID | None
    replays: int


async def add_cdr(connection: Connection, cdr: NewCdr, *, now: datetime, wall_now: datetime) -> bool:
    """Keep a CDR with its task to complete a session; False when its id is known already.

    A credit CDR is kept without a task. `now` is business time, `wall_now` wall time.
    """
    task_id = new_id()
    named = session_or_authorization(cdr.authorization_reference)
    added = await _sql.add_cdr(
        connection,
        party_id=cdr.cpo_id,
        cdr_key=cdr.cdr_id.lower(),
        cdr_id=cdr.cdr_id,
        version=cdr.version.value,
        raw=cdr.raw,
        fingerprint=cdr.fingerprint,
        session_ref=cdr.session_ref,
        authorization_reference=cdr.authorization_reference,
        currency=cdr.currency,
        ended_at=cdr.ended_at,
        credit=cdr.credit,
        credit_reference_id=cdr.credit_reference_id,
        last_updated=cdr.last_updated,
        now=now,
        status=(CdrStatus.CREDIT if cdr.credit else CdrStatus.PENDING).value,
        shard=shard_of(task_id if named is None else named[1]),
        task_id=task_id,
        wall_now=wall_now,
    )
    return added is not None


async def load_cdr(connection: Connection, cpo_id: str, cdr_id: str) -> CdrRecord | None:
    """The CDR `cdr_id` of `cpo_id`, ids without regard to case, or None."""
    row = await _sql.load_cdr(connection, party_id=cpo_id, cdr_key=cdr_id.lower())
    return None if row is None else _stored(row)


async def mark_cdr(
    connection: Connection,
    cpo_id: str,
    cdr_id: str,
    *,
    status: CdrStatus,
    now: datetime,
    reason: str | None = None,
    session_id: UUID | None = None,
) -> bool:
    """Record the state of a CDR; False when there is none, or it is completed or a credit CDR.

    `reason` is required for unmatched and unpriceable, `session_id` for completed (kept once known).
    Raises asyncpg.CheckViolationError otherwise.
    """
    marked = await _sql.mark_cdr(
        connection,
        party_id=cpo_id,
        cdr_key=cdr_id.lower(),
        status=status.value,
        reason=reason,
        session_id=session_id,
        now=now,
    )
    return marked is not None


async def list_queued_cdrs(
    connection: Connection,
    *,
    cpo_id: str | None = None,
    statuses: Sequence[CdrStatus] = WAITING,
    after: CdrRecord | None = None,
    limit: int = 100,
) -> list[CdrRecord]:
    """CDRs in `statuses`, the longest waiting first, `limit` a page.

    `after` is the last one of the page before.
    """
    return [
        _stored(row)
        async for row in _sql.queued_cdrs(
            connection,
            party_id=cpo_id,
            statuses=[status.value for status in statuses],
            after_received=_EARLIEST if after is None else after.received_at,
            after_key="" if after is None else after.cdr_id.lower(),
            row_limit=limit,
        )
    ]


async def replay_cdr(
    connection: Connection, cpo_id: str, cdr_id: str, *, now: datetime, wall_now: datetime
) -> bool:
    """Add a task for a waiting CDR again; False when it is not waiting."""
    task_id = new_id()
    replayed = await _sql.replay_cdr(
        connection,
        party_id=cpo_id,
        cdr_key=cdr_id.lower(),
        now=now,
        wall_now=wall_now,
        task_id=task_id,
        shard=shard_of(task_id),
    )
    return replayed is not None


async def replay_waiting(
    connection: Connection,
    *,
    now: datetime,
    wall_now: datetime,
    cpo_id: str | None = None,
    limit: int = 1000,
) -> int:
    """Add tasks for up to `limit` waiting CDRs again, the longest waiting first.

    Returns how many.
    """
    waiting = await list_queued_cdrs(connection, cpo_id=cpo_id, limit=limit)
    replayed = 0
    for cdr in waiting:
        replayed += await replay_cdr(connection, cdr.cpo_id, cdr.cdr_id, now=now, wall_now=wall_now)
    return replayed


async def list_credits(connection: Connection, cpo_id: str, cdr_id: str) -> list[str]:
    """Ids of the credit CDRs that reverse `cdr_id`."""
    found = _sql.credits_of(connection, party_id=cpo_id, cdr_key=cdr_id.lower())
    return [row["cdr_id"] async for row in found]


async def list_open_credits(
    connection: Connection, *, received_before: datetime, updated_before: datetime, limit: int
) -> list[tuple[str, str]]:
    """Credit CDRs received and last looked at by these times that had no effect yet: CPO and id."""
    found = _sql.open_credits(
        connection, received_before=received_before, updated_before=updated_before, row_limit=limit
    )
    return [(row["party_id"], row["cdr_id"]) async for row in found]


async def mark_credit(
    connection: Connection,
    credit: CdrRecord,
    *,
    state: CreditState,
    now: datetime,
    reason: str | None = None,
    session_id: UUID | None = None,
) -> None:
    """Record what became of a credit CDR; `reason` is required for an exception."""
    await _sql.mark_credit(
        connection,
        party_id=credit.cpo_id,
        cdr_key=credit.cdr_id.lower(),
        state=state.value,
        reason=reason,
        session_id=session_id,
        now=now,
    )


async def find_reference_of_session(connection: Connection, *, cpo_id: str, session_ref: str) -> str | None:
    """The authorization reference of an OCPI session that a CPO pushed."""
    found: str | None = await _sql.reference_of_session(
        connection, party_id=cpo_id, session_key=session_ref.lower()
    )
    return found


async def find_session_of_reference(
    connection: Connection, *, cpo_id: str, reference: str | None
) -> UUID | None:
    """The session at this CPO's charge points that an authorization reference of ours names."""
    named = session_or_authorization(reference)
    if named is None:
        return None
    prefix, identifier = named
    query = _sql.session_of_cpo if prefix == "ses" else _sql.session_of_authorization
    row = await query(connection, shard=shard_of(identifier), id=identifier, cpo_id=cpo_id)
    return None if row is None else row["id"]


async def find_session_by_cpo_id(connection: Connection, *, cpo_id: str, session_ref: str) -> UUID | None:
    """The session that was authorized under the CPO's own id `session_ref`."""
    row = await _sql.session_by_name(connection, foreign_id=f"{cpo_id}:{session_ref}", cpo_id=cpo_id)
    return None if row is None else row["id"]


async def find_session_of_token(
    connection: Connection,
    *,
    cpo_id: str,
    contract_id: str,
    evse_uid: str,
    ended_at: datetime,
    since: datetime | None = None,
) -> UUID | None:
    """The active session of the latest authorization given for a token at an EVSE before `ended_at`.

    `since`: none that was asked for before.
    """
    row = await _sql.session_of_token(
        connection,
        cpo_id=cpo_id,
        contract_key=contract_id.lower(),
        evse_uid_key=evse_uid.lower(),
        ended_at=ended_at,
        since=since,
    )
    return None if row is None else row["id"]


def session_or_authorization(reference: str | None) -> tuple[str, UUID] | None:
    """The id that an authorization reference of ours names, with its prefix `auth` or `ses`.

    None for foreign text.

    OCPI compares references without regard to case, so case is folded first.
    """
    if reference is None:
        return None
    text = reference.lower()
    for prefix in ("auth", "ses"):
        if text.startswith(f"{prefix}_"):
            try:
                return prefix, parse_id(prefix, text)
            except MalformedIdError:
                return None
    return None


def _stored(row: Any) -> CdrRecord:
    values = dict(row)
    return CdrRecord(
        cpo_id=values.pop("party_id"),
        version=OcpiVersion(values.pop("version")),
        status=CdrStatus(values.pop("status")),
        **values,
    )
