"""Give captured money back: in full or part, several times, never more than was captured.

Owns: the phases of a refund. Must not know: who bears it, how clearing unwinds the split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, assert_never
from uuid import UUID

import asyncpg

from gateway.clock import Clock
from gateway.database import Connection, Pool, named_queries, transaction
from gateway.ids import at_lane, format_id, lane_of, new_id
from gateway.notify import events
from gateway.payments import public, store
from gateway.payments.calls import call_key
from gateway.payments.orders import InvalidOrderError, NotFoundError, RefundBoundError, StateConflictError
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp import (
    Declined,
    OutcomeUnknown,
    Psp,
    Refunded,
    RefundOrder,
    RefundOutcome,
    ReversalNews,
)
from gateway.payments.records import (
    AuthorizationRecord,
    CallRecord,
    CaptureRecord,
    RefundRecord,
    SessionRecord,
)

_sql = named_queries("gateway", "after_capture.sql")


class RefundReason(StrEnum):
    """Why money is given back."""

    REQUESTED_BY_DRIVER = "requested_by_driver"
    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"
    CDR_CORRECTED = "cdr_corrected"
    REVERSED_BY_PSP = "reversed_by_psp"  # the PSP gave it back without our asking


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Give back `amount_minor` (None: all that is left) of a session's capture.

    `refund_id` is the caller's promise of idempotency: the same id is the same refund. What was charged
    off-session above the hold is a charge of its own, given back by a refund of its own; `up_to` takes less
    where one charge does not bear the whole.
    """

    refund_id: UUID
    session_id: UUID
    amount_minor: int | None
    reason: RefundReason
    metadata: Mapping[str, str] = field(default_factory=dict)
    up_to: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Captured:
    """A capture and, where a rest was charged off-session, that charge and what is back of it."""

    session: SessionRecord
    authorization: AuthorizationRecord
    capture: CaptureRecord
    rest_charge: str | None
    rest_refunded_minor: int

    def left(self) -> tuple[int, int]:
        """What may still be given back of the capture at the hold, and of the rest."""
        one = self.capture
        left = max(one.amount_minor - one.refunded_minor - one.disputed_minor, 0)
        if self.rest_charge is None:
            return left, 0
        held = one.amount_minor - one.collected_minor - (one.refunded_minor - self.rest_refunded_minor)
        return min(left, held), min(left, one.collected_minor - self.rest_refunded_minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunds:
    """The refund service. `party_id` None is the platform."""

    pool: Pool
    psp: Psp
    clock: Clock
    policy: PaymentPolicy

    async def refund(self, request: RefundRequest, *, party_id: str | None) -> RefundRecord:
        """Give money back. Raises NotFoundError, RefundBoundError, InvalidOrderError, StateConflictError."""
        lane = lane_of(request.session_id)
        refund_id = at_lane(request.refund_id, lane)
        async with self.pool.acquire() as connection:
            captured = await self._captured(connection, request.session_id, party_id)
            existing = await load_refund(connection, lane=lane, refund_id=refund_id)
            if existing is not None:
                return existing
            if await _sql.rest_is_due(connection, lane=lane, session_id=request.session_id):
                raise StateConflictError(
                    "a rest of the price is being charged off-session; refund once that is answered"
                )
            refund, charge = self._new_refund(request, refund_id, captured)
            call = self._new_call(refund, captured, charge)
            await self._request(connection, refund, captured, call)
        if captured.authorization.funding == "psp":
            await self.ask(call, captured.capture, refund, captured.session)
        async with self.pool.acquire() as connection:
            return await load_refund(connection, lane=lane, refund_id=refund_id) or refund

    async def ask_again(self, call: CallRecord, *, replay: bool) -> None:
        """The resolver's errand: a refund whose answer was lost, under its own key or by looking it up."""
        async with self.pool.acquire() as connection:
            session = await store.session(connection, lane=call.lane, session_id=call.session_id)
            capture = await store.capture(connection, lane=call.lane, session_id=call.session_id)
            refund = None
            if call.subject_id is not None:
                refund = await load_refund(connection, lane=call.lane, refund_id=call.subject_id)
        if session is None or capture is None or refund is None:
            return
        if replay:
            await self.ask(call, capture, refund, session)
            return
        found = await self.psp.find_refund(
            psp_charge=call.psp_payment or capture.psp_charge or "", refund_id=refund.id
        )
        outcome = found or Declined(code="never_reached_psp", retryable=True)
        async with self.pool.acquire() as connection:
            await self._record(connection, call, refund, session, outcome=outcome)

    async def ask(
        self, call: CallRecord, capture: CaptureRecord, refund: RefundRecord, session: SessionRecord
    ) -> None:
        """Phases 2 and 3: the PSP is asked with no transaction open, then its answer is committed."""
        charge = call.psp_payment or capture.psp_charge
        if charge is None:
            raise StateConflictError(f"capture {format_id('cap', capture.id)} has no charge at the PSP")
        outcome = await self.psp.refund(
            RefundOrder(
                idempotency_key=call_key(call.id),
                psp_charge=charge,
                amount_minor=call.amount_minor,
                currency=capture.currency,
                metadata={"refund": format_id("ref", refund.id), "session": format_id("ses", session.id)},
            )
        )
        async with self.pool.acquire() as connection:
            await self._record(connection, call, refund, session, outcome=outcome)

    async def waits(self, *, lane: int, session_id: UUID) -> bool:
        """Whether a refund of the session is not answered yet: what is kept is not known until then."""
        async with self.pool.acquire() as connection:
            return bool(await _sql.refund_waits(connection, lane=lane, session_id=session_id))

    async def heard_failed(self, psp_refund: str, *, psp_payment: str) -> str | None:
        """The card's bank sent a refund back: it is undone. None: done; else what it waits for."""
        async with transaction(self.pool) as connection:
            found = await store.find_session(connection, kind="psp_payment", foreign_id=psp_payment)
            if found is None:
                return None
            lane, session_id = found
            row = await _sql.refund_by_psp_id(
                connection, lane=lane, session_id=session_id, psp_refund=psp_refund
            )
            session = await store.session(connection, lane=lane, session_id=session_id)
            if row is None or session is None:
                waiting = await _sql.refund_waits(connection, lane=lane, session_id=session_id)
                return "a refund whose answer is not recorded yet" if waiting else None
            after = replace(RefundRecord.from_row(row), state="failed", failure_code="sent_back")
            await _sql.fail_refund(
                connection,
                lane=lane,
                refund_id=after.id,
                failure_code=after.failure_code,
                task_id=new_id(lane=lane),
                events=public.event_rows(public.refund_events(after, session)),
                now=self.clock.now(),
                wall_now=self.clock.wall_now(),
            )
        return None

    async def reversed_by_psp(self, news: ReversalNews, *, lane: int, session_id: UUID) -> str | None:
        """Record money that the PSP gave back without our asking; a repeat does nothing.

        None: done; else what it waits for: a capture or a refund of ours that the PSP has not answered yet.
        """
        now, wall = self.clock.now(), self.clock.wall_now()
        refund_id = new_id(lane=lane)
        async with transaction(self.pool) as connection:
            made = await _sql.record_reversal(
                connection,
                lane=lane,
                session_id=session_id,
                refund_id=refund_id,
                amount_minor=news.amount_minor,
                psp_refund=news.psp_refund,
                task_id=new_id(lane=lane),
                now=now,
                wall_now=wall,
            )
            refund = await load_refund(connection, lane=lane, refund_id=refund_id) if made else None
            session = await store.session(connection, lane=lane, session_id=session_id)
            if refund is not None and session is not None:
                await events.record(connection, public.refund_events(refund, session), now=now)
            known = made or await _sql.refund_by_psp_id(
                connection, lane=lane, session_id=session_id, psp_refund=news.psp_refund
            )
        return None if known else "money given back of which no more is captured here than is refunded"

    async def get(self, *, party_id: str | None, refund_id: UUID) -> RefundRecord:
        """One refund. Raises NotFoundError when there is none or it is another party's."""
        async with self.pool.acquire() as connection:
            found = await load_refund(connection, lane=lane_of(refund_id), refund_id=refund_id)
            session = None
            if found is not None:
                session = await store.session(connection, lane=found.lane, session_id=found.session_id)
        if (
            found is None
            or session is None
            or party_id not in {None, session.demand_partner_id, session.cpo_id}
        ):
            raise NotFoundError(f"no refund {format_id('ref', refund_id)}")
        return found

    async def list(
        self, *, party_id: str | None, session_id: UUID | None, before: UUID | None, limit: int
    ) -> Sequence[RefundRecord]:
        """A page of refunds, newest first."""
        async with self.pool.acquire() as connection:
            return [
                RefundRecord.from_row(row)
                async for row in _sql.list_refunds(
                    connection, party_id=party_id, session_id=session_id, before=before, row_limit=limit
                )
            ]

    async def _captured(self, connection: Connection, session_id: UUID, party_id: str | None) -> _Captured:
        """What may be refunded, and by whom: the demand partner's driver paid it. Raises NotFoundError."""
        lane = lane_of(session_id)
        session = await store.session(connection, lane=lane, session_id=session_id)
        if session is None or party_id not in {None, session.demand_partner_id}:
            raise NotFoundError(f"no session {format_id('ses', session_id)}")
        capture = await store.capture(connection, lane=lane, session_id=session_id)
        if capture is None or capture.state != "succeeded":
            raise StateConflictError(f"session {format_id('ses', session_id)} has no capture to refund")
        authorization = await store.authorization(
            connection, lane=lane, authorization_id=capture.authorization_id
        )
        if authorization is None:
            raise NotFoundError(f"no authorization {format_id('auth', capture.authorization_id)}")
        rest = None
        if capture.collected_minor > 0:
            rest = await _sql.charged_off_session(connection, lane=lane, session_id=session_id)
        return _Captured(
            session=session,
            authorization=authorization,
            capture=capture,
            rest_charge=rest["psp_charge"] if rest else None,
            rest_refunded_minor=rest["refunded_minor"] if rest else 0,
        )

    def _new_refund(
        self, request: RefundRequest, refund_id: UUID, captured: _Captured
    ) -> tuple[RefundRecord, str | None]:
        """The refund, and the charge it is taken from: None the capture's own, else the off-session one."""
        capture = captured.capture
        of_hold, of_rest = captured.left()
        most = max(of_hold, of_rest)
        amount = (of_hold or of_rest) if request.amount_minor is None else request.amount_minor
        step = self.policy.amounts.step(capture.currency) if captured.authorization.funding == "psp" else 1
        if request.up_to:  # at least so much that no more than the price is kept
            amount = min(amount + -amount % step, most)
        if amount % step:
            raise InvalidOrderError(
                f"a refund of {amount} minor units of {capture.currency}: the PSP takes multiples of {step}"
            )
        if not 0 < amount <= most:
            parts = f"; {of_hold} and {of_rest} of its two charges" if captured.rest_charge else ""
            raise RefundBoundError(
                f"a refund of {amount} minor units is outside 1 to {most}, what is left of the capture{parts}"
            )
        refund = RefundRecord(
            lane=capture.lane,
            id=refund_id,
            session_id=capture.session_id,
            state="requested" if captured.authorization.funding == "psp" else "succeeded",
            amount_minor=amount,
            currency=capture.currency,
            reason=request.reason.value,
            failure_code=None,
            metadata=request.metadata,
            created_at=self.clock.now(),
        )
        return refund, captured.rest_charge if amount > of_hold else None

    def _new_call(self, refund: RefundRecord, captured: _Captured, charge: str | None) -> CallRecord:
        return CallRecord(
            lane=refund.lane,
            id=new_id(lane=refund.lane),
            session_id=refund.session_id,
            authorization_id=captured.authorization.id,
            kind="refund",
            state="intended",
            amount_minor=refund.amount_minor,
            attempts=0,
            created_at=self.clock.wall_now(),
            subject_id=refund.id,
            psp_payment=charge,
        )

    async def _request(
        self, connection: Connection, refund: RefundRecord, captured: _Captured, call: CallRecord
    ) -> None:
        try:
            done = await _sql.request_refund(
                connection,
                lane=refund.lane,
                session_id=refund.session_id,
                refund_id=refund.id,
                amount_minor=refund.amount_minor,
                funding=captured.authorization.funding,
                account_party_id=captured.authorization.account_party_id,
                reason=refund.reason,
                metadata=dict(refund.metadata),
                rest_charge=call.psp_payment,
                rest_refunded_minor=captured.rest_refunded_minor,
                call_id=call.id,
                task_id=new_id(lane=refund.lane),
                next_ask_at=call.created_at + self.policy.call_grace,
                events=public.event_rows(public.refund_events(refund, captured.session)),
                now=refund.created_at,
                wall_now=call.created_at,
            )
        except asyncpg.UniqueViolationError as error:
            raise StateConflictError(
                "a call to the PSP is under way for this session; ask again in a few seconds"
            ) from error
        if not done:
            raise RefundBoundError("less is left of the capture than the refund asks for; read it again")

    async def _record(
        self,
        connection: Connection,
        call: CallRecord,
        refund: RefundRecord,
        session: SessionRecord,
        *,
        outcome: RefundOutcome,
    ) -> None:
        wall = self.clock.wall_now()
        psp_refund: str | None = None
        match outcome:
            case OutcomeUnknown(reason=reason):
                await store.ask_later(connection, call, reason=reason, wall_now=self.clock.wall_now())
                return
            case Refunded():
                psp_refund = outcome.psp_refund
                after = replace(refund, state="succeeded")
                answer: dict[str, Any] = {"refunded": psp_refund}
            case Declined(code=code):
                after = replace(refund, state="failed", failure_code=code)
                answer = {"declined": code}
            case _:
                assert_never(outcome)
        await _sql.conclude_refund(
            connection,
            lane=call.lane,
            call_id=call.id,
            call_state="succeeded" if after.state == "succeeded" else "declined",
            answer=answer,
            psp_refund=psp_refund,
            failure_code=after.failure_code,
            task_id=new_id(lane=call.lane),
            events=public.event_rows(public.refund_events(after, session)),
            now=self.clock.now(),
            wall_now=wall,
        )


async def load_refund(connection: Connection, *, lane: int, refund_id: UUID) -> RefundRecord | None:
    """One refund, or None."""
    row = await _sql.load_refund(connection, lane=lane, id=refund_id)
    return None if row is None else RefundRecord.from_row(row)
