"""A session's receipt for the driver at the station: a link that needs no key, and what it shows.

Owns: the token in the link, and who may read: whoever has it. Must not know HTTP or how a price comes about.
The receipt says what was charged and what it cost; it names no driver, no party and no means of payment. It
is no invoice: that is a document of the seller (gateway.documents).
Source: OCPP 2.1 part 2, NotifySettlementResponse.receiptUrl.
"""

import hmac
import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ids import format_id
from gateway.partners import receipt_link_repository
from gateway.payments.errors import NotFoundError
from gateway.payments.records import SessionRecord
from gateway.payments.service import PaymentService
from gateway.payments.views import PriceView

_TOKEN_BYTES: Final = 18
PATH: Final = "/v1/receipts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptService:
    """Makes links to receipts below `base_url`, and reads what is behind one."""

    pool: Pool
    clock: Clock
    base_url: str
    payments: PaymentService

    async def create_url(self, connection: Connection, session: SessionRecord) -> str:
        """The link to a session's receipt; the same one each time."""
        token = await receipt_link_repository.store_token(
            connection, session.id, secrets.token_urlsafe(_TOKEN_BYTES), now=self.clock.now()
        )
        return f"{self.base_url}{PATH}/{format_id('ses', session.id)}/{token}"

    async def read(self, *, session_id: UUID, token: str) -> PriceView:
        """What is behind a link. Raises NotFoundError where the link is none of ours."""
        async with self.pool.acquire() as connection:
            known = await receipt_link_repository.find_token(connection, session_id)
        if known is None or not hmac.compare_digest(known.encode(), token.encode()):
            raise NotFoundError("there is no such receipt")
        return await self.payments.explain_price(party_id="", session_id=session_id, admin=True)
