"""The service of clearing: batches in, journal out; parties, agreements, payouts and questions about the books.

Owns: the order of steps inside one transaction, which the caller opens. Must not know: HTTP, the PSP, who calls.
Every method takes the connection: no method commits, and none but the rail's caller talks to the outside.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import asyncpg

from clearing.agreement import Agreement
from clearing.disbursement import Disbursement, RailOutcome
from clearing.fx import ReferenceRate
from clearing.party import Party
from clearing.results import AuditReport, Balance, CalendarDay, ClearingBatch, Summary
from clearing.session import CapturedSession


class ClearingService:
    """What the gateway calls. Stateless but for bounded caches of parsed tariffs; one instance serves all workers."""

    async def load_reference_data(self, connection: asyncpg.Connection, *, now: datetime) -> int:
        """Load the bundled ECB reference rates into `fx_rate` (repeatable; returns rows added)."""
        raise NotImplementedError

    async def import_rates(self, connection: asyncpg.Connection, rates: Sequence[ReferenceRate], *, now: datetime) -> int:
        """Add published rates; a published rate is a fact and is never overwritten."""
        raise NotImplementedError

    async def register_party(self, connection: asyncpg.Connection, party: Party, *, now: datetime) -> None:
        """Add a party or renew its data (id, kind and settlement currency's history stay)."""
        raise NotImplementedError

    async def put_agreement(self, connection: asyncpg.Connection, agreement: Agreement, *, now: datetime) -> None:
        """Store a new version. The same version again is a no-op if equal, StateConflictError if not."""
        raise NotImplementedError

    async def clear_batch(
        self, connection: asyncpg.Connection, sessions: Sequence[CapturedSession], *, now: datetime, batch_id: UUID, chain: int = 0
    ) -> ClearingBatch:
        """Clear captured sessions in the caller's transaction; poison is parked, a repeat posts nothing."""
        raise NotImplementedError

    async def record_treasury(
        self, connection: asyncpg.Connection, *, kind: str, currency: str, minor: int, reference: str, now: datetime
    ) -> bool:
        """Book a top-up of the platform's balance at the PSP (`kind="topup"`); False if that reference is booked."""
        raise NotImplementedError

    async def record_partner_funding(
        self, connection: asyncpg.Connection, *, partner_id: str, currency: str, minor: int, reference: str, now: datetime
    ) -> bool:
        """Book money that a partner put on its funded account; False if that reference is booked."""
        raise NotImplementedError

    async def plan_disbursements(self, connection: asyncpg.Connection, *, now: datetime) -> Sequence[Disbursement]:
        """Net what is due per party and currency on the party's local day and plan one payment each."""
        raise NotImplementedError

    async def disbursements_to_execute(self, connection: asyncpg.Connection, *, now: datetime, limit: int = 100) -> Sequence[Disbursement]:
        """Planned payments, and those whose outcome is unknown and whose next question is due."""
        raise NotImplementedError

    async def begin_disbursement(self, connection: asyncpg.Connection, disbursement_id: UUID, *, now: datetime) -> Disbursement | None:
        """Commit the intent before the rail is called; None if another worker holds or has ended it."""
        raise NotImplementedError

    async def record_outcome(
        self, connection: asyncpg.Connection, disbursement_id: UUID, outcome: RailOutcome, *, now: datetime, batch_id: UUID
    ) -> Disbursement:
        """Commit the rail's answer: paid is journaled, rejected opens the payables again, unknown is asked later."""
        raise NotImplementedError

    async def forecast(
        self, connection: asyncpg.Connection, *, now: datetime, days: int = 14, party_id: str | None = None
    ) -> Sequence[CalendarDay]:
        """The disbursement calendar: amounts by party and due date, from overdue to `days` ahead."""
        raise NotImplementedError

    async def balances(self, connection: asyncpg.Connection, *, at: datetime | None = None, prefix: str = "") -> Sequence[Balance]:
        """Every account's balance at an instant (default: now), optionally of the accounts below a path."""
        raise NotImplementedError

    async def summary(self, connection: asyncpg.Connection, *, since: date | None = None) -> Summary:
        """The books in a few figures."""
        raise NotImplementedError

    async def audit(self, connection: asyncpg.Connection, *, now: datetime) -> AuditReport:
        """Recompute the proof from the stored rows."""
        raise NotImplementedError
