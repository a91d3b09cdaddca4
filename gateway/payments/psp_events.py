"""Events that the PSP sends: kept once, and what each means for a payment of ours.

Owns: which service an event is for. Must not know: HTTP, how an event was delivered, what clearing does with
it. An event only says what to read: what counts is what the PSP answers when the payment is read.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import SHARD_COUNT, new_id, shard_of
from gateway.payments import psp_request_repository, repository
from gateway.payments.capture import CaptureService
from gateway.payments.dispute import DisputeService
from gateway.payments.errors import PaymentConflictError, VersionConflictError
from gateway.payments.funding import FundingService
from gateway.payments.outcomes import OutcomeRecorder
from gateway.payments.payers import PayerService
from gateway.payments.psp.dispute_port import RefundState, ReversalUpdate
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import (
    HOSTED_PAGE,
    Captured,
    Held,
    Psp,
    PspEvent,
    PspEventKind,
    PspIncident,
    Voided,
)
from gateway.payments.psp_event_repository import PspEventRepository
from gateway.payments.psp_requests import PspRequestService
from gateway.payments.records import AuthorizationRecord, PspRequestState, SessionRecord
from gateway.payments.refund import RefundService
from gateway.payments.state_machine import PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.unbooked_charges import UnbookedChargeService

_SHARD_OF_RELEASE_BEFORE: Final = 0  # of a gateway that names no shard, with its task elsewhere
UNREADABLE_EVENT: Final = "unreadable_event"
OTHER_AMOUNT_HELD: Final = "other_amount_held"
MAX_ATTEMPTS_BY_EVENTS: Final = 3  # attempts at a request before only its own schedule repeats it


@dataclass(frozen=True, slots=True, kw_only=True)
class PspEventHandler:
    """Keeps the PSP's events and handles them."""

    pool: Pool
    kept: PspEventRepository
    clock: Clock
    psp: Psp
    snapshots: TariffSnapshotCache
    outcomes: OutcomeRecorder
    psp_requests: PspRequestService
    captures: CaptureService
    refunds: RefundService
    disputes: DisputeService
    payers: PayerService

    @property
    def funding(self) -> FundingService:
        """Books top-ups when they arrive."""
        return FundingService(pool=self.pool, clock=self.clock, psp=self.psp)

    @property
    def unbooked(self) -> UnbookedChargeService:
        """Finds money at the PSP that is in no book here."""
        return UnbookedChargeService(pool=self.pool, clock=self.clock, psp=self.psp)

    async def receive_webhook(self, *, body: bytes, signature: str) -> None:
        """Keep one authentic event, once, and leave it to the worker. Raises WebhookRejectedError."""
        await self.keep_event(self.psp.read_event(body=body, signature=signature), body, with_others=True)

    async def keep_event(self, event: PspEvent, body: bytes, *, with_others: bool = False) -> bool:
        """Keep an authentic event once, with a task for the worker. False: it was kept before, or is not.

        One that can change nothing here is not kept. One of which nothing can be made is, and the operator
        learns of it. `with_others`: it may wait a moment, to be kept by one statement with others.
        """
        if not event.relevant:
            return False
        if event.problem is not None:
            detail = f"event {event.id} ({event.psp_type}): {event.problem}"
            await self.psp_requests.incidents.report(
                PspIncident(code=UNREADABLE_EVENT, detail=detail, account=self.psp.account)
            )
        shard = shard_of_event(event)
        session = event.session_id
        if session is None and event.psp_payment is not None and not _returns_money(event):
            async with self.pool.acquire() as connection:
                found = await repository.find_session_by_foreign_id(
                    connection, kind="psp_payment", foreign_id=event.psp_payment
                )
            session = found[1] if found else None
        return await self.kept.keep(
            with_others=with_others,
            event_shard=shard,
            id=event.id,
            type=event.psp_type,
            body=self.psp.kept_body(body, whole=event.problem is not None),
            received_at=self.clock.wall_now(),
            task_id=new_id(shard=shard),
            shard=shard if session is None else shard_of(session),
            session_id=session,
            psp_payment=event.psp_payment,
            psp_setup=event.psp_setup,
            detached_method=event.detached_method,
            attached_method=event.attached_method,
            updated_method=event.updated_method,
            psp_topup=event.psp_topup,
            revoked_mandate=event.revoked_mandate,
            connected_account=event.connected_account,
            always=_returns_money(event),
            ended=event.kind is PspEventKind.HOLD_ENDED,
            captured=event.kind is PspEventKind.MONEY_CAPTURED,
        )

    async def find_new(self, events: Sequence[PspEvent]) -> list[PspEvent]:
        """Those of the events that are kept where they come by webhook, and were not."""
        wanted = [event for event in events if event.relevant]
        if not wanted:
            return []
        async with self.pool.acquire() as connection:
            known = await repository.find_kept_psp_events(
                connection, [(shard_of_event(event), event.id) for event in wanted]
            )
        return [event for event in wanted if event.id not in known]

    async def handle_event(self, event_id: str, *, shard: int) -> str | None:
        """The worker's task: what an event of the PSP, kept before, says about a payment of ours.

        None: done; else what it waits for: a refund or a dispute must not be lost because its payment is not
        recorded here yet.
        """
        async with self.pool.acquire() as connection:
            body = await repository.find_psp_event_body(connection, shard=shard, event_id=event_id)
            if body is None:
                body = await repository.find_psp_event_body(
                    connection, shard=_SHARD_OF_RELEASE_BEFORE, event_id=event_id
                )
        if body is None:
            return f"the event {event_id}, which is not kept here"
        event = self.psp.parse_event(body)
        if event.psp_setup is not None:
            await self.payers.sync_setup(psp_setup=event.psp_setup)
        if event.detached_method is not None:
            await self.payers.record_detached(psp_method=event.detached_method)
        if event.attached_method is not None:
            return await self.payers.record_attached(psp_method=event.attached_method)
        if event.revoked_mandate is not None:
            await self.payers.record_revoked_mandate(mandate=event.revoked_mandate)
        if event.psp_topup is not None:
            return await self.funding.sync_top_up(psp_topup=event.psp_topup)
        if event.updated_method is not None:
            return await self.payers.sync_method(psp_method=event.updated_method)
        if event.psp_payment is None:
            return None
        if event.dispute is not None:
            return await self.sync_dispute(psp_dispute=event.dispute)
        if event.refund is not None:
            return await self.sync_refund(psp_refund=event.refund)
        await self.sync_payment(psp_payment=event.psp_payment)
        if event.kind is PspEventKind.MONEY_CAPTURED:
            return await self.unbooked.check(psp_payment=event.psp_payment)
        return None

    async def sync_refund(self, *, psp_refund: str) -> str | None:
        """Read a refund at the PSP and record it. None: done; else what it waits for."""
        update = await self.psp.read_refund(psp_refund=psp_refund)
        if isinstance(update, PspOutcomeUnknown):
            return f"the PSP's answer about a refund: {update.reason}"
        if isinstance(update, Declined):
            return f"a refund that the PSP does not find: {update.code}"
        payment = update.psp_payment or ""
        try:
            if update.state is RefundState.FAILED:
                if await self.unbooked.reopen_refund(psp_payment=payment, psp_refund=psp_refund):
                    return None
                return await self.refunds.handle_failed_refund(psp_refund, psp_payment=payment)
            if update.is_ours or update.state is RefundState.PENDING:
                return None
            if await self.unbooked.record_refund(psp_payment=payment, psp_refund=psp_refund):
                return None
        except PaymentConflictError as error:  # it passes: a refund of ours is answered, a decision is made
            return str(error)
        async with self.pool.acquire() as connection:
            found = await repository.find_session_by_foreign_id(
                connection, kind="psp_payment", foreign_id=payment
            )
        if found is None:
            return "a refund of a payment that no session here has"
        reversal = ReversalUpdate(
            psp_refund=psp_refund, amount_minor=update.amount_minor, currency=update.currency
        )
        return await self.refunds.record_reversal(reversal, shard=found[0], session_id=found[1])

    async def sync_dispute(self, *, psp_dispute: str) -> str | None:
        """Read a dispute at the PSP and record it. None: done; else what it waits for."""
        update = await self.psp.read_dispute(psp_dispute=psp_dispute)
        if isinstance(update, PspOutcomeUnknown):
            return f"the PSP's answer about a dispute: {update.reason}"
        if isinstance(update, Declined):
            return f"a dispute that the PSP does not find: {update.code}"
        async with self.pool.acquire() as connection:
            found = await repository.find_session_by_foreign_id(
                connection, kind="psp_payment", foreign_id=update.psp_payment or ""
            )
        if await self.unbooked.is_settled(psp_payment=update.psp_payment or ""):
            return None  # it was never ours: the reconciliation shows what the dispute moved
        if found is None:
            return "a dispute of a payment that no session here has"
        known = await self.disputes.record_update(update, shard=found[0], session_id=found[1])
        return None if known else "a dispute of a payment whose capture is not recorded yet"

    async def sync_payment(self, *, psp_payment: str) -> bool:
        """Something happened to a payment: read it at the PSP and record its state. False: not ours."""
        async with self.pool.acquire() as connection:
            found = await repository.find_session_by_foreign_id(
                connection, kind="psp_payment", foreign_id=psp_payment
            )
            if found is None:
                return False
            shard, session_id = found
            current = await repository.find_session_with_payment(
                connection, shard=shard, session_id=session_id
            )
            session, authorization = current[:2] if current else (None, None)
            if session is None or authorization is None or authorization.psp_payment != psp_payment:
                return True
            request = await psp_request_repository.open_request(
                connection, shard=shard, authorization_id=authorization.id
            )
        if request is not None:
            # An intended request has a caller who is about to get its answer; a second would only collide.
            # Nor may many events make a request look as if it had been repeated for days.
            if request.state is PspRequestState.UNKNOWN and request.attempts < MAX_ATTEMPTS_BY_EVENTS:
                await self.psp_requests.resolve(request)
        elif authorization.state is PaymentState.REQUIRES_ACTION:
            await self._sync_challenge(authorization, session)
        elif authorization.state is PaymentState.AUTHORIZED:
            await self._sync_hold(authorization)
        return True

    async def check_challenge(
        self, *, shard: int, authorization_id: UUID, unanswered_before: datetime
    ) -> None:
        """Read at the PSP what became of a challenge; one older than `unanswered_before` is voided."""
        async with self.pool.acquire() as connection:
            found = await repository.find_authorization_with_session(
                connection, shard=shard, authorization_id=authorization_id
            )
        if found is None or found[0].state is not PaymentState.REQUIRES_ACTION:
            return
        authorization, session = found
        await self._sync_challenge(authorization, session)
        if authorization.updated_at <= unanswered_before:
            with suppress(VersionConflictError, PaymentConflictError):  # the cardholder was faster
                await self.captures.void_unanswered_challenge(
                    authorization_id=authorization_id, expected_version=authorization.version
                )

    async def _sync_challenge(self, authorization: AuthorizationRecord, session: SessionRecord) -> None:
        state = await self.psp.inspect(psp_payment=authorization.psp_payment or "")
        if isinstance(state, Captured):
            return
        if isinstance(state, Held) and _differs(state, authorization):
            await self._refuse(state, authorization)
            return
        tariff = await self.snapshots.reference(session.tariff_sha256)
        async with self.pool.acquire() as connection:
            await self.outcomes.record_action(connection, authorization, session, state, tariff=tariff)

    async def _refuse(self, held: Held, authorization: AuthorizationRecord) -> None:
        """Release a hold of another amount than was shown to the driver; the operator learns of it."""
        detail = (
            f"{held.psp_payment} holds {held.amount_minor} {held.currency}, "
            f"asked were {authorization.hold_minor} {authorization.currency}: it is released"
        )
        await self.psp_requests.incidents.report(
            PspIncident(code=OTHER_AMOUNT_HELD, detail=detail, account=self.psp.account)
        )
        with suppress(VersionConflictError, PaymentConflictError):  # another process was faster
            await self.captures.void_unanswered_challenge(
                authorization_id=authorization.id, expected_version=authorization.version
            )

    async def _sync_hold(self, authorization: AuthorizationRecord) -> None:
        state = await self.psp.inspect(psp_payment=authorization.psp_payment or "")
        if isinstance(state, Voided):
            async with self.pool.acquire() as connection:
                await repository.expire_authorization(connection, authorization, now=self.clock.now())


def shard_of_event(event: PspEvent) -> int:
    """The shard in which an event and its task lie: its session's, else one by its object, never by its id.

    So the events of one object stay in one shard, and what they lead to is mostly in it too.
    """
    ours = event.session_id or event.refund_id
    if ours is not None:
        return shard_of(ours)
    return hashlib.sha256((event.subject or event.id).encode()).digest()[-1] % SHARD_COUNT


def _differs(held: Held, authorization: AuthorizationRecord) -> bool:
    """Whether a hosted page has held something else than was asked: settings of the account may do that."""
    if authorization.payment_method != HOSTED_PAGE:
        return False
    asked = (authorization.hold_minor, authorization.currency)
    return (held.amount_minor, held.currency or authorization.currency) != asked


def _returns_money(event: PspEvent) -> bool:
    """Whether the event speaks of a refund or a dispute, which must not be lost whatever we know so far."""
    return event.dispute is not None or event.refund is not None
