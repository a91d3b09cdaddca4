"""Money at the PSP that is in no book here: found, and what a person may decide about it.

Owns: when a charge counts as unbooked, and which decisions fit it. Must not know: HTTP, how a decision is
carried out (unbooked_charge_settlement.py). A charge is found by an event, by the answer to a request of
ours, or among the PSP's lines; in each case what counts is the payment as it is read at the PSP.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from clearing.ledger import service as ledger_service
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id, shard_of
from gateway.payments import psp_record, repository
from gateway.payments import unbooked_charge_repository as charges
from gateway.payments.errors import PaymentConflictError
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.payment_port import PspPayment
from gateway.payments.psp.port import Captured, Psp
from gateway.payments.records import AuthorizationRecord, CaptureRecord
from gateway.payments.state_machine import FINAL_STATES, PaymentState
from gateway.payments.unbooked_charge_repository import UnbookedCharge, UnbookedReason
from gateway.payments.unbooked_charge_state import UnbookedEvent, UnbookedState, advance_charge

BY_SYSTEM: Final = "system"


class ChargeAction(StrEnum):
    """What a person decides about a charge that is in no book."""

    ADOPT = "adopt"  # it becomes the capture of its session
    REFUND = "refund"  # it is refunded at the PSP, whole
    LEAVE = "leave"  # it is no session's money: the reconciliation books it


def rejection(
    charge: UnbookedCharge,
    action: ChargeAction,
    *,
    authorization: AuthorizationRecord | None,
    capture: CaptureRecord | None,
) -> str | None:
    """Why an action does not fit a charge; None: it fits. The session's authorization and capture, if any."""
    runs = authorization is not None and authorization.state not in FINAL_STATES
    if runs and authorization is not None and authorization.psp_payment == charge.psp_payment:
        return (
            "its session still runs, and the capture at its end takes the charge over; release the "
            "authorization first to decide now"
        )
    if capture is not None and capture.state == "succeeded" and capture.psp_charge == charge.psp_charge:
        return "it is the capture of its session: refund the session"
    if action is ChargeAction.REFUND and charge.refunded_minor == charge.amount_minor:
        return "all of it was refunded at the PSP"
    if action is not ChargeAction.ADOPT:
        return None
    if charge.session_id is None:
        return "the PSP's record names no session of ours: refund it, or leave it to the reconciliation"
    if capture is not None and capture.state != "failed":
        return "its session is paid by another payment: refund it"
    if authorization is not None and authorization.state not in {PaymentState.VOIDED, PaymentState.FAILED}:
        return "its session has another authorization: refund it, or release that one first"
    if charge.refunded_minor:
        return "a part of it was refunded at the PSP: refund the rest"
    if charge.psp_refund is not None:
        return "its refund was sent back, and the PSP's fee is booked: refund it again"
    return None


async def decide(
    connection: Connection,
    psp_payment: str,
    action: ChargeAction,
    *,
    by: str,
    now: datetime,
    wall_now: datetime,
) -> bool:
    """Record a decision and leave the task that carries it out; False when nothing waits under that id.

    Raises PaymentConflictError where the action does not fit the charge.
    """
    charge = await charges.lock_charge(connection, psp_payment=psp_payment)
    decided = None if charge is None else advance_charge(charge.state, UnbookedEvent(action.value))
    if charge is None or decided is None:
        return False
    authorization, capture = None, None
    if charge.session_id is not None:
        found = await repository.find_session_with_payment(
            connection, shard=charge.shard, session_id=charge.session_id
        )
        authorization, capture = found[1:] if found is not None else (None, None)
    why_not = rejection(charge, action, authorization=authorization, capture=capture)
    if why_not is not None:
        raise PaymentConflictError(why_not)
    await charges.decide(
        connection,
        psp_payment=psp_payment,
        state=decided.value,
        by=by,
        refund_id=new_id(shard=charge.shard) if action is ChargeAction.REFUND else None,
        task_id=new_id(shard=charge.shard),
        now=now,
        wall_now=wall_now,
    )
    return True


async def record_by_hand(
    connection: Connection,
    *,
    clock: Clock,
    psp_payment: str,
    money: Captured,
    authorization: AuthorizationRecord,
    above_request: bool = False,
) -> None:
    """The PSP's answer shows that somebody captured a hold of ours at the PSP.

    `above_request`: our own capture met it, and brought more than it asked for: the excess is refunded.
    """
    await charges.record_charge(
        connection,
        psp_payment=psp_payment,
        psp_charge=money.psp_charge,
        shard=authorization.shard,
        session_id=authorization.session_id,
        reason=UnbookedReason.CAPTURED_ABOVE_REQUEST if above_request else UnbookedReason.CAPTURED_BY_HAND,
        amount_minor=money.amount_minor,
        refunded_minor=0,
        currency=authorization.currency,
        fee_minor=money.fee_minor,
        fee_currency=money.fee_currency,
        decided_by=BY_SYSTEM if above_request else None,
        task_id=new_id(shard=authorization.shard),
        now=clock.now(),
        wall_now=clock.wall_now(),
    )


async def book_fee(connection: Connection, charge: UnbookedCharge, *, now: datetime) -> None:
    """The charge has come and gone, and the PSP keeps its fee: booked once, as the platform's expense."""
    if charge.fee_minor and charge.fee_currency is not None:
        await ledger_service.record_psp_fee(
            connection,
            currency=charge.fee_currency,
            minor=charge.fee_minor,
            reference=charge.psp_charge,
            now=now,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbookedChargeService:
    """Finds charges that are in no book here."""

    pool: Pool
    clock: Clock
    psp: Psp

    async def check(self, *, psp_payment: str) -> str | None:
        """Read a payment at the PSP; money of it that is in no book here is recorded, for a person.

        None: done; else what it waits for.
        """
        found = await self.psp.read_payment(psp_payment=psp_payment)
        if isinstance(found, PspOutcomeUnknown):
            return f"the PSP's answer about a payment: {found.reason}"
        if isinstance(found, Declined) or found.psp_charge is None or found.captured_minor == 0:
            return None
        recorded = psp_record.read(found.metadata)
        async with self.pool.acquire() as connection:
            known = await charges.find_known(
                connection,
                psp_payment=psp_payment,
                psp_charge=found.psp_charge,
                shard=shard_of(recorded.session_id) if recorded.session_id else None,
                session_id=recorded.session_id,
            )
            if known is not None and known.is_booked:
                return None
            if known is not None and known.is_undecided:
                return "a request of its session, whose answer is not known yet"
            task = new_id()
            session_id = known.session_id if known else recorded.session_id
            await charges.record_charge(
                connection,
                psp_payment=psp_payment,
                psp_charge=found.psp_charge,
                shard=shard_of(session_id or task),
                session_id=session_id,
                reason=UnbookedReason.CAPTURED_BY_HAND if known else UnbookedReason.UNKNOWN_PAYMENT,
                amount_minor=found.captured_minor,
                refunded_minor=found.refunded_minor,
                currency=found.currency,
                fee_minor=found.fee_minor,
                fee_currency=found.fee_currency,
                decided_by=None,
                task_id=task,
                now=self.clock.now(),
                wall_now=self.clock.wall_now(),
            )
        return None

    async def record_refund(self, *, psp_payment: str, psp_refund: str) -> bool:
        """The PSP reports a refund that we did not ask for; False: not of a charge that is in no book.

        What the whole payment has had refunded is read at the PSP. Raises PaymentConflictError while that
        can't be recorded: a refund of ours comes first, or somebody decides at this moment.
        """
        async with self.pool.acquire() as connection:
            charge = await self._in_no_book(connection, psp_payment)
        if charge is None:
            return False
        if charge.state is UnbookedState.REFUNDING:
            raise PaymentConflictError("our own refund of the charge is not answered yet")
        found = await self._read(psp_payment)
        async with transaction(self.pool) as connection:
            await self._lock_unchanged(connection, charge)
            await charges.record_refunded(
                connection,
                psp_payment=psp_payment,
                psp_refund=psp_refund,
                refunded_minor=found.refunded_minor,
                now=self.clock.now(),
            )
            if found.refunded_minor == charge.amount_minor:
                await book_fee(connection, charge, now=self.clock.now())
        return True

    async def _in_no_book(self, connection: Connection, psp_payment: str) -> UnbookedCharge | None:
        charge = await charges.load_charge(connection, psp_payment=psp_payment)
        if charge is None or charge.state is UnbookedState.ADOPTED:
            return None
        return None if await charges.is_capture(connection, psp_payment=psp_payment) else charge

    async def is_settled(self, *, psp_payment: str) -> bool:
        """Whether a payment was in no book here, and was refunded or left."""
        async with self.pool.acquire() as connection:
            charge = await charges.load_charge(connection, psp_payment=psp_payment)
        return charge is not None and charge.state in {UnbookedState.REFUNDED, UnbookedState.LEFT}

    async def reopen_refund(self, *, psp_payment: str, psp_refund: str) -> bool:
        """The card's bank sent a refund back; False: not of a charge that is in no book.

        What is still refunded is read at the PSP: the charge may have had several refunds. Raises
        PaymentConflictError as `record_refund`.
        """
        async with self.pool.acquire() as connection:
            charge = await self._in_no_book(connection, psp_payment)
        if charge is None or charge.state is not UnbookedState.REFUNDED:
            return await self.record_refund(psp_payment=psp_payment, psp_refund=psp_refund)
        found = await self._read(psp_payment)
        async with transaction(self.pool) as connection:
            await self._lock_unchanged(connection, charge)
            await charges.reopen_charge(
                connection,
                psp_payment=psp_payment,
                refunded_minor=found.refunded_minor,
                detail="the card's bank sent its refund back",
                now=self.clock.now(),
            )
        return True

    async def _read(self, psp_payment: str) -> PspPayment:
        found = await self.psp.read_payment(psp_payment=psp_payment)
        if not isinstance(found, PspPayment):
            raise PaymentConflictError("the PSP does not say how much of the payment is refunded")
        return found

    async def _lock_unchanged(self, connection: Connection, charge: UnbookedCharge) -> None:
        """Nobody decides about it until the transaction ends. Raises PaymentConflictError."""
        await charges.lock_charge(connection, psp_payment=charge.psp_payment)
        if await self._in_no_book(connection, charge.psp_payment) != charge:
            raise PaymentConflictError("the charge has changed while its payment was read")

    async def resume_adoptions(self) -> int:
        """Look again at charges whose session has got a price, which something else may have paid."""
        async with transaction(self.pool) as connection:
            return await charges.resume_adoptions(connection, wall_now=self.clock.wall_now())

    async def check_listed(self, listed: dict[str, str]) -> int:
        """Check those of the payments that the PSP lists (payment: charge) that are in no book here."""
        async with self.pool.acquire() as connection:
            unknown = await charges.list_unknown_charges(
                connection, psp_payments=list(listed), psp_charges=list(listed.values())
            )
        for psp_payment in unknown:
            await self.check(psp_payment=psp_payment)
        return len(unknown)
