"""Evidence that people attach to differences.

Owns: how much one difference holds. Must not know: HTTP, who may attach.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from clearing.connection import Connection
from clearing.errors import ClearingConflictError
from clearing.reconciliation import evidence_repository as repository
from clearing.reconciliation.evidence import MOST_OF_A_DIFFERENCE, CheckedEvidence, DifferenceEvidence


async def is_difference(connection: Connection, difference_id: UUID) -> bool:
    """Whether there is such a difference."""
    return await repository.find_difference(connection, difference_id) is not None


async def attach(
    connection: Connection,
    difference_id: UUID,
    checked: CheckedEvidence,
    *,
    evidence_id: UUID,
    by: str,
    now: datetime,
) -> Sequence[DifferenceEvidence]:
    """Attach a file or a reference; the very same again changes nothing. Returns all of the difference.

    In a transaction. Raises ClearingConflictError where the difference holds no more: roll back then.
    """
    await repository.find_difference(connection, difference_id)  # its lock: one counts after the other
    added = await repository.insert_evidence(connection, evidence_id, difference_id, checked, by=by, now=now)
    attached = await repository.list_evidence(connection, difference_id)
    if added and len(attached) > MOST_OF_A_DIFFERENCE:
        raise ClearingConflictError(f"A difference holds at most {MOST_OF_A_DIFFERENCE} files")
    return attached


async def list_evidence(connection: Connection, difference_id: UUID) -> Sequence[DifferenceEvidence]:
    """What is attached to a difference, the first first."""
    return await repository.list_evidence(connection, difference_id)


async def find_evidence(connection: Connection, evidence_id: UUID) -> DifferenceEvidence | None:
    """One file with its content, or one reference."""
    return await repository.find_evidence(connection, evidence_id)
