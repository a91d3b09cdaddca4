"""Payments and refunds that the PSP has and the restored database has not.

Owns: what becomes of each: a hold becomes its session's again, a charge an unbooked charge, a refund of ours
a refund of its session. Must not know: HTTP, who decides about unbooked charges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from gateway.database import transaction
from gateway.errors import MalformedIdError
from gateway.ids import format_id, in_shard, parse_id, shard_of
from gateway.payments import psp_record, repository
from gateway.payments import unbooked_charge_repository as charges
from gateway.payments.errors import PaymentConflictError
from gateway.payments.psp.dispute_port import RefundState, ReversalUpdate
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.movement_port import PspMovement
from gateway.payments.psp.payment_port import PspPayment
from gateway.payments.psp.port import Captured, Held
from gateway.payments.service import PaymentService
from gateway.payments.session_rebuild import CantRebuildSessionError, SessionRebuilder
from gateway.payments.unbooked_charge_state import UnbookedState
from gateway.payments.unbooked_charges import ChargeAction, decide
from gateway.recovery import repository as recovery
from gateway.recovery.restore_steps import RestoreStep

_CHARGES = frozenset({"charge", "payment"})
_REFUNDS = frozenset({"refund", "payment_refund"})
BY = "restore-check"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredPayments:
    """Brings payments of the PSP's record back; each step may be repeated."""

    payments: PaymentService

    async def restore_holds(self, psp_payments: Sequence[str]) -> RestoreStep:
        """Holds of sessions that are not known here: the session is active again under its old id."""
        async with self.payments.pool.acquire() as connection:
            unknown = await recovery.list_unknown_payments(connection, psp_payments=psp_payments)
        done: list[str] = []
        waits: list[str] = []
        for psp_payment in unknown:
            state = await self.payments.psp.inspect(psp_payment=psp_payment)
            if isinstance(state, PspOutcomeUnknown):
                waits.append(f"{psp_payment}: the PSP did not answer; run restore-check again")
            elif isinstance(state, Held):
                try:
                    done.append(await self._restore_hold(psp_payment, state))
                except CantRebuildSessionError as error:
                    waits.append(f"hold {psp_payment}: {error}; release it at the PSP")
            elif isinstance(state, Captured):
                await self.payments.psp_events.unbooked.check(psp_payment=psp_payment)
        return RestoreStep(
            name="holds",
            looked_at=f"{len(psp_payments)} payments of the PSP's events",
            done=done,
            waits=waits,
        )

    async def _restore_hold(self, psp_payment: str, held: Held) -> str:
        payment = await self._read(psp_payment)
        recorded = psp_record.read(payment.metadata)
        session_id = recorded.session_id
        if session_id is None:
            raise CantRebuildSessionError("its record names no session of ours")
        payments = self.payments
        await SessionRebuilder(
            pool=payments.pool, clock=payments.clock, quotes=payments.quotes, snapshots=payments.snapshots
        ).rebuild(payment, session_id=session_id)
        shard = shard_of(session_id)
        async with transaction(payments.pool) as connection:
            added = await recovery.add_restored_hold(
                connection,
                shard=shard,
                session_id=session_id,
                authorization_id=_authorization_id(payment, session_id),
                authorization_method=recorded.authorization_method,
                hold_minor=held.amount_minor,
                currency=payment.currency,
                payment_method=payment.payment_method,
                customer=payment.customer,
                psp_payment=psp_payment,
                capture_before=held.capture_before,
                incrementable=held.incrementable,
                max_capture_minor=held.max_capture_minor,
                created_at=payment.created_at,
                now=payments.clock.now(),
            )
        if not added:
            raise CantRebuildSessionError("its session has another payment")
        return f"hold {psp_payment}: session {format_id('ses', session_id)} is active again"

    async def restore_charges(self, movements: Sequence[PspMovement], *, adopt: bool) -> RestoreStep:
        """Charges that no capture has: unbooked charges, and with `adopt` their sessions' captures."""
        listed = {
            one.psp_payment: one.source
            for one in movements
            if one.kind in _CHARGES and one.psp_payment is not None and one.amount_minor > 0
        }
        async with self.payments.pool.acquire() as connection:
            unknown = await charges.list_unknown_charges(
                connection, psp_payments=list(listed), psp_charges=list(listed.values())
            )
        for psp_payment in unknown:
            reason = await self.payments.psp_events.unbooked.check(psp_payment=psp_payment)
            if reason is not None:
                return RestoreStep(
                    name="charges",
                    looked_at=f"{len(listed)} charges of the PSP's balance",
                    waits=[f"{psp_payment}: {reason}; run restore-check again"],
                )
        done: list[str] = []
        waits: list[str] = []
        for psp_payment in listed:
            said = await self._decide(psp_payment, adopt=adopt)
            if said is not None:
                (done if said[0] else waits).append(said[1])
        return RestoreStep(
            name="charges", looked_at=f"{len(listed)} charges of the PSP's balance", done=done, waits=waits
        )

    async def _decide(self, psp_payment: str, *, adopt: bool) -> tuple[bool, str] | None:
        """Whether it is done, and what is said; None: nothing waits under this payment."""
        async with self.payments.pool.acquire() as connection:
            charge = await charges.load_charge(connection, psp_payment=psp_payment)
        if charge is None or charge.state is UnbookedState.ADOPTED:
            return None
        about = f"charge {psp_payment} of {charge.amount_minor} {charge.currency}"
        if charge.state is not UnbookedState.OPEN:
            return True, f"{about}: {charge.state.value}"
        if not adopt:
            return False, f"{about}: decide about it in the exceptions queue"
        try:
            async with transaction(self.payments.pool) as connection:
                await decide(
                    connection,
                    psp_payment,
                    ChargeAction.ADOPT,
                    by=BY,
                    now=self.payments.clock.now(),
                    wall_now=self.payments.clock.wall_now(),
                )
        except PaymentConflictError as error:
            return False, f"{about}: {error}"
        return True, f"{about}: becomes its session's capture when its CDR is here"

    async def restore_refunds(self, movements: Sequence[PspMovement]) -> RestoreStep:
        """Refunds of ours whose rows are lost: recorded as the PSP's own, so that they are made once."""
        listed = [one.source for one in movements if one.kind in _REFUNDS]
        async with self.payments.pool.acquire() as connection:
            unknown = await recovery.list_unknown_refunds(connection, psp_refunds=listed)
        done: list[str] = []
        waits: list[str] = []
        for psp_refund in unknown:
            try:
                waiting = await self._restore_refund(psp_refund)
            except PaymentConflictError as error:
                waiting = str(error)
            if waiting is None:
                done.append(f"refund {psp_refund}: recorded")
            else:
                waits.append(f"refund {psp_refund} waits for {waiting}; run restore-check again")
        return RestoreStep(
            name="refunds", looked_at=f"{len(listed)} refunds of the PSP's balance", done=done, waits=waits
        )

    async def _restore_refund(self, psp_refund: str) -> str | None:
        """None: done; else what it waits for."""
        update = await self.payments.psp.read_refund(psp_refund=psp_refund)
        if isinstance(update, PspOutcomeUnknown):
            return f"the PSP's answer: {update.reason}"
        if isinstance(update, Declined):
            return "the PSP, which does not find it"
        if update.state is not RefundState.SUCCEEDED:
            return "its end at the PSP"
        payment = update.psp_payment or ""
        async with self.payments.pool.acquire() as connection:
            if update.refund_id is not None and await recovery.is_requested_refund(
                connection, update.refund_id
            ):
                return None  # its own request is open, and ends with the PSP's answer
            found = await repository.find_session_by_foreign_id(
                connection, kind="psp_payment", foreign_id=payment
            )
        if await self.payments.psp_events.unbooked.record_refund(psp_payment=payment, psp_refund=psp_refund):
            return None
        if found is None:
            return "its payment, which no session here has"
        reversal = ReversalUpdate(
            psp_refund=psp_refund, amount_minor=update.amount_minor, currency=update.currency
        )
        return await self.payments.refunds.record_reversal(reversal, shard=found[0], session_id=found[1])

    async def _read(self, psp_payment: str) -> PspPayment:
        payment = await self.payments.psp.read_payment(psp_payment=psp_payment)
        if not isinstance(payment, PspPayment):
            raise CantRebuildSessionError("the PSP does not answer about it")
        return payment


def _authorization_id(payment: PspPayment, session_id: UUID) -> UUID:
    """The authorization's old id, by which later requests know it at the PSP; else one of the payment."""
    try:
        return parse_id("auth", payment.metadata.get("authorization", ""))
    except MalformedIdError:
        return in_shard(uuid5(session_id, f"restored {payment.psp_payment}"), shard_of(session_id))
