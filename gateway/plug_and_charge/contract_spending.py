"""What a contract may spend within a day: its sessions' holds and captures, added up under its lock.

Owns: the day (that of the party's time zone), the sum, and reserving a session's amount before it is held, so
that two stations that ask at the same moment can't both spend what is left. Must not know: certificates,
HTTP, how a payment is held.

Each currency has the same figure and its own sum. A session counts for the day on which it was authorized: as
reserved, then as held, then as captured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import parse_id
from gateway.partners.party_service import load_party
from gateway.plug_and_charge import repository
from pnc import contract_spending
from pnc.authorization import AuthorizationDecision, SpendingRecord
from pnc.contract import Contract, amount_left
from pnc.rejection_reasons import ContractRejection, RejectionReason

_REACHED: Final = "the contract has spent what it may spend in one day"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSpendingService:
    """Reserves the amounts of sessions."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def reserve(
        self,
        decision: AuthorizationDecision,
        contract: Contract,
        *,
        wanted_minor: int,
        currency: str,
        least_minor: int,
    ) -> int | ContractRejection:
        """Reserve what a session may cost, at most what is left of the day, in minor units of `currency`.

        Returns the rejection where less than `least_minor` is left.
        """
        async with transaction(self.pool) as connection:
            since = await self._day_start(connection, contract.party)
            current, sessions = await contract_spending.lock_spending(
                connection, decision, contract, since=since
            )
            own = next((one for one in sessions if one.decision_id == decision.id), None)
            if own is not None and own.reserved_minor is not None:
                return own.reserved_minor  # an earlier request of the station: its hold may stand already
            spent = await _spent(connection, sessions, currency)
            left = amount_left(current, spent_minor=spent)
            amount = wanted_minor if left is None else min(wanted_minor, left)
            if amount < max(least_minor, 1):
                return ContractRejection(rejection_reason=RejectionReason.TOO_MUCH_TODAY, detail=_REACHED)
            await contract_spending.reserve(connection, decision, amount_minor=amount, currency=currency)
        return amount

    async def _day_start(self, connection: Connection, party_id: str) -> datetime:
        """The first moment of today in the party's time zone."""
        party = await load_party(self.clearing, connection, party_id)
        return day_start(self.clock.now(), party.time_zone)


def day_start(now: datetime, time_zone: str) -> datetime:
    """Return the first moment of the local day of `now`, which is aware.

    A day on which the clock changes has 23 or 25 hours; where midnight does not exist, the day begins with
    the first moment that does.
    """
    zone = ZoneInfo(time_zone)
    return datetime.combine(now.astimezone(zone).date(), time.min, tzinfo=zone)


async def _spent(connection: Connection, sessions: Sequence[SpendingRecord], currency: str) -> int:
    """What the sessions of the day cost in a currency, in minor units."""
    named = {parse_id("auth", one.authorization_id) for one in sessions if one.authorization_id}
    amounts = await repository.load_amounts(connection, sorted(named))
    reserved = sum(
        one.reserved_minor or 0
        for one in sessions
        if one.authorization_id is None and one.reserved_currency == currency
    )
    return reserved + sum(amount for amount, of in amounts.values() if of == currency)
