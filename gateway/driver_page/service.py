"""A driver's payment from the tap on Pay to the receipt: each step once, whatever is sent twice or lost.

Owns: the order of the steps, and that each is recorded before it is taken. Must not know: HTTP, languages,
how a hold is made or captured: the services of the API do that, for this page as for every partner.

A payment is found by the token in its address alone: 256 random bits, no cookie, no account.
"""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Pool
from gateway.driver_page import repository
from gateway.driver_page.errors import (
    NotPossibleError,
    PriceChangedError,
    TooManyPaymentsError,
    UnknownPaymentError,
)
from gateway.driver_page.offers import Offer, request_of
from gateway.driver_page.repository import (
    DriverPageRecord,
    DriverPaymentRecord,
    NewPayment,
    ReleaseReason,
    ReportedSession,
)
from gateway.driver_page.stages import FINAL_STAGES, PaymentFacts, Stage, may_cancel, stage_of
from gateway.driver_page.start_state import NOT_SENT, StartState
from gateway.ids import format_id, new_id, parse_id
from gateway.ocpi.remote import RemoteControlService
from gateway.payments.errors import (
    CdrRejectedError,
    NotFoundError,
    PaymentConflictError,
)
from gateway.payments.psp.port import HOSTED_PAGE
from gateway.payments.requests import PspMethod
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import FINAL_STATES, PaymentState
from gateway.payments.views import AuthorizationView, SessionView
from gateway.plug_and_charge.session_cost import SessionCost, SessionCostService

KEPT: Final = timedelta(days=90)  # how long the address of a payment can be opened
TOKEN_LENGTH: Final = 43  # 256 bits in base64url
UNSTARTED_AFTER: Final = timedelta(minutes=15)  # the page says so
START_LOST_AFTER: Final = timedelta(seconds=30)
STOP_AGAIN_AFTER: Final = timedelta(seconds=20)
_BUSY_WINDOW: Final = timedelta(minutes=10)
_MOST_PER_EVSE: Final = 20  # payments begun within the window: more are somebody trying cards


@dataclass(frozen=True, slots=True, kw_only=True)
class PayRequest:
    """A tap on Pay. `token` came with the page, the same at each tap; the hash is of the tariff shown.

    With the payment method HOSTED_PAGE the driver pays on a page of the PSP's own.
    """

    token: str
    payment_method: str
    tariff_sha256: str
    language: str
    return_url: str  # without the token


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentBegun:
    """A payment that was begun. `page_url`: the PSP's page on which its driver pays, read at the PSP."""

    token: str
    page_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPayment:
    """What is known of a payment. `cost` is what it costs so far, or did; None while nothing is known.

    `session` is None where nothing was asked of the PSP. `bank_url` is read from the PSP for this answer and
    not stored.
    """

    record: DriverPaymentRecord
    facts: PaymentFacts
    page: DriverPageRecord | None = None
    session: SessionView | None = None
    cost: SessionCost | None = None
    buyer_id: str | None = None
    bank_url: str | None = field(default=None, repr=False)

    @property
    def stage(self) -> Stage:
        """Where it stands."""
        return stage_of(self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPaymentService:
    """Raises UnknownPaymentError for a token that is none, or too old."""

    pool: Pool
    clock: Clock
    payments: PaymentService
    remote: RemoteControlService

    async def pay(self, offer: Offer, request: PayRequest) -> PaymentBegun:
        """Hold the offer's amount once for each token, then start.

        A card that was declined may be replaced from the same page: that is a payment of its own, with a
        token that follows from both, so that a double tap is one payment as well.

        Raises PriceChangedError, TooManyPaymentsError; PaymentError where nothing was asked of the PSP.
        """
        token = request.token
        known = await self._find(token)
        view = None if known is None else await self._view(known)
        if view is not None:
            method, state = view.authorization.payment_method, view.authorization.state
            same = method == request.payment_method or state is PaymentState.CAPTURED
            if known is not None and (same or state not in FINAL_STATES):
                return await self._begun_before(known, view)
            token = token_after(token, request.payment_method)
            known = await self._find(token)
        if known is None:
            await self._check(offer, request)
            known = await self._open(offer, request, token)
        return await self._authorize(offer, request, known)

    async def read(self, token: str, *, at_psp: bool = False) -> DriverPayment:
        """A payment as it stands; where it is secured and nothing was started, it is started.

        `at_psp`: while the driver's bank is asked, its answer is read at the PSP rather than awaited.
        """
        record = await self._known(token)
        view = await self._view(record)
        if view is None:
            return DriverPayment(record=record, facts=_facts(record, None, None))
        if at_psp and view.authorization.state is PaymentState.REQUIRES_ACTION:
            await self.payments.psp_events.sync_payment(psp_payment=view.authorization.psp_payment or "")
            view = await self._view(record, with_action=True) or view
        if await self._unseen_price(record, view):
            view = await self._view(record) or view
        elif view.authorization.state is PaymentState.AUTHORIZED and record.start in NOT_SENT:
            await self._start(record, view.session.id)
        return await self._complete(await self._known(token), view)

    async def start_again(self, token: str) -> None:
        """Ask the operator to start once more, where it has refused. Raises NotPossibleError."""
        payment = await self.read(token)
        if payment.session is None or payment.stage is not Stage.START_FAILED:
            raise NotPossibleError("the operator has not refused to start")
        await self._start(payment.record, payment.session.session.id, again=True)

    async def stop(self, token: str) -> None:
        """Ask the operator to stop; a second tap sends nothing. Raises NotPossibleError."""
        payment = await self.read(token)
        if payment.session is None or payment.stage not in {Stage.CHARGING, Stage.STOPPING}:
            raise NotPossibleError("no session runs")
        wall_now = self.clock.wall_now()
        async with self.pool.acquire() as connection:
            asked = await repository.ask_stop(
                connection, token=token, wall_now=wall_now, again_before=wall_now - STOP_AGAIN_AFTER
            )
        if not asked:
            return
        try:
            await self.remote.stop(party_id=payment.record.party_id, session_id=payment.session.session.id)
        except PaymentConflictError as error:
            async with self.pool.acquire() as connection:
                await repository.forget_stop(connection, token=token)
            raise NotPossibleError(f"the operator takes no remote stop: {error}") from error

    async def cancel(self, token: str, *, because: ReleaseReason = ReleaseReason.DRIVER) -> None:
        """Release the hold of a payment that has started nothing. Raises NotPossibleError."""
        payment = await self.read(token)
        if payment.stage is Stage.RELEASED:
            return
        if not may_cancel(payment.facts):
            raise NotPossibleError("a vehicle may be charging: the operator's record ends the payment")
        await self._release(payment.record, because)

    async def release_unstarted(self, token: str) -> None:
        """The worker's: end what its driver has left. A payment whose stage is final is closed.

        Raises PaymentError where the PSP can't be asked now.
        """
        record = await self._known(token)
        view = await self._view(record)
        if view is not None and not await self._unseen_price(record, view):
            payment = await self._complete(record, view, priced=False)
            stage = payment.stage
            # From when it was held: a driver may have been at the bank, or at the PSP's page, for as long.
            waited = view.authorization.updated_at <= self.clock.now() - UNSTARTED_AFTER
            never_asked = waited and stage is Stage.STARTING and record.start is not StartState.SENT
            if stage is Stage.START_FAILED or (never_asked and await self._reports_sessions(record)):
                await self._release(record, ReleaseReason.NOT_STARTED)
            if stage not in FINAL_STAGES:
                return
        async with self.pool.acquire() as connection:
            await repository.close_payment(connection, token=token, wall_now=self.clock.wall_now())

    async def _reports_sessions(self, record: DriverPaymentRecord) -> bool:
        """Whether the operator reports its sessions: of one that does not, nobody knows whether one runs."""
        updates = self.payments.missing_cdrs.updates
        if updates is None:
            return False
        async with self.pool.acquire() as connection:
            return await updates.sends_cdrs(connection, cpo_id=record.cpo_id)

    async def _begun_before(self, known: DriverPaymentRecord, view: AuthorizationView) -> PaymentBegun:
        if not _is_at_page(view):
            return PaymentBegun(token=known.token)
        return _begun(known, await self._view(known, with_action=True) or view)

    async def _authorize(self, offer: Offer, request: PayRequest, known: DriverPaymentRecord) -> PaymentBegun:
        payment = PspMethod(
            payment_method=request.payment_method, return_url=f"{request.return_url}/{known.token}/return"
        )
        wanted = request_of(
            offer.page,
            evse_id=offer.evse_id,
            cpo_id=offer.point.cpo_id,
            payment=payment,
            language=known.language,
        )
        view = await self.payments.authorize(replace(wanted, authorization_id=known.authorization_id))
        if not await self._unseen_price(known, view) and view.authorization.state is PaymentState.AUTHORIZED:
            await self._start(known, view.session.id)
        return _begun(known, view)

    async def _unseen_price(self, record: DriverPaymentRecord, view: AuthorizationView) -> bool:
        """Release a hold by another tariff than the driver was shown: one came into force meanwhile."""
        if view.session.tariff_sha256 == record.tariff_sha256:
            return False
        if view.authorization.state in {PaymentState.AUTHORIZED, PaymentState.REQUIRES_ACTION}:
            await self._release(record, ReleaseReason.PRICE_CHANGED)
        return True

    async def _check(self, offer: Offer, request: PayRequest) -> None:
        if offer.tariff_sha256 != request.tariff_sha256:
            raise PriceChangedError("the price has changed since it was shown")
        since = self.clock.wall_now() - _BUSY_WINDOW
        async with self.pool.acquire() as connection:
            begun = await repository.count_recent(connection, evse_id=offer.evse_id, since=since)
        if begun >= _MOST_PER_EVSE:
            raise TooManyPaymentsError(f"{begun} payments were begun at {offer.evse_id}")

    async def _open(self, offer: Offer, request: PayRequest, token: str) -> DriverPaymentRecord:
        new = NewPayment(
            token=token,
            authorization_id=new_id(),
            page=offer.page,
            cpo_id=offer.point.cpo_id,
            evse_id=offer.evse_id,
            tariff_sha256=offer.tariff_sha256,
            language=request.language,
        )
        async with self.pool.acquire() as connection:
            await repository.add_payment(connection, new, wall_now=self.clock.wall_now())
        return await self._known(token)

    async def _start(self, record: DriverPaymentRecord, session_id: UUID, *, again: bool = False) -> None:
        """Send the start, once: who claims it sends it; a claim whose process ended may be claimed anew."""
        wall_now = self.clock.wall_now()
        if record.released_because is not None:
            return
        async with self.pool.acquire() as connection:
            claimed = await repository.claim_start(
                connection,
                token=record.token,
                wall_now=wall_now,
                lost_before=wall_now - START_LOST_AFTER,
                again=again,
            )
        if not claimed:
            return
        command_id = None
        try:
            sent = await self.remote.start(party_id=record.party_id, session_id=session_id)
            command_id = parse_id("cmd", sent.id)
        except PaymentConflictError:  # no registered platform, or one without commands
            command_id = None
        async with self.pool.acquire() as connection:
            await repository.record_start(
                connection, token=record.token, asked_at=wall_now, command_id=command_id
            )

    async def _release(self, record: DriverPaymentRecord, because: ReleaseReason) -> None:
        """Release the hold. Raises NotPossibleError where the operator reports a session meanwhile."""
        try:
            await self.payments.release(party_id=record.party_id, authorization_id=record.authorization_id)
        except PaymentConflictError as error:
            raise NotPossibleError(str(error)) from error
        async with self.pool.acquire() as connection:
            await repository.record_release(
                connection, token=record.token, because=because, wall_now=self.clock.wall_now()
            )

    async def _complete(
        self, record: DriverPaymentRecord, view: AuthorizationView, *, priced: bool = True
    ) -> DriverPayment:
        """The payment with its session, what the operator reports, and what it costs so far."""
        session = await self.payments.get_session(party_id=record.party_id, session_id=view.session.id)
        references = [format_id("ses", view.session.id), format_id("auth", record.authorization_id)]
        async with self.pool.acquire() as connection:
            reported = await repository.find_running(connection, cpo_id=record.cpo_id, references=references)
            buyer_id = await repository.find_buyer(connection, session_id=view.session.id)
            page = await repository.load_page(connection, party_id=record.page_id)
        return DriverPayment(
            record=record,
            facts=_facts(record, session, reported),
            page=page,
            session=session,
            cost=await self._cost(session) if priced else None,
            buyer_id=buyer_id,
            bank_url=None if view.action is None else view.action.redirect_url,
        )

    async def _cost(self, session: SessionView) -> SessionCost | None:
        """What it has cost so far, by the frozen tariff; None while no usage is known that can be priced."""
        try:
            return await SessionCostService(pool=self.pool, payments=self.payments).get(
                session, stated_cdr=None
            )
        except (PaymentConflictError, CdrRejectedError):
            return None

    async def _view(
        self, record: DriverPaymentRecord, *, with_action: bool = False
    ) -> AuthorizationView | None:
        try:
            return await self.payments.get_authorization(
                party_id=record.party_id,
                authorization_id=record.authorization_id,
                with_action=with_action,
            )
        except NotFoundError:
            return None  # the process ended before the intent was written, or the request was refused

    async def _find(self, token: str) -> DriverPaymentRecord | None:
        async with self.pool.acquire() as connection:
            return await repository.find_payment(connection, token=token, oldest=self.clock.wall_now() - KEPT)

    async def _known(self, token: str) -> DriverPaymentRecord:
        found = await self._find(token) if len(token) == TOKEN_LENGTH else None
        if found is None:
            raise UnknownPaymentError("no payment has this address")
        return found


def _facts(
    record: DriverPaymentRecord, view: SessionView | None, reported: ReportedSession | None
) -> PaymentFacts:
    authorization = None if view is None else view.authorization
    return PaymentFacts(
        payment=None if authorization is None else authorization.state,
        session=None if view is None else view.session.state,
        priced=view is not None and view.session.cdr_id is not None,
        start=record.start,
        command_state=record.command_state,
        reported=None if reported is None else reported.status,
        stop_asked=record.stop_asked_at is not None,
        at_page=authorization is not None and authorization.payment_method == HOSTED_PAGE,
        was_held=authorization is not None and authorization.capture_before is not None,
    )


def _is_at_page(view: AuthorizationView) -> bool:
    """Whether the driver has to pay on the PSP's page still."""
    waits = view.authorization.state is PaymentState.REQUIRES_ACTION
    return waits and view.authorization.payment_method == HOSTED_PAGE


def _begun(record: DriverPaymentRecord, view: AuthorizationView) -> PaymentBegun:
    action = view.action if _is_at_page(view) else None
    return PaymentBegun(token=record.token, page_url=None if action is None else action.redirect_url)


def token_after(token: str, payment_method: str) -> str:
    """The token of a payment with another card, begun on the page of `token`."""
    digest = hashlib.sha256(f"{token}\n{payment_method}".encode()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")
