"""Payout terms of a party: read, and set with what follows from them.

Owns: the transaction, the hold that a raised approval limit causes, and the events. Must not know: HTTP, who
may ask, how a disbursement is planned.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from clearing.parties.party import Party
from clearing.parties.payout_terms import PayoutTerms
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool
from gateway.partners.party_service import load_party
from gateway.partners.principals import principal_transaction
from gateway.webhooks import payout_events


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutTermsService:
    """Raises UnknownPartnerRecordError where there is no such party."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def get(self, party_id: str) -> Party:
        """The party with its present terms; by default those of a party without any."""
        async with self.pool.acquire() as connection:
            return await load_party(self.clearing, connection, party_id)

    async def put(self, party_id: str, terms: PayoutTerms, *, key: str) -> Party:
        """Set payout terms; planned disbursements that no longer fit them are cancelled.

        A raised or removed approval limit puts payouts on hold until another principal lifts the hold. `key`
        is the API key that asks.
        """
        now = self.clock.now()
        payouts = self.clearing.payouts
        async with principal_transaction(self.pool, key=key) as (connection, by):
            party = await load_party(self.clearing, connection, party_id)
            await payouts.put_terms(connection, party.id, terms, by=by, now=now)
            if _loosened(party.payout_terms.approval_above_minor, terms.approval_above_minor):
                hold_id = await payouts.place_hold(
                    connection,
                    party.id,
                    reason="the approval limit was raised: another person must agree by lifting this hold",
                    since=now.astimezone(ZoneInfo(party.time_zone)).date(),
                    until=None,
                    by=by,
                    four_eyes=True,
                )
                await payout_events.record_hold(connection, hold_id, [], now=now)
            cancelled = await payouts.cancel_unpayable(connection, now=now, party_id=party.id)
            await payout_events.record_cancelled(connection, cancelled, now=now)
            return await load_party(self.clearing, connection, party_id)


def _loosened(before: int | None, after: int | None) -> bool:
    """Whether some disbursement no longer needs two approvals: one person must not bring that about alone."""
    return before is not None and (after is None or after > before)
