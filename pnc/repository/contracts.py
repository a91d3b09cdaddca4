"""Contracts and their changes.

Owns the SQL of contracts and the reading of its rows. Must not know rules: it decides nothing and opens no
transaction; connections are passed in.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pnc.contract import (
    ChangeCursor,
    Contract,
    ContractChange,
    ContractState,
    NewContract,
    PaymentKind,
    SuspicionPolicy,
)
from pnc.ports import Connection, Executor
from pnc.repository.queries import fetch_all, load_queries

_CONTRACTS: Final = load_queries("contracts")


async def list_stored_emaids(executor: Executor, *, environment: str, emaids: Sequence[str]) -> list[str]:
    """Which of the eMAIDs have a contract."""
    rows = await fetch_all(_CONTRACTS.stored_emaids(executor, environment=environment, emaids=list(emaids)))
    return [row["emaid"] for row in rows]


async def load_contract(executor: Executor, *, environment: str, emaid: str) -> Contract | None:
    """One contract."""
    row = await _CONTRACTS.load_contract(executor, environment=environment, emaid=emaid)
    return None if row is None else contract_of(row)


async def lock_contract(connection: Connection, *, environment: str, emaid: str) -> Contract | None:
    """One contract, locked until the transaction ends."""
    row = await _CONTRACTS.lock_contract(connection, environment=environment, emaid=emaid)
    return None if row is None else contract_of(row)


async def lock_contracts_of_payment(
    connection: Connection, *, environment: str, payment_kind: PaymentKind, payment_reference: str
) -> list[Contract]:
    """Every contract that pays with the same means, locked, in the order of their eMAIDs."""
    rows = await fetch_all(
        _CONTRACTS.lock_contracts_of_payment(
            connection,
            environment=environment,
            payment_kind=payment_kind.value,
            payment_reference=payment_reference,
        )
    )
    return [contract_of(row) for row in rows]


async def insert_contract(
    connection: Connection,
    contract: NewContract,
    *,
    environment: str,
    emaid: str,
    contract_id: UUID,
    payment_usable: bool,
    now: datetime,
) -> Contract | None:
    """Store an active contract; None when its eMAID exists already."""
    row = await _CONTRACTS.insert_contract(
        connection,
        environment=environment,
        emaid=emaid,
        contract_id=contract_id,
        party=contract.party,
        payment_kind=contract.payment_kind.value,
        payment_reference=contract.payment_reference,
        state=ContractState.ACTIVE.value,
        valid_from=contract.valid_from,
        valid_until=contract.valid_until,
        limit_minor=contract.limit_minor,
        currency=contract.currency,
        sessions_at_once=contract.sessions_at_once,
        sessions_per_day=contract.sessions_per_day,
        offline_limit_minor=contract.offline_limit_minor,
        amount_per_day_minor=contract.amount_per_day_minor,
        on_suspicion=contract.on_suspicion.value,
        payment_usable=payment_usable,
        now=now,
    )
    return None if row is None else contract_of(row)


async def update_contract(connection: Connection, contract: Contract, *, now: datetime) -> Contract | None:
    """Write a contract's content and raise its revision; None when there is no such contract."""
    row = await _CONTRACTS.update_contract(
        connection,
        environment=contract.environment,
        emaid=contract.emaid,
        payment_kind=contract.payment_kind.value,
        payment_reference=contract.payment_reference,
        payment_usable=contract.payment_usable,
        state=contract.state.value,
        valid_from=contract.valid_from,
        valid_until=contract.valid_until,
        limit_minor=contract.limit_minor,
        currency=contract.currency,
        sessions_at_once=contract.sessions_at_once,
        sessions_per_day=contract.sessions_per_day,
        offline_limit_minor=contract.offline_limit_minor,
        amount_per_day_minor=contract.amount_per_day_minor,
        on_suspicion=contract.on_suspicion.value,
        now=now,
    )
    return None if row is None else contract_of(row)


async def is_payment_disabled(
    connection: Connection, *, environment: str, payment_kind: PaymentKind, payment_reference: str
) -> bool:
    """Whether a means of payment was switched off; it stays as it is until the transaction ends."""
    await _lock_payment(connection, environment, payment_kind, payment_reference, exclusive=False)
    row = await _CONTRACTS.payment_disabled(
        connection,
        environment=environment,
        payment_kind=payment_kind.value,
        payment_reference=payment_reference,
    )
    return row is not None


async def set_payment_disabled(
    connection: Connection,
    *,
    environment: str,
    payment_kind: PaymentKind,
    payment_reference: str,
    disabled: bool,
    now: datetime,
) -> None:
    """Switch a means of payment off or on, for contracts that name it later too."""
    await _lock_payment(connection, environment, payment_kind, payment_reference, exclusive=True)
    named = {
        "environment": environment,
        "payment_kind": payment_kind.value,
        "payment_reference": payment_reference,
    }
    if disabled:
        await _CONTRACTS.disable_payment(connection, **named, now=now)
    else:
        await _CONTRACTS.enable_payment(connection, **named)


async def _lock_payment(
    connection: Connection, environment: str, kind: PaymentKind, reference: str, *, exclusive: bool
) -> None:
    await _CONTRACTS.lock_payment(
        connection, exclusive=exclusive, name=f"{environment} {kind.value} {reference}"
    )


async def insert_change(
    connection: Connection, contract: Contract, *, kind: str, actor: str, reason: str, now: datetime
) -> None:
    """Record a change of a contract."""
    await _CONTRACTS.insert_change(
        connection,
        environment=contract.environment,
        emaid=contract.emaid,
        contract_id=contract.contract_id,
        party=contract.party,
        kind=kind,
        revision=contract.revision,
        actor=actor,
        reason=reason,
        at=now,
    )


async def list_contracts(
    executor: Executor, *, environment: str, party: str | None, after: str, limit: int
) -> list[Contract]:
    """Contracts in the order of their eMAIDs, after one; of one party when given."""
    rows = await fetch_all(
        _CONTRACTS.list_contracts(executor, environment=environment, party=party, after=after, limit=limit)
    )
    return [contract_of(row) for row in rows]


async def list_changes(
    executor: Executor, *, environment: str, after: ChangeCursor, party: str | None, limit: int
) -> list[ContractChange]:
    """The changes after a cursor, of one party when given, up to the oldest transaction that still runs."""
    rows = await fetch_all(
        _CONTRACTS.changes_after(
            executor,
            environment=environment,
            party=party,
            after_transaction=str(after.transaction),
            after_sequence=after.sequence,
            limit=limit,
        )
    )
    return [_change_of(row) for row in rows]


async def list_changes_of_contract(
    executor: Executor, *, environment: str, emaid: str
) -> list[Mapping[str, Any]]:
    """Every change of one contract, oldest first: kind, revision, actor, reason, at."""
    rows = await fetch_all(_CONTRACTS.history_of_contract(executor, environment=environment, emaid=emaid))
    return [dict(row) for row in rows]


def contract_of(row: Any) -> Contract:
    """Read a row of pnc.contract."""
    return Contract(
        contract_id=row["contract_id"],
        environment=row["environment"],
        emaid=row["emaid"],
        party=row["party"],
        payment_kind=PaymentKind(row["payment_kind"]),
        payment_reference=row["payment_reference"],
        state=ContractState(row["state"]),
        payment_usable=row["payment_usable"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        limit_minor=row["limit_minor"],
        currency=row["currency"],
        revision=row["revision"],
        sessions_at_once=row["sessions_at_once"],
        sessions_per_day=row["sessions_per_day"],
        offline_limit_minor=row["offline_limit_minor"],
        amount_per_day_minor=row["amount_per_day_minor"],
        on_suspicion=SuspicionPolicy(row["on_suspicion"]),
    )


def _change_of(row: Any) -> ContractChange:
    return ContractChange(
        cursor=ChangeCursor(transaction=int(row["written_by"]), sequence=row["sequence"]),
        emaid=row["emaid"],
        contract_id=row["contract_id"],
        party=row["party"],
        kind=row["kind"],
        revision=row["revision"],
        actor=row["actor"],
        reason=row["reason"],
        at=row["at"],
    )
