"""Buyers: businesses in whose names drivers' invoices are written.

Owns: the transaction in which a buyer is stored in the gateway, which knows whose it is, and in clearing,
which knows who it is. Must not know HTTP, VAT, or what a document shows.
"""

import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID

from clearing.parties.party import Party
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.errors import RecordConflictError, RecordNotFoundError
from gateway.ids import format_id
from gateway.partners import buyer_repository, receipt_link_repository
from gateway.partners.buyer_repository import InvoiceLink, NamedSession
from gateway.partners.party_service import load_party

NAMED_WITHIN: Final = timedelta(days=90)  # by a link; after that by the party, which knows who asks
_TOKEN_BYTES: Final = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerView:
    """A buyer as clearing knows it."""

    party: Party
    created_at: datetime


class NamingObstacle(StrEnum):
    """Why a driver can't name a business for a session."""

    NAMED = "named"
    TOO_LATE = "too_late"
    CANCELLED = "cancelled"


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
        """Name who buys a session of the party, also after another one was named.

        Of a cleared session the sale is cancelled and issued anew: a credit note, an invoice in the buyer's
        name, and the VAT booked again. Raises RecordConflictError where it was cancelled; ClearingError where
        its payment is disputed or was given back.
        """
        async with transaction(self.pool) as connection:
            state = await buyer_repository.lock_session(connection, session_id, party_id=party_id)
            if state is None:
                raise RecordNotFoundError("There is no such session")
            await self._set(connection, session_id, buyer_id, party_id=party_id, state=state)
        return await self.get(buyer_id, party_id=party_id)

    async def create_link(self, session_id: UUID, *, party_id: str) -> str:
        """The token of the page on which the driver of a session names the business that buys it.

        It is that of the session's receipt: the same one each time.
        """
        async with transaction(self.pool) as connection:
            if await buyer_repository.lock_session(connection, session_id, party_id=party_id) is None:
                raise RecordNotFoundError("There is no such session")
            return await receipt_link_repository.store_token(
                connection, session_id, secrets.token_urlsafe(_TOKEN_BYTES), now=self.clock.now()
            )

    async def find_obstacle(self, session_id: UUID, *, token: str) -> NamingObstacle | None:
        """Why the driver with the receipt's link can't name a business any more; None: it can be named.

        Raises RecordNotFoundError where the link is none of ours.
        """
        async with self.pool.acquire() as connection:
            session = await _linked(connection, session_id, token)
            buyer_id = await buyer_repository.find_session_buyer(connection, session_id)
        return self._obstacle(session, buyer_id)

    async def name_by_link(
        self, session_id: UUID, buyer: Party, *, token: str
    ) -> InvoiceLink | NamingObstacle:
        """Name the business that buys a session, once, by the link of its receipt.

        Returns the link to its documents; the same business named again gets the same one. Raises
        RecordNotFoundError where the link is none of ours, InvalidPartyError, ClearingError as
        `set_session_buyer` does.
        """
        now = self.clock.now()
        async with transaction(self.pool) as connection:
            session = await _linked(connection, session_id, token)
            owner = await load_party(self.clearing, connection, session.party_id)
            stored = replace(
                buyer,
                id=await buyer_repository.add_named_buyer(
                    connection, buyer.id, party_id=owner.id, named_sha256=_content_hash(buyer), now=now
                ),
                settlement_currency=owner.settlement_currency,
                time_zone=owner.time_zone,
            )
            if stored.id == buyer.id:  # else it is known, with what registers have found of it since
                await self.clearing.reference_data.register_party(connection, stored, now=now)
        async with transaction(self.pool) as connection:
            state = await buyer_repository.lock_session(connection, session_id, party_id=session.party_id)
            link = await buyer_repository.find_invoice_link(connection, session_id)
            named = await buyer_repository.find_session_buyer(connection, session_id)
            if link is not None and link.buyer_id == stored.id == named:
                return link
            obstacle = self._obstacle(replace(session, state=state or session.state), named)
            if obstacle is not None:
                return obstacle
            await self._set(
                connection, session_id, stored.id, party_id=session.party_id, state=state or session.state
            )
            link = InvoiceLink(buyer_id=stored.id, token=secrets.token_urlsafe(_TOKEN_BYTES))
            await buyer_repository.add_invoice_link(connection, session_id, link, now=now)
        return link

    def _obstacle(self, session: NamedSession, buyer_id: str | None) -> NamingObstacle | None:
        if session.state == "cancelled":
            return NamingObstacle.CANCELLED
        if buyer_id is not None:
            return NamingObstacle.NAMED
        if session.ended_at is not None and self.clock.now() - session.ended_at > NAMED_WITHIN:
            return NamingObstacle.TOO_LATE
        return None

    async def _set(
        self, connection: Connection, session_id: UUID, buyer_id: str, *, party_id: str, state: str
    ) -> None:
        """Store who buys a session that is locked; if it is cleared, sell it anew."""
        if state == "cancelled":
            raise RecordConflictError(f"session {format_id('ses', session_id)} is cancelled: nobody buys it")
        now = self.clock.now()
        if not await buyer_repository.set_buyer(connection, session_id, buyer_id, party_id=party_id, now=now):
            raise RecordNotFoundError("There is no such buyer")
        if state == "cleared":
            await self.clearing.sessions.change_buyer(connection, session_id, buyer_id=buyer_id, now=now)


async def _linked(connection: Connection, session_id: UUID, token: str) -> NamedSession:
    session = await buyer_repository.find_named_session(connection, session_id)
    if session is None or not hmac.compare_digest(session.token.encode(), token.encode()):
        raise RecordNotFoundError("There is no such receipt")
    return session


def _content_hash(buyer: Party) -> bytes:
    """Of what was named: the same business is the same buyer."""
    named = [
        buyer.name,
        buyer.tax_jurisdiction,
        buyer.vat_id,
        buyer.document_cadence,
        buyer.details.to_json(),
    ]
    return sha256(json.dumps(named, ensure_ascii=False).encode()).digest()
