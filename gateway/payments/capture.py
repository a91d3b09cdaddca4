"""End a payment: capture once or release, in atomic phases.

Owns: the order of the phases. Must not know: HTTP, OCPI's messages, how a PSP is called, how a price comes
about. Intent is committed before the PSP is asked, the PSP is asked with no transaction open, its answer is
committed with the work it leaves; a stop between any two is resumed by the worker or the resolver.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

import asyncpg

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id, lane_of, new_id
from gateway.payments import public, store
from gateway.payments.calls import call_key
from gateway.payments.orders import (
    NotFoundError,
    SessionView,
    StateConflictError,
    VersionConflictError,
)
from gateway.payments.outcomes import Asked, Outcomes, Recorded
from gateway.payments.payment import PaymentState
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp import CaptureOrder, Held, IncrementOrder, OutcomeUnknown, Psp, VoidOrder
from gateway.payments.records import AuthorizationRecord, CallRecord, CaptureRecord, SessionRecord
from gateway.payments.steps import Increment, Release, Step, Take, next_step

_MAX_STEPS: Final = 4  # increment, capture, and a look after each


class Ended(StrEnum):
    """What an attempt to end a payment came to."""

    DONE = "done"  # captured, or released with nothing owed: nothing is left to do
    ASKED = "asked"  # the PSP was asked and has not answered
    WAITING = "waiting"  # somebody else's call is in the air, or the cardholder must act first
    UNSECURED = "unsecured"  # priced, but no authorization stands that could pay


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What an attempt came to; `view` is the session as it was written, None where it must be read."""

    ended: Ended
    view: SessionView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """A completed session on a hold that stands, and the step that is next."""

    session: SessionRecord
    authorization: AuthorizationRecord
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Captures:
    """The capture, release and increment services."""

    pool: Pool
    psp: Psp
    clock: Clock
    outcomes: Outcomes
    policy: PaymentPolicy

    async def capture(self, *, lane: int, session_id: UUID, seen: SessionView | None = None) -> Ended:
        """Take what a completed session costs, once; safe to call at any time and as often as one likes."""
        return (await self.finish(lane=lane, session_id=session_id, seen=seen)).ended

    async def finish(self, *, lane: int, session_id: UUID, seen: SessionView | None = None) -> Finished:
        """As `capture`, with the session as this left it.

        `seen` is what the caller has just read or written; what it has missed ends nothing: every phase is
        guarded by the state, version and price that it names.
        """
        refused: frozenset[str] = frozenset()
        for _ in range(_MAX_STEPS):
            standing = await self._standing(lane, session_id, refused, seen)
            seen = None
            if isinstance(standing, Ended):
                return Finished(ended=standing)
            match standing.step:
                case Increment(amount_minor=amount):
                    raised = await self.increment(standing.authorization, amount_minor=amount)
                    if raised is None:
                        return Finished(ended=Ended.WAITING)
                    refused = refused if raised else frozenset({"increment"})
                case Release():
                    return await self._end(standing.session, standing.authorization, None)
                case Take() as take:
                    return await self._end(standing.session, standing.authorization, take)
                case _:
                    assert_never(standing.step)
        return Finished(ended=Ended.WAITING)

    async def _standing(
        self, lane: int, session_id: UUID, refused: frozenset[str], seen: SessionView | None
    ) -> _Standing | Ended:
        if seen is None:
            async with self.pool.acquire() as connection:
                found = await store.standing(connection, lane=lane, session_id=session_id)
            if found is None:
                return Ended.WAITING
            session, authorization, _ = found
        else:
            session, authorization = seen.session, seen.authorization
        if session.price_minor is None:
            return Ended.WAITING
        if authorization is None:
            return Ended.UNSECURED
        if authorization.state is PaymentState.CAPTURED:
            return Ended.DONE
        if authorization.state in {PaymentState.FAILED, PaymentState.VOIDED}:
            return Ended.DONE if session.price_minor == 0 else Ended.UNSECURED
        if authorization.state is not PaymentState.AUTHORIZED:
            return Ended.WAITING
        if session.price_minor > authorization.hold_minor:
            async with self.pool.acquire() as connection:
                refused |= await store.refused_kinds(connection, lane=lane, authorization_id=authorization.id)
        step = next_step(
            price_minor=session.price_minor,
            authorization=authorization,
            refused=refused,
            amounts=self.policy.amounts,
            within_hold=session.awaits_cdr,
        )
        return _Standing(session=session, authorization=authorization, step=step)

    async def increment(self, authorization: AuthorizationRecord, *, amount_minor: int) -> bool | None:
        """Raise a hold to `amount_minor` in all: True raised, False refused, None not known yet."""
        if authorization.funding == "partner_account":
            return await self._raise_on_account(authorization, amount_minor)
        amount_minor = self.policy.amounts.up(amount_minor, authorization.currency)
        call = self._call(authorization, "increment", amount_minor)
        try:
            async with self.pool.acquire() as connection:
                mine = await store.request_increment(
                    connection,
                    lane=call.lane,
                    call_id=call.id,
                    authorization_id=authorization.id,
                    amount_minor=amount_minor,
                    next_ask_at=call.created_at + self.policy.call_grace,
                    wall_now=call.created_at,
                )
        except asyncpg.UniqueViolationError:  # a call is in the air already
            return None
        if not mine:
            return None
        return await ask_increment(self.pool, self.psp, self.outcomes, authorization, call)

    async def release(self, *, authorization_id: UUID, expected_version: int | None) -> None:
        """Release a hold whole. Raises NotFoundError, VersionConflictError, StateConflictError."""
        standing = await self._releasable(authorization_id, expected_version)
        if standing is None:
            return
        if standing.session.cdr_id is not None:
            raise StateConflictError("the session is completed; what it costs is captured, the rest released")
        await self._give_back(standing)

    async def give_up(self, *, authorization_id: UUID, expected_version: int) -> None:
        """End a challenge that nobody answered, also where its session is over. Errors as `release`."""
        standing = await self._releasable(authorization_id, expected_version)
        if standing is not None and standing.authorization.state is PaymentState.REQUIRES_ACTION:
            await self._give_back(standing)

    async def _releasable(self, authorization_id: UUID, expected_version: int | None) -> _Standing | None:
        """What may be released; None when it was before."""
        lane = lane_of(authorization_id)
        async with self.pool.acquire() as connection:
            found = await store.authorized(connection, lane=lane, authorization_id=authorization_id)
        if found is None:
            raise NotFoundError(f"no authorization {format_id('auth', authorization_id)}")
        authorization, session = found
        if authorization.state is PaymentState.VOIDED:
            return None
        if expected_version is not None and expected_version != authorization.version:
            raise VersionConflictError(
                f"the authorization is at version {authorization.version}; read it again"
            )
        if authorization.state not in {PaymentState.AUTHORIZED, PaymentState.REQUIRES_ACTION}:
            raise StateConflictError(f"an authorization that is {authorization.state} can't be released")
        return _Standing(session=session, authorization=authorization, step=Release())

    async def _give_back(self, standing: _Standing) -> None:
        done = await self._end(standing.session, standing.authorization, None)
        if done.ended is Ended.WAITING:
            raise StateConflictError("the session or its authorization has changed; read them again")

    async def _end(
        self, session: SessionRecord, authorization: AuthorizationRecord, take: Take | None
    ) -> Finished:
        """Capture or release (`take` None) by the funding: in our books, or at the PSP in phases."""
        capture = self._new_capture(session, authorization, take) if take else None
        if authorization.funding == "partner_account":
            return await self._end_on_account(session, authorization, capture)
        return await self._end_at_psp(session, authorization, capture)

    async def _end_on_account(
        self, session: SessionRecord, authorization: AuthorizationRecord, capture: CaptureRecord | None
    ) -> Finished:
        now = self.clock.now()
        after = _moved(authorization, PaymentState.CAPTURED if capture else PaymentState.VOIDED, now)
        events = public.authorization_events(after, session)
        taken = None
        if capture is not None:
            taken = replace(capture, state="succeeded", captured_at=now)
            events += public.capture_events(taken, session)
        async with self.pool.acquire() as connection:
            done = await store.end_on_account(
                connection,
                lane=session.lane,
                authorization_id=authorization.id,
                expected_version=authorization.version,
                session_id=session.id,
                price_minor=session.price_minor,
                amount_minor=capture.amount_minor if capture else 0,
                receivable_minor=capture.receivable_minor if capture else 0,
                capture_id=capture.id if capture else None,
                task_id=new_id(lane=session.lane),
                events=public.event_rows(events),
                now=now,
                wall_now=self.clock.wall_now(),
            )
        if not done:
            return Finished(ended=Ended.WAITING)
        view = SessionView(session=session, authorization=after, capture=taken)
        return Finished(ended=Ended.DONE, view=view)

    async def _end_at_psp(
        self, session: SessionRecord, authorization: AuthorizationRecord, capture: CaptureRecord | None
    ) -> Finished:
        """Phase 1 commits the intent; phase 2 asks; phase 3 commits the answer."""
        amount = capture.amount_minor if capture else 0
        call = self._call(authorization, "capture" if capture else "void", amount)
        now = self.clock.now()
        try:
            async with self.pool.acquire() as connection:
                mine = await store.request_end(
                    connection,
                    lane=session.lane,
                    authorization_id=authorization.id,
                    from_states=[PaymentState.AUTHORIZED.value, PaymentState.REQUIRES_ACTION.value],
                    expected_version=authorization.version,
                    session_id=session.id,
                    price_minor=session.price_minor,
                    capture_id=capture.id if capture else None,
                    amount_minor=amount,
                    receivable_minor=capture.receivable_minor if capture else 0,
                    call_id=call.id,
                    next_ask_at=call.created_at + self.policy.call_grace,
                    now=now,
                    wall_now=call.created_at,
                )
        except asyncpg.UniqueViolationError:  # a call is in the air already: its answer comes first
            return Finished(ended=Ended.WAITING)
        if mine is None:  # somebody else has requested the end in the meantime, and makes the call
            return Finished(ended=Ended.WAITING)
        if capture is not None:
            capture = replace(capture, id=mine)
        requested = _moved(authorization, PaymentState.CAPTURE_REQUESTED, now)
        asked = Asked(call=call, authorization=requested, session=session)
        recorded = await ask_end(self.pool, self.psp, self.outcomes, asked, capture)
        view = None
        if recorded.ours:
            view = SessionView(
                session=session, authorization=recorded.authorization, capture=recorded.capture
            )
        return Finished(ended=_came_to(recorded.authorization.state, owed=capture is not None), view=view)

    async def _raise_on_account(self, authorization: AuthorizationRecord, amount_minor: int) -> bool | None:
        try:
            async with self.pool.acquire() as connection:
                raised = await store.raise_on_account(
                    connection,
                    lane=authorization.lane,
                    authorization_id=authorization.id,
                    hold_minor=authorization.hold_minor,
                    amount_minor=amount_minor,
                    now=self.clock.now(),
                )
        except asyncpg.CheckViolationError:  # the account can't bear more
            return False
        return True if raised else None

    def _call(self, authorization: AuthorizationRecord, kind: str, amount_minor: int) -> CallRecord:
        return CallRecord(
            lane=authorization.lane,
            id=new_id(lane=authorization.lane),
            session_id=authorization.session_id,
            authorization_id=authorization.id,
            kind=kind,
            state="intended",
            amount_minor=amount_minor,
            attempts=0,
            created_at=self.clock.wall_now(),
        )

    def _new_capture(
        self, session: SessionRecord, authorization: AuthorizationRecord, take: Take
    ) -> CaptureRecord:
        return CaptureRecord(
            lane=session.lane,
            session_id=session.id,
            id=new_id(lane=session.lane),
            authorization_id=authorization.id,
            state="requested",
            amount_minor=take.amount_minor,
            receivable_minor=take.receivable_minor,
            currency=session.currency,
            psp_charge=None,
            fee_minor=None,
            fee_currency=None,
            collected_minor=0,
            refunded_minor=0,
            disputed_minor=0,
            captured_at=None,
            created_at=self.clock.now(),
        )


async def ask_increment(
    pool: Pool, psp: Psp, outcomes: Outcomes, authorization: AuthorizationRecord, call: CallRecord
) -> bool | None:
    """Phases 2 and 3 of an increment, under the call's own key: True raised, False refused, None unknown."""
    if authorization.psp_payment is None:
        raise StateConflictError(f"authorization {format_id('auth', authorization.id)} has no PSP payment")
    outcome = await psp.increment(
        IncrementOrder(
            idempotency_key=call_key(call.id),
            psp_payment=authorization.psp_payment,
            amount_minor=call.amount_minor,
            currency=authorization.currency,
        )
    )
    async with pool.acquire() as connection:
        await outcomes.record_increment(connection, call, outcome)
    return None if isinstance(outcome, OutcomeUnknown) else isinstance(outcome, Held)


async def ask_end(
    pool: Pool, psp: Psp, outcomes: Outcomes, asked: Asked, capture: CaptureRecord | None
) -> Recorded:
    """Phases 2 and 3 of a capture or void, under the call's own key, first time or again."""
    payment = asked.authorization.psp_payment
    if payment is None:
        raise StateConflictError(
            f"authorization {format_id('auth', asked.authorization.id)} has no PSP payment"
        )
    key = call_key(asked.call.id)
    if capture is not None and asked.call.kind == "capture":
        outcome = await psp.capture(
            CaptureOrder(
                idempotency_key=key,
                psp_payment=payment,
                amount_minor=asked.call.amount_minor,
                currency=asked.authorization.currency,
                metadata={"capture": format_id("cap", capture.id)},
            )
        )
        async with pool.acquire() as connection:
            return await outcomes.record_end(connection, asked, outcome, capture=capture)
    voided = await psp.void(VoidOrder(idempotency_key=key, psp_payment=payment))
    async with pool.acquire() as connection:
        return await outcomes.record_end(connection, asked, voided, capture=None)


def _came_to(state: PaymentState, *, owed: bool) -> Ended:
    """What an answered end means: money that is owed and was not taken still has to be secured."""
    if state is PaymentState.OUTCOME_UNKNOWN:
        return Ended.ASKED
    if owed and state is not PaymentState.CAPTURED:
        return Ended.UNSECURED
    return Ended.DONE


def _moved(authorization: AuthorizationRecord, state: PaymentState, now: datetime) -> AuthorizationRecord:
    return replace(
        authorization, state=state, version=authorization.version + 1, next_action=None, updated_at=now
    )
