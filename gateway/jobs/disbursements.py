"""What is due is netted, committed, paid over the PSP's transfers, and recorded: intent, call, result.

Owns: the order of these steps and the PSP as a disbursement rail. Must not know how clearing nets or posts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeVar
from uuid import UUID

import asyncpg
import structlog

from clearing.errors import ClearingError
from clearing.payouts import disbursement as rail
from clearing.payouts.disbursement import Disbursement, DisbursementState, RailOutcome
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.failure_log import log_failure
from gateway.ids import format_id
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import (
    Psp,
    PspTransferRequest,
    Transferred,
)
from gateway.payouts.connected_account_service import ConnectedAccountService
from gateway.payouts.party_check_service import PartyCheckService
from gateway.webhooks import events, payout_events
from gateway.webhooks.events import EventType, NewEvent

_log = structlog.get_logger(__name__)
BATCH: Final = 200  # disbursements begun in one transaction, and recorded in one
AT_ONCE: Final = 16  # calls in flight
PAGE: Final = 500  # parties planned in one transaction
_ROUNDS: Final = 1000
_CALL_SECONDS: Final = 40.0  # no call starts later after its intent: well within the intent's lease
# Errors caused by the data of one party or disbursement; trouble with the database itself ends the round.
_DATA_ERRORS: Final = (
    ClearingError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    LookupError,
    ValueError,
)
_T = TypeVar("_T")
_EVENT_OF: Final = MappingProxyType(
    {
        DisbursementState.PAID: EventType.DISBURSEMENT_PAID,
        DisbursementState.FAILED: EventType.DISBURSEMENT_FAILED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRail:
    """The PSP's transfers to connected accounts as a disbursement rail."""

    psp: Psp

    async def pay(self, disbursement: Disbursement) -> rail.RailOutcome:
        """One transfer per disbursement, keyed by its end-to-end id: sent twice, it pays once."""
        outcome = await self.psp.transfer(
            PspTransferRequest(
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
                return rail.Rejected(code=code, detail=f"the PSP rejected the transfer: {code}")
            case PspOutcomeUnknown(reason=reason):
                return rail.RailOutcomeUnknown(detail=reason)

    async def find(self, disbursement: Disbursement) -> rail.RailOutcome:
        """The PSP's own record of an earlier transfer."""
        found = await self.psp.find_transfer(end_to_end_id=disbursement.end_to_end_id)
        match found:
            case Transferred(psp_transfer=reference):
                return rail.Paid(rail_reference=reference)
            case PspOutcomeUnknown(reason=reason):
                return rail.RailOutcomeUnknown(detail=reason)
            case None:
                return await self.pay(disbursement)


@dataclass(slots=True, kw_only=True)
class DisbursementJob:
    """Plans and pays what is due at business time, at most once every `every` of wall time on its own.

    Before it plans, the connected accounts of parties due are read, so that what the PSP can't pay is held
    and not sent; so is a party whose checks lack something. Planning ends its transaction after every few
    hundred parties. Disbursements go in batches: their intents in one transaction, then so many calls
    `at_once` with none open, then their answers in one transaction.
    """

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    rail: PspRail
    accounts: ConnectedAccountService | None = None  # None: what the PSP says of accounts is not followed
    checks: PartyCheckService | None = None  # None: parties are paid whatever their checks say
    name: str = "disbursement"
    every: timedelta = timedelta(seconds=1)
    batch: int = BATCH
    at_once: int = AT_ONCE
    page: int = PAGE
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """A round, unless the last one was a moment ago. Returns how many disbursements were begun."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        await self.plan()
        begun = await self.pay()
        # A full batch is followed by the next one at once.
        self._next = None if begun == self.batch else wall + self.every
        return begun

    async def run(self) -> int:
        """Pay until nothing is due; how many disbursements were begun."""
        await self.plan()
        begun = 0
        for _ in range(_ROUNDS):
            count = await self.pay()
            begun += count
            if not count:
                break
        return begun

    async def plan(self) -> None:
        """Cancel what may no longer be paid, then plan what is due, so many parties in a transaction."""
        now = self.clock.now()
        if self.checks is not None:
            await self.checks.follow_all()
        async with transaction(self.pool) as connection:
            cancelled = await self.clearing.payouts.cancel_unpayable(connection, now=now)
            published = await payout_events.disbursement_events(
                connection, EventType.DISBURSEMENT_CANCELLED, cancelled
            )
            await events.record(connection, published, now=now)
        async with self.pool.acquire() as connection:
            due = await self.clearing.disbursements.list_parties_due(connection, now=now)
        if self.accounts is not None:
            await self.accounts.refresh(due)
        if self.checks is not None:
            await self.checks.follow(due)
        for start in range(0, len(due), self.page):
            await self._plan_page(due[start : start + self.page], now=now)

    async def _plan_page(self, names: Sequence[str], *, now: datetime) -> None:
        """Plan these parties; where one of them can't be planned, the others are."""
        try:
            async with transaction(self.pool) as connection:
                planned = await self.clearing.disbursements.plan(connection, now=now, only=names)
                published = await payout_events.disbursement_events(
                    connection, EventType.DISBURSEMENT_PLANNED, planned
                )
                await events.record(connection, published, now=now)
        except _DATA_ERRORS:
            if len(names) == 1:
                _log.exception("disbursement_not_planned", party=names[0])
                return
            for half in _halves(names):
                await self._plan_page(half, now=now)

    async def pay(self) -> int:
        """Commit a batch of intents, call the rail, commit the answers. Returns how many were begun."""
        async with transaction(self.pool) as connection:
            begun = await self.clearing.disbursements.begin_due(
                connection, now=self.clock.now(), limit=self.batch
            )
        if begun:
            outcomes = await self._send(begun)
            await self._record(list(outcomes.items()))
        return len(begun)

    async def _send(self, begun: Sequence[Disbursement]) -> dict[UUID, RailOutcome]:
        """The rail's answers. What is not called while its intent is fresh is left to a later round."""
        waiting = iter(begun)
        outcomes: dict[UUID, RailOutcome] = {}
        loop = asyncio.get_running_loop()
        stop_at = loop.time() + _CALL_SECONDS

        async def call() -> None:
            for disbursement in waiting:
                if loop.time() >= stop_at:
                    return
                outcomes[disbursement.id] = await self._call(disbursement)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.at_once, len(begun))):
                group.create_task(call())
        return outcomes

    async def _call(self, disbursement: Disbursement) -> RailOutcome:
        try:
            repeated = disbursement.attempts > 1
            return await (self.rail.find(disbursement) if repeated else self.rail.pay(disbursement))
        except Exception as error:  # noqa: BLE001 - the process boundary of one disbursement: the others go on
            log_failure(
                _log, "disbursement_call_failed", error, disbursement=format_id("dis", disbursement.id)
            )
            return rail.RailOutcomeUnknown(detail=f"an error on our side: {type(error).__name__}")

    async def _record(self, outcomes: Sequence[tuple[UUID, RailOutcome]]) -> None:
        """Commit the answers; one that can't be recorded is sent again later, the others are recorded."""
        try:
            async with transaction(self.pool) as connection:
                now = self.clock.now()
                answers = await self.clearing.disbursements.record_outcomes(
                    connection, dict(outcomes), now=now
                )
                published: list[NewEvent] = []
                for state, kind in _EVENT_OF.items():
                    ended = [one for one in answers.ended if one.state is state]
                    published += await payout_events.disbursement_events(connection, kind, ended)
                await events.record(connection, published, now=now)
        except _DATA_ERRORS:
            if len(outcomes) == 1:
                _log.exception("disbursement_not_recorded", disbursement=format_id("dis", outcomes[0][0]))
                return
            for half in _halves(outcomes):
                await self._record(half)
            return
        await self._read_refused(answers.ended)
        for one in answers.ended:
            _log.info("disbursed", disbursement=format_id("dis", one.id), state=one.state.value)
        for identifier, detail in answers.conflicts.items():
            # Money may have moved that is not in the ledger: reconciliation will show it too.
            _log.error("disbursement_conflict", disbursement=format_id("dis", identifier), detail=detail)

    async def _read_refused(self, ended: Sequence[Disbursement]) -> None:
        """Read the accounts that the PSP did not pay, so that their parties learn why."""
        refused = sorted({one.party_id for one in ended if one.state is DisbursementState.FAILED})
        if self.accounts is not None and refused:
            await self.accounts.refresh(refused, older_than=timedelta(0))


def _halves(many: Sequence[_T]) -> tuple[Sequence[_T], Sequence[_T]]:
    middle = len(many) // 2
    return many[:middle], many[middle:]
