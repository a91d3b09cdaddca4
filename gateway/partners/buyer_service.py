"""Buyers: businesses in whose names drivers' invoices are written.

Owns: the transaction in which a buyer is stored in the gateway, which knows whose it is, and in clearing,
which knows who it is. Must not know HTTP, VAT, or what a document shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from clearing.parties.party import Party
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.errors import RecordConflictError, RecordNotFoundError
from gateway.ids import format_id
from gateway.partners import buyer_repository
from gateway.partners.party_service import load_party

_FINAL = frozenset({"cleared", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerView:
    """A buyer as clearing knows it."""

    party: Party
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerService:
    """Raises RecordNotFoundError where a buyer or session does not exist, or is another party's."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def create(self, buyer: Party, *, party_id: str) -> BuyerView:
        """Store a buyer of a party. Its currency, time zone and terms are those of the party.

        Its VAT id counts once a register has found it valid. Raises InvalidPartyError, naming the field.
        """
        now = self.clock.now()
        async with transaction(self.pool) as connection:
            owner = await load_party(self.clearing, connection, party_id)
            stored = replace(buyer, settlement_currency=owner.settlement_currency, time_zone=owner.time_zone)
            await buyer_repository.add_buyer(connection, buyer.id, party_id=party_id, now=now)
            await self.clearing.reference_data.register_party(connection, stored, now=now)
        return await self.get(buyer.id, party_id=party_id)

    async def get(self, buyer_id: str, *, party_id: str) -> BuyerView:
        """A party's buyer."""
        async with self.pool.acquire() as connection:
            found = await buyer_repository.find_buyer(connection, buyer_id, party_id=party_id)
            known = await self.clearing.reference_data.find_party(connection, buyer_id)
        if found is None or known is None:
            raise RecordNotFoundError("There is no such buyer")
        return BuyerView(party=known, created_at=found.created_at)

    async def list(self, *, party_id: str, before: str | None, limit: int) -> Sequence[BuyerView]:
        """A party's buyers, the newest first."""
        async with self.pool.acquire() as connection:
            found = await buyer_repository.list_buyers(
                connection, party_id=party_id, before=before, limit=limit
            )
            known = await self.clearing.reference_data.load_parties(connection)
        return [BuyerView(party=known[one.id], created_at=one.created_at) for one in found]

    async def set_session_buyer(self, session_id: UUID, buyer_id: str, *, party_id: str) -> BuyerView:
        """Name who buys a session of the party.

        Raises RecordConflictError once it is cleared: its VAT is decided and its document written.
        """
        async with transaction(self.pool) as connection:
            state = await buyer_repository.lock_session(connection, session_id, party_id=party_id)
            if state is None:
                raise RecordNotFoundError("There is no such session")
            if state in _FINAL:
                raise RecordConflictError(
                    f"session {format_id('ses', session_id)} is {state}: name its buyer before"
                )
            if not await buyer_repository.set_buyer(
                connection, session_id, buyer_id, party_id=party_id, now=self.clock.now()
            ):
                raise RecordNotFoundError("There is no such buyer")
        return await self.get(buyer_id, party_id=party_id)
