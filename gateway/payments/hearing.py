"""What the PSP tells by itself: its events kept once, and what each means for a payment of ours.

Owns: which service an event is for. Must not know: HTTP, how an event travelled, what clearing does with it.
An event is only ever a hint to read: what counts is what the PSP says when it is asked.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import lane_of, new_id
from gateway.payments import store
from gateway.payments.capture import Captures
from gateway.payments.dispute import Disputes
from gateway.payments.orders import StateConflictError, VersionConflictError
from gateway.payments.outcomes import Outcomes
from gateway.payments.payment import PaymentState
from gateway.payments.psp import Captured, Psp, PspEvent, Voided
from gateway.payments.records import AuthorizationRecord, SessionRecord
from gateway.payments.refund import Refunds
from gateway.payments.resolver import Resolver

ASKED_BY_EVENTS: Final = 3  # questions about a call before its own schedule alone asks on
WEBHOOK_TOLERANCE_S: Final = 300  # docs.stripe.com/webhooks#replay-attacks


# A hold that stands is looked at when one of these says that it may not (docs.stripe.com/api/events/types).
_ENDS: Final = frozenset({"payment_intent.canceled", "charge.expired", "charge.refunded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PspHearing:
    """Takes events in and works them off."""

    pool: Pool
    clock: Clock
    psp: Psp
    outcomes: Outcomes
    resolver: Resolver
    captures: Captures
    refunds: Refunds
    disputes: Disputes

    async def webhook(self, *, body: bytes, signature: str) -> None:
        """Keep one authentic event, once, and leave the errand to the worker. Raises WebhookRefusedError."""
        event = self.psp.read_event(body=body, signature=signature, tolerance_s=WEBHOOK_TOLERANCE_S)
        await self.keep_event(event, body)

    async def keep_event(self, event: PspEvent, body: bytes) -> bool:
        """Keep an authentic event once, with an errand for the worker. False: it was kept before."""
        errand = new_id()
        async with self.pool.acquire() as connection:
            return await store.keep_psp_event(
                connection,
                id=event.id,
                type=event.type,
                body=body,
                received_at=self.clock.wall_now(),
                task_id=errand,
                task_lane=lane_of(errand),
                psp_payment=event.psp_payment,
                always=_takes_back(event),
                ended=event.type in _ENDS,
            )

    async def heard_event(self, event_id: str) -> str | None:
        """The worker's errand: what an event of the PSP, kept before, says about a payment of ours.

        None: done; else what it waits for: money that was taken back must not be forgotten because its
        payment is not recorded here yet.
        """
        async with self.pool.acquire() as connection:
            body = await store.psp_event_body(connection, event_id=event_id)
        event = self.psp.parse_event(body) if body is not None else None
        if event is None or event.psp_payment is None:
            return None
        if event.failed_refund is not None:
            return await self.refunds.heard_failed(event.failed_refund, psp_payment=event.psp_payment)
        if event.dispute is None and event.reversal is None:
            await self.heard_from_psp(psp_payment=event.psp_payment)
            return None
        async with self.pool.acquire() as connection:
            found = await store.find_session(connection, kind="psp_payment", foreign_id=event.psp_payment)
        if found is None:
            return "money taken back from a payment that no session here has"
        if event.reversal is not None:
            return await self.refunds.reversed_by_psp(event.reversal, lane=found[0], session_id=found[1])
        if event.dispute is None:
            return None
        known = await self.disputes.heard(event.dispute, lane=found[0], session_id=found[1])
        return None if known else "a dispute of a payment whose capture is not recorded yet"

    async def heard_from_psp(self, *, psp_payment: str) -> bool:
        """The PSP says that something happened to a payment: read it there, and catch up. False: not ours."""
        async with self.pool.acquire() as connection:
            found = await store.find_session(connection, kind="psp_payment", foreign_id=psp_payment)
            if found is None:
                return False
            lane, session_id = found
            standing = await store.standing(connection, lane=lane, session_id=session_id)
            session, authorization = standing[:2] if standing else (None, None)
            if session is None or authorization is None or authorization.psp_payment != psp_payment:
                return True
            call = await store.open_call(connection, lane=lane, authorization_id=authorization.id)
        if call is not None:
            # An intended call has a caller who is about to hear; asking beside it would only collide. Nor may
            # many events make a call look as if it had been asked about for days.
            if call.state == "unknown" and call.attempts < ASKED_BY_EVENTS:
                await self.resolver.ask(call)
        elif authorization.state is PaymentState.REQUIRES_ACTION:
            await self._after_action(authorization, session)
        elif authorization.state is PaymentState.AUTHORIZED:
            await self._maybe_expired(authorization)
        return True

    async def _after_action(self, authorization: AuthorizationRecord, session: SessionRecord) -> None:
        state = await self.psp.inspect(psp_payment=authorization.psp_payment or "")
        if isinstance(state, Captured):
            return
        async with self.pool.acquire() as connection:
            await self.outcomes.record_action(connection, authorization, session, state)

    async def after_action(self, *, lane: int, authorization_id: UUID, give_up_before: datetime) -> None:
        """Read at the PSP what became of a challenge; one older than `give_up_before` is released."""
        async with self.pool.acquire() as connection:
            waiting = await store.authorization(connection, lane=lane, authorization_id=authorization_id)
            if waiting is None or waiting.state is not PaymentState.REQUIRES_ACTION:
                return
            session = await store.session(connection, lane=lane, session_id=waiting.session_id)
        if session is None:
            return
        await self._after_action(waiting, session)
        if waiting.updated_at <= give_up_before:
            with suppress(VersionConflictError, StateConflictError):  # the cardholder was faster
                await self.captures.give_up(
                    authorization_id=authorization_id, expected_version=waiting.version
                )

    async def _maybe_expired(self, authorization: AuthorizationRecord) -> None:
        state = await self.psp.inspect(psp_payment=authorization.psp_payment or "")
        if isinstance(state, Voided):
            async with self.pool.acquire() as connection:
                await store.expire_authorization(
                    connection,
                    lane=authorization.lane,
                    authorization_id=authorization.id,
                    now=self.clock.now(),
                )


def _takes_back(event: PspEvent) -> bool:
    """Whether the event speaks of money taken back, which must not be forgotten whatever we know so far."""
    return event.dispute is not None or event.reversal is not None or event.failed_refund is not None
