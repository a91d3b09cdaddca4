"""Evidence for differences: attached by a person, listed, read.

Owns: the transaction. Must not know: HTTP, which file is accepted. `key` is the API key or the person that
asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from clearing.reconciliation import evidence_service
from clearing.reconciliation.evidence import CheckedEvidence, DifferenceEvidence
from gateway.clock import Clock
from gateway.database import Pool
from gateway.errors import RecordNotFoundError
from gateway.partners.principals import principal_transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceService:
    """Raises RecordNotFoundError where there is no such difference or evidence."""

    pool: Pool
    clock: Clock

    async def add(
        self, difference_id: UUID, checked: CheckedEvidence, *, evidence_id: UUID, key: str
    ) -> Sequence[DifferenceEvidence]:
        """Attach a file or a reference; the very same again changes nothing. Returns all of the difference.

        Raises ClearingConflictError where the difference holds no more.
        """
        async with principal_transaction(self.pool, key=key) as (connection, by):
            if not await evidence_service.is_difference(connection, difference_id):
                raise RecordNotFoundError("There is no such difference")
            return await evidence_service.attach(
                connection, difference_id, checked, evidence_id=evidence_id, by=by, now=self.clock.now()
            )

    async def list(self, difference_id: UUID) -> Sequence[DifferenceEvidence]:
        """What is attached to a difference, the first first."""
        async with self.pool.acquire() as connection:
            return await evidence_service.list_evidence(connection, difference_id)

    async def get(self, evidence_id: UUID) -> DifferenceEvidence:
        """One file with its content, or one reference."""
        async with self.pool.acquire() as connection:
            found = await evidence_service.find_evidence(connection, evidence_id)
        if found is None:
            raise RecordNotFoundError("There is no such evidence")
        return found
