"""A driver's contracts as personal data: found, exported, deleted when they have ended.

Owns: that a contract is deleted only when it is cancelled and no decision of it is open. Must not know: HTTP,
who asks, what else is known of the driver. The caller owns the transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pnc.authorization import AuthorizationDecisionState
from pnc.contract import ContractState
from pnc.emaid import parse_emaid
from pnc.errors import PncError
from pnc.ports import Executor
from pnc.repository import personal_data
from pnc.repository.personal_data import DriverContract, DriverDecision

_OPEN: Final = frozenset({AuthorizationDecisionState.AWAITING_PAYMENT, AuthorizationDecisionState.ACCEPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverContracts:
    """The contracts of a person and the decisions about them."""

    contracts: Sequence[DriverContract]
    decisions: Sequence[DriverDecision]

    @property
    def emaids(self) -> Sequence[str]:
        """The eMAIDs, compact."""
        return [one.emaid for one in self.contracts]

    def why_not_erased(self) -> Sequence[tuple[str, str]]:
        """What prevents deletion: a subject without an eMAID, and the reason."""
        reasons = [
            (f"contract {one.contract_id}", f"the contract is {one.state}; its eMSP cancels it first")
            for one in self.contracts
            if one.state != ContractState.CANCELLED
        ]
        reasons += [
            (f"decision {one.id}", "the vehicle's session has not ended")
            for one in self.decisions
            if one.state in _OPEN
        ]
        return reasons


def compact_emaids(text: str) -> Sequence[str]:
    """The 14 characters by which an eMAID is compared, in each published mapping; none: it is no eMAID."""
    try:
        return parse_emaid(text).bodies
    except PncError:
        return ()


async def find(
    executor: Executor, *, environment: str, emaids: Sequence[str], payment_references: Sequence[str]
) -> DriverContracts:
    """Contracts by compact eMAID or by what pays, and their decisions. An eMAID needs no contract here."""
    contracts = await personal_data.list_contracts(
        executor, environment=environment, emaids=emaids, payment_references=payment_references
    )
    decisions = await personal_data.list_decisions(
        executor,
        environment=environment,
        emaids=[*emaids, *(one.emaid for one in contracts)],
        contracts=[one.contract_id for one in contracts],
    )
    return DriverContracts(contracts=contracts, decisions=decisions)


async def export(
    executor: Executor, found: DriverContracts, *, environment: str, emaids: Sequence[str]
) -> Mapping[str, Sequence[Any]]:
    """Every row of them, by table, as JSON values."""
    return await personal_data.export(
        executor,
        environment=environment,
        emaids=[*emaids, *found.emaids],
        contracts=[one.contract_id for one in found.contracts],
    )


async def erase(
    executor: Executor, found: DriverContracts, *, environment: str, emaids: Sequence[str]
) -> Mapping[str, int]:
    """Delete them all, with their history and certificates. `found.why_not_erased` is empty."""
    names = [*emaids, *found.emaids]
    decisions = await personal_data.delete_decisions(
        executor,
        environment=environment,
        emaids=names,
        contracts=[one.contract_id for one in found.contracts],
    )
    gone = await personal_data.delete_contracts(executor, environment=environment, emaids=names)
    return {"decision": decisions, "contract": gone["contracts"]}


async def count_due(executor: Executor, *, environment: str, before: datetime) -> int:
    """How many contracts were cancelled before a time and have no decision left."""
    return await personal_data.count_due(executor, environment=environment, before=before)


async def delete_expired(executor: Executor, *, environment: str, before: datetime, limit: int) -> int:
    """Delete at most `limit` of them; returns how many contracts went."""
    emaids = await personal_data.list_expired(executor, environment=environment, before=before, limit=limit)
    if emaids:
        await personal_data.delete_contracts(executor, environment=environment, emaids=emaids)
    return len(emaids)
