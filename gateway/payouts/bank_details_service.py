"""Bank details of a party: submitted, listed, approved or rejected.

Owns: the transaction, the cancelling of disbursements to an account that no longer applies, and the events.
Must not know: HTTP, who may ask. While a version is pending nothing is paid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clearing.parties import service as party_service
from clearing.parties.bank_details import BankDetails, SubmittedDetails
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.errors import RecordNotFoundError
from gateway.partners.party_service import load_party
from gateway.partners.principals import principal_transaction
from gateway.webhooks import payout_events
from gateway.webhooks.events import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class BankDetailsService:
    """Raises UnknownPartnerRecordError where there is no such party. `key` is the API key that asks."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def submit(self, party_id: str, details: BankDetails, *, key: str) -> SubmittedDetails:
        """Store new bank details as pending; nothing is paid until they are approved or rejected.

        Raises InvalidPaymentError for a reference that does not fit the account.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            party = await load_party(self.clearing, connection, party_id)
            version = await self.clearing.payouts.submit_bank_details(
                connection, party.id, details, by=by, now=now
            )
            return await self._publish(connection, party.id, version, EventType.BANK_DETAILS_SUBMITTED)

    async def list(self, party_id: str) -> Sequence[SubmittedDetails]:
        """Every version, the latest first."""
        async with self.pool.acquire() as connection:
            party = await load_party(self.clearing, connection, party_id)
            return await party_service.list_bank_details(connection, party.id)

    async def decide(self, party_id: str, version: int, *, approve: bool, key: str) -> SubmittedDetails:
        """Approve a version, after the party confirmed it over another channel, or reject it.

        Raises RecordNotFoundError, and ClearingConflictError where the principal submitted it or it was
        decided before.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            party = await load_party(self.clearing, connection, party_id)
            await _version(connection, party.id, version)
            await self.clearing.payouts.decide_bank_details(
                connection, party.id, version, approve=approve, by=by, now=now
            )
            kind = EventType.BANK_DETAILS_APPROVED if approve else EventType.BANK_DETAILS_REJECTED
            return await self._publish(connection, party.id, version, kind)

    async def _publish(
        self, connection: Connection, party_id: str, version: int, kind: EventType
    ) -> SubmittedDetails:
        """Cancel what may no longer be sent and record the events; the version as it is now."""
        now = self.clock.now()
        details = await _version(connection, party_id, version)
        cancelled = await self.clearing.payouts.cancel_unpayable(connection, now=now, party_id=party_id)
        await payout_events.record_cancelled(
            connection, cancelled, with_events=[payout_events.details(kind, details)], now=now
        )
        return details


async def _version(connection: Connection, party_id: str, version: int) -> SubmittedDetails:
    for one in await party_service.list_bank_details(connection, party_id):
        if one.version == version:
            return one
    raise RecordNotFoundError("The party has no such bank details")
