"""Limits of a contract's sessions: how many may run at once and begin within a day.

Owns counting them and storing a decision in one transaction, under the lock of the contract, so that two
stations that ask at the same moment can't both take the last one. Must not know how a decision is made.
"""

from datetime import timedelta
from typing import Final

from pnc.authorization import AuthorizationDecision
from pnc.contract import Contract, session_limit_rejection
from pnc.ports import Executor, one_connection
from pnc.rejection_reasons import ContractRejection
from pnc.repository import contracts, decisions

_DAY: Final = timedelta(hours=24)


async def insert_within_limits(
    executor: Executor, decision: AuthorizationDecision, contract: Contract | None
) -> AuthorizationDecision | ContractRejection | None:
    """Store an open decision, if the limits of its contract allow one more session.

    Returns the stored decision; the rejection when a limit is reached; None when the session has an open
    decision already.
    """
    if contract is None or not contract.limits_sessions:
        return await decisions.insert_decision(executor, decision)
    async with one_connection(executor) as connection, connection.transaction():
        current = await contracts.lock_contract(
            connection, environment=contract.environment, emaid=contract.emaid
        )
        counted = await decisions.count_sessions(connection, decision, begun_after=decision.decided_at - _DAY)
        rejection = session_limit_rejection(
            current or contract, at_once=counted.at_once, within_a_day=counted.within_a_day
        )
        if rejection is not None:
            return rejection
        return await decisions.insert_decision(connection, decision)
