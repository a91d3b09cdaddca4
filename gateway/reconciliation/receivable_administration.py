"""Receivables of parties, by people: listed by age, set off, written off, and the consents to set-off.

Owns: the transaction of each. Must not know: HTTP, who may ask, how a receivable is aged or booked. `key` is
the API key that asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from clearing.approvals.request import ApprovalRequest
from clearing.receivables.ageing import AgedReceivable
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.partners.principals import principal_transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivableAdministration:
    """Raises InvalidPartyError for a party that is not registered, ClearingConflictError."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def list(self, *, party_id: str | None) -> Sequence[AgedReceivable]:
        """Every receivable, the oldest first; of one party, or of all."""
        async with self.pool.acquire() as connection:
            return await self.clearing.receivables.list_receivables(
                connection, now=self.clock.now(), party_id=party_id
            )

    async def set_off(
        self, party_id: str, *, currency: str, from_currency: str, reason: str, key: str
    ) -> ApprovalRequest:
        """Pay a receivable from the party's payables in another currency, at the day's locked rate."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self.clearing.receivables.set_off(
                connection,
                party_id,
                currency=currency,
                from_currency=from_currency,
                reason=reason,
                by=by,
                now=self.clock.now(),
            )

    async def write_off(self, party_id: str, *, currency: str, reason: str, key: str) -> ApprovalRequest:
        """Propose to write off a receivable; another principal approves it."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self.clearing.receivables.write_off(
                connection, party_id, currency=currency, reason=reason, by=by, now=self.clock.now()
            )

    async def record_consent(self, party_id: str, *, agreed_on: date, evidence: str, key: str) -> None:
        """Record a party's consent to set-off."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            await self.clearing.receivables.record_set_off_consent(
                connection, party_id, agreed_on=agreed_on, evidence=evidence, by=by
            )

    async def end_consent(self, party_id: str, *, agreed_on: date) -> None:
        """End a party's consent to set-off today."""
        async with transaction(self.pool) as connection:
            await self.clearing.receivables.end_set_off_consent(
                connection, party_id, agreed_on=agreed_on, now=self.clock.now()
            )
