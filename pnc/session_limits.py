"""Limits of a contract's sessions, and what was decided on it while a session was decided.

Owns counting them and storing a decision in one transaction, under the lock of the contract, so that two
stations that ask at the same moment can't both take the last one. Must not know how a decision is made.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pnc.authorization import AuthorizationDecision
from pnc.contract import Contract, contract_rejection, session_limit_rejection, state_rejection
from pnc.ports import Connection, Executor, one_connection
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.repository import certificates, contracts, decisions
from pnc.repository.decisions import DecisionContext

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
        current = current or contract
        rejection = contract_rejection(current, decision.decided_at) or session_limit_rejection(
            current, at_once=counted.at_once, within_a_day=counted.within_a_day
        )
        if rejection is not None:
            return rejection
        return await decisions.insert_decision(connection, decision)


async def blocked_meanwhile(
    connection: Connection, *, shard: int, decision_id: UUID, now: datetime
) -> ContractRejection | None:
    """Return why a decision whose payment was just secured may not be accepted any more, or None.

    The contract stays locked until the transaction ends: whoever blocks it then waits, and is too late for
    this session alone.
    """
    decision = await decisions.load_decision(connection, shard=shard, decision_id=decision_id)
    if decision is None or decision.emaid is None:
        return None
    contract = await contracts.lock_contract(
        connection, environment=decision.environment, emaid=decision.emaid
    )
    if (rejection := contract_rejection(contract, now)) is not None:
        return rejection
    if decision.leaf_sha256 is not None and await certificates.is_blocked(
        connection, environment=decision.environment, emaid=decision.emaid, leaf_sha256=decision.leaf_sha256
    ):
        return ContractRejection(
            rejection_reason=RejectionReason.CERTIFICATE_BLOCKED, detail="the certificate is blocked"
        )
    return None


def stopped_since(context: DecisionContext, prior: AuthorizationDecision) -> ContractRejection | None:
    """Return why an earlier acceptance is not repeated, or None.

    The contract was blocked or ended since, or its certificate was blocked. A means of payment that is gone
    meanwhile ends nothing: the payment is held.
    """
    if prior.leaf_sha256 in context.blocked:
        return ContractRejection(
            rejection_reason=RejectionReason.CERTIFICATE_BLOCKED, detail="the certificate is blocked"
        )
    return None if context.contract is None else state_rejection(context.contract)
