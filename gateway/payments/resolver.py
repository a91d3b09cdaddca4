"""Calls whose outcome is unknown: asked again until the PSP answers, and never decided by ourselves.

Owns: which question is asked. Within the key's lifetime the call is repeated under its own idempotency key,
which makes the PSP answer what it answered before; after it, the PSP's record is looked up by our metadata.
Must not know: when it is run (the worker's lanes), what an answer leads to (outcomes.py).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id
from gateway.payments import store
from gateway.payments.calls import hold_order
from gateway.payments.capture import ask_end, ask_increment
from gateway.payments.collect import ask_collect
from gateway.payments.holds import Holds
from gateway.payments.outcomes import Asked, Outcomes
from gateway.payments.payment import PaymentState
from gateway.payments.policy import DAY_S, KEY_LIFETIME, PaymentPolicy
from gateway.payments.psp import (
    Captured,
    CaptureOutcome,
    Declined,
    Held,
    IncrementOutcome,
    OutcomeUnknown,
    Psp,
    RequiresAction,
    Voided,
    VoidOutcome,
)
from gateway.payments.records import AuthorizationRecord, CallRecord, CaptureRecord
from gateway.payments.refund import Refunds

_log = structlog.get_logger(__name__)
_BATCH: Final = 20

_PLAIN: Final = frozenset({"increment", "collect", "refund", "rehold", "drop"})
_ASKABLE: Final = frozenset(
    {PaymentState.REQUIRES_AUTHORIZATION, PaymentState.CAPTURE_REQUESTED, PaymentState.OUTCOME_UNKNOWN}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Asks again what was not answered."""

    pool: Pool
    psp: Psp
    clock: Clock
    outcomes: Outcomes
    refunds: Refunds
    holds: Holds
    policy: PaymentPolicy

    async def lanes(self) -> list[int]:
        """Lanes in which a question is due."""
        async with self.pool.acquire() as connection:
            return await store.lanes_with_open_calls(connection, wall_now=self.clock.wall_now())

    async def run_lane(self, lane: int) -> int:
        """Ask what is due in one lane. Returns how many calls were asked."""
        now = self.clock.wall_now()
        async with self.pool.acquire() as connection:
            calls = await store.lease_calls(
                connection,
                lane=lane,
                wall_now=now,
                leased_until=now + self.policy.call_grace,
                batch=_BATCH,
            )
        for call in calls:
            try:
                await self.ask(call)
            except Exception:  # noqa: BLE001 - the boundary of one call: the others must be asked
                _log.exception("psp_call_not_asked", call=format_id("call", call.id), kind=call.kind)
        return len(calls)

    async def ask(self, call: CallRecord) -> None:
        """Ask one call again and record the answer."""
        async with self.pool.acquire() as connection:
            authorization = await store.authorization(
                connection, lane=call.lane, authorization_id=call.authorization_id
            )
            session = await store.session(connection, lane=call.lane, session_id=call.session_id)
            capture = await store.capture(connection, lane=call.lane, session_id=call.session_id)
        if authorization is None or session is None:
            return
        if call.kind in _PLAIN:
            await self._ask_plain(call, authorization)
            return
        if authorization.state not in _ASKABLE:
            return
        asked = Asked(call=call, authorization=authorization, session=session)
        age = self.clock.wall_now() - call.created_at
        if age > timedelta(seconds=DAY_S):
            _log.error(
                "psp_call_unanswered",
                call=format_id("call", call.id),
                kind=call.kind,
                age_s=int(age.total_seconds()),
            )
        if call.kind == "hold":
            await self._ask_hold(asked, replay=age < KEY_LIFETIME)
        elif age < KEY_LIFETIME:
            await ask_end(self.pool, self.psp, self.outcomes, asked, capture)
        else:
            await self._look_up_end(asked, capture)

    async def _ask_plain(self, call: CallRecord, authorization: AuthorizationRecord) -> None:
        """Calls that leave the authorization's state alone."""
        replay = self.clock.wall_now() - call.created_at < KEY_LIFETIME
        match call.kind:
            case "increment" if replay:
                await ask_increment(self.pool, self.psp, self.outcomes, authorization, call)
            case "increment":
                await self._look_up_increment(call, authorization)
            case "collect" if replay:
                await ask_collect(self.pool, self.psp, self.outcomes, authorization, call)
            case "collect":
                found = await self.psp.find_charge(authorization_id=authorization.id)
                charged = found or Declined(code="never_reached_psp", retryable=True)
                async with self.pool.acquire() as connection:
                    await self.outcomes.record_collect(connection, call, charged)
            case "rehold":
                await self.holds.ask_rehold(authorization, call)
            case "drop":
                await self.holds.ask_drop(call)
            case _:
                await self.refunds.ask_again(call, replay=replay)

    async def _look_up_increment(self, call: CallRecord, authorization: AuthorizationRecord) -> None:
        """Past the key's lifetime the hold is read; only one that is still too low is raised anew.

        A hold that stands as high already would be refused as no increment, and what it covers not captured.
        """
        state = await self.psp.inspect(psp_payment=authorization.psp_payment or "")
        match state:
            case Held(amount_minor=held) if held < call.amount_minor:
                await ask_increment(self.pool, self.psp, self.outcomes, authorization, call)
                return
            case Held() | OutcomeUnknown():
                outcome: IncrementOutcome = state
            case _:
                outcome = Declined(code="hold_ended", retryable=False)
        async with self.pool.acquire() as connection:
            await self.outcomes.record_increment(connection, call, outcome)

    async def _ask_hold(self, asked: Asked, *, replay: bool) -> None:
        outcome: Held | RequiresAction | Declined | OutcomeUnknown | Captured | Voided
        if replay:
            outcome = await self.psp.hold(hold_order(asked.authorization, asked.call))
        else:
            found = await self.psp.find_hold(authorization_id=asked.authorization.id)
            outcome = Declined(code="never_reached_psp", retryable=True) if found is None else found
        async with self.pool.acquire() as connection:
            await self.outcomes.record_hold(connection, asked, outcome)

    async def _look_up_end(self, asked: Asked, capture: CaptureRecord | None) -> None:
        """Past the key's lifetime the payment is read; one that still waits is asked anew."""
        payment = asked.authorization.psp_payment
        if payment is None:
            return
        state = await self.psp.inspect(psp_payment=payment)
        outcome: CaptureOutcome | VoidOutcome
        match state:
            case Captured() | Voided() | OutcomeUnknown() | Declined():
                outcome = state
            case Held() | RequiresAction():
                # The PSP holds the funds still, so the call never took effect: it may be made now, and the
                # payment's own state, not a key, makes a second effect impossible.
                await ask_end(self.pool, self.psp, self.outcomes, asked, capture)
                return
        async with self.pool.acquire() as connection:
            await self.outcomes.record_end(connection, asked, outcome, capture=capture)
