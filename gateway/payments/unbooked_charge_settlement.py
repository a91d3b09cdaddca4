"""What was decided about a charge that is in no book here, carried out: adopted by its session, or refunded.

Owns: the order of the steps, each of which may be repeated. Must not know: HTTP, who decides, how clearing
works. A session that is not known here is rebuilt from the PSP's record, at the very tariff that was shown.
"""

from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid5

import asyncpg

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import format_id, in_shard, new_id
from gateway.payments import (
    cdr_correction_repository,
    presenters,
    psp_record,
    repository,
)
from gateway.payments import unbooked_charge_repository as charges
from gateway.payments.errors import PaymentConflictError, PaymentError
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.payment_port import PspPayment
from gateway.payments.psp.port import (
    Psp,
    PspRefundRequest,
    RefundOutcome,
)
from gateway.payments.psp_requests import PspOperation
from gateway.payments.quotes import QuoteService
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    SessionRecord,
)
from gateway.payments.refund import RefundReason, RefundRequest, RefundService
from gateway.payments.session_rebuild import CantRebuildSessionError, SessionRebuilder
from gateway.payments.state_machine import PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.unbooked_charge_repository import UnbookedCharge
from gateway.payments.unbooked_charge_state import UnbookedState
from gateway.payments.unbooked_charges import book_fee
from gateway.schemas.api_schemas import SessionState
from gateway.webhooks.events import event_rows

_REFUND: Final[PspOperation[tuple[PspRefundRequest, UUID], RefundOutcome]] = PspOperation(
    send=lambda psp, asked: psp.refund(asked[0]),
    find=lambda psp, asked: psp.find_refund(psp_charge=asked[0].psp_charge, refund_id=asked[1]),
)


class _CantAdoptError(Exception):
    """The charge can't become its session's capture; the text says why, and a person decides again."""


class _SessionChangedError(Exception):
    """Something else pays for the session, or the decision was changed: what was written is rolled back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbookedChargeSettlement:
    """Carries decisions out."""

    pool: Pool
    clock: Clock
    psp: Psp
    quotes: QuoteService
    snapshots: TariffSnapshotCache
    refunds: RefundService

    async def settle(self, *, psp_payment: str) -> str | None:
        """Carry out what was decided. None: done, or the session's CDR is awaited; else why not."""
        async with self.pool.acquire() as connection:
            charge = await charges.load_charge(connection, psp_payment=psp_payment)
        if charge is None:
            return None
        match charge.state:
            case UnbookedState.REFUNDING:
                return await self._refund(charge)
            case UnbookedState.ADOPTING:
                try:
                    return await self._adopt(charge)
                except _CantAdoptError as error:
                    await self._end(charge, UnbookedState.OPEN, detail=str(error))
                    return None
            case _:
                return None

    async def settle_session(self, *, shard: int, session_id: UUID) -> bool:
        """Adopt what was decided for a session before it had a price.

        False: nothing pays for the session, there is no such charge or it can't be adopted. Raises
        PaymentConflictError while it can't be adopted yet: nothing else may pay for the session until then.
        """
        async with self.pool.acquire() as connection:
            waiting = await charges.find_adopting(connection, shard=shard, session_id=session_id)
        if waiting is None:
            return False
        reason = await self.settle(psp_payment=waiting)
        if reason is not None:
            raise PaymentConflictError(reason)
        async with self.pool.acquire() as connection:
            return await charges.is_capture(connection, psp_payment=waiting)

    # Refund

    async def _refund(self, charge: UnbookedCharge) -> str | None:
        """Refund what is left of it, once; the PSP's fee stays, and is booked."""
        if charge.refund_id is None or charge.decided_at is None:
            return None
        request = PspRefundRequest(
            idempotency_key=f"nc_{format_id('ref', charge.refund_id)}",
            psp_charge=charge.psp_charge,
            amount_minor=charge.amount_minor - charge.refunded_minor,
            currency=charge.currency,
            metadata={"refund": format_id("ref", charge.refund_id)},
        )
        age = self.clock.wall_now() - charge.decided_at
        outcome = await _REFUND.run(self.psp, (request, charge.refund_id), age=age)
        if isinstance(outcome, PspOutcomeUnknown):
            return f"the PSP's answer about a refund: {outcome.reason}"
        if isinstance(outcome, Declined):
            await self._end(charge, UnbookedState.OPEN, detail=f"the PSP refused its refund: {outcome.code}")
            return None
        async with transaction(self.pool) as connection:
            await charges.end_charge(
                connection,
                psp_payment=charge.psp_payment,
                from_states=[UnbookedState.REFUNDING.value],
                state=UnbookedState.REFUNDED.value,
                psp_refund=outcome.psp_refund,
                detail="",
                now=self.clock.now(),
            )
            await book_fee(connection, charge, now=self.clock.now())
        return None

    # Adoption

    async def _adopt(self, charge: UnbookedCharge) -> str | None:
        if charge.session_id is None:
            raise _CantAdoptError("the PSP's record names no session")
        session_id = charge.session_id
        found = await self._session_of(charge, session_id)
        session, last, capture = found
        if session.price_minor is None:
            return None  # its CDR ends it; the capture task then comes back here
        if capture is None or capture.state == "failed":
            if last is not None and last.state not in {PaymentState.VOIDED, PaymentState.FAILED}:
                raise _CantAdoptError("its session has another authorization: refund it, or release that one")
            if charge.refunded_minor:
                raise _CantAdoptError("a part of it was refunded at the PSP: refund the rest")
            if session.price_minor == 0:
                raise _CantAdoptError("its session costs nothing: refund it")
            if not await self._capture(charge, session, last):
                return "its session, which has changed meanwhile"
            async with self.pool.acquire() as connection:
                capture = await repository.find_capture(connection, shard=charge.shard, session_id=session_id)
        if capture is None or capture.psp_charge != charge.psp_charge:
            raise _CantAdoptError("its session is paid by another payment: refund it")
        return await self._clear(charge, session, capture)

    async def _session_of(
        self, charge: UnbookedCharge, session_id: UUID
    ) -> tuple[SessionRecord, AuthorizationRecord | None, CaptureRecord | None]:
        async with self.pool.acquire() as connection:
            found = await repository.find_session_with_payment(
                connection, shard=charge.shard, session_id=session_id
            )
        if found is None:
            await self._rebuild(charge, session_id)
            async with self.pool.acquire() as connection:
                found = await repository.find_session_with_payment(
                    connection, shard=charge.shard, session_id=session_id
                )
        if found is None:
            raise _CantAdoptError("its session could not be rebuilt")
        if found[0].currency != charge.currency:
            raise _CantAdoptError(f"its session is priced in {found[0].currency}: refund it")
        return found

    async def _capture(
        self, charge: UnbookedCharge, session: SessionRecord, last: AuthorizationRecord | None
    ) -> bool:
        """Write the authorization and the capture that the charge stands for; False: the session changed."""
        now = self.clock.now()
        price = session.price_minor or 0
        authorization_id = in_shard(uuid5(session.id, f"adopted {charge.psp_payment}"), charge.shard)
        authorization = await self._authorization(charge, session, last, authorization_id)
        capture = CaptureRecord(
            shard=charge.shard,
            session_id=session.id,
            id=new_id(shard=charge.shard),
            authorization_id=authorization_id,
            state="succeeded",
            amount_minor=charge.amount_minor,
            receivable_minor=max(price - charge.amount_minor, 0),
            currency=session.currency,
            psp_charge=charge.psp_charge,
            fee_minor=charge.fee_minor,
            fee_currency=charge.fee_currency,
            residual_charge_minor=0,
            refunded_minor=0,
            disputed_minor=0,
            captured_at=now,
            created_at=now,
        )
        tariff = await self.snapshots.reference(session.tariff_sha256)
        events = presenters.authorization_events(authorization, session, tariff=tariff)
        events += presenters.capture_events(capture, session)
        try:
            async with transaction(self.pool) as connection:
                adopted = await charges.adopt_charge(
                    connection,
                    shard=charge.shard,
                    session_id=session.id,
                    price_minor=price,
                    authorization_id=authorization_id,
                    party_id=authorization.party_id,
                    authorization_method=authorization.authorization_method,
                    payment_method=authorization.payment_method,
                    customer=authorization.customer,
                    metadata=dict(authorization.metadata),
                    capture_id=capture.id,
                    amount_minor=capture.amount_minor,
                    receivable_minor=capture.receivable_minor,
                    psp_payment=charge.psp_payment,
                    psp_charge=charge.psp_charge,
                    fee_minor=charge.fee_minor,
                    fee_currency=charge.fee_currency,
                    events=event_rows(events),
                    task_id=new_id(shard=charge.shard),
                    now=now,
                    wall_now=self.clock.wall_now(),
                )
                _reject_change(adopted=adopted)
        except (_SessionChangedError, asyncpg.UniqueViolationError):  # another payment of it was faster
            return False
        return True

    async def _authorization(
        self,
        charge: UnbookedCharge,
        session: SessionRecord,
        last: AuthorizationRecord | None,
        authorization_id: UUID,
    ) -> AuthorizationRecord:
        """What secured the charge: as the session's last authorization, else as the PSP's record says."""
        now = self.clock.now()
        if last is not None and last.funding == "psp":
            return replace(
                last,
                id=authorization_id,
                state=PaymentState.CAPTURED,
                version=1,
                hold_minor=charge.amount_minor,
                psp_payment=charge.psp_payment,
                decline_code=None,
                next_action=None,
                created_at=now,
                updated_at=now,
            )
        payment = await self._payment(charge)
        return AuthorizationRecord(
            shard=charge.shard,
            id=authorization_id,
            session_id=session.id,
            party_id=session.demand_partner_id,
            authorization_method=psp_record.read(payment.metadata).authorization_method,
            funding="psp",
            account_party_id=None,
            state=PaymentState.CAPTURED,
            version=1,
            hold_minor=charge.amount_minor,
            currency=charge.currency,
            payment_method=payment.payment_method,
            customer=payment.customer,
            off_session=False,
            psp_payment=charge.psp_payment,
            capture_before=None,
            incrementable=False,
            max_capture_minor=None,
            next_action=None,
            decline_code=None,
            metadata={},
            created_at=now,
            updated_at=now,
        )

    async def _clear(
        self, charge: UnbookedCharge, session: SessionRecord, capture: CaptureRecord
    ) -> str | None:
        """Refund what was captured above the price, then hand the session to clearing."""
        kept = capture.amount_minor - capture.refunded_minor - capture.disputed_minor
        excess = kept - (session.price_minor or 0)
        if excess > 0:
            try:
                refund = await self.refunds.refund(
                    RefundRequest(
                        refund_id=uuid5(session.id, f"above the price {charge.psp_payment}"),
                        session_id=session.id,
                        amount_minor=excess,
                        reason=RefundReason.CDR_CORRECTED,
                        up_to=True,
                    ),
                    party_id=None,
                )
            except PaymentError as error:
                return f"the refund of what was captured above the price: {error}"
            if refund.state == "requested":
                return "the PSP's answer about the refund of what was captured above the price"
        async with transaction(self.pool) as connection:
            handed = await cdr_correction_repository.retry_clearing(
                connection, session_id=session.id, now=self.clock.now(), wall_now=self.clock.wall_now()
            )
            after = await repository.find_session(connection, shard=charge.shard, session_id=session.id)
        # It may be cleared already: another CDR has made its price what was captured.
        if not handed and (after is None or after.state is not SessionState.CLEARED):
            return "clearing, which has the session at this moment"
        await self._end(charge, UnbookedState.ADOPTED)
        return None

    # Rebuilding

    async def _payment(self, charge: UnbookedCharge) -> PspPayment:
        payment = await self.psp.read_payment(psp_payment=charge.psp_payment)
        if isinstance(payment, PspOutcomeUnknown):
            raise PaymentConflictError(f"the PSP did not answer about a payment: {payment.reason}")
        if isinstance(payment, Declined):
            raise _CantAdoptError(f"the PSP does not find the payment: {payment.code}")
        return payment

    async def _rebuild(self, charge: UnbookedCharge, session_id: UUID) -> None:
        """Write a session that is not known here. Raises _CantAdoptError."""
        payment = await self._payment(charge)
        rebuilder = SessionRebuilder(
            pool=self.pool, clock=self.clock, quotes=self.quotes, snapshots=self.snapshots
        )
        try:
            await rebuilder.rebuild(payment, session_id=session_id)
        except CantRebuildSessionError as error:
            raise _CantAdoptError(str(error)) from error

    async def _end(self, charge: UnbookedCharge, state: UnbookedState, *, detail: str = "") -> None:
        async with transaction(self.pool) as connection:
            await charges.end_charge(
                connection,
                psp_payment=charge.psp_payment,
                from_states=[charge.state.value],
                state=state.value,
                psp_refund=None,
                detail=detail,
                now=self.clock.now(),
            )


def _reject_change(*, adopted: bool) -> None:
    if not adopted:
        raise _SessionChangedError
