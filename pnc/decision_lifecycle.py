"""The end of a decision: its session has ended, its settlement is recorded, it expires and is deleted.

Owns closing, recording how a session was settled (once), and retention. Must not know how a payment is
captured or who is notified: the caller reads the payment, notifies, and records it here in the same
transaction.

Retention: decisions hold eMAIDs and places, so they are kept no longer than needed. Rejected ones for 90
days,
for complaints; the others for 400, beyond the 13 months in which a payer may contest a debit (Directive (EU)
2015/2366 article 71). A running session's decision is never deleted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pnc.authorization import SHARD_COUNT, AuthorizationDecision, shard_of
from pnc.errors import ConflictingRecordError, UnknownRecordError
from pnc.messages import SettlementStatus
from pnc.ports import Executor
from pnc.repository import decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPeriods:
    """How long decisions are kept. After `unconcluded`, one whose payment was never concluded is closed."""

    rejected: timedelta = timedelta(days=90)
    closed: timedelta = timedelta(days=400)
    unconcluded: timedelta = timedelta(days=2)


async def close_decision(executor: Executor, decision: AuthorizationDecision, *, now: datetime) -> bool:
    """End an open decision: no later request is answered from it. False when it is not open."""
    return await decisions.close_decision(executor, shard=decision.shard, decision_id=decision.id, now=now)


async def find_decision(
    executor: Executor, decision_id: UUID, *, environment: str, operator_id: str
) -> AuthorizationDecision:
    """A decision at one of the operator's stations. Raises UnknownRecordError."""
    known = await decisions.load_decision(
        executor, shard=decision_id.int % SHARD_COUNT, decision_id=decision_id
    )
    if known is None or (known.environment, known.operator_id) != (environment, operator_id):
        raise UnknownRecordError("there is no such authorization at the operator's stations")
    return known


async def name_evse(
    executor: Executor, known: AuthorizationDecision, *, evse_id: str
) -> AuthorizationDecision:
    """Name the EVSE of an accepted decision; the same name again changes nothing.

    Raises ConflictingRecordError: it was not accepted, or the EVSE is another one than named before, or none
    that the request named.
    """
    named = await decisions.name_evse(executor, shard=known.shard, decision_id=known.id, evse_id=evse_id)
    if named is None:
        raise ConflictingRecordError(
            "the authorization was not accepted, or the EVSE is none that its request named"
        )
    return named


async def name_transaction(
    executor: Executor, decision_id: UUID, *, environment: str, operator_id: str, transaction_id: str
) -> AuthorizationDecision:
    """Name the station's own transaction of an accepted decision; the same name again changes nothing.

    Raises:
        UnknownRecordError: the operator has no such decision.
        ConflictingRecordError: it was not accepted, or its transaction has another id.
    """
    known = await find_decision(executor, decision_id, environment=environment, operator_id=operator_id)
    named = await decisions.name_transaction(
        executor, shard=known.shard, decision_id=decision_id, transaction_id=transaction_id
    )
    if named is None:
        raise ConflictingRecordError("the authorization was not accepted, or its transaction has another id")
    return named


async def name_place(
    executor: Executor,
    decision: AuthorizationDecision,
    *,
    station_id: str | None,
    connector_id: str | None,
) -> AuthorizationDecision:
    """Name the station and the connector of an accepted decision; None leaves what is named.

    Raises ConflictingRecordError: it was not accepted, or has another station or connector.
    """
    named = await decisions.name_place(
        executor,
        shard=decision.shard,
        decision_id=decision.id,
        station_id=station_id,
        connector_id=connector_id,
    )
    if named is None:
        raise ConflictingRecordError(
            "the authorization was not accepted, or is of another station or connector"
        )
    return named


async def find_by_authorization(
    executor: Executor, *, environment: str, operator_id: str, session_ref: str, authorization_id: str
) -> AuthorizationDecision | None:
    """The decision that led to a payment authorization of an operator's session."""
    shard = shard_of(environment=environment, operator_id=operator_id, session_ref=session_ref)
    found = await decisions.list_of_session(
        executor, shard=shard, environment=environment, operator_id=operator_id, session_ref=session_ref
    )
    return next((item for item in found if item.authorization_id == authorization_id), None)


async def find_by_transaction(
    executor: Executor, *, environment: str, operator_id: str, transaction_id: str
) -> AuthorizationDecision | None:
    """The one decision of an operator's transaction; None when there is none or more than one."""
    found = await decisions.list_of_transaction(
        executor, environment=environment, operator_id=operator_id, transaction_id=transaction_id
    )
    return found[0] if len(found) == 1 else None


async def list_decisions_without_notice(
    executor: Executor, *, environment: str, after: AuthorizationDecision | None = None, limit: int = 500
) -> list[AuthorizationDecision]:
    """Decisions with a payment and no settlement notice yet, in a fixed order, after one."""
    place = None if after is None else (after.shard, after.id)
    return await decisions.list_without_notice(executor, environment=environment, after=place, limit=limit)


async def record_settlement(
    executor: Executor, decision: AuthorizationDecision, *, status: SettlementStatus, now: datetime
) -> bool:
    """Record how a decision's session was settled, and close it; False when it was recorded before.

    Run it in the transaction that notifies. A failure may be followed by a success, nothing else.
    """
    return await decisions.record_settlement(
        executor, shard=decision.shard, decision_id=decision.id, status=status, now=now
    )


async def delete_expired(
    executor: Executor, *, environment: str, retention: RetentionPeriods, now: datetime, batch: int = 500
) -> int:
    """Delete decisions past their retention, at most a batch of each shard; returns how many."""
    deleted = 0
    for shard in range(SHARD_COUNT):
        await decisions.close_unconcluded(
            executor, shard=shard, environment=environment, before=now - retention.unconcluded, now=now
        )
        deleted += await decisions.delete_expired(
            executor,
            shard=shard,
            environment=environment,
            rejected_before=now - retention.rejected,
            closed_before=now - retention.closed,
            limit=batch,
        )
    return deleted
