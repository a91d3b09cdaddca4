"""Disbursements as people and parties use them: read, forecast, approve, return, reschedule.

Owns: the transaction of each, and the events of what it changes. Must not know: HTTP, who may ask, how
anything is netted or paid. `key` is the API key that asks; its principal is recorded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from clearing.parties import service as party_service
from clearing.payouts import forecast_service
from clearing.payouts.disbursement import Disbursement
from clearing.payouts.forecast import CalendarDay
from clearing.payouts.forecast_accuracy import ForecastDay
from clearing.reporting import disbursements as reporting
from clearing.reporting.disbursements import DisbursementRecord, PayableRecord
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.errors import RecordNotFoundError
from gateway.ids import shard_of
from gateway.partners.principals import principal_transaction
from gateway.webhooks import events, payout_events
from gateway.webhooks.events import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class DisbursementApprovals:
    """The principals who have approved a disbursement, in the order of approval, and how many it needs."""

    given: int
    needed: int
    by: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisbursementAdministration:
    """Raises RecordNotFoundError where there is no such disbursement, or it is another party's.

    `party_id` None: of all parties.
    """

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def list(
        self, *, party_id: str | None, state: str | None, before: UUID | None, limit: int
    ) -> Sequence[DisbursementRecord]:
        """Disbursements, the newest first, those older than `before`."""
        async with self.pool.acquire() as connection:
            return await reporting.list_disbursements(
                connection, party_id=party_id, state=state, before=before, limit=limit
            )

    async def get(self, disbursement_id: UUID, *, party_id: str | None) -> DisbursementRecord:
        """One disbursement."""
        async with self.pool.acquire() as connection:
            return await _get(connection, disbursement_id, party_id=party_id)

    async def list_payables_of_session(
        self, session_id: UUID, *, party_id: str | None
    ) -> Sequence[PayableRecord]:
        """The payables of a session."""
        async with self.pool.acquire() as connection:
            return await reporting.list_payables_of_session(
                connection, shard=shard_of(session_id), session_id=session_id, party_id=party_id
            )

    async def list_payables_of_disbursement(
        self, disbursement_id: UUID, *, party_id: str | None, after: UUID | None, limit: int
    ) -> Sequence[PayableRecord]:
        """The payables that a disbursement nets, by session, those after `after`."""
        async with self.pool.acquire() as connection:
            return await reporting.list_payables_of_disbursement(
                connection, disbursement_id=disbursement_id, party_id=party_id, after=after, limit=limit
            )

    async def list_open_payables(
        self, *, party_id: str | None, after: tuple[date, UUID] | None, limit: int
    ) -> Sequence[PayableRecord]:
        """The open payables by due date and session, those after `after`."""
        async with self.pool.acquire() as connection:
            return await reporting.list_open_payables(connection, party_id=party_id, after=after, limit=limit)

    async def forecast(self, *, days: int, party_id: str | None) -> Sequence[CalendarDay]:
        """What is to be paid on which day, from what is overdue to `days` ahead."""
        async with self.pool.acquire() as connection:
            return await self.clearing.disbursements.forecast(
                connection, now=self.clock.now(), days=days, party_id=party_id
            )

    async def list_forecast_days(self, *, days: int, party_id: str | None) -> Sequence[ForecastDay]:
        """The forecasts of so many days up to today beside what was paid, the latest day first."""
        async with self.pool.acquire() as connection:
            return await forecast_service.list_days(
                connection, now=self.clock.now(), days=days, party_id=party_id
            )

    async def list_awaiting_approval(
        self, *, limit: int
    ) -> tuple[Sequence[Disbursement], Mapping[UUID, Sequence[str]]]:
        """Planned disbursements that lack an approval, the oldest first, and who has approved each."""
        async with self.pool.acquire() as connection:
            found = await self.clearing.payouts.list_awaiting_approval(connection, limit=limit)
            return found, await reporting.list_approvers(connection, [one.id for one in found])

    async def approve(self, disbursement_id: UUID, *, key: str) -> DisbursementApprovals:
        """Approve as one principal, who counts once.

        Raises ClearingConflictError if the disbursement needs no approval, or none any more.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, principal):
            # Approvals of one disbursement wait for each other.
            disbursement = await self.clearing.payouts.lock_disbursement(connection, disbursement_id)
            if disbursement is None:
                raise RecordNotFoundError("There is no such disbursement")
            before = await reporting.list_approvers(connection, [disbursement_id])
            given, needed = await self.clearing.payouts.approve(
                connection, disbursement_id, by=principal, now=now
            )
            by = (await reporting.list_approvers(connection, [disbursement_id])).get(disbursement_id, [])
            if given >= needed > len(before.get(disbursement_id, [])):
                new = await payout_events.disbursement_events(
                    connection, EventType.DISBURSEMENT_APPROVED, [disbursement]
                )
                await events.record(connection, new, now=now)
        return DisbursementApprovals(given=given, needed=needed, by=by)

    async def record_return(self, disbursement_id: UUID, *, reason: str, key: str) -> DisbursementRecord:
        """Record a return that no statement reports: its payables reopen, its party's payouts are held.

        Raises ClearingConflictError if it was never paid. A return that is known already changes nothing.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            if await self.clearing.payouts.find_disbursement(connection, disbursement_id) is None:
                raise RecordNotFoundError("There is no such disbursement")
            returned = await self.clearing.payouts.record_return(
                connection, disbursement_id, reason=reason, now=now, by=by
            )
            if returned is not None:
                hold = await party_service.lock_payout_hold(connection, returned.hold_id)
                new = await payout_events.disbursement_events(
                    connection, EventType.DISBURSEMENT_RETURNED, [returned.disbursement]
                )
                new += [] if hold is None else [payout_events.hold(EventType.PAYOUT_HOLD_PLACED, hold)]
                await events.record(connection, new, now=now)
            return await _get(connection, disbursement_id, party_id=None)

    async def reschedule(self, *, reason: str) -> int:
        """Compute every open due date again by the present calendars and terms; how many moved."""
        async with transaction(self.pool) as connection:
            return await self.clearing.payouts.reschedule(connection, reason=reason, now=self.clock.now())


async def _get(connection: Connection, disbursement_id: UUID, *, party_id: str | None) -> DisbursementRecord:
    found = await reporting.find_disbursement(connection, disbursement_id=disbursement_id, party_id=party_id)
    if found is None:
        raise RecordNotFoundError("There is no such disbursement")
    return found
