"""What a contract spends within a day, and at how many stations it is asked for.

Owns listing the sessions that count, reserving an amount under the lock of the contract, and that count. Must
not know what was held or captured: the caller adds that up, in the same transaction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from pnc.authorization import AuthorizationDecision, SpendingRecord
from pnc.contract import Contract
from pnc.errors import PncInvariantViolation
from pnc.ports import Connection, Executor
from pnc.rejection_reasons import RejectionReason
from pnc.repository import contracts, decisions

# Requests that were rejected for a limit count for so long: copies of a contract are tried again and again.
_AT_ONCE: Final = timedelta(minutes=10)
LIMIT_REASONS: Final = (
    RejectionReason.TOO_MANY_SESSIONS_AT_ONCE,
    RejectionReason.TOO_MANY_SESSIONS_TODAY,
    RejectionReason.TOO_MUCH_TODAY,
)


async def lock_spending(
    connection: Connection, decision: AuthorizationDecision, contract: Contract, *, since: datetime
) -> tuple[Contract, Sequence[SpendingRecord]]:
    """Return the contract as it is now, locked, and its sessions since `since` that may cost something.

    Nobody else reserves an amount of the contract until the transaction ends.
    """
    current = await contracts.lock_contract(
        connection, environment=contract.environment, emaid=contract.emaid
    )
    if current is None:
        raise PncInvariantViolation(f"the contract {contract.contract_id} is gone")
    return current, await decisions.list_spending(connection, decision, since=since)


async def reserve(
    connection: Connection, decision: AuthorizationDecision, *, amount_minor: int, currency: str
) -> bool:
    """Reserve an amount for a session that awaits its payment; False when it does not any more."""
    return await decisions.reserve(
        connection,
        shard=decision.shard,
        decision_id=decision.id,
        amount_minor=amount_minor,
        currency=currency,
    )


async def count_stations(executor: Executor, contract: Contract, *, now: datetime) -> int:
    """At how many EVSEs a contract has a session now, or was rejected for a limit in the last ten minutes."""
    return await decisions.count_stations(
        executor,
        contract_id=contract.contract_id,
        environment=contract.environment,
        rejected_after=now - _AT_ONCE,
        reasons=[reason.value for reason in LIMIT_REASONS],
    )
