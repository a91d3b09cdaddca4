"""What a contract's party learns when the contract is used as no single vehicle can: limits, and copies.

Owns: the events, and blocking where the contract's policy says so. Must not know: how a decision is made,
HTTP.
"""

from dataclasses import dataclass

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.plug_and_charge.contract_changes import EVENT_OF_STATE, publish_changes
from gateway.webhooks.events import EventType
from pnc import contract_administration, contract_spending
from pnc.contract import Contract, ContractState, SuspicionPolicy, is_suspicious
from pnc.contract_spending import LIMIT_REASONS
from pnc.service import DecisionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSignalService:
    """Reports limits that were reached and contracts that were probably copied."""

    pool: Pool
    clock: Clock

    async def report(self, result: DecisionResult) -> None:
        """Publish what a new decision shows; a suspected contract is blocked where its policy says so."""
        contract, decision = result.contract, result.decision
        if contract is None or result.repeated:
            return
        if decision.rejection_reason in LIMIT_REASONS:
            await self.report_limit(contract)
        elif not decision.payment_needed:
            return
        stations = await contract_spending.count_stations(self.pool, contract, now=self.clock.now())
        if is_suspicious(stations=stations):
            await self._report_suspicion(contract, stations)

    async def report_limit(self, contract: Contract) -> None:
        """Publish that a contract reached a limit."""
        async with transaction(self.pool) as connection:
            await publish_changes(
                connection, [(EventType.CONTRACT_LIMIT_REACHED, contract)], now=self.clock.now()
            )

    async def _report_suspicion(self, contract: Contract, stations: int) -> None:
        now = self.clock.now()
        async with transaction(self.pool) as connection:
            current = await contract_administration.load_contract(
                connection, environment=contract.environment, emaid=contract.emaid
            )
            changed = [(EventType.CONTRACT_SUSPECTED, current)]
            blocks = current.on_suspicion is SuspicionPolicy.BLOCK and current.state is ContractState.ACTIVE
            if blocks:
                blocked = await contract_administration.set_state(
                    connection,
                    environment=current.environment,
                    emaid=current.emaid,
                    state=ContractState.BLOCKED,
                    actor=current.party,
                    reason=f"suspicion: asked for at {stations} stations at once",
                    now=now,
                    only_party=current.party,
                )
                if blocked.revision != current.revision:
                    changed.append((EVENT_OF_STATE[ContractState.BLOCKED], blocked))
            await publish_changes(connection, changed, now=now)
