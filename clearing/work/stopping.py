"""Stopping what was planned: the guard before a rail is called, and the withdrawal.

Owns: the order of these steps inside the caller's transaction. Must not know: the rail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.parties.party import Party
from clearing.payouts.disbursement import Disbursement, DisbursementEvent, advance
from clearing.payouts.stopping import stopped
from clearing.store import stopping as store


def reason_to_stop(payment: Disbursement, party: Party, *, now: datetime) -> str | None:
    """Why `payment` must not be sent now, as `code: words`; None if it may be."""
    found = stopped(payment, party, today=now.astimezone(ZoneInfo(party.time_zone)).date())
    return None if found is None else f"{found[0]}: {found[1]}"


async def withdraw_stopped(
    connection: Connection, *, parties: Mapping[str, Party], now: datetime, party_id: str | None = None
) -> Sequence[Disbursement]:
    """Withdraw planned payments that may no longer be sent; their payables are open, to be planned anew.

    Returns them as they are now, with the reason in `failure`.
    """
    withdrawn: list[Disbursement] = []
    for payment in await store.suspects(connection, party_id=party_id):
        reason = reason_to_stop(payment, parties[payment.party_id], now=now)
        if reason is not None:
            state = advance(payment.state, DisbursementEvent.WITHDRAW)
            withdrawn.append(replace(payment, state=state, failure=reason))
    if withdrawn:
        await store.withdraw(connection, {one.id: one.failure or "" for one in withdrawn}, now=now)
    return withdrawn
