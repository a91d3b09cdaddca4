"""Look after holds: renew one before it ends, notice one that ended, secure again what lost its hold.

Owns: the phases of a renewal. Must not know: when the round is made, what a session costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never
from uuid import UUID

import asyncpg

from gateway.clock import Clock
from gateway.database import Connection, Pool, named_queries
from gateway.ids import new_id
from gateway.payments import store
from gateway.payments.calls import call_key, hold_order
from gateway.payments.payment import PaymentState
from gateway.payments.policy import KEY_LIFETIME, PaymentPolicy
from gateway.payments.psp import (
    Captured,
    Declined,
    Held,
    HoldOutcome,
    OutcomeUnknown,
    Psp,
    RequiresAction,
    Voided,
    VoidOrder,
)
from gateway.payments.records import AuthorizationRecord, CallRecord

_sql = named_queries("gateway", "holds.sql")


class MissingCdrAction(StrEnum):
    """What becomes of a session whose CDR never comes."""

    RELEASE = "release"  # nothing is owed that anyone can prove: the hold goes back
    LAST_KNOWN_COST = "last_known_cost"  # the last update priced by the frozen tariff, within the hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """A hold of a session for which no CDR came, and what is to become of it."""

    lane: int
    authorization_id: UUID
    action: MissingCdrAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """The service that keeps holds alive."""

    pool: Pool
    psp: Psp
    clock: Clock
    policy: PaymentPolicy

    async def ending(self, *, before: datetime, batch: int) -> Sequence[tuple[int, UUID]]:
        """Holds that end before `before`: lane and authorization id, those longest not looked at first."""
        async with self.pool.acquire() as connection:
            rows = _sql.holds_ending(connection, before=before, now=self.clock.now(), batch=batch)
            return [(row["lane"], row["id"]) async for row in rows]

    async def actions_waiting(self, *, since: datetime, batch: int) -> Sequence[tuple[int, UUID]]:
        """Authorizations that wait for the cardholder since `since`."""
        async with self.pool.acquire() as connection:
            rows = _sql.actions_waiting(connection, since=since, now=self.clock.now(), batch=batch)
            return [(row["lane"], row["id"]) async for row in rows]

    async def forgotten(
        self, *, patience: timedelta, lost_within: timedelta, batch: int
    ) -> Sequence[Forgotten]:
        """Holds of sessions that no CDR has ended in the time of their CPO's policy, else in `patience`.

        Also those that are to be captured and would be lost within `lost_within`.
        """
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            rows = _sql.sessions_forgotten(
                connection, now=now, patience=patience, lost_by=now + lost_within, batch=batch
            )
            return [
                Forgotten(
                    lane=row["lane"], authorization_id=row["id"], action=MissingCdrAction(row["action"])
                )
                async for row in rows
            ]

    async def take_turn(self, *, lane: int, authorization_id: UUID, rest: timedelta) -> bool:
        """Take this authorization's turn; the next comes after `rest`. False: somebody else has it."""
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            row = await _sql.take_turn(
                connection, lane=lane, id=authorization_id, now=now, again_at=now + rest
            )
        return row is not None

    async def look_after(self, *, lane: int, authorization_id: UUID) -> None:
        """A hold about to end: gone at the PSP, it is voided here; under a mandate, it is renewed."""
        async with self.pool.acquire() as connection:
            standing = await store.authorization(connection, lane=lane, authorization_id=authorization_id)
        if standing is None or standing.state is not PaymentState.AUTHORIZED or standing.psp_payment is None:
            return
        state = await self.psp.inspect(psp_payment=standing.psp_payment)
        if isinstance(state, Voided):
            async with self.pool.acquire() as connection:
                await store.expire_authorization(
                    connection, lane=lane, authorization_id=authorization_id, now=self.clock.now()
                )
        elif isinstance(state, Held) and standing.customer is not None:
            await self._renew(standing)

    async def _renew(self, standing: AuthorizationRecord) -> None:
        """Phases 1 to 3 of a second hold; the old one is dropped once the new one stands."""
        call = CallRecord(
            lane=standing.lane,
            id=new_id(lane=standing.lane),
            session_id=standing.session_id,
            authorization_id=standing.id,
            kind="rehold",
            state="intended",
            amount_minor=standing.hold_minor,
            attempts=0,
            created_at=self.clock.wall_now(),
        )
        try:
            async with self.pool.acquire() as connection:
                mine = await _sql.request_rehold(
                    connection,
                    lane=call.lane,
                    authorization_id=standing.id,
                    psp_payment=standing.psp_payment,
                    call_id=call.id,
                    next_ask_at=call.created_at + self.policy.call_grace,
                    wall_now=call.created_at,
                )
        except asyncpg.UniqueViolationError:  # a call is in the air already
            return
        if mine:
            await self.ask_rehold(standing, call)

    async def ask_rehold(self, standing: AuthorizationRecord, call: CallRecord) -> None:
        """Ask for the second hold, under the call's own key, first time or again.

        Past the key's lifetime the PSP's latest payment is looked up: if it is still the first hold, the
        renewal never reached the PSP.
        """
        if self.clock.wall_now() - call.created_at >= KEY_LIFETIME:
            outcome = await self._look_up(standing)
        else:
            outcome = await self.psp.hold(hold_order(standing, call))
        async with self.pool.acquire() as connection:
            match outcome:
                case OutcomeUnknown(reason=reason):
                    await store.ask_later(connection, call, reason=reason, wall_now=self.clock.wall_now())
                case Held():
                    await self._conclude(connection, call, outcome, {"held": outcome.psp_payment})
                case Declined(code=code):
                    await self._conclude(connection, call, None, {"declined": code})
                case RequiresAction(psp_payment=payment):
                    await self._conclude(connection, call, None, {"requires_action": payment})
                case _:
                    assert_never(outcome)

    async def _look_up(self, standing: AuthorizationRecord) -> HoldOutcome:
        found = await self.psp.find_hold(authorization_id=standing.id)
        match found:
            case OutcomeUnknown():
                return found
            case Held(psp_payment=payment) if payment != standing.psp_payment:
                return found
            case _:
                return Declined(code="renewal_not_answered", retryable=True)

    async def ask_drop(self, call: CallRecord) -> None:
        """Void the hold that another has replaced; one that is gone already is gone."""
        if call.psp_payment is None:
            return
        outcome = await self.psp.void(
            VoidOrder(idempotency_key=call_key(call.id), psp_payment=call.psp_payment)
        )
        async with self.pool.acquire() as connection:
            match outcome:
                case OutcomeUnknown(reason=reason):
                    await store.ask_later(connection, call, reason=reason, wall_now=self.clock.wall_now())
                case Voided() | Captured() | Declined():
                    await _sql.conclude_drop(
                        connection,
                        lane=call.lane,
                        call_id=call.id,
                        answer={"dropped": type(outcome).__name__},
                        wall_now=self.clock.wall_now(),
                    )
                case _:
                    assert_never(outcome)

    async def _conclude(
        self, connection: Connection, call: CallRecord, held: Held | None, answer: dict[str, str]
    ) -> None:
        await _sql.conclude_rehold(
            connection,
            lane=call.lane,
            call_id=call.id,
            call_state="succeeded" if held else "declined",
            answer=answer,
            psp_payment=held.psp_payment if held else None,
            capture_before=held.capture_before if held else None,
            incrementable=held.incrementable if held else False,
            max_capture_minor=held.max_capture_minor if held else None,
            drop_id=new_id(lane=call.lane),
            now=self.clock.now(),
            wall_now=self.clock.wall_now(),
        )
