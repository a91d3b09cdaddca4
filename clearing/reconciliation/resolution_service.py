"""Resolution of differences and suspense items: proposed with a reason, booked at once or after approval.

Owns: which items a request is about, and that they are unchanged when it is booked. Must not know: HTTP, who
is logged in: `by` names a person for the record. Every method takes the connection; none commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from clearing.approvals import service as approvals
from clearing.approvals.request import ApprovalRequest, Proposal
from clearing.approvals.rules import ApprovalState, Resolution
from clearing.connection import Connection
from clearing.errors import ClearingConflictError, InvalidPartyError
from clearing.parties.party import Party
from clearing.receivables.service import ReceivablesService
from clearing.reconciliation import repository as reconciliation_repository
from clearing.reconciliation import resolution_repository as repository
from clearing.reconciliation.comparison import STATEMENT_MISSING, ReconciliationPair
from clearing.reconciliation.resolution_entries import BookingChoice, DifferenceSides, clear_suspense, settle
from clearing.reconciliation.resolution_repository import (
    DifferenceRecord,
    OpenItemRecord,
    SuspenseItemRecord,
)
from clearing.reconciliation.suspense import SuspenseItem
from clearing.reference_data.service import ReferenceDataService

_NAMESPACE: Final = UUID("a41f5a0e-77c2-5b6e-8f0d-2f6f6f0b9d31")
_DIFFERENCE, _SUSPENSE, _RECEIVABLE = "difference", "suspense", "receivable"
_SEPARATOR: Final = "\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionRequest:
    """How a person resolves a difference or a suspense item.

    `related_references` are further references that belong to the same movement.
    """

    resolution: Resolution
    reason: str
    by: str
    party_id: str | None = None
    related_references: Sequence[str] = ()


class ResolutionService:
    """Resolves differences and suspense items."""

    def __init__(self, reference_data: ReferenceDataService) -> None:
        """`reference_data` knows the parties."""
        self._reference_data = reference_data
        self._receivables = ReceivablesService(reference_data)

    async def find_difference(
        self, connection: Connection, *, pair: str, reference: str, currency: str | None
    ) -> UUID:
        """The id of the open difference of a reference.

        Raises ClearingConflictError if there is none, or several and `currency` is None.
        """
        found = [
            one
            for one in await repository.open_differences_of(connection, pair=pair, reference=reference)
            if currency in {None, one.currency}
        ]
        if len(found) > 1:
            currencies = ", ".join(one.currency for one in found)
            raise ClearingConflictError(f"{reference} has differences in {currencies}: name one currency")
        if not found:
            raise ClearingConflictError(f"there is no open difference {reference!r} of {pair}")
        return found[0].id

    async def resolve(
        self, connection: Connection, difference_id: UUID, request: ResolutionRequest, *, now: datetime
    ) -> ApprovalRequest:
        """Book a difference as requested, or keep the request until a second person approves; repeatable.

        Raises ClearingConflictError if there is no such difference, the resolution does not fit, or there is
        another request for it.
        """
        await self._lock(connection)
        difference = await repository.open_difference(connection, difference_id)
        if difference is None:
            raise ClearingConflictError(f"no difference {difference_id} is open")
        if difference.type in STATEMENT_MISSING:
            raise ClearingConflictError(
                "a bank statement is missing; import it first, there is nothing to book"
            )
        references = [difference.reference, *request.related_references]
        items = await repository.lock_open_items(
            connection, pair=difference.pair, references=references, currency=difference.currency
        )
        request_id = _request_id(difference, items)
        party = await self._party(connection, request.party_id)
        choice = BookingChoice(resolution=request.resolution, party=party, due=_local_day(party, now))
        entry, debited = settle(
            ReconciliationPair(difference.pair),
            _sides(difference, items),
            choice,
            named=str(request_id),
            currency=difference.currency,
        )
        if request.resolution is Resolution.SUSPENSE and debited == 0:
            raise ClearingConflictError("no amount would be in suspense: choose match or fee")
        proposal = Proposal(
            id=request_id,
            resolution=request.resolution,
            subject=_DIFFERENCE,
            pair=difference.pair,
            reference=_SEPARATOR.join([difference.reference, *sorted(request.related_references)]),
            party_id=request.party_id,
            currency=difference.currency,
            amount_minor=-debited,
            limit_amount_minor=abs(debited) + abs(_fee_difference(items)),
            entries=[] if entry is None else [entry],
            reason=request.reason,
            by=request.by,
        )
        return await self._propose(connection, proposal, now=now)

    async def clear(
        self,
        connection: Connection,
        suspense_id: UUID,
        request: ResolutionRequest,
        *,
        minor: int | None,
        now: datetime,
    ) -> ApprovalRequest:
        """Clear `minor` (the item's sign; by default all that remains) out of suspense.

        The whole item is compared with the approval limit, so that a large one can't be cleared in small
        parts. Raises ClearingConflictError if less remains or the resolution does not fit.
        """
        await self._lock(connection)
        item = await self._lock_suspense(connection, suspense_id)
        cleared = item.remaining_minor if minor is None else minor
        _check_remaining(item, cleared)
        request_id = uuid5(_NAMESPACE, f"suspense/{suspense_id}/{item.remaining_minor}/{cleared}")
        party = await self._party(connection, request.party_id)
        choice = BookingChoice(resolution=request.resolution, party=party, due=_local_day(party, now))
        entry = clear_suspense(
            ReconciliationPair(item.pair), cleared, choice, named=str(request_id), currency=item.currency
        )
        proposal = Proposal(
            id=request_id,
            resolution=request.resolution,
            subject=_SUSPENSE,
            pair=item.pair,
            reference=str(suspense_id),
            party_id=request.party_id,
            currency=item.currency,
            amount_minor=cleared,
            limit_amount_minor=item.amount_minor,
            entries=[entry],
            reason=request.reason,
            by=request.by,
        )
        return await self._propose(connection, proposal, now=now)

    async def offset(
        self,
        connection: Connection,
        suspense_id: UUID,
        other_id: UUID,
        *,
        reason: str,
        by: str,
        now: datetime,
    ) -> ApprovalRequest:
        """Offset two suspense items, the two sides of one transfer, by the smaller amount. Nothing is booked.

        Raises ClearingConflictError unless they are of one currency and of opposite signs.
        """
        await self._lock(connection)
        received, paid_out = sorted(
            [
                await self._lock_suspense(connection, suspense_id),
                await self._lock_suspense(connection, other_id),
            ],
            key=lambda item: -item.remaining_minor,
        )
        minor = min(received.remaining_minor, -paid_out.remaining_minor)
        if received.currency != paid_out.currency or minor <= 0:
            raise ClearingConflictError(
                "two suspense items offset each other only in one currency and with opposite signs"
            )
        facts = f"{received.id}/{received.remaining_minor}/{paid_out.id}/{paid_out.remaining_minor}"
        proposal = Proposal(
            id=uuid5(_NAMESPACE, f"offset/{facts}"),
            resolution=Resolution.MATCH,
            subject=_SUSPENSE,
            pair=received.pair,
            reference=f"{received.id}{_SEPARATOR}{paid_out.id}",
            party_id=None,
            currency=received.currency,
            amount_minor=minor,
            limit_amount_minor=received.amount_minor,
            entries=[],
            reason=reason,
            by=by,
        )
        return await self._propose(connection, proposal, now=now)

    async def approve(
        self, connection: Connection, request_id: UUID, *, by: str, now: datetime
    ) -> ApprovalRequest:
        """Approve a request: it is booked as proposed, if its object has not changed since.

        Raises ClearingConflictError; a request that is booked already is returned unchanged.
        """
        await self._lock(connection)
        request = await approvals.get(connection, request_id)
        if request.state is ApprovalState.BOOKED:
            return request
        return await self._book(connection, request, by=by, now=now)

    async def reject(
        self, connection: Connection, request_id: UUID, *, by: str, now: datetime
    ) -> ApprovalRequest:
        """Reject a request: nothing is booked. Raises ClearingConflictError if it is not pending."""
        await self._lock(connection)
        return await approvals.reject(connection, request_id, by=by, now=now)

    async def list_suspense(
        self, connection: Connection, *, now: datetime, after: UUID | None = None, limit: int = 1000
    ) -> list[SuspenseItem]:
        """Suspense items, the oldest first, those after one."""
        return [
            SuspenseItem(
                id=item.id,
                currency=item.currency,
                amount_minor=item.amount_minor,
                remaining_minor=item.remaining_minor,
                since=item.since,
                owner=item.owner,
                detail=item.detail,
                age_days=max(0, (now.date() - item.since).days),
            )
            for item in await repository.list_suspense(connection, after=after, limit=limit)
        ]

    # Booking

    async def _propose(self, connection: Connection, proposal: Proposal, *, now: datetime) -> ApprovalRequest:
        request = await approvals.propose(connection, proposal, now=now)
        if request.requires_approval or request.state is not ApprovalState.PENDING:
            return request
        return await self._book(connection, request, by=proposal.by, now=now)

    async def _book(
        self, connection: Connection, request: ApprovalRequest, *, by: str, now: datetime
    ) -> ApprovalRequest:
        if request.subject == _RECEIVABLE:
            await self._receivables.check_bookable(connection, request, now=now)
        elif request.subject == _SUSPENSE:
            # The second item of an offset has the opposite sign.
            for item_id, sign in zip(request.reference.split(_SEPARATOR), (1, -1), strict=False):
                item = await self._lock_suspense(connection, UUID(item_id))
                _check_remaining(item, sign * request.amount_minor)
                await repository.reduce_suspense(connection, item.id, minor=sign * request.amount_minor)
        booked = await approvals.approve(connection, request.id, by=by, now=now)
        if request.subject == _DIFFERENCE:
            await self._close_difference(connection, request, now=now)
        return booked

    async def _close_difference(
        self, connection: Connection, request: ApprovalRequest, *, now: datetime
    ) -> None:
        """The request's items are matched, and its money may become a suspense item."""
        references = request.reference.split(_SEPARATOR)
        found = await repository.open_differences_of(connection, pair=request.pair, reference=references[0])
        difference = next((one for one in found if one.currency == request.currency), None)
        if difference is None:
            raise ClearingConflictError(
                f"the difference of {references[0]} is no longer open: reject the request"
            )
        items = await repository.lock_open_items(
            connection, pair=request.pair, references=references, currency=request.currency
        )
        if _request_id(difference, items) != request.id:
            raise ClearingConflictError(
                f"the difference of {references[0]} has changed since it was proposed: "
                "reject the request and propose it again"
            )
        if request.resolution is Resolution.SUSPENSE:
            item = SuspenseItemRecord(
                id=request.id,
                currency=request.currency,
                amount_minor=request.amount_minor,
                remaining_minor=request.amount_minor,
                since=difference.since,
                owner=difference.owner,
                detail=f"{request.pair} {references[0]}: {difference.detail}",
                pair=request.pair,
            )
            await repository.insert_suspense(connection, item)
        await repository.resolve(
            connection,
            pair=request.pair,
            references=references,
            currency=request.currency,
            request_id=request.id,
            now=now,
        )

    async def _lock(self, connection: Connection) -> None:
        """No reconciliation run and no other approval request is handled meanwhile."""
        await reconciliation_repository.lock_run(connection)
        await approvals.lock_approvals(connection)

    async def _lock_suspense(self, connection: Connection, suspense_id: UUID) -> SuspenseItemRecord:
        item = await repository.lock_suspense(connection, suspense_id)
        if item is None:
            raise ClearingConflictError(f"there is no suspense item {suspense_id}")
        return item

    async def _party(self, connection: Connection, party_id: str | None) -> Party | None:
        if party_id is None:
            return None
        party = await self._reference_data.find_party(connection, party_id)
        if party is None:
            raise InvalidPartyError(party_id, "is not registered")
        return party


def _request_id(difference: DifferenceRecord, items: Sequence[OpenItemRecord]) -> UUID:
    """The same difference with the same items has one id; with other items it is another request."""
    facts = "/".join(f"{item.side}:{item.source_id}" for item in items)
    if not items:
        facts = f"{difference.since}/{difference.amount_minor}"
    return uuid5(_NAMESPACE, f"{difference.pair}/{difference.currency}/{difference.reference}/{facts}")


def _sides(difference: DifferenceRecord, items: Sequence[OpenItemRecord]) -> DifferenceSides:
    if difference.pair == ReconciliationPair.BANK_BALANCE:
        return DifferenceSides(left_minor=difference.amount_minor, right_minor=0)
    if not items:
        raise ClearingConflictError(
            f"no item of {difference.reference} is open any more: run the reconciliation again"
        )
    left = [item for item in items if item.side == "left"]
    right = [item for item in items if item.side == "right"]
    return DifferenceSides(
        left_minor=sum(item.amount_minor for item in left),
        right_minor=sum(item.amount_minor for item in right),
        left_fee_minor=sum(item.fee_minor for item in left),
        right_fee_minor=sum(item.fee_minor for item in right),
    )


def _fee_difference(items: Sequence[OpenItemRecord]) -> int:
    return sum(item.fee_minor if item.side == "right" else -item.fee_minor for item in items)


def _check_remaining(item: SuspenseItemRecord, minor: int) -> None:
    remaining = item.remaining_minor
    if minor == 0 or (minor > 0) != (remaining > 0) or abs(minor) > abs(remaining):
        raise ClearingConflictError(
            f"{remaining} {item.currency} of the item remain in suspense, not {minor}"
        )


def _local_day(party: Party | None, now: datetime) -> date:
    """A credit to a party counts from the party's own local day."""
    return now.date() if party is None else now.astimezone(ZoneInfo(party.time_zone)).date()
