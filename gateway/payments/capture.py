"""End a session: fix its CDR and price, then capture once or release, in atomic phases.

Owns: the order of the phases and the amount that is captured. Must not know: HTTP, OCPI's messages, how a PSP
is called. Intent is committed before the PSP is asked, the PSP is asked with no transaction open, its answer
is committed with the work it leaves; a stop between any two is resumed by the worker or the resolver.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from clearing.cdr import Cdr
from clearing.errors import ClearingError
from clearing.money import Rounding, round_units
from clearing.pricing import PricedSession
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ids import format_id, lane_of, new_id
from gateway.notify.events import EventType
from gateway.payments import public, store
from gateway.payments.anchor import TariffAnchor
from gateway.payments.authorize import call_key
from gateway.payments.orders import (
    CdrRefusedError,
    NotFoundError,
    SessionAlreadyCompletedError,
    SessionView,
    StateConflictError,
    VersionConflictError,
)
from gateway.payments.outcomes import Asked, Outcomes
from gateway.payments.payment import PaymentState
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp import CaptureOrder, Psp, VoidOrder
from gateway.payments.records import AuthorizationRecord, CallRecord, CaptureRecord, SessionRecord


class Ended(StrEnum):
    """What an attempt to end a payment came to."""

    DONE = "done"  # captured, voided or failed: nothing is left to do
    WAITING = "waiting"  # a call is in the air, or the cardholder must act first
    UNSECURED = "unsecured"  # priced, but no authorization stands that could pay


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What the payment of a completed session comes to: 0 releases the hold."""

    amount_minor: int
    receivable_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Captures:
    """The complete, capture and release services."""

    pool: Pool
    psp: Psp
    anchor: TariffAnchor
    clock: Clock
    outcomes: Outcomes
    policy: PaymentPolicy

    async def complete(self, session: SessionRecord, *, cdr_raw: bytes, cdr_version: str) -> None:
        """Fix the session's CDR and its price from the frozen tariff; the capture is due from then on.

        The same CDR again does nothing. Raises CdrRefusedError, SessionAlreadyCompletedError.
        """
        try:
            cdr = self.anchor.read_cdr(cdr_raw, version=cdr_version)
        except ClearingError as error:
            raise CdrRefusedError(f"the CDR can't be read: {error}") from error
        if session.cdr_id is not None:
            refuse_another_cdr(session, cdr)
            return
        async with self.pool.acquire() as connection:
            priced = await self._price(connection, session, cdr)
            if not await self._fix(
                connection, session, cdr=cdr, cdr_raw=cdr_raw, cdr_version=cdr_version, priced=priced
            ):
                now = await store.session(connection, lane=session.lane, session_id=session.id)
                if now is not None:
                    refuse_another_cdr(now, cdr)

    async def capture(self, *, lane: int, session_id: UUID) -> Ended:
        """Take what a completed session costs, once; safe to call at any time and as often as one likes."""
        async with self.pool.acquire() as connection:
            session = await store.session(connection, lane=lane, session_id=session_id)
            if session is None or session.price_minor is None:
                return Ended.WAITING
            authorization = await store.current_authorization(connection, lane=lane, session_id=session_id)
            if authorization is None:
                return Ended.UNSECURED
            match authorization.state:
                case PaymentState.CAPTURED:
                    return Ended.DONE
                case PaymentState.FAILED | PaymentState.VOIDED:
                    return Ended.DONE if session.price_minor == 0 else Ended.UNSECURED
                case PaymentState.AUTHORIZED:
                    end = _end_of(session.price_minor, authorization)
                case _:
                    return Ended.WAITING
        await self._end(session, authorization, end)
        return Ended.DONE

    async def release(self, *, authorization_id: UUID, expected_version: int | None) -> None:
        """Release a hold whole. Raises NotFoundError, VersionConflictError, StateConflictError."""
        lane = lane_of(authorization_id)
        async with self.pool.acquire() as connection:
            authorization = await store.authorization(
                connection, lane=lane, authorization_id=authorization_id
            )
            if authorization is None:
                raise NotFoundError(f"no authorization {format_id('auth', authorization_id)}")
            session = await store.session(connection, lane=lane, session_id=authorization.session_id)
        if session is None:
            raise NotFoundError(f"no session {format_id('ses', authorization.session_id)}")
        if authorization.state is PaymentState.VOIDED:
            return
        if expected_version is not None and expected_version != authorization.version:
            raise VersionConflictError(
                f"the authorization is at version {authorization.version}; read it again"
            )
        if session.cdr_id is not None:
            raise StateConflictError("the session is completed; what it costs is captured, the rest released")
        if authorization.state not in {PaymentState.AUTHORIZED, PaymentState.REQUIRES_ACTION}:
            raise StateConflictError(f"an authorization that is {authorization.state} can't be released")
        await self._end(session, authorization, _End(amount_minor=0, receivable_minor=0))

    async def _price(self, connection: Connection, session: SessionRecord, cdr: Cdr) -> PricedSession:
        snapshot = await store.snapshot(connection, sha256=session.tariff_sha256)
        if snapshot is None:
            raise NotFoundError(f"tariff snapshot {session.tariff_sha256} is gone")
        if cdr.currency != session.currency:
            raise CdrRefusedError(f"the CDR is in {cdr.currency}, the session's tariff in {session.currency}")
        try:
            return self.anchor.price(
                sha256=snapshot.sha256,
                canonical=snapshot.canonical,
                version=snapshot.version,
                cdr=cdr,
                time_zone=session.time_zone,
            )
        except ClearingError as error:
            raise CdrRefusedError(f"the CDR can't be priced: {error}") from error

    async def _fix(
        self,
        connection: Connection,
        session: SessionRecord,
        *,
        cdr: Cdr,
        cdr_raw: bytes,
        cdr_version: str,
        priced: PricedSession,
    ) -> bool:
        """The statement that ends the session. The errand is the worker's, if nobody captures at once."""
        now = self.clock.now()
        ended = replace(
            session,
            state="completed",
            cdr_id=cdr.id,
            cdr_version=cdr_version,
            cdr=cdr_raw,
            price_minor=payable_minor(priced),
            price_net_minor=priced.excl_vat_minor,
            energy_wh=round_units(priced.energy_kwh * 1000, rounding=Rounding.HALF_AWAY),
            ended_at=cdr.end,
            flags=flags_of(priced),
            updated_at=now,
        )
        view = SessionView(session=ended, authorization=None, capture=None)
        return await store.complete_session(
            connection,
            lane=ended.lane,
            session_id=ended.id,
            cdr_id=ended.cdr_id,
            cdr_version=ended.cdr_version,
            cdr=ended.cdr,
            price_minor=ended.price_minor,
            price_net_minor=ended.price_net_minor,
            energy_wh=ended.energy_wh,
            ended_at=ended.ended_at,
            flags=list(ended.flags),
            task_id=new_id(lane=ended.lane),
            run_at=self.clock.wall_now() + self.policy.call_grace,
            events=public.event_rows(public.session_events(EventType.SESSION_COMPLETED, view)),
            now=now,
        )

    async def _end(self, session: SessionRecord, authorization: AuthorizationRecord, end: _End) -> None:
        """Capture or release by the authorization's funding: in our books, or at the PSP in phases."""
        if authorization.funding == "partner_account":
            await self._end_on_account(session, authorization, end)
        else:
            await self._end_at_psp(session, authorization, end)

    async def _end_on_account(
        self, session: SessionRecord, authorization: AuthorizationRecord, end: _End
    ) -> None:
        now = self.clock.now()
        taken = self._new_capture(session, authorization, end, state="succeeded")
        state = PaymentState.CAPTURED if taken else PaymentState.VOIDED
        after = _ended(authorization, state, now)
        events = public.authorization_events(after, session)
        if taken is not None:
            events += public.capture_events(taken, session)
        async with self.pool.acquire() as connection:
            await store.end_on_account(
                connection,
                lane=session.lane,
                authorization_id=authorization.id,
                expected_version=None,
                amount_minor=end.amount_minor,
                receivable_minor=end.receivable_minor,
                capture_id=taken.id if taken else None,
                task_id=new_id(lane=session.lane),
                events=public.event_rows(events),
                now=now,
                wall_now=self.clock.wall_now(),
            )

    async def _end_at_psp(
        self, session: SessionRecord, authorization: AuthorizationRecord, end: _End
    ) -> None:
        """Phase 1 commits the intent; phase 2 asks; phase 3 commits the answer."""
        taken = self._new_capture(session, authorization, end, state="requested")
        call = CallRecord(
            lane=session.lane,
            id=new_id(lane=session.lane),
            session_id=session.id,
            authorization_id=authorization.id,
            kind="capture" if taken else "void",
            state="intended",
            amount_minor=end.amount_minor,
            attempts=0,
            created_at=self.clock.wall_now(),
        )
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            mine = await store.request_end(
                connection,
                lane=session.lane,
                authorization_id=authorization.id,
                from_states=[PaymentState.AUTHORIZED.value, PaymentState.REQUIRES_ACTION.value],
                expected_version=None,
                capture_id=taken.id if taken else None,
                amount_minor=end.amount_minor,
                receivable_minor=end.receivable_minor,
                call_id=call.id,
                next_ask_at=call.created_at + self.policy.call_grace,
                now=now,
                wall_now=call.created_at,
            )
        if not mine:  # somebody else has requested the end in the meantime, and makes the call
            return
        requested = _ended(authorization, PaymentState.CAPTURE_REQUESTED, now)
        asked = Asked(call=call, authorization=requested, session=session)
        await ask_end(self.pool, self.psp, self.outcomes, asked, taken)

    def _new_capture(
        self, session: SessionRecord, authorization: AuthorizationRecord, end: _End, *, state: str
    ) -> CaptureRecord | None:
        if end.amount_minor == 0:
            return None
        now = self.clock.now()
        return CaptureRecord(
            lane=session.lane,
            session_id=session.id,
            id=new_id(lane=session.lane),
            authorization_id=authorization.id,
            state=state,
            amount_minor=end.amount_minor,
            receivable_minor=end.receivable_minor,
            currency=session.currency,
            psp_charge=None,
            fee_minor=None,
            fee_currency=None,
            captured_at=now if state == "succeeded" else None,
            created_at=now,
        )


async def ask_end(
    pool: Pool, psp: Psp, outcomes: Outcomes, asked: Asked, capture: CaptureRecord | None
) -> AuthorizationRecord:
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


def _ended(authorization: AuthorizationRecord, state: PaymentState, now: datetime) -> AuthorizationRecord:
    return replace(
        authorization, state=state, version=authorization.version + 1, next_action=None, updated_at=now
    )


def _end_of(price_minor: int, authorization: AuthorizationRecord) -> _End:
    """Never more than the price, never more than the hold; what is left is owed by the driver."""
    amount = min(price_minor, authorization.hold_minor)
    return _End(amount_minor=amount, receivable_minor=price_minor - amount)


def payable_minor(priced: PricedSession) -> int:
    """What the driver pays: the price with VAT, and never less than nothing."""
    return max(priced.incl_vat_minor, 0)


def flags_of(priced: PricedSession) -> list[str]:
    """What is odd about a priced session, as stable codes, each once."""
    return sorted({str(note.code) for note in priced.notes})


def refuse_another_cdr(session: SessionRecord, cdr: Cdr) -> None:
    """The CDR that ended a session may come again; another one may not.

    Raises SessionAlreadyCompletedError.
    """
    if session.cdr_id != cdr.id:
        raise SessionAlreadyCompletedError(
            f"session {format_id('ses', session.id)} was completed by CDR {session.cdr_id}; "
            "a correction is a credit CDR followed by a new CDR"
        )
