"""Charge off-session, under the stored mandate, what the hold did not cover: tried once per session.

Owns: the phases of that charge. Must not know: why the hold was too small, what clearing does with it.
"""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id, new_id
from gateway.payments import store
from gateway.payments.calls import call_key
from gateway.payments.orders import StateConflictError
from gateway.payments.outcomes import Outcomes
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp import ChargeOrder, Psp
from gateway.payments.records import AuthorizationRecord, CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Collections:
    """The collect service."""

    pool: Pool
    psp: Psp
    clock: Clock
    outcomes: Outcomes
    policy: PaymentPolicy

    async def collect(self, *, lane: int, session_id: UUID) -> bool:
        """Charge what is owed for a session. False: a call is in the air, look again later."""
        async with self.pool.acquire() as connection:
            capture = await store.capture(connection, lane=lane, session_id=session_id)
            if capture is None:
                return True
            amount = self.policy.amounts.down(capture.receivable_minor, capture.currency)
            if amount == 0:
                return True
            authorization = await store.authorization(
                connection, lane=lane, authorization_id=capture.authorization_id
            )
            if authorization is None:
                return True
            call = CallRecord(
                lane=lane,
                id=new_id(lane=lane),
                session_id=session_id,
                authorization_id=authorization.id,
                kind="collect",
                state="intended",
                amount_minor=amount,
                attempts=0,
                created_at=self.clock.wall_now(),
            )
            try:
                mine = await store.request_collect(
                    connection,
                    lane=lane,
                    session_id=session_id,
                    call_id=call.id,
                    amount_minor=amount,
                    next_ask_at=call.created_at + self.policy.call_grace,
                    wall_now=call.created_at,
                )
            except asyncpg.UniqueViolationError:
                return False
        if not mine:  # it was tried before: its answer, come or to come, ends the errand
            return False
        await ask_collect(self.pool, self.psp, self.outcomes, authorization, call)
        return True


async def ask_collect(
    pool: Pool, psp: Psp, outcomes: Outcomes, authorization: AuthorizationRecord, call: CallRecord
) -> None:
    """Phases 2 and 3, under the call's own key, first time or again."""
    if authorization.customer is None or authorization.payment_method is None:
        raise StateConflictError(f"authorization {format_id('auth', authorization.id)} has no mandate")
    outcome = await psp.charge(
        ChargeOrder(
            idempotency_key=call_key(call.id),
            session_id=call.session_id,
            authorization_id=authorization.id,
            amount_minor=call.amount_minor,
            currency=authorization.currency,
            payment_method=authorization.payment_method,
            customer=authorization.customer,
        )
    )
    async with pool.acquire() as connection:
        await outcomes.record_collect(connection, call, outcome)
