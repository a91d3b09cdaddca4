"""The request to the PSP: intent committed, request sent, outcome recorded, or resolved later.

Owns: that one order, and for each kind of request how it is built from what is recorded, how it is looked up,
and what records its outcome. Must not know: SQL, when a request is made, what an outcome leads to.

The intent and its idempotency key are committed first. No transaction is open while the PSP is called. The
outcome is committed with all that follows from it. A repeat is the same request under the same key; once the
PSP has forgotten the key, the payment is looked up instead, and the request is sent again only where the
payment's own state makes a second effect impossible.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import asyncpg
import structlog

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id, new_id
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments import psp_request_repository, refund_repository, repository
from gateway.payments.errors import PaymentConflictError
from gateway.payments.outcomes import OutcomeRecorder, RecordedOutcome, SentRequest
from gateway.payments.policy import FeatureChoice, PaymentPolicy
from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.port import (
    PSP_CONFIGURATION,
    CaptureOutcome,
    ChargeOutcome,
    FeaturesRefused,
    Held,
    HoldOutcome,
    IncrementOutcome,
    PaymentStatus,
    Psp,
    PspCaptureRequest,
    PspChargeRequest,
    PspIncrementRequest,
    PspRefundRequest,
    PspVoidRequest,
    RefundOutcome,
    RequiresAction,
    VoidOutcome,
)
from gateway.payments.psp_holds import description_of, hold_request, idempotency_key
from gateway.payments.psp_incidents import FEATURES_REFUSED, PspIncidentLog, recorded_features
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    PspRequestKind,
    PspRequestRecord,
    PspRequestState,
    RefundRecord,
    SessionRecord,
)
from gateway.payments.state_machine import UNDECIDED_STATES, PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache

_T = TypeVar("_T")
_Subject = TypeVar("_Subject")
_Outcome = TypeVar("_Outcome")
_NEVER_REACHED: Final = Declined(code="never_reached_psp", retryable=True)
_LONG_UNANSWERED: Final = timedelta(days=1)
# Requests that a mistake of ours ends: nobody waits for them, or a session must go on without them. The
# others are owed, and are repeated until it is mended.
_ENDED_BY_MISTAKE: Final = frozenset(
    {PspRequestKind.HOLD, PspRequestKind.INCREMENT, PspRequestKind.HOLD_RENEWAL}
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
    shared: bool = False  # its outcome is written by a statement that calls share


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRequestService:
    """Makes requests to the PSP, and resolves those that were not answered."""

    pool: Pool
    psp: Psp
    clock: Clock
    snapshots: TariffSnapshotCache
    recorder: OutcomeRecorder
    policy: PaymentPolicy
    incidents: PspIncidentLog

    async def hold_features(self) -> list[str]:
        """What a new hold asks for beyond itself, as it is recorded with its intent."""
        return recorded_features(await self.incidents.features(self.psp.account, self.policy))

    def new(
        self,
        kind: PspRequestKind,
        authorization: AuthorizationRecord,
        *,
        amount_minor: int,
        subject_id: UUID | None = None,
        psp_payment: str | None = None,
        hold_features: Sequence[str] | None = None,
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
            hold_features=hold_features,
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
        first: bool = False,
        key: KeyClaim = UNKEYED,
    ) -> RecordedOutcome:
        """Send an intended request (`first`: it never was), record its outcome and with it `key`'s answer."""
        sent = SentRequest(
            request=request,
            authorization=authorization,
            session=session,
            tariff=await self.snapshots.reference(session.tariff_sha256),
            capture=capture,
            refund=refund,
            statement=self.policy.statement_of(cpo_id=session.cpo_id, location_id=session.location_id),
            key=key,
        )
        specification = SPECIFICATIONS[request.kind]
        age = self.clock.wall_now() - request.created_at
        outcome = await specification.run(self.psp, sent, age=age)
        if isinstance(outcome, FeaturesRefused):
            sent, outcome = await self._without_features(sent, specification)
        outcome = _ended(outcome, request.kind, first=first)
        if specification.shared and not isinstance(outcome, PspOutcomeUnknown):
            return await specification.record(self.recorder, None, sent, outcome)
        async with self.pool.acquire() as connection:
            if isinstance(outcome, PspOutcomeUnknown):
                return await self.recorder.record_unknown(connection, sent, outcome)
            return await specification.record(self.recorder, connection, sent, outcome)

    async def _without_features(
        self, sent: SentRequest, specification: "RequestSpecification[Any]"
    ) -> tuple[SentRequest, Any]:
        """The same hold once more without the features, under a key that is recorded before it is used.

        Where the operator has set a feature to `on`, its refusal is a mistake to be mended instead.
        """
        required = FeatureChoice.ON in {self.policy.increments, self.policy.over_capture}
        await self.incidents.report_refused_features(self.psp.account)
        request = sent.request
        if required or request.hold_features == []:
            detail = "the account may not have the features that the settings require"
            return sent, PspMisconfigured(code=FEATURES_REFUSED, detail=detail, definite=True)
        plain = replace(request, hold_features=[], key_number=request.key_number + 1)
        async with self.pool.acquire() as connection:
            await psp_request_repository.ask_without_features(
                connection, shard=plain.shard, request_id=plain.id, key_number=plain.key_number
            )
        again = replace(sent, request=plain)
        return again, await specification.send(self.psp, again)

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


def _ended(outcome: Any, kind: PspRequestKind, *, first: bool) -> Any:
    """An outcome as it is recorded: a mistake of ours ends the request, or it is repeated until it is mended.

    It ends only where it can't have had an effect: it was never sent before, or the PSP has read its key.
    """
    if not isinstance(outcome, PspMisconfigured):
        return outcome
    if kind in _ENDED_BY_MISTAKE and (first or outcome.definite):
        return Declined(code=PSP_CONFIGURATION, retryable=True)
    return PspOutcomeUnknown(reason=f"{PSP_CONFIGURATION}: {outcome.code}")


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
        description=description_of(sent),
        receipt_email=authorization.receipt_email,
        statement_suffix=sent.statement,
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


async def _find_hold(psp: Psp, sent: SentRequest) -> PaymentStatus:
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
            awaited_in=UNDECIDED_STATES,
            shared=True,
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
            awaited_in=UNDECIDED_STATES,
            shared=True,
        ),
        PspRequestKind.VOID: RequestSpecification(
            send=lambda psp, sent: psp.void(_void_request(sent)),
            find=_find_end,
            record=OutcomeRecorder.record_end,
            awaited_in=UNDECIDED_STATES,
            shared=True,
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
