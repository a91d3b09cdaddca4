"""What is due is netted, committed, paid over the PSP's transfers, and recorded: intent, call, result.

Owns: the order of these steps and the PSP as a disbursement rail. Must not know how clearing nets or posts.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from clearing.payouts import disbursement as rail
from clearing.payouts.disbursement import Disbursement
from clearing.service import ClearingService
from gateway import objects
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import format_id, lane_of
from gateway.notify import events
from gateway.notify.events import EventType, NewEvent
from gateway.payments.psp import Declined, OutcomeUnknown, Psp, TransferOrder, Transferred

_log = structlog.get_logger(__name__)
BATCH: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRail:
    """The PSP's transfers to connected accounts as a disbursement rail."""

    psp: Psp

    async def pay(self, disbursement: Disbursement) -> rail.RailOutcome:
        """One transfer per disbursement, keyed by its end-to-end id: asked twice, it pays once."""
        outcome = await self.psp.transfer(
            TransferOrder(
                idempotency_key=disbursement.end_to_end_id,
                amount_minor=disbursement.amount_minor,
                currency=disbursement.currency,
                connected_account=disbursement.destination,
                end_to_end_id=disbursement.end_to_end_id,
            )
        )
        match outcome:
            case Transferred(psp_transfer=reference):
                return rail.Paid(rail_reference=reference)
            case Declined(code=code):
                return rail.Rejected(code=code, detail=f"the PSP refused the transfer: {code}")
            case OutcomeUnknown(reason=reason):
                return rail.OutcomeUnknown(detail=reason)

    async def find(self, disbursement: Disbursement) -> rail.RailOutcome:
        """The PSP's own record of an earlier transfer."""
        found = await self.psp.find_transfer(end_to_end_id=disbursement.end_to_end_id)
        match found:
            case Transferred(psp_transfer=reference):
                return rail.Paid(rail_reference=reference)
            case OutcomeUnknown(reason=reason):
                return rail.OutcomeUnknown(detail=reason)
            case None:
                return await self.pay(disbursement)


@dataclass(slots=True, kw_only=True)
class DisbursementLane:
    """Plans and pays what is due at business time, at most once every `every` of wall time on its own."""

    pool: Pool
    clock: Clock
    clearing: ClearingService
    rail: PspRail
    name: str = "disburse"
    every: timedelta = timedelta(seconds=1)
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """A round, unless the last one was a moment ago. Returns how many payments were asked for."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + self.every
        return await self._round()

    async def _round(self) -> int:
        """Plan, then pay what was planned and ask after what is unknown. Returns how many."""
        async with transaction(self.pool) as connection:
            planned = await self.clearing.plan_disbursements(connection, now=self.clock.now())
            await events.record(
                connection,
                [_news(EventType.DISBURSEMENT_PLANNED, disbursement) for disbursement in planned],
                now=self.clock.now(),
            )
        async with self.pool.acquire() as connection:
            due = await self.clearing.disbursements_to_execute(connection, now=self.clock.now(), limit=BATCH)
        for disbursement in due:
            await self.execute(disbursement)
        return len(due)

    async def run(self) -> int:
        """Until nothing is left to pay now; how many payments were asked for."""
        asked = 0
        for _ in range(BATCH):
            done = await self._round()
            asked += done
            if done < BATCH:
                break
        return asked

    async def execute(self, disbursement: Disbursement) -> None:
        """Commit the intent, call the rail with no transaction open, commit the result."""
        async with transaction(self.pool) as connection:
            begun = await self.clearing.begin_disbursement(connection, disbursement.id, now=self.clock.now())
        if begun is None:
            return
        again = begun.attempts > 1
        outcome = await (self.rail.find(begun) if again else self.rail.pay(begun))
        async with transaction(self.pool) as connection:
            now = self.clock.now()
            after = await self.clearing.record_outcome(connection, begun.id, outcome, now=now)
            told = {
                rail.DisbursementState.PAID: EventType.DISBURSEMENT_PAID,
                rail.DisbursementState.FAILED: EventType.DISBURSEMENT_FAILED,
            }.get(after.state)
            if told is not None:
                await events.record(connection, [_news(told, after)], now=now)
        _log.info("disbursed", disbursement=format_id("dis", after.id), state=after.state.value)


def disbursement_object(disbursement: Disbursement) -> objects.Disbursement:
    """The public disbursement."""
    return objects.Disbursement(
        id=format_id("dis", disbursement.id),
        party=disbursement.party_id,
        state=disbursement.state.value,
        amount=disbursement.amount_minor,
        currency=disbursement.currency,
        due_date=disbursement.period,
        end_to_end_id=disbursement.end_to_end_id,
        created=disbursement.planned_at,
        failure_reason=disbursement.failure,
    )


def _news(kind: EventType, disbursement: Disbursement) -> NewEvent:
    shown = disbursement_object(disbursement)
    return NewEvent(
        type=kind,
        party_id=disbursement.party_id,
        object_id=shown.id,
        data=shown.as_json(),
        lane=lane_of(disbursement.id),
    )
