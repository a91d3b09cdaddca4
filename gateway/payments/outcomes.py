"""The PSP's answers, recorded: whoever asked, and however late the answer came.

Owns: which state an answer leads to, and the one statement that commits it with its events and the work it
leaves. Must not know: how the PSP is asked, when it is asked again. Recording an answer twice does nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from gateway.clock import Clock
from gateway.database import Connection
from gateway.ids import new_id
from gateway.payments import public, store
from gateway.payments.payment import PaymentEvent, PaymentState, advance
from gateway.payments.policy import PaymentPolicy, ask_again_after
from gateway.payments.psp import (
    Captured,
    CaptureOutcome,
    ChargeOutcome,
    Declined,
    Held,
    HoldOutcome,
    IncrementOutcome,
    OutcomeUnknown,
    RequiresAction,
    Voided,
    VoidOutcome,
)
from gateway.payments.records import AuthorizationRecord, CallRecord, CaptureRecord, SessionRecord
from gateway.payments.schemes import hold_ends
from gateway.payments.steps import may_collect


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call that was made: for which authorization, of which session."""

    call: CallRecord
    authorization: AuthorizationRecord
    session: SessionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What an answer led to; `ours` is False where it is not recorded by this call, and must be read."""

    authorization: AuthorizationRecord
    capture: CaptureRecord | None
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Records answers. `clock` dates what partners see (business time) and the call's own end (wall time)."""

    clock: Clock
    policy: PaymentPolicy

    async def record_hold(
        self, connection: Connection, asked: Asked, outcome: HoldOutcome | Captured | Voided
    ) -> AuthorizationRecord:
        """Commit the answer to a hold. Returns the authorization as it now stands."""
        now = self.clock.now()
        match outcome:
            case OutcomeUnknown(reason=reason):
                return await self._unknown(connection, asked, reason)
            case Held():
                after = self._moved(
                    asked,
                    PaymentEvent.HELD,
                    now,
                    psp_payment=outcome.psp_payment,
                    capture_before=outcome.capture_before
                    or hold_ends(
                        scheme=outcome.scheme,
                        merchant_initiated=asked.authorization.off_session,
                        held_at=now,
                    ),
                    incrementable=outcome.incrementable,
                    max_capture_minor=outcome.max_capture_minor,
                )
                answer: Mapping[str, Any] = {"held": outcome.psp_payment}
            case RequiresAction():
                after = self._moved(
                    asked,
                    PaymentEvent.ACTION_REQUIRED,
                    now,
                    psp_payment=outcome.psp_payment,
                    next_action=outcome.next_action,
                )
                answer = {"requires_action": outcome.psp_payment}
            case Declined():
                after = self._moved(
                    asked,
                    PaymentEvent.DECLINED,
                    now,
                    psp_payment=outcome.psp_payment,
                    decline_code=outcome.code,
                )
                answer = {"declined": outcome.code}
            case Captured() | Voided():
                # Found captured or canceled at the PSP without our asking: nothing to hold.
                after = self._moved(asked, PaymentEvent.DECLINED, now, decline_code="hold_ended_at_psp")
                answer = {"ended_at_psp": type(outcome).__name__}
            case _:
                assert_never(outcome)
        await store.conclude_hold(
            connection,
            lane=asked.call.lane,
            call_id=asked.call.id,
            call_state="declined" if after.state is PaymentState.FAILED else "succeeded",
            answer=answer,
            state=after.state.value,
            psp_payment=after.psp_payment,
            capture_before=after.capture_before,
            incrementable=after.incrementable,
            max_capture_minor=after.max_capture_minor,
            next_action=dict(after.next_action) if after.next_action else None,
            decline_code=after.decline_code,
            events=public.event_rows(public.authorization_events(after, asked.session)),
            now=now,
            wall_now=self.clock.wall_now(),
        )
        return after

    async def record_end(
        self,
        connection: Connection,
        asked: Asked,
        outcome: CaptureOutcome | VoidOutcome,
        *,
        capture: CaptureRecord | None,
    ) -> Recorded:
        """Commit the answer to a capture or a void; a capture leaves the session to clearing."""
        now = self.clock.now()
        match outcome:
            case OutcomeUnknown(reason=reason):
                after = await self._unknown(connection, asked, reason)
                return Recorded(authorization=after, capture=capture, ours=False)
            case Captured():
                after = self._moved(asked, PaymentEvent.CAPTURED, now)
                answer: Mapping[str, Any] = {
                    "captured": outcome.psp_charge,
                    "amount_minor": outcome.amount_minor,
                }
            case Voided():
                after = self._moved(asked, PaymentEvent.VOIDED, now)
                answer = {"voided": asked.authorization.psp_payment}
            case Declined():
                after = self._moved(asked, PaymentEvent.DECLINED, now, decline_code=outcome.code)
                answer = {"declined": outcome.code}
            case _:
                assert_never(outcome)
        taken = _capture_after(capture, outcome, now)
        events = public.authorization_events(after, asked.session)
        if taken is not None:
            events += public.capture_events(taken, asked.session)
        ours = await store.conclude_end(
            connection,
            lane=asked.call.lane,
            call_id=asked.call.id,
            call_state="declined" if after.state is PaymentState.FAILED else "succeeded",
            answer=answer,
            state=after.state.value,
            decline_code=after.decline_code,
            amount_minor=taken.amount_minor if taken else None,
            psp_charge=taken.psp_charge if taken else None,
            fee_minor=taken.fee_minor if taken else None,
            fee_currency=taken.fee_currency if taken else None,
            task_id=new_id(lane=asked.call.lane),
            errand="collect" if taken is not None and self._may_collect(asked, taken) else "clear",
            drop_id=new_id(lane=asked.call.lane),
            events=public.event_rows(events),
            now=now,
            wall_now=self.clock.wall_now(),
        )
        return Recorded(authorization=after, capture=taken, ours=ours)

    async def record_increment(
        self, connection: Connection, call: CallRecord, outcome: IncrementOutcome
    ) -> None:
        """Commit the answer to an increment: a raised hold, a recorded no, or a question for later."""
        wall = self.clock.wall_now()
        match outcome:
            case OutcomeUnknown(reason=reason):
                await store.ask_later(connection, call, reason=reason, wall_now=self.clock.wall_now())
                return
            case Held():
                state = "succeeded"
                answer: Mapping[str, Any] = {"held_minor": outcome.amount_minor}
                hold, before, most = outcome.amount_minor, outcome.capture_before, outcome.max_capture_minor
            case Declined():
                state, answer = "declined", {"declined": outcome.code}
                hold, before, most = 0, None, None
            case _:
                assert_never(outcome)
        await store.conclude_increment(
            connection,
            lane=call.lane,
            call_id=call.id,
            call_state=state,
            answer=answer,
            hold_minor=hold,
            capture_before=before,
            max_capture_minor=most,
            now=self.clock.now(),
            wall_now=wall,
        )

    async def record_collect(self, connection: Connection, call: CallRecord, outcome: ChargeOutcome) -> None:
        """Commit the answer to an off-session charge: what came in counts to the one capture."""
        wall = self.clock.wall_now()
        match outcome:
            case OutcomeUnknown(reason=reason):
                await store.ask_later(connection, call, reason=reason, wall_now=self.clock.wall_now())
                return
            case Captured():
                state = "succeeded"
                answer: Mapping[str, Any] = {"captured": outcome.psp_charge}
                collected, payment = outcome.amount_minor, outcome.psp_payment
                fee, fee_currency = outcome.fee_minor or 0, outcome.fee_currency
            case Declined():
                state, answer = "declined", {"declined": outcome.code}
                collected, payment, fee, fee_currency = 0, None, 0, None
            case _:
                assert_never(outcome)
        await store.conclude_collect(
            connection,
            lane=call.lane,
            call_id=call.id,
            call_state=state,
            answer=answer,
            collected_minor=collected,
            fee_minor=fee,
            fee_currency=fee_currency,
            psp_payment=payment,
            task_id=new_id(lane=call.lane),
            wall_now=wall,
        )

    async def record_action(
        self,
        connection: Connection,
        authorization: AuthorizationRecord,
        session: SessionRecord,
        outcome: HoldOutcome | Voided,
    ) -> None:
        """Commit what became of a payment that waited for the cardholder; still waiting changes nothing."""
        match outcome:
            case Held():
                state, code, before = PaymentState.AUTHORIZED, None, outcome.capture_before
            case Declined():
                state, code, before = PaymentState.FAILED, outcome.code, None
            case Voided():
                state, code, before = PaymentState.VOIDED, None, None
            case RequiresAction() | OutcomeUnknown():
                return
            case _:
                assert_never(outcome)
        now = self.clock.now()
        after = replace(
            authorization,
            state=state,
            version=authorization.version + 1,
            next_action=None,
            decline_code=code,
            capture_before=before,
            updated_at=now,
        )
        await store.conclude_action(
            connection,
            lane=authorization.lane,
            id=authorization.id,
            state=state.value,
            capture_before=before,
            decline_code=code,
            drop_id=new_id(lane=authorization.lane),
            events=public.event_rows(public.authorization_events(after, session)),
            now=now,
            wall_now=self.clock.wall_now(),
        )

    def _may_collect(self, asked: Asked, taken: CaptureRecord) -> bool:
        confirmed = not asked.session.awaits_cdr  # what no CDR has confirmed is not charged beyond the hold
        return confirmed and may_collect(asked.authorization, taken, amounts=self.policy.amounts)

    async def _unknown(self, connection: Connection, asked: Asked, reason: str) -> AuthorizationRecord:
        now = self.clock.now()
        wait = ask_again_after(asked.call.attempts + 1)
        await store.postpone_call(
            connection,
            lane=asked.call.lane,
            call_id=asked.call.id,
            next_ask_at=self.clock.wall_now() + wait,
            reason=reason,
            now=now,
        )
        return self._moved(asked, PaymentEvent.ANSWER_LOST, now)

    def _moved(
        self,
        asked: Asked,
        event: PaymentEvent,
        now: datetime,
        **changes: Any,
    ) -> AuthorizationRecord:
        before = asked.authorization
        changes.setdefault("next_action", None)
        if changes.get("psp_payment", "") is None:
            del changes["psp_payment"]
        return replace(
            before, state=advance(before.state, event), version=before.version + 1, updated_at=now, **changes
        )


def _capture_after(
    capture: CaptureRecord | None, outcome: CaptureOutcome | VoidOutcome, now: datetime
) -> CaptureRecord | None:
    if capture is None:
        return None
    if isinstance(outcome, Captured):
        return replace(
            capture,
            state="succeeded",
            amount_minor=outcome.amount_minor,
            psp_charge=outcome.psp_charge,
            fee_minor=outcome.fee_minor,
            fee_currency=outcome.fee_currency,
            captured_at=now,
        )
    return replace(capture, state="failed")
