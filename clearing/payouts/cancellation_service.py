"""Cancellation of planned disbursements inside the caller's transaction.

Owns: the order of its steps. Must not know: the rail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from clearing.connection import Connection
from clearing.parties.party import Party
from clearing.payouts import cancellation_repository as repository
from clearing.payouts.cancellation import find_cancellation_reason
from clearing.payouts.disbursement import Disbursement, DisbursementEvent, advance


async def cancel_unpayable(
    connection: Connection, *, parties: Mapping[str, Party], now: datetime, party_id: str | None = None
) -> Sequence[Disbursement]:
    """Cancel planned disbursements that may no longer be sent; their payables are open to be planned again.

    Returns them as they are now, with the reason in `failure`.
    """
    cancelled: list[Disbursement] = []
    for disbursement in await repository.lock_cancellable(connection, party_id=party_id):
        reason = find_cancellation_reason(disbursement, parties[disbursement.party_id], now=now)
        if reason is not None:
            state = advance(disbursement.state, DisbursementEvent.CANCEL)
            cancelled.append(replace(disbursement, state=state, failure=reason))
    if cancelled:
        await repository.cancel(connection, {one.id: one.failure or "" for one in cancelled}, now=now)
    return cancelled
