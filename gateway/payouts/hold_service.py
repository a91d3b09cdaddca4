"""Payout holds of a party: placed, listed, lifted.

Owns: the transaction and the events. Must not know: HTTP, who may ask, what a hold prevents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.errors import ClearingInvariantViolation
from clearing.parties import service as party_service
from clearing.parties.payout_terms import PayoutHoldRecord
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool
from gateway.errors import GatewayError, RecordNotFoundError
from gateway.partners.party_service import load_party
from gateway.partners.principals import principal_transaction
from gateway.webhooks import events, payout_events
from gateway.webhooks.events import EventType


class HoldPeriodError(GatewayError):
    """A hold that ends before it starts; `since` is its first day."""

    def __init__(self, *, since: date, until: date) -> None:
        super().__init__(f"until: {until} is not after {since}")
        self.since = since


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutHoldService:
    """Raises UnknownPartnerRecordError where there is no such party. `key` is the API key that asks."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def place(
        self, party_id: str, *, reason: str, since: date | None, until: date | None, key: str
    ) -> PayoutHoldRecord:
        """Hold a party's payouts; planned disbursements are cancelled. The same hold again is one hold.

        `since` is by default today in the party's time zone. Raises HoldPeriodError.
        """
        now = self.clock.now()
        payouts = self.clearing.payouts
        async with principal_transaction(self.pool, key=key) as (connection, by):
            party = await load_party(self.clearing, connection, party_id)
            first_day = since or now.astimezone(ZoneInfo(party.time_zone)).date()
            if until is not None and until <= first_day:
                raise HoldPeriodError(since=first_day, until=until)
            open_before = {one.id for one in await party_service.list_payout_holds(connection, party.id)}
            hold_id = await payouts.place_hold(
                connection, party.id, reason=reason, since=first_day, until=until, by=by
            )
            hold = await party_service.lock_payout_hold(connection, hold_id)
            if hold is None:
                raise ClearingInvariantViolation(f"hold {hold_id} was placed and is not there")
            cancelled = await payouts.cancel_unpayable(connection, now=now, party_id=party.id)
            new = [] if hold_id in open_before else [payout_events.hold(EventType.PAYOUT_HOLD_PLACED, hold)]
            await payout_events.record_cancelled(connection, cancelled, with_events=new, now=now)
        return hold

    async def list(self, party_id: str) -> Sequence[PayoutHoldRecord]:
        """Holds in force first, then lifted ones, the latest first."""
        async with self.pool.acquire() as connection:
            party = await load_party(self.clearing, connection, party_id)
            return await party_service.list_payout_holds(connection, party.id)

    async def lift(self, party_id: str, hold_id: UUID, *, key: str) -> PayoutHoldRecord:
        """Lift a hold: what is due is planned again.

        Raises RecordNotFoundError, and ClearingConflictError where another principal must lift it.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            party = await load_party(self.clearing, connection, party_id)
            known = await party_service.lock_payout_hold(connection, hold_id)
            if known is None or known.party_id != party.id:
                raise RecordNotFoundError("The party has no such payout hold")
            hold = await self.clearing.payouts.lift_hold(connection, hold_id, by=by, now=now)
            await events.record(connection, [payout_events.hold(EventType.PAYOUT_HOLD_LIFTED, hold)], now=now)
        return hold
