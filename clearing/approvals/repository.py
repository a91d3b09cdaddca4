"""Approval requests and approval limits in PostgreSQL.

Owns: rows to values and back. Must not know: who may approve, what is booked.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from clearing.approvals.request import ApprovalRequest, Proposal
from clearing.approvals.rules import ApprovalState, Resolution
from clearing.connection import Connection, named_queries, rows
from clearing.ledger.adjustments import entries_json

_sql = named_queries("approvals")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalLimitRecord:
    """A currency's limit in minor units, who set it, and the limit that was in force before."""

    currency: str
    limit_minor: int
    set_by: str
    before_minor: int | None


async def lock_approvals(connection: Connection) -> None:
    """Handle one approval request at a time, until the transaction ends."""
    await _sql.lock_approvals(connection)


async def insert_or_renew(
    connection: Connection, proposal: Proposal, *, requires_approval: bool, now: datetime
) -> bool:
    """Write the request, or propose a rejected one of the same id again. False: it is pending or booked."""
    fields: dict[str, Any] = {
        "id": proposal.id,
        "resolution": proposal.resolution,
        "party_id": proposal.party_id,
        "amount_minor": proposal.amount_minor,
        "entries": entries_json([(str(proposal.id), one) for one in proposal.entries]),
        "reason": proposal.reason.strip(),
        "requires_approval": requires_approval,
        "proposed_by": proposal.by.strip(),
        "now": now,
    }
    written = await _sql.insert_request(
        connection,
        state=ApprovalState.PENDING,
        subject=proposal.subject,
        pair=proposal.pair,
        reference=proposal.reference,
        currency=proposal.currency,
        **fields,
    )
    return written is not None or await _sql.renew_request(connection, **fields) is not None


async def find(connection: Connection, request_id: UUID) -> ApprovalRequest | None:
    """One request."""
    row = await _sql.request(connection, id=request_id)
    return None if row is None else _request(row)


async def lock(connection: Connection, request_id: UUID) -> ApprovalRequest | None:
    """One request, locked until the transaction ends."""
    row = await _sql.lock_request(connection, id=request_id)
    return None if row is None else _request(row)


async def list_requests(
    connection: Connection,
    *,
    state: ApprovalState | None,
    limit: int,
    of: tuple[str, str] | None = None,
    before: UUID | None = None,
) -> list[ApprovalRequest]:
    """Requests in one state, or in any, the latest first; `of` is a pair and a reference of it."""
    pair, reference = of or (None, None)
    found = _sql.requests(connection, state=state, pair=pair, reference=reference, before=before, limit=limit)
    return [_request(row) for row in await rows(found)]


async def decide(
    connection: Connection, request_id: UUID, *, state: ApprovalState, by: str, now: datetime
) -> None:
    """Record that a pending request was booked or rejected."""
    await _sql.decide(connection, id=request_id, state=state, by=by, now=now)


async def list_limits(connection: Connection) -> list[ApprovalLimitRecord]:
    """The limits that were set, by currency."""
    return [ApprovalLimitRecord(**dict(row.items())) for row in await rows(_sql.limits(connection))]


async def put_limit(
    connection: Connection, currency: str, limit_minor: int, *, by: str, now: datetime
) -> None:
    """Set a currency's limit."""
    await _sql.put_limit(connection, currency=currency, limit_minor=limit_minor, by=by, now=now)


def _request(row: Any) -> ApprovalRequest:
    fields = dict(row.items())
    return ApprovalRequest(
        **{
            **fields,
            "resolution": Resolution(fields["resolution"]),
            "state": ApprovalState(fields["state"]),
        }
    )
