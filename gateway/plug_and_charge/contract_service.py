"""Contracts as their eMSPs and the platform manage them, with an event for each change.

Owns: what a party may do to its own contracts, that a contract's party exists and its payment method is the
party's, the currency of a limit without one, and the event that its webhooks receive in the transaction of
the change. Must not know: HTTP, certificates. What a contract may contain is decided by pnc.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.partners import party_repository
from gateway.partners.errors import UnknownPartnerRecordError
from gateway.partners.party_service import load_party
from gateway.payments.errors import NotFoundError
from gateway.payments.payers import check_payer
from gateway.plug_and_charge.contract_changes import EVENT_OF_OUTCOME, EVENT_OF_STATE, publish_changes
from gateway.plug_and_charge.contract_payment import method_of
from pnc import certificate_registry, contract_administration, provider_administration
from pnc.contract import ChangeCursor, Contract, ContractChange, ContractState, NewContract, PaymentKind
from pnc.contract_administration import ContractWriteResult, RowReport
from pnc.errors import UnfitContractError
from pnc.service import PlugAndChargeService


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCaller:
    """Who asks: its party, the environment of its contracts, and whether it may touch only its own."""

    party_id: str
    environment: str
    own_only: bool

    @property
    def only_party(self) -> str | None:
        """The party whose contracts may be touched, or None for all."""
        return self.party_id if self.own_only else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractService:
    """Stores, lists and changes contracts.

    Raises `pnc.errors.PncError`; UnknownPartnerRecordError, NotFoundError (another party's payer).
    """

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    decisions: PlugAndChargeService

    async def put(self, caller: ContractCaller, contract: NewContract) -> ContractWriteResult:
        """Store a contract or bring it up to date; the same content again changes nothing.

        Raises:
            UnfitContractError: a field is out of bounds, or the contract is another party's to store.
            ConflictingRecordError: the eMAID belongs to another party, or its contract is cancelled.
            UnknownPartnerRecordError: there is no such party.
        """
        if caller.own_only and contract.party != caller.party_id:
            raise UnfitContractError(path="party", problem=f"may only be {caller.party_id}")
        complete = await self._complete(contract)
        verifier, _ = await self.decisions.load_trust(self.pool, environment=caller.environment)
        async with transaction(self.pool) as connection:
            stored = await contract_administration.put_contract(
                connection,
                complete,
                environment=caller.environment,
                verifier=verifier,
                actor=caller.party_id,
                now=self.clock.now(),
            )
            kind = EVENT_OF_OUTCOME.get(stored.outcome)
            if kind is not None:
                await publish_changes(connection, [(kind, stored.contract)], now=self.clock.now())
        return stored

    async def import_rows(
        self, caller: ContractCaller, rows: Sequence[NewContract | UnfitContractError]
    ) -> list[RowReport]:
        """Store many contracts in one transaction; each row is stored or rejected by itself, and reported."""
        checked = [await self._row(caller, row) for row in rows]
        verifier, _ = await self.decisions.load_trust(self.pool, environment=caller.environment)
        async with transaction(self.pool) as connection:
            reports = await contract_administration.import_contracts(
                connection,
                checked,
                environment=caller.environment,
                verifier=verifier,
                actor=caller.party_id,
                now=self.clock.now(),
                only_party=caller.only_party,
            )
            written = [
                (EVENT_OF_OUTCOME[report.outcome], report.contract)
                for report in reports
                if report.contract is not None and report.outcome in EVENT_OF_OUTCOME
            ]
            await publish_changes(connection, written, now=self.clock.now())
        return reports

    async def set_state(
        self, caller: ContractCaller, emaid: str, state: ContractState, *, reason: str
    ) -> Contract:
        """Block, unblock or end a contract; the state that it has already changes nothing.

        Raises:
            UnknownRecordError: there is no such contract of the caller.
            ConflictingRecordError: it is cancelled, or it was blocked by somebody whose block the caller may
                not end.
        """
        async with transaction(self.pool) as connection:
            before = await contract_administration.load_contract(
                connection, environment=caller.environment, emaid=emaid, only_party=caller.only_party
            )
            contract = await contract_administration.set_state(
                connection,
                environment=caller.environment,
                emaid=emaid,
                state=state,
                actor=caller.party_id,
                reason=reason,
                now=self.clock.now(),
                only_party=caller.only_party,
            )
            if before.revision != contract.revision:
                await publish_changes(connection, [(EVENT_OF_STATE[state], contract)], now=self.clock.now())
        return contract

    async def set_payment_usable(
        self, caller: ContractCaller, emaid: str, *, usable: bool, reason: str
    ) -> Contract:
        """Disable or enable every contract that pays with the same means, whoever's it is.

        Raises UnknownRecordError, or ConflictingRecordError where the contract is cancelled.
        """
        async with transaction(self.pool) as connection:
            return await contract_administration.set_payment_usable(
                connection,
                environment=caller.environment,
                emaid=emaid,
                usable=usable,
                actor=caller.party_id,
                reason=reason,
                now=self.clock.now(),
            )

    async def find(self, caller: ContractCaller, emaid: str) -> Contract:
        """One contract. Raises UnknownRecordError: there is no such contract of the caller."""
        return await self._own(caller, emaid)

    async def list_contracts(
        self, caller: ContractCaller, *, party: str | None, after: str, limit: int
    ) -> list[Contract]:
        """Contracts in the order of their eMAIDs, after one; of a party bound to its own, its own."""
        return await contract_administration.list_contracts(
            self.pool,
            environment=caller.environment,
            party=caller.only_party or party,
            after=after,
            limit=limit,
        )

    async def list_changes(
        self, caller: ContractCaller, *, party: str | None, after: ChangeCursor, limit: int
    ) -> list[ContractChange]:
        """The changes after a cursor; none is ever skipped."""
        return await contract_administration.list_changes(
            self.pool,
            environment=caller.environment,
            after=after,
            party=caller.only_party or party,
            limit=limit,
        )

    async def load_history(self, caller: ContractCaller, emaid: str) -> list[dict[str, Any]]:
        """Every change of one contract, oldest first. Raises UnknownRecordError."""
        await self._own(caller, emaid)
        found = await contract_administration.load_history(
            self.pool, environment=caller.environment, emaid=emaid
        )
        return [dict(row) for row in found]

    async def list_certificates(self, caller: ContractCaller, emaid: str) -> list[dict[str, Any]]:
        """Every certificate of a contract, oldest first, blocked ones too. Raises UnknownRecordError.

        The platform also sees the certificates of an eMAID that has no contract.
        """
        if caller.own_only:
            await self._own(caller, emaid)
        return await certificate_registry.load_history(self.pool, environment=caller.environment, emaid=emaid)

    async def block_certificate(
        self, caller: ContractCaller, emaid: str, leaf_sha256: bytes, *, reason: str
    ) -> None:
        """Reject a certificate of a contract from now on. Raises UnknownRecordError."""
        stored = await self._stored(caller, emaid)
        async with transaction(self.pool) as connection:
            await certificate_registry.block(
                connection,
                environment=caller.environment,
                emaid=stored,
                leaf_sha256=leaf_sha256,
                reason=reason,
                now=self.clock.now(),
            )

    async def register_provider(self, provider_id: str, *, environment: str, party: str) -> str:
        """Register a provider for a party; returns it in one form.

        Raises UnfitContractError (no provider id), UnknownPartnerRecordError (no such party).
        """
        async with transaction(self.pool) as connection:
            if await party_repository.find_party(connection, party) is None:
                raise UnknownPartnerRecordError(f"There is no party {party}")
            return await provider_administration.register_provider(
                connection, provider_id, environment=environment, party=party, now=self.clock.now()
            )

    async def remove_provider(self, provider_id: str, *, environment: str) -> None:
        """Remove a provider's registration. Raises UnfitContractError, UnknownRecordError."""
        async with transaction(self.pool) as connection:
            await provider_administration.remove_provider(connection, provider_id, environment=environment)

    async def list_providers(self, *, environment: str) -> list[dict[str, Any]]:
        """Providers that are registered or in use."""
        return await provider_administration.list_providers(self.pool, environment=environment)

    async def _row(
        self, caller: ContractCaller, row: NewContract | UnfitContractError
    ) -> NewContract | UnfitContractError:
        """A row with its currency, or why it can't be stored; pnc rejects one of another party's."""
        if isinstance(row, UnfitContractError) or row.party != (caller.only_party or row.party):
            return row
        try:
            return await self._complete(row)
        except UnknownPartnerRecordError as error:
            return UnfitContractError(path="/party", problem=f"{error}.")
        except NotFoundError:
            return UnfitContractError(
                path="/payment/payment_method", problem="There is no such payment method of this party."
            )

    async def _complete(self, contract: NewContract) -> NewContract:
        """The contract; a limit without a currency is in the party's own."""
        async with self.pool.acquire() as connection:
            if await party_repository.find_party(connection, contract.party) is None:
                raise UnknownPartnerRecordError(f"There is no party {contract.party}")
            if contract.payment_kind is PaymentKind.PSP_MANDATE:
                mandate = method_of(contract.payment_reference)
                await check_payer(
                    connection,
                    party_id=contract.party,
                    psp_customer=mandate.customer,
                    psp_method=mandate.payment_method,
                )
            per_day = contract.amount_per_day_minor
            named = contract.currency is not None or (contract.limit_minor is None and per_day is None)
            if named and per_day is None:
                return contract
            # A day is that of the party's time zone.
            party = await load_party(self.clearing, connection, contract.party)
        return contract if named else replace(contract, currency=party.settlement_currency)

    async def _stored(self, caller: ContractCaller, emaid: str) -> str:
        """The body under which a contract is stored: for a party bound to its own, one of its own."""
        if caller.own_only:
            return (await self._own(caller, emaid)).emaid
        return await contract_administration.stored_emaid(
            self.pool, environment=caller.environment, emaid=emaid
        )

    async def _own(self, caller: ContractCaller, emaid: str) -> Contract:
        return await contract_administration.load_contract(
            self.pool, environment=caller.environment, emaid=emaid, only_party=caller.only_party
        )
