"""Refund captured money: in full or part, several times, never more than was captured.

Owns: what may be refunded, from which charge, and what the PSP reports of refunds. Must not know: who is
charged for it, how clearing reverses the split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id, in_shard, new_id, shard_of
from gateway.payments import presenters, psp_request_repository, refund_repository, repository
from gateway.payments.errors import (
    InvalidPaymentRequestError,
    NotFoundError,
    PaymentConflictError,
    PspRequestOpenError,
    RefundBoundError,
)
from gateway.payments.psp.dispute_port import ReversalUpdate
from gateway.payments.psp_requests import PspRequestService
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    PspRequestKind,
    PspRequestRecord,
    RefundRecord,
    SessionRecord,
)
from gateway.webhooks import events
from gateway.webhooks.events import event_rows


class RefundReason(StrEnum):
    """Why money is refunded."""

    REQUESTED_BY_DRIVER = "requested_by_driver"
    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"
    CDR_CORRECTED = "cdr_corrected"
    REVERSED_BY_PSP = "reversed_by_psp"  # the PSP refunded it without our request


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """Refund `amount_minor` (None: all that is left) of a session's capture.

    The same `refund_id` is the same refund. The residual charge is a charge of its own, refunded by a refund
    of its own; with `up_to` less is refunded where one charge does not cover the whole.
    `from_residual`: from the residual charge where it covers the amount, because the hold's refuses refunds.
    """

    refund_id: UUID
    session_id: UUID
    amount_minor: int | None
    reason: RefundReason
    metadata: Mapping[str, str] = field(default_factory=dict)
    up_to: bool = False
    from_residual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Captured:
    """A capture and, where there was one, the residual charge with what is refunded of it."""

    session: SessionRecord
    authorization: AuthorizationRecord
    capture: CaptureRecord
    residual_charge: str | None
    residual_refunded_minor: int

    def left(self) -> tuple[int, int]:
        """What may still be refunded of the captured hold, and of the residual charge."""
        one = self.capture
        left = max(one.amount_minor - one.refunded_minor - one.disputed_minor, 0)
        if self.residual_charge is None:
            return left, 0
        held = (
            one.amount_minor - one.residual_charge_minor - (one.refunded_minor - self.residual_refunded_minor)
        )
        return min(left, held), min(left, one.residual_charge_minor - self.residual_refunded_minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundService:
    """Refunds captures. `party_id` None is the platform."""

    pool: Pool
    clock: Clock
    psp_requests: PspRequestService

    async def refund(self, request: RefundRequest, *, party_id: str | None) -> RefundRecord:
        """Refund money.

        Raises NotFoundError, RefundBoundError, InvalidPaymentRequestError, PaymentConflictError.
        """
        shard = shard_of(request.session_id)
        refund_id = in_shard(request.refund_id, shard)
        async with self.pool.acquire() as connection:
            captured = await self._captured(connection, request.session_id, party_id)
            existing = await refund_repository.load(connection, shard=shard, refund_id=refund_id)
            if existing is not None:
                return existing
            if await refund_repository.is_residual_charge_due(
                connection, shard=shard, session_id=request.session_id
            ):
                raise PspRequestOpenError(
                    "the PSP has not answered the residual charge of the session yet; refund it afterwards"
                )
        refund, charge = self._new_refund(request, refund_id, captured)
        psp_request = self.psp_requests.new(
            PspRequestKind.REFUND,
            captured.authorization,
            amount_minor=refund.amount_minor,
            subject_id=refund.id,
            psp_payment=charge,
        )
        await self._intend(psp_request, refund, captured)
        if captured.authorization.funding == "psp":
            await self.psp_requests.send(
                psp_request,
                authorization=captured.authorization,
                session=captured.session,
                capture=captured.capture,
                refund=refund,
            )
        async with self.pool.acquire() as connection:
            return await refund_repository.load(connection, shard=shard, refund_id=refund_id) or refund

    async def is_unanswered(self, *, shard: int, session_id: UUID) -> bool:
        """Whether a refund of the session is not answered yet: what is kept is not known until then."""
        async with self.pool.acquire() as connection:
            return await refund_repository.has_unanswered_refund(
                connection, shard=shard, session_id=session_id
            )

    async def handle_failed_refund(self, psp_refund: str, *, psp_payment: str) -> str | None:
        """The card's bank returned a refund: it is undone. None: done; else what it waits for."""
        async with transaction(self.pool) as connection:
            found = await repository.find_session_by_foreign_id(
                connection, kind="psp_payment", foreign_id=psp_payment
            )
            if found is None:
                return None
            shard, session_id = found
            refund = await refund_repository.find_by_psp_id(
                connection, shard=shard, session_id=session_id, psp_refund=psp_refund
            )
            session = await repository.find_session(connection, shard=shard, session_id=session_id)
            if refund is None or session is None:
                unanswered = await refund_repository.has_unanswered_refund(
                    connection, shard=shard, session_id=session_id
                )
                return "a refund whose outcome is not recorded yet" if unanswered else None
            after = replace(refund, state="failed", failure_code="sent_back")
            await refund_repository.fail_refund(
                connection,
                shard=shard,
                refund_id=after.id,
                failure_code=after.failure_code,
                task_id=new_id(shard=shard),
                events=event_rows(presenters.refund_events(after, session)),
                now=self.clock.now(),
                wall_now=self.clock.wall_now(),
            )
        return None

    async def record_reversal(self, update: ReversalUpdate, *, shard: int, session_id: UUID) -> str | None:
        """Record a refund that the PSP made without our request; a repeat does nothing.

        None: done; else what it waits for: a capture or a refund of ours that the PSP has not answered yet.
        """
        now, wall = self.clock.now(), self.clock.wall_now()
        refund_id = new_id(shard=shard)
        async with transaction(self.pool) as connection:
            recorded = await refund_repository.record_reversal(
                connection,
                shard=shard,
                session_id=session_id,
                refund_id=refund_id,
                amount_minor=update.amount_minor,
                psp_refund=update.psp_refund,
                task_id=new_id(shard=shard),
                now=now,
                wall_now=wall,
            )
            refund = await refund_repository.find_by_psp_id(
                connection, shard=shard, session_id=session_id, psp_refund=update.psp_refund
            )
            session = await repository.find_session(connection, shard=shard, session_id=session_id)
            if recorded and refund is not None and session is not None:
                await events.record(connection, presenters.refund_events(refund, session), now=now)
        return None if refund is not None else "a refund of more than is captured here and not refunded yet"

    async def get(self, *, party_id: str | None, refund_id: UUID) -> RefundRecord:
        """One refund. Raises NotFoundError when there is none or it is another party's."""
        async with self.pool.acquire() as connection:
            found = await refund_repository.load(connection, shard=shard_of(refund_id), refund_id=refund_id)
            if found is None or not await repository.is_shown_to(
                connection, party_id, shard=found.shard, session_id=found.session_id
            ):
                raise NotFoundError(f"no refund {format_id('ref', refund_id)}")
        return found

    async def list(
        self, *, party_id: str | None, session_id: UUID | None, before: UUID | None, limit: int
    ) -> Sequence[RefundRecord]:
        """A page of refunds, newest first."""
        async with self.pool.acquire() as connection:
            return await refund_repository.list_refunds(
                connection, party_id=party_id, session_id=session_id, before=before, limit=limit
            )

    async def _captured(self, connection: Connection, session_id: UUID, party_id: str | None) -> _Captured:
        """What may be refunded, and by whom: the demand partner's driver paid it. Raises NotFoundError."""
        shard = shard_of(session_id)
        session = await repository.find_session(connection, shard=shard, session_id=session_id)
        if session is None or party_id not in {None, session.demand_partner_id}:
            raise NotFoundError(f"no session {format_id('ses', session_id)}")
        capture = await repository.find_capture(connection, shard=shard, session_id=session_id)
        if capture is None or capture.state != "succeeded":
            raise PaymentConflictError(f"session {format_id('ses', session_id)} has no capture to refund")
        authorization = await repository.find_authorization(
            connection, shard=shard, authorization_id=capture.authorization_id
        )
        if authorization is None:
            raise NotFoundError(f"no authorization {format_id('auth', capture.authorization_id)}")
        residual = None
        if capture.residual_charge_minor > 0:
            residual = await refund_repository.find_residual_charge(
                connection, shard=shard, session_id=session_id
            )
        return _Captured(
            session=session,
            authorization=authorization,
            capture=capture,
            residual_charge=residual[0] if residual else None,
            residual_refunded_minor=residual[1] if residual else 0,
        )

    def _new_refund(
        self, request: RefundRequest, refund_id: UUID, captured: _Captured
    ) -> tuple[RefundRecord, str | None]:
        """The refund, and the charge it is made from: None the capture's own, else the residual charge."""
        capture = captured.capture
        of_hold, of_residual = captured.left()
        most = max(of_hold, of_residual)
        amount = (of_hold or of_residual) if request.amount_minor is None else request.amount_minor
        step = (
            self.psp_requests.psp.rules.amounts.step(capture.currency)
            if captured.authorization.funding == "psp"
            else 1
        )
        if request.up_to:  # at least so much that no more than the price is kept
            amount = min(amount + -amount % step, most)
        if amount % step:
            raise InvalidPaymentRequestError(
                f"a refund of {amount} minor units of {capture.currency}: the PSP takes multiples of {step}"
            )
        if not 0 < amount <= most:
            parts = f"; {of_hold} and {of_residual} of its two charges" if captured.residual_charge else ""
            raise RefundBoundError(
                f"a refund of {amount} minor units is outside 1 to {most}, what is left of the capture{parts}"
            )
        refund = RefundRecord(
            shard=capture.shard,
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
        of_the_residual = amount > of_hold or (request.from_residual and amount <= of_residual)
        return refund, captured.residual_charge if of_the_residual else None

    async def _intend(self, request: PspRequestRecord, refund: RefundRecord, captured: _Captured) -> None:
        """Commit the refund's intent; on a funded account, the refund itself."""
        intended = await self.psp_requests.record_intent(
            psp_request_repository.request_refund,
            request,
            session_id=refund.session_id,
            refund_id=refund.id,
            funding=captured.authorization.funding,
            account_party_id=captured.authorization.account_party_id,
            reason=refund.reason,
            metadata=dict(refund.metadata),
            residual_charge=request.psp_payment,
            residual_refunded_minor=captured.residual_refunded_minor,
            task_id=new_id(shard=refund.shard),
            events=event_rows(presenters.refund_events(refund, captured.session)),
            now=refund.created_at,
        )
        if intended is None:
            raise PspRequestOpenError(
                "a request to the PSP is open for this session; try again in a few seconds"
            )
        if not intended:
            raise RefundBoundError(
                "the refund is larger than the rest of the capture; read the capture again"
            )
