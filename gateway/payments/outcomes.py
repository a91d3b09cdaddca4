"""The PSP's outcomes, recorded: whoever sent the request, and however late the answer came.

Owns: which state an outcome leads to, and the one statement that commits it with its events and the tasks it
leaves. Must not know: how a request is sent. Recording an outcome twice does nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, assert_never

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments import presenters, psp_request_repository, repository
from gateway.payments.capture_steps import may_charge_residual
from gateway.payments.phase_repository import EndedPhase, PhaseRepository
from gateway.payments.policy import PSP_REQUEST_RETRY
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import (
    Captured,
    Held,
    Refunded,
    RequiresAction,
    Voided,
)
from gateway.payments.psp.rules import PspRules
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    PspRequestKind,
    PspRequestRecord,
    RefundRecord,
    SessionRecord,
)
from gateway.payments.state_machine import PaymentEvent, PaymentState, advance
from gateway.payments.unbooked_charges import record_by_hand
from gateway.payments.views import AuthorizationView, SessionView, TariffReference
from gateway.task_kinds import TaskKind
from gateway.webhooks.events import event_rows

CAPTURED_BY_HAND: Final = "captured_by_hand"  # why a release failed: somebody captured the hold at the PSP
# The requests whose outcome the authorization itself waits for.
_DECIDING = frozenset({PspRequestKind.HOLD, PspRequestKind.CAPTURE, PspRequestKind.VOID})


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """A request that was sent, with what is recorded of its subject."""

    request: PspRequestRecord
    authorization: AuthorizationRecord
    session: SessionRecord
    tariff: TariffReference
    capture: CaptureRecord | None
    refund: RefundRecord | None
    statement: str | None = None  # what a card statement says after the account's own name
    key: KeyClaim = UNKEYED  # of the request that waits for the outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOutcome:
    """What an outcome led to; `ours` is False where it was recorded before, and must be read."""

    outcome: object
    authorization: AuthorizationRecord
    capture: CaptureRecord | None
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRecorder:
    """Records outcomes. `clock` dates what partners see (business time) and a request's end (wall time)."""

    pool: Pool
    clock: Clock
    rules: PspRules
    phases: PhaseRepository

    async def record_unknown(
        self, connection: Connection, sent: SentRequest, outcome: PspOutcomeUnknown
    ) -> RecordedOutcome:
        """No answer: the request stays open and is sent again after a growing wait."""
        now = self.clock.now()
        await psp_request_repository.postpone_request(
            connection,
            shard=sent.request.shard,
            request_id=sent.request.id,
            next_attempt_at=PSP_REQUEST_RETRY.next_attempt_at(
                sent.request.attempts + 1, now=self.clock.wall_now()
            ),
            reason=outcome.reason,
            now=now,
        )
        after = sent.authorization
        if sent.request.kind in _DECIDING:
            after = self._moved(sent, PaymentEvent.ANSWER_LOST, now)
        return RecordedOutcome(outcome=outcome, authorization=after, capture=sent.capture, ours=False)

    async def record_hold(
        self,
        _connection: Connection | None,
        sent: SentRequest,
        outcome: Held | RequiresAction | Declined | Captured | Voided,
    ) -> RecordedOutcome:
        """Commit the outcome of a hold."""
        now = self.clock.now()
        match outcome:
            case Held():
                after = self._held(sent, outcome, now)
                answer: Mapping[str, Any] = {"held": outcome.psp_payment}
            case RequiresAction():
                after = self._moved(
                    sent,
                    PaymentEvent.ACTION_REQUIRED,
                    now,
                    psp_payment=outcome.psp_payment,
                    next_action={"type": outcome.next_action.get("type", "authenticate")},
                )
                answer = {"requires_action": outcome.psp_payment}
            case Declined():
                after = self._moved(
                    sent,
                    PaymentEvent.DECLINED,
                    now,
                    psp_payment=outcome.psp_payment,
                    decline_code=outcome.code,
                )
                answer = {"declined": outcome.code}
            case Captured() | Voided():
                # Found captured or canceled at the PSP without our request: nothing to hold. Money that was
                # captured so is in no book: it waits for a person.
                after = self._moved(sent, PaymentEvent.DECLINED, now, decline_code="hold_ended_at_psp")
                answer = {"ended_at_psp": type(outcome).__name__}
            case _:
                assert_never(outcome)
        view = AuthorizationView(authorization=after, session=sent.session, tariff=sent.tariff)
        write = partial(
            self.phases.record_hold,
            **self._answered(sent, answer, succeeded=after.state is not PaymentState.FAILED),
            session_id=sent.session.id,
            state=after.state.value,
            psp_payment=after.psp_payment,
            capture_before=after.capture_before,
            incrementable=after.incrementable,
            max_capture_minor=after.max_capture_minor,
            next_action=dict(after.next_action) if after.next_action else None,
            decline_code=after.decline_code,
            events=event_rows(presenters.authorization_events(after, sent.session, tariff=sent.tariff)),
            now=now,
            **sent.key.answer_fields(view, shard=sent.request.shard),
        )
        by_hand = outcome if isinstance(outcome, Captured) else None
        ours = await self._write(write, sent, by_hand)
        return RecordedOutcome(outcome=outcome, authorization=after, capture=sent.capture, ours=ours)

    async def record_end(
        self, _connection: Connection | None, sent: SentRequest, outcome: Captured | Voided | Declined
    ) -> RecordedOutcome:
        """Commit the outcome of a capture or a void; a captured session is cleared next.

        A void that finds the hold captured has met somebody who captured it at the PSP by hand: it fails, and
        the money, which is in no book, waits for a person.
        """
        now = self.clock.now()
        asked = sent.request.amount_minor if sent.request.kind is PspRequestKind.CAPTURE else 0
        by_hand = outcome if isinstance(outcome, Captured) and outcome.amount_minor > asked else None
        match outcome:
            case Captured() if sent.request.kind is PspRequestKind.VOID:
                after = self._moved(sent, PaymentEvent.DECLINED, now, decline_code=CAPTURED_BY_HAND)
                answer: Mapping[str, Any] = {"captured_by_hand": outcome.psp_charge}
            case Captured():
                after = self._moved(sent, PaymentEvent.CAPTURED, now)
                answer = {
                    "captured": outcome.psp_charge,
                    "amount_minor": outcome.amount_minor,
                }
            case Voided():
                after = self._moved(sent, PaymentEvent.VOIDED, now)
                answer = {"voided": sent.authorization.psp_payment}
            case Declined():
                after = self._moved(sent, PaymentEvent.DECLINED, now, decline_code=outcome.code)
                answer = {"declined": outcome.code}
            case _:
                assert_never(outcome)
        capture = _capture_after(sent, outcome, now)
        events = presenters.authorization_events(after, sent.session, tariff=sent.tariff)
        if capture is not None:
            events += presenters.capture_events(capture, sent.session)
        view = SessionView(session=sent.session, tariff=sent.tariff, authorization=after, capture=capture)
        write = partial(
            self.phases.record_end,
            **self._answered(sent, answer, succeeded=after.state is not PaymentState.FAILED),
            session_id=sent.session.id,
            state=after.state.value,
            decline_code=after.decline_code,
            amount_minor=capture.amount_minor if capture else None,
            psp_charge=capture.psp_charge if capture else None,
            fee_minor=capture.fee_minor if capture else None,
            fee_currency=capture.fee_currency if capture else None,
            task_id=new_id(shard=sent.request.shard),
            task=TaskKind.CHARGE_RESIDUAL.value
            if self._residual_follows(sent, capture)
            else TaskKind.CLEAR_SESSION.value,
            release_id=new_id(shard=sent.request.shard),
            events=event_rows(events),
            now=now,
            **sent.key.answer_fields(view, shard=sent.request.shard),
        )
        ours = await self._write(write, sent, by_hand)
        return RecordedOutcome(outcome=outcome, authorization=after, capture=capture, ours=ours)

    async def record_increment(
        self, connection: Connection, sent: SentRequest, outcome: Held | Declined
    ) -> RecordedOutcome:
        """Commit the outcome of an increment: a raised hold, or a recorded rejection."""
        held = outcome if isinstance(outcome, Held) else None
        answer = {"held_minor": held.amount_minor} if held else _declined(outcome)
        ours = await psp_request_repository.record_increment(
            connection,
            **self._answered(sent, answer, succeeded=held is not None),
            hold_minor=held.amount_minor if held else 0,
            capture_before=held.capture_before if held else None,
            max_capture_minor=held.max_capture_minor if held else None,
            now=self.clock.now(),
        )
        return self._unmoved(sent, outcome, ours=ours)

    async def record_residual_charge(
        self, connection: Connection, sent: SentRequest, outcome: Captured | Declined
    ) -> RecordedOutcome:
        """Commit the outcome of an off-session charge: what it brought counts to the one capture."""
        charged = outcome if isinstance(outcome, Captured) else None
        answer = {"captured": charged.psp_charge} if charged else _declined(outcome)
        ours = await psp_request_repository.record_residual_charge(
            connection,
            **self._answered(sent, answer, succeeded=charged is not None),
            residual_charge_minor=charged.amount_minor if charged else 0,
            fee_minor=(charged.fee_minor or 0) if charged else 0,
            fee_currency=charged.fee_currency if charged else None,
            psp_payment=charged.psp_payment if charged else None,
            task_id=new_id(shard=sent.request.shard),
        )
        return self._unmoved(sent, outcome, ours=ours)

    async def record_refund(
        self, connection: Connection, sent: SentRequest, outcome: Refunded | Declined
    ) -> RecordedOutcome:
        """Commit the outcome of a refund: money on its way back, or an amount that may be refunded again."""
        refunded = outcome if isinstance(outcome, Refunded) else None
        code = outcome.code if isinstance(outcome, Declined) else None
        events: list[dict[str, Any]] = []
        if sent.refund is not None:
            after = replace(sent.refund, state="succeeded" if refunded else "failed", failure_code=code)
            events = event_rows(presenters.refund_events(after, sent.session))
        ours = await psp_request_repository.record_refund(
            connection,
            **self._answered(
                sent,
                {"refunded": refunded.psp_refund} if refunded else _declined(outcome),
                succeeded=refunded is not None,
            ),
            psp_refund=refunded.psp_refund if refunded else None,
            failure_code=code,
            task_id=new_id(shard=sent.request.shard),
            events=events,
            now=self.clock.now(),
        )
        return self._unmoved(sent, outcome, ours=ours)

    async def record_hold_renewal(
        self, connection: Connection, sent: SentRequest, outcome: Held | RequiresAction | Declined
    ) -> RecordedOutcome:
        """Commit the outcome of a second hold: it replaces the first, whose release is the next request."""
        held = outcome if isinstance(outcome, Held) else None
        match outcome:
            case Held(psp_payment=payment):
                answer = {"held": payment}
            case RequiresAction(psp_payment=payment):
                answer = {"requires_action": payment}
            case Declined():
                answer = _declined(outcome)
            case _:
                assert_never(outcome)
        ours = await psp_request_repository.record_hold_renewal(
            connection,
            **self._answered(sent, answer, succeeded=held is not None),
            psp_payment=held.psp_payment if held else None,
            capture_before=held.capture_before if held else None,
            incrementable=held.incrementable if held else False,
            max_capture_minor=held.max_capture_minor if held else None,
            release_id=new_id(shard=sent.request.shard),
            now=self.clock.now(),
        )
        return self._unmoved(sent, outcome, ours=ours)

    async def record_hold_release(
        self, connection: Connection, sent: SentRequest, outcome: Voided | Captured | Declined
    ) -> RecordedOutcome:
        """Commit that a replaced hold has ended, however it did."""
        by_hand = outcome if isinstance(outcome, Captured) else None
        async with connection.transaction() if by_hand else nullcontext():
            released = await psp_request_repository.record_hold_release(
                connection,
                shard=sent.request.shard,
                request_id=sent.request.id,
                answer={"released": type(outcome).__name__},
                wall_now=self.clock.wall_now(),
            )
            payment = _payment_of(sent, by_hand)
            if released and by_hand is not None and payment is not None:
                await self._record_by_hand(connection, sent, by_hand, payment)
        return self._unmoved(sent, outcome, ours=True)

    async def record_action(
        self,
        connection: Connection,
        authorization: AuthorizationRecord,
        session: SessionRecord,
        outcome: Held | RequiresAction | Declined | Voided | PspOutcomeUnknown,
        *,
        tariff: TariffReference,
    ) -> None:
        """Commit what became of a payment that waited for the cardholder; still waiting changes nothing."""
        match outcome:
            case Held():
                state, code, before = PaymentState.AUTHORIZED, None, self._ends(authorization, outcome)
            case Declined():
                state, code, before = PaymentState.FAILED, outcome.code, None
            case Voided():
                state, code, before = PaymentState.VOIDED, None, None
            case RequiresAction() | PspOutcomeUnknown():
                return
            case _:
                assert_never(outcome)
        now = self.clock.now()
        held = outcome if isinstance(outcome, Held) else None
        # Of a hosted page, the payment that was made there takes the place of the page.
        changed = held is not None and held.psp_payment != authorization.psp_payment
        after = replace(
            authorization,
            state=state,
            version=authorization.version + 1,
            psp_payment=held.psp_payment if held else authorization.psp_payment,
            incrementable=held.incrementable if held else False,
            max_capture_minor=held.max_capture_minor if held else None,
            next_action=None,
            decline_code=code,
            capture_before=before,
            updated_at=now,
        )
        await repository.record_action(
            connection,
            shard=authorization.shard,
            id=authorization.id,
            session_id=session.id,
            state=state.value,
            psp_payment=after.psp_payment if changed else None,
            capture_before=before,
            incrementable=after.incrementable,
            max_capture_minor=after.max_capture_minor,
            decline_code=code,
            release_id=new_id(shard=authorization.shard),
            events=event_rows(presenters.authorization_events(after, session, tariff=tariff)),
            now=now,
            wall_now=self.clock.wall_now(),
        )

    async def _write(
        self,
        write: Callable[[Connection | None], Awaitable[EndedPhase]],
        sent: SentRequest,
        by_hand: Captured | None,
    ) -> bool:
        """Run the statement of an outcome; money that was captured by hand is recorded with it."""
        payment = _payment_of(sent, by_hand)
        if by_hand is None or payment is None:
            written = await write(None)
            sent.key.answered(kept=written.kept)
            return written.done
        async with transaction(self.pool) as connection:
            written = await write(connection)
            if written.done:
                await self._record_by_hand(connection, sent, by_hand, payment)
        sent.key.answered(kept=written.kept)
        return written.done

    async def _record_by_hand(
        self, connection: Connection, sent: SentRequest, money: Captured, payment: str
    ) -> None:
        await record_by_hand(
            connection,
            clock=self.clock,
            psp_payment=payment,
            money=money,
            authorization=sent.authorization,
            above_request=sent.request.kind is PspRequestKind.CAPTURE,
        )

    def _answered(self, sent: SentRequest, answer: Mapping[str, Any], *, succeeded: bool) -> dict[str, Any]:
        """What ends the request itself, the same for every kind."""
        return {
            "shard": sent.request.shard,
            "request_id": sent.request.id,
            "request_state": "succeeded" if succeeded else "declined",
            "answer": answer,
            "wall_now": self.clock.wall_now(),
        }

    def _unmoved(self, sent: SentRequest, outcome: object, *, ours: bool) -> RecordedOutcome:
        return RecordedOutcome(
            outcome=outcome, authorization=sent.authorization, capture=sent.capture, ours=ours
        )

    def _residual_follows(self, sent: SentRequest, capture: CaptureRecord | None) -> bool:
        """Whether the rest of the price is charged next; what no CDR has confirmed never is."""
        return (
            capture is not None
            and not sent.session.awaits_cdr
            and may_charge_residual(sent.authorization, capture, amounts=self.rules.amounts)
        )

    def _held(self, sent: SentRequest, outcome: Held, now: datetime) -> AuthorizationRecord:
        return self._moved(
            sent,
            PaymentEvent.HELD,
            now,
            psp_payment=outcome.psp_payment,
            capture_before=self._ends(sent.authorization, outcome),
            incrementable=outcome.incrementable,
            max_capture_minor=outcome.max_capture_minor,
        )

    def _ends(self, authorization: AuthorizationRecord, held: Held) -> datetime | None:
        """When the hold ends: as the PSP says it, else by the scheme's rule."""
        return held.capture_before or self.rules.hold_ends(
            scheme=held.scheme, merchant_initiated=authorization.off_session, held_at=self.clock.now()
        )

    def _moved(
        self, sent: SentRequest, event: PaymentEvent, now: datetime, **changes: Any
    ) -> AuthorizationRecord:
        before = sent.authorization
        changes.setdefault("next_action", None)
        if changes.get("psp_payment", "") is None:
            del changes["psp_payment"]
        return replace(
            before, state=advance(before.state, event), version=before.version + 1, updated_at=now, **changes
        )


def _payment_of(sent: SentRequest, by_hand: Captured | None) -> str | None:
    """The payment at the PSP that was captured by hand."""
    if by_hand is None:
        return None
    return by_hand.psp_payment or sent.request.psp_payment or sent.authorization.psp_payment


def _declined(outcome: object) -> dict[str, Any]:
    return {"declined": outcome.code} if isinstance(outcome, Declined) else {}


def _capture_after(
    sent: SentRequest, outcome: Captured | Voided | Declined, now: datetime
) -> CaptureRecord | None:
    """The capture after its request; a void has none."""
    if sent.capture is None or sent.request.kind is not PspRequestKind.CAPTURE:
        return None
    if isinstance(outcome, Captured):
        return replace(
            sent.capture,
            state="succeeded",
            amount_minor=outcome.amount_minor,
            receivable_minor=sent.capture.receivable_minor
            + max(sent.capture.amount_minor - outcome.amount_minor, 0),
            psp_charge=outcome.psp_charge,
            fee_minor=outcome.fee_minor,
            fee_currency=outcome.fee_currency,
            captured_at=now,
        )
    return replace(sent.capture, state="failed")
