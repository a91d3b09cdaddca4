"""Evidence for differences in PostgreSQL.

Owns: rows to values and back. Must not know: which file is accepted.
"""

from datetime import datetime
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.reconciliation.evidence import CheckedEvidence, DifferenceEvidence

_sql = named_queries("evidence")


async def find_difference(connection: Connection, difference_id: UUID) -> UUID | None:
    """The difference, of any state, locked against a second count of its evidence; None: there is none."""
    found: UUID | None = await _sql.lock_difference(connection, id=difference_id)
    return found


async def insert_evidence(
    connection: Connection,
    evidence_id: UUID,
    difference_id: UUID,
    checked: CheckedEvidence,
    *,
    by: str,
    now: datetime,
) -> bool:
    """Attach it. False: the difference has the very same already."""
    written = await _sql.insert_evidence(
        connection,
        id=evidence_id,
        difference_id=difference_id,
        name=checked.name,
        content_type=checked.content_type,
        content=checked.content,
        reference=checked.reference,
        sha256=bytes.fromhex(checked.sha256),
        by=by,
        now=now,
    )
    return written is not None


async def list_evidence(connection: Connection, difference_id: UUID) -> list[DifferenceEvidence]:
    """What is attached to a difference, the first first, without the files' content."""
    found = await rows(_sql.list_evidence(connection, difference_id=difference_id))
    return [DifferenceEvidence(**dict(row.items())) for row in found]


async def find_evidence(connection: Connection, evidence_id: UUID) -> DifferenceEvidence | None:
    """One with its content."""
    row = await _sql.find_evidence(connection, id=evidence_id)
    return None if row is None else DifferenceEvidence(**dict(row.items()))
