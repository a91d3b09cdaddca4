"""Approval requests: proposed once, then booked exactly as proposed, or rejected.

Owns: when a second person is needed, and posting of what was approved. Must not know: what a request is
about. Every function takes the connection; none commits.
"""

import csv
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from uuid import UUID

from clearing.approvals import repository
from clearing.approvals.request import ApprovalRequest, Proposal
from clearing.approvals.rules import (
    ApprovalEvent,
    ApprovalState,
    advance,
    check_reason_and_name,
    check_second_approver,
    limits,
    requires_approval,
    same_person,
)
from clearing.connection import Connection
from clearing.errors import ClearingConflictError, InvalidAmountError
from clearing.ledger import service as ledger_service
from clearing.ledger.adjustments import entries_from
from clearing.money import exponent


@cache
def bundled_limits() -> Mapping[str, int]:
    """The limits of `approvals/limits.csv`."""
    text = (files("clearing.approvals") / "limits.csv").read_text(encoding="utf-8")
    return limits(csv.DictReader(text.splitlines()))


async def load_limits(connection: Connection, *, by: str | None = None) -> dict[str, int]:
    """Limits by currency: the bundled ones, replaced by those that were set.

    For a request of a person who raised a limit, the limit before applies: nobody raises a limit to avoid
    approval of their own requests.
    """
    bundled = bundled_limits()
    known = dict(bundled)
    for record in await repository.list_limits(connection):
        limit = record.limit_minor
        if by is not None and same_person(record.set_by, by):
            before = limit if record.before_minor is None else record.before_minor
            limit = min(limit, before, bundled.get(record.currency, bundled["*"]))
        known[record.currency] = limit
    return known


async def set_limit(
    connection: Connection, currency: str, limit_minor: int, *, by: str, now: datetime
) -> None:
    """Require approval above `limit_minor` from now on. Raises InvalidAmountError, UnknownCurrencyError."""
    exponent(currency)
    if limit_minor < 0:
        raise InvalidAmountError(f"a limit of {limit_minor} {currency}: expected 0 or more")
    check_reason_and_name("set", by)
    await repository.put_limit(connection, currency, limit_minor, by=by.strip(), now=now)


async def lock_approvals(connection: Connection) -> None:
    """Handle one approval request at a time, until the transaction ends."""
    await repository.lock_approvals(connection)


async def propose(connection: Connection, proposal: Proposal, *, now: datetime) -> ApprovalRequest:
    """Write a request; the same proposal again returns the stored one. A rejected one may be proposed again.

    Raises ClearingConflictError without a reason or name, or if another request for the same object exists.
    """
    check_reason_and_name(proposal.reason, proposal.by)
    second = requires_approval(
        proposal.resolution,
        amount_minor=proposal.limit_amount_minor,
        currency=proposal.currency,
        known=await load_limits(connection, by=proposal.by),
    )
    written = await repository.insert_or_renew(connection, proposal, requires_approval=second, now=now)
    request = await get(connection, proposal.id)
    asked = (proposal.resolution, proposal.party_id)
    if not written and (request.resolution, request.party_id) != asked:
        raise ClearingConflictError(
            f"{request.proposed_by} proposed to book it as {request.resolution}; reject that request first"
        )
    return request


async def get(connection: Connection, request_id: UUID) -> ApprovalRequest:
    """One request. Raises ClearingConflictError if there is none."""
    return _known(await repository.find(connection, request_id), request_id)


async def list_requests(
    connection: Connection,
    *,
    state: ApprovalState | None = None,
    limit: int = 100,
    of: tuple[str, str] | None = None,
    before: UUID | None = None,
) -> list[ApprovalRequest]:
    """Requests in one state, or in any, the latest first, those before one; `of` a pair and a reference."""
    return await repository.list_requests(connection, state=state, limit=limit, of=of, before=before)


async def approve(connection: Connection, request_id: UUID, *, by: str, now: datetime) -> ApprovalRequest:
    """Book it as proposed. Raises ClearingConflictError if a second person is needed and `by` proposed it."""
    request = _known(await repository.lock(connection, request_id), request_id)
    if request.requires_approval:
        check_second_approver(request.proposed_by, by)
    state = advance(request.state, ApprovalEvent.APPROVE)
    await repository.decide(connection, request_id, state=state, by=by.strip(), now=now)
    entries = entries_from(request.entries)
    if entries:
        await ledger_service.post_entries(connection, entries, now=now)
    return await get(connection, request_id)


async def reject(connection: Connection, request_id: UUID, *, by: str, now: datetime) -> ApprovalRequest:
    """Book nothing; its object stays open. The proposer may reject it, too."""
    check_reason_and_name("rejected", by)
    request = _known(await repository.lock(connection, request_id), request_id)
    state = advance(request.state, ApprovalEvent.REJECT)
    await repository.decide(connection, request_id, state=state, by=by.strip(), now=now)
    return await get(connection, request_id)


def _known(request: ApprovalRequest | None, request_id: UUID) -> ApprovalRequest:
    if request is None:
        raise ClearingConflictError(f"there is no approval request {request_id}")
    return request
