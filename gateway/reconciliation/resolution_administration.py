"""Resolutions of differences and suspense items, approval requests and approval limits, by people.

Owns: the transaction of each. Must not know: HTTP, who may ask, what is booked for which resolution. `key` is
the API key that asks: its principal proposes or decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from clearing.approvals import service as approvals
from clearing.approvals.request import ApprovalRequest
from clearing.approvals.rules import ApprovalState, Resolution
from clearing.reconciliation import report_service
from clearing.reconciliation.resolution_service import ResolutionRequest
from clearing.reconciliation.suspense import SuspenseItem
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool
from gateway.errors import RecordNotFoundError
from gateway.partners.principals import principal_transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionAdministration:
    """Raises ClearingConflictError where the books do not allow it."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def resolve(
        self,
        difference_id: UUID,
        *,
        resolution: Resolution,
        reason: str,
        party_id: str | None,
        related_references: Sequence[str],
        key: str,
    ) -> ApprovalRequest:
        """Resolve a difference, or request the approval of a second principal."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            request = ResolutionRequest(
                resolution=resolution,
                reason=reason,
                party_id=party_id,
                related_references=tuple(related_references),
                by=by,
            )
            return await self.clearing.resolutions.resolve(
                connection, difference_id, request, now=self.clock.now()
            )

    async def clear(
        self,
        suspense_id: UUID,
        *,
        resolution: Resolution,
        reason: str,
        party_id: str | None,
        amount_minor: int | None,
        key: str,
    ) -> ApprovalRequest:
        """Clear a suspense item, or a part of it; `amount_minor` None: all that remains."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            request = ResolutionRequest(resolution=resolution, reason=reason, party_id=party_id, by=by)
            return await self.clearing.resolutions.clear(
                connection, suspense_id, request, minor=amount_minor, now=self.clock.now()
            )

    async def offset(self, suspense_id: UUID, other_id: UUID, *, reason: str, key: str) -> ApprovalRequest:
        """Offset two suspense items that are the two sides of one transfer."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self.clearing.resolutions.offset(
                connection, suspense_id, other_id, reason=reason, by=by, now=self.clock.now()
            )

    async def approve(self, request_id: UUID, *, key: str) -> ApprovalRequest:
        """Approve the request of another principal; it is booked."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self.clearing.resolutions.approve(
                connection, request_id, by=by, now=self.clock.now()
            )

    async def reject(self, request_id: UUID, *, key: str) -> ApprovalRequest:
        """Reject a request; nothing is booked."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self.clearing.resolutions.reject(connection, request_id, by=by, now=self.clock.now())

    async def list_requests(
        self, *, state: ApprovalState | None, difference_id: UUID | None, before: UUID | None, limit: int
    ) -> Sequence[ApprovalRequest]:
        """Approval requests in one state, or in any, the latest first, those before one; of one difference.

        Raises RecordNotFoundError where there is no such difference.
        """
        async with self.pool.acquire() as connection:
            of = None
            if difference_id is not None:
                found = await report_service.find_difference(
                    connection, difference_id, today=self.clock.now().date()
                )
                if found is None:
                    raise RecordNotFoundError("There is no such difference")
                of = (found.pair, found.reference)
            return await approvals.list_requests(connection, state=state, of=of, before=before, limit=limit)

    async def list_suspense(self, *, after: UUID | None = None, limit: int) -> Sequence[SuspenseItem]:
        """Suspense items, the oldest first, those after one."""
        async with self.pool.acquire() as connection:
            return await self.clearing.resolutions.list_suspense(
                connection, now=self.clock.now(), after=after, limit=limit
            )

    async def load_limits(self) -> Mapping[str, int]:
        """The approval limits in force, in minor units, by currency."""
        async with self.pool.acquire() as connection:
            return await approvals.load_limits(connection)

    async def set_limit(self, currency: str, limit_minor: int, *, key: str) -> None:
        """Set a currency's approval limit; with 0 every booking needs approval.

        Raises UnknownCurrencyError.
        """
        async with principal_transaction(self.pool, key=key) as (connection, by):
            await approvals.set_limit(connection, currency, limit_minor, by=by, now=self.clock.now())
