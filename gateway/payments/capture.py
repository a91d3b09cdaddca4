"""End a payment: capture once or release, in atomic phases.

Owns: which step follows, and capture and release on funded accounts. Must not know: HTTP, OCPI's messages,
how a request reaches the PSP, how a price comes about. A stop between any two phases is resumed by the worker
or the resolver.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

import asyncpg

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id, new_id, shard_of
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments import presenters, psp_request_repository, repository
from gateway.payments.capture_steps import CaptureStep, IncrementStep, ReleaseStep, Step, next_step
from gateway.payments.errors import (
    NotFoundError,
    PaymentConflictError,
    PspRequestOpenError,
    VersionConflictError,
    conflict_of,
)
from gateway.payments.planned_end import IntendedEnd, PlannedEnd
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import PSP_CONFIGURATION, Held
from gateway.payments.psp_requests import PspRequestService
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    PspRequestKind,
    PspRequestRecord,
    SessionRecord,
)
from gateway.payments.state_machine import PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.views import SessionView
from gateway.webhooks.events import event_rows

_MAX_STEPS: Final = 4  # increment, capture, and a read after each


class CaptureResult(StrEnum):
    """What an attempt to end a payment came to."""

    DONE = "done"  # captured, or released with nothing owed: nothing is left to do
    UNANSWERED = "unanswered"  # the request was sent, the PSP has not answered
    WAITING = "waiting"  # another request is open, or the cardholder must act first
    UNSECURED = "unsecured"  # priced, but no active authorization could pay


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionResult:
    """What an attempt came to; `view` is the session as it was written, None where it must be read."""

    ended: CaptureResult
    view: SessionView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _PaymentSnapshot:
    """A session on an active hold, and the step that is next."""

    session: SessionRecord
    authorization: AuthorizationRecord
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureService:
    """Captures, releases and raises holds."""

    pool: Pool
    clock: Clock
    psp_requests: PspRequestService
    snapshots: TariffSnapshotCache

    async def capture(
        self, *, shard: int, session_id: UUID, seen: SessionView | None = None
    ) -> CaptureResult:
        """Capture what a completed session costs, once; safe to call at any time, any number of times."""
        return (await self.finish(shard=shard, session_id=session_id, seen=seen)).ended

    async def finish(
        self, *, shard: int, session_id: UUID, seen: SessionView | None = None
    ) -> CompletionResult:
        """As `capture`, with the session as this left it.

        `seen` is what the caller has just read or written. It may be out of date: every phase is guarded by
        the state, version and price that it names.
        """
        rejected: frozenset[PspRequestKind] = frozenset()
        for _ in range(_MAX_STEPS):
            current = await self._read(shard, session_id, rejected, seen)
            seen = None
            if isinstance(current, CaptureResult):
                return CompletionResult(ended=current)
            match current.step:
                case IncrementStep(amount_minor=amount):
                    raised = await self.increment(current.authorization, current.session, amount_minor=amount)
                    if raised is None:
                        return CompletionResult(ended=CaptureResult.WAITING)
                    rejected = rejected if raised else frozenset({PspRequestKind.INCREMENT})
                case ReleaseStep():
                    return await self._end(current, None)
                case CaptureStep() as step:
                    return await self._end(current, step)
                case _:
                    assert_never(current.step)
        return CompletionResult(ended=CaptureResult.WAITING)

    def plan_end(self, view: SessionView) -> PlannedEnd | None:
        """The request that ends a session's payment in one step, to be intended with the session's own end.

        None: it takes another step first, or none is due, or it is no request to the PSP.
        """
        session, authorization = view.session, view.authorization
        if session.price_minor is None or authorization is None or authorization.funding != "psp":
            return None
        if authorization.state is not PaymentState.AUTHORIZED:
            return None
        step = next_step(
            price_minor=session.price_minor,
            authorization=authorization,
            rejected=frozenset(),
            amounts=self.psp_requests.psp.rules.amounts,
            within_hold=session.awaits_cdr,
        )
        if isinstance(step, IncrementStep):
            return None
        capture = self._new_capture(session, authorization, step) if isinstance(step, CaptureStep) else None
        return PlannedEnd(
            authorization=authorization,
            capture=capture,
            request=self.psp_requests.new(
                PspRequestKind.CAPTURE if capture else PspRequestKind.VOID,
                authorization,
                amount_minor=capture.amount_minor if capture else 0,
            ),
            next_attempt_at=self.clock.wall_now() + self.psp_requests.policy.call_grace,
        )

    async def send_end(
        self, session: SessionRecord, intended: IntendedEnd, *, key: KeyClaim = UNKEYED
    ) -> CompletionResult:
        """Send a request that was intended with the session's end, and record its outcome."""
        planned = intended.planned
        capture = planned.capture and replace(planned.capture, id=intended.id)
        return await self._send(
            planned.request,
            session,
            _moved(planned.authorization, PaymentState.CAPTURE_REQUESTED, intended.at),
            capture,
            key=key,
        )

    async def _read(
        self,
        shard: int,
        session_id: UUID,
        rejected: frozenset[PspRequestKind],
        seen: SessionView | None,
    ) -> _PaymentSnapshot | CaptureResult:
        """The session and its next step, or what keeps it from one."""
        if seen is None:
            async with self.pool.acquire() as connection:
                found = await repository.find_session_with_payment(
                    connection, shard=shard, session_id=session_id
                )
            if found is None:
                return CaptureResult.WAITING
            session, authorization, _ = found
        else:
            session, authorization = seen.session, seen.authorization
        if session.price_minor is None:
            return CaptureResult.WAITING
        if authorization is None:
            return CaptureResult.UNSECURED
        if authorization.state is PaymentState.CAPTURED:
            return CaptureResult.DONE
        if authorization.state in {PaymentState.FAILED, PaymentState.VOIDED}:
            return CaptureResult.DONE if session.price_minor == 0 else CaptureResult.UNSECURED
        if authorization.state is not PaymentState.AUTHORIZED:
            return CaptureResult.WAITING
        if session.price_minor > authorization.hold_minor:
            async with self.pool.acquire() as connection:
                rejected |= await psp_request_repository.list_rejected_kinds(
                    connection, shard=shard, authorization_id=authorization.id
                )
        step = next_step(
            price_minor=session.price_minor,
            authorization=authorization,
            rejected=rejected,
            amounts=self.psp_requests.psp.rules.amounts,
            within_hold=session.awaits_cdr,
        )
        return _PaymentSnapshot(session=session, authorization=authorization, step=step)

    async def increment(
        self, authorization: AuthorizationRecord, session: SessionRecord, *, amount_minor: int
    ) -> bool | None:
        """Raise a hold to `amount_minor` in all: True raised, False rejected, None not known yet."""
        if authorization.funding == "partner_account":
            return await self._raise_on_account(authorization, amount_minor)
        amounts = self.psp_requests.psp.rules.amounts
        request = self.psp_requests.new(
            PspRequestKind.INCREMENT,
            authorization,
            amount_minor=amounts.up(amount_minor, authorization.currency),
        )
        intended = await self.psp_requests.record_intent(
            psp_request_repository.request_increment, request, authorization_id=authorization.id
        )
        if not intended:  # another request is open, or the hold has changed
            return None
        sent = await self.psp_requests.send(request, authorization=authorization, session=session, first=True)
        outcome = sent.outcome
        ours = isinstance(outcome, Declined) and outcome.code == PSP_CONFIGURATION  # not the issuer's no
        return None if ours or isinstance(outcome, PspOutcomeUnknown) else isinstance(outcome, Held)

    async def release(self, *, authorization_id: UUID, expected_version: int | None) -> None:
        """Release a hold whole. Raises NotFoundError, VersionConflictError, PaymentConflictError."""
        current = await self._releasable(authorization_id, expected_version)
        if current is None:
            return
        if current.session.cdr_id is not None:
            raise PaymentConflictError(
                "the session is completed: its price is captured, and the rest of the hold is released"
            )
        await self._release(current)

    async def void_unanswered_challenge(self, *, authorization_id: UUID, expected_version: int) -> None:
        """End a challenge that was not answered, also where its session is over. Errors as `release`."""
        current = await self._releasable(authorization_id, expected_version)
        if current is not None and current.authorization.state is PaymentState.REQUIRES_ACTION:
            await self._release(current)

    async def _releasable(
        self, authorization_id: UUID, expected_version: int | None
    ) -> _PaymentSnapshot | None:
        """What may be released; None when it was before."""
        shard = shard_of(authorization_id)
        async with self.pool.acquire() as connection:
            found = await repository.find_authorization_with_session(
                connection, shard=shard, authorization_id=authorization_id
            )
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
            raise conflict_of(authorization.state, "released")
        return _PaymentSnapshot(session=session, authorization=authorization, step=ReleaseStep())

    async def _release(self, current: _PaymentSnapshot) -> None:
        done = await self._end(current, None)
        if done.ended is CaptureResult.WAITING:
            raise PspRequestOpenError("the session or its authorization has changed; read them again")

    async def _end(self, current: _PaymentSnapshot, step: CaptureStep | None) -> CompletionResult:
        """Capture or release (`step` None) by the funding: in our books, or at the PSP."""
        session, authorization = current.session, current.authorization
        capture = self._new_capture(session, authorization, step) if step else None
        if authorization.funding == "partner_account":
            return await self._end_on_account(session, authorization, capture)
        return await self._end_at_psp(session, authorization, capture)

    async def _end_on_account(
        self, session: SessionRecord, authorization: AuthorizationRecord, capture: CaptureRecord | None
    ) -> CompletionResult:
        now = self.clock.now()
        tariff = await self.snapshots.reference(session.tariff_sha256)
        after = _moved(authorization, PaymentState.CAPTURED if capture else PaymentState.VOIDED, now)
        events = presenters.authorization_events(after, session, tariff=tariff)
        captured = None
        if capture is not None:
            captured = replace(capture, state="succeeded", captured_at=now)
            events += presenters.capture_events(captured, session)
        async with self.pool.acquire() as connection:
            done = await repository.end_on_account(
                connection,
                shard=session.shard,
                authorization_id=authorization.id,
                expected_version=authorization.version,
                session_id=session.id,
                price_minor=session.price_minor,
                amount_minor=capture.amount_minor if capture else 0,
                receivable_minor=capture.receivable_minor if capture else 0,
                capture_id=capture.id if capture else None,
                task_id=new_id(shard=session.shard),
                events=event_rows(events),
                now=now,
                wall_now=self.clock.wall_now(),
            )
        if not done:
            return CompletionResult(ended=CaptureResult.WAITING)
        view = SessionView(session=session, tariff=tariff, authorization=after, capture=captured)
        return CompletionResult(ended=CaptureResult.DONE, view=view)

    async def _end_at_psp(
        self, session: SessionRecord, authorization: AuthorizationRecord, capture: CaptureRecord | None
    ) -> CompletionResult:
        now = self.clock.now()
        request = self.psp_requests.new(
            PspRequestKind.CAPTURE if capture else PspRequestKind.VOID,
            authorization,
            amount_minor=capture.amount_minor if capture else 0,
        )
        capture_id = await self.psp_requests.record_intent(
            psp_request_repository.request_end,
            request,
            authorization_id=authorization.id,
            from_states=[PaymentState.AUTHORIZED.value, PaymentState.REQUIRES_ACTION.value],
            expected_version=authorization.version,
            session_id=session.id,
            price_minor=session.price_minor,
            capture_id=capture.id if capture else None,
            receivable_minor=capture.receivable_minor if capture else 0,
            now=now,
        )
        if capture_id is None:  # another request is open, or another caller has requested the end
            return CompletionResult(ended=CaptureResult.WAITING)
        return await self._send(
            request,
            session,
            _moved(authorization, PaymentState.CAPTURE_REQUESTED, now),
            replace(capture, id=capture_id) if capture else None,
        )

    async def _send(
        self,
        request: PspRequestRecord,
        session: SessionRecord,
        authorization: AuthorizationRecord,
        capture: CaptureRecord | None,
        *,
        key: KeyClaim = UNKEYED,
    ) -> CompletionResult:
        sent = await self.psp_requests.send(
            request, authorization=authorization, session=session, capture=capture, key=key
        )
        view = None
        if sent.ours:
            view = SessionView(
                session=session,
                tariff=await self.snapshots.reference(session.tariff_sha256),
                authorization=sent.authorization,
                capture=sent.capture,
            )
        return CompletionResult(ended=_result(sent.authorization.state, owed=capture is not None), view=view)

    async def _raise_on_account(self, authorization: AuthorizationRecord, amount_minor: int) -> bool | None:
        try:
            async with self.pool.acquire() as connection:
                raised = await repository.raise_on_account(
                    connection,
                    shard=authorization.shard,
                    authorization_id=authorization.id,
                    hold_minor=authorization.hold_minor,
                    amount_minor=amount_minor,
                    now=self.clock.now(),
                )
        except asyncpg.CheckViolationError:  # the account does not cover more
            return False
        return True if raised else None

    def _new_capture(
        self, session: SessionRecord, authorization: AuthorizationRecord, step: CaptureStep
    ) -> CaptureRecord:
        return CaptureRecord(
            shard=session.shard,
            session_id=session.id,
            id=new_id(shard=session.shard),
            authorization_id=authorization.id,
            state="requested",
            amount_minor=step.amount_minor,
            receivable_minor=step.receivable_minor,
            currency=session.currency,
            psp_charge=None,
            fee_minor=None,
            fee_currency=None,
            residual_charge_minor=0,
            refunded_minor=0,
            disputed_minor=0,
            captured_at=None,
            created_at=self.clock.now(),
        )


def _result(state: PaymentState, *, owed: bool) -> CaptureResult:
    """What an answered end means: what is owed and was not captured still has to be secured."""
    if state is PaymentState.OUTCOME_UNKNOWN:
        return CaptureResult.UNANSWERED
    if owed and state is not PaymentState.CAPTURED:
        return CaptureResult.UNSECURED
    return CaptureResult.DONE


def _moved(authorization: AuthorizationRecord, state: PaymentState, now: datetime) -> AuthorizationRecord:
    return replace(
        authorization, state=state, version=authorization.version + 1, next_action=None, updated_at=now
    )
