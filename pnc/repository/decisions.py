"""Decisions: one read before, one write after, and their end.

Owns the SQL of decisions and the reading of its rows. Must not know rules: it decides nothing and opens no
transaction; connections are passed in.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pnc.authorization import (
    AuthorizationDecision,
    AuthorizationDecisionState,
    OfflineReason,
    SpendingRecord,
)
from pnc.contract import Contract
from pnc.messages import SettlementStatus
from pnc.ports import Executor
from pnc.rejection_reasons import RejectionReason
from pnc.repository.contracts import contract_of
from pnc.repository.queries import fetch_all, load_queries

_DECISIONS: Final = load_queries("decisions")
_BEFORE_THE_FIRST: Final = (-1, UUID(int=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionContext:
    """What a decision starts from."""

    trust_version: int
    prior: AuthorizationDecision | None
    contract: Contract | None
    registered: frozenset[bytes]
    blocked: frozenset[bytes]


async def load_context(
    executor: Executor, *, shard: int, environment: str, operator_id: str, session_ref: str, emaid: str | None
) -> DecisionContext:
    """Read what a decision starts from, in one statement."""
    row = await _DECISIONS.load_context(
        executor,
        shard=shard,
        environment=environment,
        operator_id=operator_id,
        session_ref=session_ref,
        emaid=emaid,
    )
    return DecisionContext(
        trust_version=row["trust_version"],
        prior=None if row["decision"] is None else decision_of(row["decision"]),
        contract=None if row["contract"] is None else contract_of(row["contract"]),
        registered=frozenset(bytes.fromhex(text) for text in row["registered"] or ()),
        blocked=frozenset(bytes.fromhex(text) for text in row["blocked"] or ()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCount:
    """Sessions of a contract: those that run, and those that began within a day."""

    at_once: int
    within_a_day: int


async def count_sessions(
    executor: Executor, decision: AuthorizationDecision, *, begun_after: datetime
) -> SessionCount:
    """Count the other sessions of a decision's contract."""
    row = await _DECISIONS.count_sessions(
        executor,
        contract_id=decision.contract_id,
        environment=decision.environment,
        operator_id=decision.operator_id,
        session_ref=decision.session_ref,
        begun_after=begun_after,
    )
    return SessionCount(at_once=row["at_once"], within_a_day=row["within_a_day"])


async def list_spending(
    executor: Executor, decision: AuthorizationDecision, *, since: datetime
) -> list[SpendingRecord]:
    """The sessions of a decision's contract since a time that may cost something, its own among them."""
    rows = await fetch_all(
        _DECISIONS.list_spending(
            executor,
            contract_id=decision.contract_id,
            environment=decision.environment,
            since=since,
        )
    )
    return [
        SpendingRecord(
            decision_id=row["id"],
            authorization_id=row["authorization_id"],
            reserved_minor=row["reserved_minor"],
            reserved_currency=row["reserved_currency"],
        )
        for row in rows
    ]


async def reserve(
    executor: Executor, *, shard: int, decision_id: UUID, amount_minor: int, currency: str
) -> bool:
    """Reserve an amount for a decision that awaits its payment; False when it does not."""
    row = await _DECISIONS.reserve_amount(
        executor, shard=shard, id=decision_id, amount_minor=amount_minor, currency=currency
    )
    return row is not None


async def count_stations(
    executor: Executor, *, contract_id: UUID, environment: str, rejected_after: datetime, reasons: list[str]
) -> int:
    """EVSEs with an open decision of a contract, or one that was rejected for these reasons since a time."""
    row = await _DECISIONS.count_stations(
        executor,
        contract_id=contract_id,
        environment=environment,
        rejected_after=rejected_after,
        reasons=reasons,
    )
    return int(row["stations"])


async def insert_decision(
    executor: Executor, decision: AuthorizationDecision
) -> AuthorizationDecision | None:
    """Write a decision; None when its session has an open one already."""
    row = await _DECISIONS.insert_decision(
        executor,
        shard=decision.shard,
        id=decision.id,
        environment=decision.environment,
        operator_id=decision.operator_id,
        session_ref=decision.session_ref,
        evse_id=decision.evse_id,
        ocpp_version=decision.ocpp_version,
        emaid=decision.emaid,
        digest=decision.digest,
        leaf_sha256=decision.leaf_sha256,
        contract_id=decision.contract_id,
        state=decision.state.value,
        rejection_reason=None if decision.rejection_reason is None else decision.rejection_reason.value,
        detail=decision.detail,
        notes=decision.notes,
        trust_version=decision.trust_version,
        decided_at=decision.decided_at,
        evse_ids=list(decision.evse_ids),
        offline_since=decision.offline_since,
        offline_reason=None if decision.offline_reason is None else decision.offline_reason.value,
    )
    return None if row is None else decision_of(row)


async def open_decision(
    executor: Executor, *, shard: int, environment: str, operator_id: str, session_ref: str
) -> AuthorizationDecision | None:
    """The session's open decision."""
    row = await _DECISIONS.open_decision(
        executor, shard=shard, environment=environment, operator_id=operator_id, session_ref=session_ref
    )
    return None if row is None else decision_of(row)


async def load_decision(executor: Executor, *, shard: int, decision_id: UUID) -> AuthorizationDecision | None:
    """One decision."""
    row = await _DECISIONS.load_decision(executor, shard=shard, id=decision_id)
    return None if row is None else decision_of(row)


async def conclude_decision(
    executor: Executor,
    *,
    shard: int,
    decision_id: UUID,
    state: AuthorizationDecisionState,
    rejection_reason: RejectionReason | None,
    detail: str,
    authorization_id: str | None,
    now: datetime,
) -> AuthorizationDecision | None:
    """Move a decision that awaits its payment; None when it does not."""
    row = await _DECISIONS.conclude_decision(
        executor,
        shard=shard,
        id=decision_id,
        state=state.value,
        detail=detail,
        now=now,
        rejection_reason=None if rejection_reason is None else rejection_reason.value,
        authorization_id=authorization_id,
    )
    return None if row is None else decision_of(row)


async def name_transaction(
    executor: Executor, *, shard: int, decision_id: UUID, transaction_id: str
) -> AuthorizationDecision | None:
    """Name the transaction of an accepted decision; None when it has another one or was not accepted."""
    row = await _DECISIONS.name_transaction(
        executor, shard=shard, id=decision_id, transaction_id=transaction_id
    )
    return None if row is None else decision_of(row)


async def name_place(
    executor: Executor, *, shard: int, decision_id: UUID, station_id: str | None, connector_id: str | None
) -> AuthorizationDecision | None:
    """Name station and connector of an accepted decision; None when it has others or was not accepted."""
    row = await _DECISIONS.name_place(
        executor, shard=shard, id=decision_id, station_id=station_id, connector_id=connector_id
    )
    return None if row is None else decision_of(row)


async def name_evse(
    executor: Executor, *, shard: int, decision_id: UUID, evse_id: str
) -> AuthorizationDecision | None:
    """Name the EVSE of an accepted decision; None when it can't be that one or was not accepted."""
    row = await _DECISIONS.name_evse(executor, shard=shard, id=decision_id, evse_id=evse_id)
    return None if row is None else decision_of(row)


async def list_of_session(
    executor: Executor, *, shard: int, environment: str, operator_id: str, session_ref: str
) -> list[AuthorizationDecision]:
    """The decisions of a session that led to a payment, newest first."""
    rows = _DECISIONS.paid_decisions_of_session(
        executor, shard=shard, environment=environment, operator_id=operator_id, session_ref=session_ref
    )
    return [decision_of(row) for row in await fetch_all(rows)]


async def list_of_transaction(
    executor: Executor, *, environment: str, operator_id: str, transaction_id: str
) -> list[AuthorizationDecision]:
    """The decisions of an operator's stations that have this transaction id; at most two."""
    rows = _DECISIONS.decisions_of_transaction(
        executor, environment=environment, operator_id=operator_id, transaction_id=transaction_id
    )
    return [decision_of(row) for row in await fetch_all(rows)]


async def close_decision(executor: Executor, *, shard: int, decision_id: UUID, now: datetime) -> bool:
    """Close an open decision; False when it is not open."""
    row = await _DECISIONS.close_decision(executor, shard=shard, id=decision_id, now=now)
    return row is not None


async def list_without_notice(
    executor: Executor, *, environment: str, after: tuple[int, UUID] | None, limit: int
) -> list[AuthorizationDecision]:
    """Decisions with a payment and no settlement notice yet, by shard and id, after one."""
    shard, identifier = after or _BEFORE_THE_FIRST
    rows = _DECISIONS.decisions_without_notice(
        executor, environment=environment, after_shard=shard, after_id=identifier, limit=limit
    )
    return [decision_of(row) async for row in rows]


async def record_settlement(
    executor: Executor, *, shard: int, decision_id: UUID, status: SettlementStatus, now: datetime
) -> bool:
    """Record a settlement and close its decision; False when it was recorded before."""
    row = await _DECISIONS.record_settlement(
        executor, shard=shard, id=decision_id, settlement=status.value, now=now
    )
    return row is not None


async def close_unconcluded(
    executor: Executor, *, shard: int, environment: str, before: datetime, now: datetime
) -> None:
    """Close decisions from before a time whose payment was never concluded."""
    await _DECISIONS.close_unconcluded(executor, shard=shard, environment=environment, before=before, now=now)


async def delete_expired(
    executor: Executor,
    *,
    shard: int,
    environment: str,
    rejected_before: datetime,
    closed_before: datetime,
    limit: int,
) -> int:
    """Delete decisions of a shard from before the given times; returns how many were deleted."""
    deleted: int = await _DECISIONS.delete_expired(
        executor,
        shard=shard,
        environment=environment,
        rejected_before=rejected_before,
        closed_before=closed_before,
        limit=limit,
    )
    return deleted


def decision_of(row: Any) -> AuthorizationDecision:
    """Read a row of pnc.decision."""
    return AuthorizationDecision(
        shard=row["shard"],
        id=row["id"],
        environment=row["environment"],
        operator_id=row["operator_id"],
        session_ref=row["session_ref"],
        evse_id=row["evse_id"],
        ocpp_version=row["ocpp_version"],
        emaid=row["emaid"],
        digest=row["digest"],
        leaf_sha256=row["leaf_sha256"],
        contract_id=row["contract_id"],
        state=AuthorizationDecisionState(row["state"]),
        rejection_reason=None
        if row["rejection_reason"] is None
        else RejectionReason(row["rejection_reason"]),
        detail=row["detail"],
        notes=row["notes"],
        trust_version=row["trust_version"],
        authorization_id=row["authorization_id"],
        decided_at=row["decided_at"],
        concluded_at=row["concluded_at"],
        transaction_id=row["transaction_id"],
        station_id=row["station_id"],
        connector_id=row["connector_id"],
        evse_ids=tuple(row["evse_ids"]),
        offline_since=row["offline_since"],
        offline_reason=None if row["offline_reason"] is None else OfflineReason(row["offline_reason"]),
    )
