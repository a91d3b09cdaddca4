"""Charge off-session, under the stored mandate, what the hold did not cover: tried once per session.

Owns: what is charged. Must not know: why the hold was too small, what clearing does with the charge.
"""

from dataclasses import dataclass
from uuid import UUID

from gateway.database import Pool
from gateway.payments import psp_request_repository, repository
from gateway.payments.psp_requests import PspRequestService
from gateway.payments.records import PspRequestKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualChargeService:
    """Charges the part of a price that the hold did not cover."""

    pool: Pool
    psp_requests: PspRequestService

    async def charge(self, *, shard: int, session_id: UUID) -> bool:
        """Charge what is due of a session. False: a request is not answered yet, try again later."""
        async with self.pool.acquire() as connection:
            found = await repository.find_session_with_payment(connection, shard=shard, session_id=session_id)
        if found is None:
            return True
        session, authorization, capture = found
        if authorization is None or capture is None:
            return True
        amounts = self.psp_requests.psp.rules.amounts
        amount = amounts.down(capture.receivable_minor, capture.currency)
        if amount == 0:
            return True
        request = self.psp_requests.new(PspRequestKind.RESIDUAL_CHARGE, authorization, amount_minor=amount)
        intended = await self.psp_requests.record_intent(
            psp_request_repository.request_residual_charge, request, session_id=session_id
        )
        if not intended:  # it was tried before: its outcome, recorded or still open, ends the task
            return False
        await self.psp_requests.send(request, authorization=authorization, session=session, capture=capture)
        return True
