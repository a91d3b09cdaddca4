"""The request to the PSP: intent committed, request sent, outcome recorded, or resolved later.

Owns: that one order, and for each kind of request how it is built from what is recorded, how it is looked up,
and what records its outcome. Must not know: SQL, when a request is made, what an outcome leads to.

The intent and its idempotency key are committed first. No transaction is open while the PSP is called. The
outcome is committed with all that follows from it. A repeat is the same request under the same key; once the
PSP has forgotten the key, the payment is looked up instead, and the request is sent again only where the
payment's own state makes a second effect impossible.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import asyncpg
import structlog

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id, new_id
from gateway.payments import refund_repository, repository
from gateway.payments.errors import InvalidPaymentRequestError, PaymentConflictError
from gateway.payments.outcomes import OutcomeRecorder, RecordedOutcome, SentRequest
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp.port import (
    Captured,
    CaptureOutcome,
    ChargeOutcome,
    Declined,
    Held,
    HoldOutcome,
    IncrementOutcome,
    Psp,
    PspCaptureRequest,
    PspChargeRequest,
    PspHoldRequest,
    PspIncrementRequest,
    PspOutcomeUnknown,
    PspRefundRequest,
    PspVoidRequest,
    RefundOutcome,
    RequiresAction,
    Voided,
    VoidOutcome,
)
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    PspRequestKind,
    PspRequestRecord,
    PspRequestState,
    RefundRecord,
    SessionRecord,
)
from gateway.payments.state_machine import PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache

_T = TypeVar("_T")
_Subject = TypeVar("_Subject")
_Outcome = TypeVar("_Outcome")
_NEVER_REACHED: Final = Declined(code="never_reached_psp", retryable=True)
_LONG_UNANSWERED: Final = timedelta(days=1)
# What an authorization is in while a request is open that decides about it.
_AWAITS_OUTCOME: Final = frozenset(
    {PaymentState.REQUIRES_AUTHORIZATION, PaymentState.CAPTURE_REQUESTED, PaymentState.OUTCOME_UNKNOWN}
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PspOperation(Generic[_Subject, _Outcome]):
    """How a request is sent, and how it is looked up once the PSP has forgotten its key.

    `find` answers None where the request may be sent again under its old key.
    """

    send: Callable[[Psp, _Subject], Awaitable[_Outcome]]
    find: Callable[[Psp, _Subject], Awaitable[_Outcome | None]]

    async def run(
        self,
        psp: Psp,
        subject: _Subject,
        *,
        age: timedelta,
        renew_key: Callable[[], Awaitable[None]] | None = None,
    ) -> _Outcome:
        """Send a request intended `age` ago, or look it up. `renew_key` runs before it is sent late."""
        if age >= psp.rules.key_lifetime:
            found = await self.find(psp, subject)
            if found is not None:
                return found
            if renew_key is not None:
                await renew_key()
        return await self.send(psp, subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSpecification(PspOperation[SentRequest, _Outcome]):
    """One kind of recorded request. `record` commits an outcome that is known.

    `awaited_in` are the states in which the authorization waits for the outcome; None: it waits in none.
    """

    record: Callable[[OutcomeRecorder, Any, SentRequest, Any], Awaitable[RecordedOutcome]]
    awaited_in: frozenset[PaymentState] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRequestService:
    """Makes requests to the PSP, and resolves those that were not answered."""

    pool: Pool
    psp: Psp
    clock: Clock
    snapshots: TariffSnapshotCache
    recorder: OutcomeRecorder
    policy: PaymentPolicy

    def new(
        self,
        kind: PspRequestKind,
        authorization: AuthorizationRecord,
        *,
        amount_minor: int,
        subject_id: UUID | None = None,
        psp_payment: str | None = None,
    ) -> PspRequestRecord:
        """A request that is about to be intended."""
        return PspRequestRecord(
            shard=authorization.shard,
            id=new_id(shard=authorization.shard),
            session_id=authorization.session_id,
            authorization_id=authorization.id,
            kind=kind,
            state=PspRequestState.INTENDED,
            amount_minor=amount_minor,
            attempts=0,
            created_at=self.clock.wall_now(),
            subject_id=subject_id,
            psp_payment=psp_payment,
        )

    async def record_intent(
        self, statement: Callable[..., Awaitable[_T]], request: PspRequestRecord, **fields: Any
    ) -> _T | None:
        """Commit an intent by its statement. None: another request of the authorization is open."""
        try:
            async with self.pool.acquire() as connection:
                return await statement(
                    connection,
                    shard=request.shard,
                    request_id=request.id,
                    amount_minor=request.amount_minor,
                    next_attempt_at=request.created_at + self.policy.call_grace,
                    wall_now=request.created_at,
                    **fields,
                )
        except asyncpg.UniqueViolationError:
            return None

    async def send(
        self,
        request: PspRequestRecord,
        *,
        authorization: AuthorizationRecord,
        session: SessionRecord,
        capture: CaptureRecord | None = None,
        refund: RefundRecord | None = None,
    ) -> RecordedOutcome:
        """Send an intended request, for the first time or again, and record its outcome."""
        sent = SentRequest(
            request=request,
            authorization=authorization,
            session=session,
            tariff=await self.snapshots.reference(session.tariff_sha256),
            capture=capture,
            refund=refund,
        )
        specification = SPECIFICATIONS[request.kind]
        age = self.clock.wall_now() - request.created_at
        outcome = await specification.run(self.psp, sent, age=age)
        async with self.pool.acquire() as connection:
            if isinstance(outcome, PspOutcomeUnknown):
                return await self.recorder.record_unknown(connection, sent, outcome)
            return await specification.record(self.recorder, connection, sent, outcome)

    async def resolve(self, request: PspRequestRecord) -> None:
        """Send a request again that was not answered, or look it up, and record the outcome."""
        refund = None
        async with self.pool.acquire() as connection:
            found = await repository.find_authorization_with_session(
                connection, shard=request.shard, authorization_id=request.authorization_id
            )
            capture = await repository.find_capture(
                connection, shard=request.shard, session_id=request.session_id
            )
            if request.subject_id is not None:
                refund = await refund_repository.load(
                    connection, shard=request.shard, refund_id=request.subject_id
                )
        if found is None:
            return
        awaited_in = SPECIFICATIONS[request.kind].awaited_in
        if awaited_in is not None and found[0].state not in awaited_in:
            return
        age = self.clock.wall_now() - request.created_at
        if age > _LONG_UNANSWERED:
            _log.error(
                "psp_request_unanswered",
                request=format_id("call", request.id),
                kind=request.kind.value,
                age_s=int(age.total_seconds()),
            )
        await self.send(request, authorization=found[0], session=found[1], capture=capture, refund=refund)


def idempotency_key(request: PspRequestRecord) -> str:
    """The idempotency key of a request: from its row's id, so it never changes on retry."""
    return f"nc_{format_id('call', request.id)}"


def hold_request(sent: SentRequest) -> PspHoldRequest:
    """A hold, or its renewal, as it was intended: the same fields at every attempt."""
    authorization = sent.authorization
    if authorization.payment_method is None:
        raise InvalidPaymentRequestError(
            f"authorization {format_id('auth', authorization.id)} has no payment method"
        )
    return PspHoldRequest(
        idempotency_key=idempotency_key(sent.request),
        session_id=authorization.session_id,
        authorization_id=authorization.id,
        amount_minor=sent.request.amount_minor,
        currency=authorization.currency,
        payment_method=authorization.payment_method,
        customer=authorization.customer,
        off_session=authorization.off_session,
        return_url=authorization.return_url,
        metadata={
            "party": authorization.party_id,
            "authorization_method": authorization.authorization_method,
        },
    )


def _increment_request(sent: SentRequest) -> PspIncrementRequest:
    return PspIncrementRequest(
        idempotency_key=idempotency_key(sent.request),
        psp_payment=_payment(sent),
        amount_minor=sent.request.amount_minor,
        currency=sent.authorization.currency,
    )


def _capture_request(sent: SentRequest) -> PspCaptureRequest:
    if sent.capture is None:
        raise PaymentConflictError(f"session {format_id('ses', sent.session.id)} has no capture to request")
    return PspCaptureRequest(
        idempotency_key=idempotency_key(sent.request),
        psp_payment=_payment(sent),
        amount_minor=sent.request.amount_minor,
        currency=sent.authorization.currency,
        metadata={"capture": format_id("cap", sent.capture.id)},
    )


def _void_request(sent: SentRequest) -> PspVoidRequest:
    return PspVoidRequest(idempotency_key=idempotency_key(sent.request), psp_payment=_payment(sent))


def _charge_request(sent: SentRequest) -> PspChargeRequest:
    authorization = sent.authorization
    if authorization.customer is None or authorization.payment_method is None:
        raise PaymentConflictError(f"authorization {format_id('auth', authorization.id)} has no mandate")
    return PspChargeRequest(
        idempotency_key=idempotency_key(sent.request),
        session_id=authorization.session_id,
        authorization_id=authorization.id,
        amount_minor=sent.request.amount_minor,
        currency=authorization.currency,
        payment_method=authorization.payment_method,
        customer=authorization.customer,
    )


def _refund_request(sent: SentRequest) -> PspRefundRequest:
    return PspRefundRequest(
        idempotency_key=idempotency_key(sent.request),
        psp_charge=_charge(sent),
        amount_minor=sent.request.amount_minor,
        currency=sent.authorization.currency,
        metadata={
            "refund": format_id("ref", _refund(sent).id),
            "session": format_id("ses", sent.session.id),
        },
    )


def _payment(sent: SentRequest) -> str:
    """The payment at the PSP: the one that the request names, else the authorization's."""
    payment = sent.request.psp_payment or sent.authorization.psp_payment
    if payment is None:
        raise PaymentConflictError(
            f"authorization {format_id('auth', sent.authorization.id)} has no PSP payment"
        )
    return payment


def _charge(sent: SentRequest) -> str:
    """The charge that a refund is made from: the one that the request names, else the capture's."""
    charge = sent.request.psp_payment or (sent.capture.psp_charge if sent.capture else None)
    if charge is None:
        raise PaymentConflictError(
            f"the capture of session {format_id('ses', sent.session.id)} has no charge at the PSP"
        )
    return charge


def _refund(sent: SentRequest) -> RefundRecord:
    if sent.refund is None:
        raise PaymentConflictError(f"session {format_id('ses', sent.session.id)} has no such refund")
    return sent.refund


async def _find_hold(psp: Psp, sent: SentRequest) -> HoldOutcome | Captured | Voided:
    return await psp.find_hold(authorization_id=sent.authorization.id) or _NEVER_REACHED


async def _find_renewal(psp: Psp, sent: SentRequest) -> HoldOutcome:
    """The latest payment at the PSP: if it is still the first hold, the renewal never reached the PSP."""
    match await psp.find_hold(authorization_id=sent.authorization.id):
        case PspOutcomeUnknown() as unknown:
            return unknown
        case Held(psp_payment=payment) as held if payment != sent.authorization.psp_payment:
            return held
        case _:
            return Declined(code="renewal_not_answered", retryable=True)


async def _find_increment(psp: Psp, sent: SentRequest) -> IncrementOutcome | None:
    """The hold as it is; only one that is still too low is raised by a request of its own.

    A hold that is as high already would be rejected as no increment, and what it covers not captured.
    """
    match await psp.inspect(psp_payment=_payment(sent)):
        case Held(amount_minor=held) if held < sent.request.amount_minor:
            return None
        case (Held() | PspOutcomeUnknown()) as outcome:
            return outcome
        case _:
            return Declined(code="hold_ended", retryable=False)


async def _find_end(psp: Psp, sent: SentRequest) -> CaptureOutcome | VoidOutcome | None:
    """What became of the payment. Where the PSP still holds the funds the request never took effect.

    It may then be sent: the payment's own state, not a key, makes a second effect impossible.
    """
    match await psp.inspect(psp_payment=_payment(sent)):
        case Held() | RequiresAction():
            return None
        case outcome:
            return outcome


async def _find_charge(psp: Psp, sent: SentRequest) -> ChargeOutcome:
    return await psp.find_charge(authorization_id=sent.authorization.id) or _NEVER_REACHED


async def _find_refund(psp: Psp, sent: SentRequest) -> RefundOutcome:
    found = await psp.find_refund(psp_charge=_charge(sent), refund_id=_refund(sent).id)
    return found or _NEVER_REACHED


async def _send_again(_psp: Psp, _sent: SentRequest) -> None:
    """A hold can be released any number of times."""


SPECIFICATIONS: Final[Mapping[PspRequestKind, RequestSpecification[Any]]] = MappingProxyType(
    {
        PspRequestKind.HOLD: RequestSpecification(
            send=lambda psp, sent: psp.hold(hold_request(sent)),
            find=_find_hold,
            record=OutcomeRecorder.record_hold,
            awaited_in=_AWAITS_OUTCOME,
        ),
        PspRequestKind.INCREMENT: RequestSpecification(
            send=lambda psp, sent: psp.increment(_increment_request(sent)),
            find=_find_increment,
            record=OutcomeRecorder.record_increment,
        ),
        PspRequestKind.CAPTURE: RequestSpecification(
            send=lambda psp, sent: psp.capture(_capture_request(sent)),
            find=_find_end,
            record=OutcomeRecorder.record_end,
            awaited_in=_AWAITS_OUTCOME,
        ),
        PspRequestKind.VOID: RequestSpecification(
            send=lambda psp, sent: psp.void(_void_request(sent)),
            find=_find_end,
            record=OutcomeRecorder.record_end,
            awaited_in=_AWAITS_OUTCOME,
        ),
        PspRequestKind.RESIDUAL_CHARGE: RequestSpecification(
            send=lambda psp, sent: psp.charge(_charge_request(sent)),
            find=_find_charge,
            record=OutcomeRecorder.record_residual_charge,
        ),
        PspRequestKind.REFUND: RequestSpecification(
            send=lambda psp, sent: psp.refund(_refund_request(sent)),
            find=_find_refund,
            record=OutcomeRecorder.record_refund,
        ),
        PspRequestKind.HOLD_RENEWAL: RequestSpecification(
            send=lambda psp, sent: psp.hold(hold_request(sent)),
            find=_find_renewal,
            record=OutcomeRecorder.record_hold_renewal,
        ),
        PspRequestKind.HOLD_RELEASE: RequestSpecification(
            send=lambda psp, sent: psp.void(_void_request(sent)),
            find=_send_again,
            record=OutcomeRecorder.record_hold_release,
        ),
    }
)
