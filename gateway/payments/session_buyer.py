"""The business that a session is sold to, named when its payment is authorized.

Owns: that it must be the party's own. Must not know: who the buyer is, VAT.
"""

from datetime import datetime
from uuid import UUID

from gateway.database import Connection
from gateway.partners import buyer_repository
from gateway.payments.errors import InvalidPaymentRequestError
from gateway.payments.requests import AuthorizationRequest


async def name_buyer(
    connection: Connection, request: AuthorizationRequest, session_id: UUID, *, now: datetime
) -> None:
    """Store who buys the session, if the request says so.

    Raises InvalidPaymentRequestError where it is no buyer of the party, or the session has ended.
    """
    if request.buyer_id is not None and not await buyer_repository.set_buyer(
        connection, session_id, request.buyer_id, party_id=request.party_id, now=now
    ):
        raise InvalidPaymentRequestError(f"there is no buyer {request.buyer_id}, or the session has ended")
