"""What is stored about parties beside their registration: VAT evidence, payout holds, bank details.

Owns: what the gateway may read and record of it. Must not know: HTTP, which register said so. Every function
takes the connection; none commits.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from clearing.connection import Connection
from clearing.parties import payout_terms_repository, repository
from clearing.parties.bank_details import SubmittedDetails
from clearing.parties.party import VatEvidence
from clearing.parties.payout_terms import PayoutHoldRecord


async def list_vat_ids_to_check(
    connection: Connection,
    *,
    prefixes: Sequence[str],
    before: datetime,
    retry_before: datetime,
    today: date,
    limit: int,
) -> Sequence[tuple[str, str]]:
    """(party, VAT id) in use that no register has checked since `before`, the oldest first."""
    return await repository.list_vat_ids_to_check(
        connection, prefixes=prefixes, before=before, retry_before=retry_before, today=today, limit=limit
    )


async def record_vat_evidence(connection: Connection, party_id: str, evidence: VatEvidence) -> None:
    """Store what a register found; it binds supplies from its first day on.

    Every process reads the parties again only where the result differs from the one before; after a round,
    `renew_parties` shows them the rest.
    """
    await repository.add_vat_evidence(connection, party_id, evidence)


async def record_vat_attempt(
    connection: Connection, *, party_id: str, vat_id: str, problem: str, now: datetime
) -> None:
    """Store that a register gave no answer; earlier evidence stays valid, with its date."""
    await repository.record_vat_attempt(
        connection, party_id=party_id, vat_id=vat_id, problem=problem, now=now
    )


async def renew_parties(connection: Connection) -> None:
    """Make every process read the parties again."""
    await repository.renew_parties(connection)


async def list_payout_holds(connection: Connection, party_id: str) -> Sequence[PayoutHoldRecord]:
    """Every payout hold of a party, open or lifted, the latest first; a thousand at most."""
    return await payout_terms_repository.list_holds(connection, party_id)


async def lock_payout_hold(connection: Connection, hold_id: UUID) -> PayoutHoldRecord | None:
    """One payout hold, locked until the transaction ends."""
    return await payout_terms_repository.lock_hold(connection, hold_id)


async def list_bank_details(connection: Connection, party_id: str) -> Sequence[SubmittedDetails]:
    """Every version of a party's bank details, the latest first; a thousand at most."""
    return await payout_terms_repository.list_details(connection, party_id)
