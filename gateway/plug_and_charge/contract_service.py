"""Contracts of Plug & Charge, by administrators: stored, imported, blocked, cancelled.

Owns: the transaction of each, that a contract's party exists, and the currency of a limit without one. Must
not know: HTTP, who may ask, certificates. `actor` is the party that asks, for the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.partners import party_repository
from gateway.partners.errors import UnknownPartnerRecordError
from gateway.partners.party_service import load_party
from pnc import contract_administration
from pnc.contract import Contract, ContractState, NewContract
from pnc.contract_administration import ContractWriteResult, RowReport
from pnc.errors import UnfitContractError
from pnc.service import PlugAndChargeService


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractService:
    """Raises `pnc.errors.PncError`; UnknownPartnerRecordError where a contract's party does not exist."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def put(
        self, contract: NewContract, *, trust: PlugAndChargeService, environment: str, actor: str
    ) -> ContractWriteResult:
        """Store or update a contract; the same content again changes nothing."""
        complete = await self._complete(contract)
        verifier, _ = await trust.load_trust(self.pool, environment=environment)
        async with transaction(self.pool) as connection:
            return await contract_administration.put_contract(
                connection,
                complete,
                environment=environment,
                verifier=verifier,
                actor=actor,
                now=self.clock.now(),
            )

    async def import_many(
        self,
        rows: Sequence[NewContract | UnfitContractError],
        *,
        trust: PlugAndChargeService,
        environment: str,
        actor: str,
    ) -> Sequence[RowReport]:
        """Store many contracts in one transaction; each row is stored or rejected by itself, and reported."""
        checked = [await self._row(row) for row in rows]
        verifier, _ = await trust.load_trust(self.pool, environment=environment)
        async with transaction(self.pool) as connection:
            return await contract_administration.import_contracts(
                connection,
                checked,
                environment=environment,
                verifier=verifier,
                actor=actor,
                now=self.clock.now(),
            )

    async def set_state(
        self, emaid: str, state: ContractState, *, environment: str, actor: str, reason: str
    ) -> Contract:
        """Block, unblock (`active`) or cancel a contract."""
        async with transaction(self.pool) as connection:
            return await contract_administration.set_state(
                connection,
                environment=environment,
                emaid=emaid,
                state=state,
                actor=actor,
                reason=reason,
                now=self.clock.now(),
            )

    async def set_payment_usable(
        self, emaid: str, *, usable: bool, environment: str, actor: str, reason: str
    ) -> Contract:
        """Disable or enable every contract that pays with the same means."""
        async with transaction(self.pool) as connection:
            return await contract_administration.set_payment_usable(
                connection,
                environment=environment,
                emaid=emaid,
                usable=usable,
                actor=actor,
                reason=reason,
                now=self.clock.now(),
            )

    async def _row(self, row: NewContract | UnfitContractError) -> NewContract | UnfitContractError:
        if isinstance(row, UnfitContractError):
            return row
        try:
            return await self._complete(row)
        except UnknownPartnerRecordError as error:
            return UnfitContractError(path="/party", problem=f"{error}.")

    async def _complete(self, contract: NewContract) -> NewContract:
        """The contract; a limit without a currency is in the party's own."""
        async with self.pool.acquire() as connection:
            if await party_repository.find_party(connection, contract.party) is None:
                raise UnknownPartnerRecordError(f"There is no party {contract.party}")
            if contract.limit_minor is None or contract.currency is not None:
                return contract
            party = await load_party(self.clearing, connection, contract.party)
        return replace(contract, currency=party.settlement_currency)
