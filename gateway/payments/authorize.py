"""Secure the payment of a session about to start: the same phases for card, app and Plug & Charge.

Owns: the order of the phases (anchor the tariff, commit the intent, ask the PSP with no transaction open,
commit the answer) and the hold's amount. Must not know: HTTP, OCPI's messages, how a PSP is called.

A rail differs in one place, `_funding`: a PSP token is held at the PSP, a funded account in our own books.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from clearing.errors import ClearingError
from clearing.pricing.tariff import TariffSnapshot
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ids import at_lane, lane_of, new_id
from gateway.payments import public, store
from gateway.payments.anchor import TariffAnchor
from gateway.payments.calls import hold_order, session_name
from gateway.payments.orders import (
    AccountLimitExceededError,
    AuthorizationView,
    AuthorizeOrder,
    ChargePoint,
    InvalidOrderError,
    PartnerAccount,
    PaymentError,
    PspMethod,
    SessionAlreadyAuthorizedError,
    TariffMissingError,
)
from gateway.payments.outcomes import Asked, Outcomes
from gateway.payments.payment import FINAL_STATES, PaymentState
from gateway.payments.policy import KEY_LIFETIME, PaymentPolicy
from gateway.payments.psp import Psp
from gateway.payments.quotes import Quotes
from gateway.payments.records import AuthorizationRecord, CallRecord, SessionRecord, SnapshotRecord
from gateway.payments.snapshots import Snapshots

MAX_HOLD_MINOR: Final = 99_999_999  # the PSP's own limit (docs.stripe.com/currencies#minimum-and-maximum)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hold:
    """What is about to be held, and for what."""

    order: AuthorizeOrder
    point: ChargePoint
    snapshot: TariffSnapshot
    amount_minor: int
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizations:
    """The authorize service."""

    pool: Pool
    psp: Psp
    quotes: Quotes
    anchor: TariffAnchor
    snapshots: Snapshots
    clock: Clock
    outcomes: Outcomes
    policy: PaymentPolicy

    async def authorize(self, order: AuthorizeOrder) -> AuthorizationView:
        """Hold the session's estimated cost. The same `authorization_id` again is the same authorization.

        Raises EvseNotFoundError, TariffMissingError, AccountLimitExceededError,
        SessionAlreadyAuthorizedError, InvalidOrderError. A decline and a lost answer are states of the
        authorization, not errors.
        """
        async with self.pool.acquire() as connection:
            opened = await self._opened(connection, order)
        authorization, session, call = opened
        if call is not None:
            authorization = await self._ask(authorization, session, call)
        return await self.view(authorization, session)

    async def _opened(
        self, connection: Connection, order: AuthorizeOrder
    ) -> tuple[AuthorizationRecord, SessionRecord, CallRecord | None]:
        """Phase 1, as if the order came for the first time; what it collides with is looked at after that."""
        try:
            hold = await self._anchor(connection, order)
        except PaymentError:
            existing = await self._existing(connection, order.authorization_id)
            if existing is None:
                raise
            return existing  # the tariff went since: the order was carried out before
        try:
            return await self._write_new(connection, hold, None)
        except (asyncpg.UniqueViolationError, AccountLimitExceededError):
            existing = await self._existing(connection, order.authorization_id)
            return existing or await self._open(connection, hold)

    async def authorize_again(
        self,
        session: SessionRecord,
        last: AuthorizationRecord,
        *,
        authorization_id: UUID,
        amount_minor: int,
    ) -> AuthorizationRecord:
        """Hold anew, merchant-initiated under the last mandate, for a session that is over."""
        now = self.clock.now()
        snapshot = await self.snapshots.get(session.tariff_sha256)
        async with self.pool.acquire() as connection:
            fresh = replace(
                last,
                id=authorization_id,
                state=PaymentState.REQUIRES_AUTHORIZATION,
                version=1,
                hold_minor=self.policy.amounts.hold(amount_minor, session.currency),
                off_session=True,
                psp_payment=None,
                capture_before=None,
                incrementable=False,
                max_capture_minor=None,
                created_at=now,
                updated_at=now,
            )
            call = self._new_call(fresh)
            await self._write(connection, snapshot, session, fresh, call, new_session=False)
        return await self._ask(fresh, session, call)

    async def view(self, authorization: AuthorizationRecord, session: SessionRecord) -> AuthorizationView:
        """An authorization with the tariff the driver is shown."""
        snapshot = await self.snapshots.get(session.tariff_sha256)
        return AuthorizationView(
            authorization=authorization,
            session=session,
            tariff_version=snapshot.version,
            tariff_display=self.anchor.display(snapshot.canonical, version=snapshot.version),
        )

    async def _anchor(self, connection: Connection, order: AuthorizeOrder) -> _Hold:
        """Freeze the tariff in force and derive the hold from it."""
        now = self.clock.now()
        point = await self.quotes.charge_point(
            connection, evse_id=order.evse_id, cpo_id=order.cpo_id, now=now
        )
        try:
            snapshot = self.anchor.freeze(point.tariff_raw, version=point.tariff_version)
            amount = self._amount(order, point, snapshot, now)
        except ClearingError as error:
            raise TariffMissingError(
                f"the tariff of EVSE {order.evse_id} can't price a session: {error}"
            ) from error
        if not 0 <= amount <= MAX_HOLD_MINOR:
            raise InvalidOrderError(f"a hold of {amount} minor units is outside 0 to {MAX_HOLD_MINOR}")
        return _Hold(order=order, point=point, snapshot=snapshot, amount_minor=amount, now=now)

    def _amount(
        self, order: AuthorizeOrder, point: ChargePoint, snapshot: TariffSnapshot, now: datetime
    ) -> int:
        if order.amount_minor is not None:
            amount = order.amount_minor
        else:
            estimate = order.estimate or self.policy.default_estimate(max_power_w=point.max_power_w)
            amount = self.anchor.quote(
                snapshot,
                energy_wh=estimate.energy_wh,
                duration_s=estimate.duration_s,
                start=now,
                time_zone=point.time_zone,
                max_power_w=point.max_power_w,
            ).hold_minor
        most = order.max_amount_minor
        if isinstance(order.payment, PartnerAccount):
            return amount if most is None else min(amount, most)
        return self.policy.amounts.hold(amount, snapshot.currency, most_minor=most)

    async def _open(
        self, connection: Connection, hold: _Hold
    ) -> tuple[AuthorizationRecord, SessionRecord, CallRecord | None]:
        """Phase 1: commit session, authorization and the intended call; on an account, the hold too."""
        named = await self._named_session(connection, hold)
        lane = named.lane if named else lane_of(hold.order.authorization_id)
        authorization_id = at_lane(hold.order.authorization_id, lane)
        if named is not None:
            existing = await self._existing(connection, authorization_id)
            if existing is not None:
                return existing
            current = await store.current_authorization(connection, lane=lane, session_id=named.id)
            refuse_if_taken(named, current, hold.order)
        try:
            return await self._write_new(connection, hold, named)
        except asyncpg.UniqueViolationError as error:
            raise SessionAlreadyAuthorizedError(
                f"session {hold.order.session_ref} is authorized already"
            ) from error

    async def _write_new(
        self, connection: Connection, hold: _Hold, named: SessionRecord | None
    ) -> tuple[AuthorizationRecord, SessionRecord, CallRecord | None]:
        """Commit the intent. Raises UniqueViolationError where session or authorization are there already."""
        lane = named.lane if named else lane_of(hold.order.authorization_id)
        session = named or self._new_session(hold, lane)
        authorization = self._new_authorization(hold, session, at_lane(hold.order.authorization_id, lane))
        call = self._new_call(authorization) if authorization.funding == "psp" else None
        done = await self._write(
            connection, hold.snapshot, session, authorization, call, new_session=named is None
        )
        if not done:
            raise AccountLimitExceededError(
                f"the funded account of {authorization.account_party_id} in {authorization.currency} "
                f"can't bear a hold of {authorization.hold_minor} minor units; fund it or raise its limit"
            )
        self.snapshots.keep(
            SnapshotRecord(
                sha256=hold.snapshot.sha256,
                version=str(hold.snapshot.version),
                canonical=hold.snapshot.canonical,
                currency=hold.snapshot.currency,
            )
        )
        return authorization, session, call

    async def _named_session(self, connection: Connection, hold: _Hold) -> SessionRecord | None:
        if hold.order.session_ref is None:
            return None
        found = await store.find_session(
            connection, kind="session_ref", foreign_id=session_name(hold.point.cpo_id, hold.order.session_ref)
        )
        if found is None:
            return None
        return await store.session(connection, lane=found[0], session_id=found[1])

    def _new_session(self, hold: _Hold, lane: int) -> SessionRecord:
        point, order = hold.point, hold.order
        return SessionRecord(
            lane=lane,
            id=new_id(lane=lane),
            demand_partner_id=order.party_id,
            cpo_id=point.cpo_id,
            evse_id=point.evse_id,
            location_id=point.location_id,
            session_ref=order.session_ref,
            territory=point.territory,
            time_zone=point.time_zone,
            currency=hold.snapshot.currency,
            tariff_sha256=hold.snapshot.sha256,
            state="active",
            cdr_id=None,
            cdr_version=None,
            cdr=None,
            price_minor=None,
            price_net_minor=None,
            energy_wh=None,
            ended_at=None,
            flags=(),
            metadata=order.metadata,
            created_at=hold.now,
            updated_at=hold.now,
        )

    def _new_authorization(
        self, hold: _Hold, session: SessionRecord, authorization_id: UUID
    ) -> AuthorizationRecord:
        order = hold.order
        on_account = isinstance(order.payment, PartnerAccount)
        method = order.payment if isinstance(order.payment, PspMethod) else None
        account = (
            (order.payment.party_id or order.party_id) if isinstance(order.payment, PartnerAccount) else None
        )
        return AuthorizationRecord(
            lane=session.lane,
            id=authorization_id,
            session_id=session.id,
            party_id=order.party_id,
            rail=order.rail,
            funding="partner_account" if on_account else "psp",
            account_party_id=account,
            state=PaymentState.AUTHORIZED if on_account else PaymentState.REQUIRES_AUTHORIZATION,
            version=1,
            hold_minor=hold.amount_minor,
            currency=hold.snapshot.currency,
            payment_method=method.payment_method if method else None,
            customer=method.customer if method else None,
            off_session=method.off_session if method else False,
            psp_payment=None,
            capture_before=None,
            incrementable=on_account,
            max_capture_minor=None,
            next_action=None,
            decline_code=None,
            metadata=order.metadata,
            created_at=hold.now,
            updated_at=hold.now,
        )

    def _new_call(self, authorization: AuthorizationRecord) -> CallRecord:
        return CallRecord(
            lane=authorization.lane,
            id=new_id(lane=authorization.lane),
            session_id=authorization.session_id,
            authorization_id=authorization.id,
            kind="hold",
            state="intended",
            amount_minor=authorization.hold_minor,
            attempts=0,
            created_at=self.clock.wall_now(),
        )

    async def _write(
        self,
        connection: Connection,
        snapshot: TariffSnapshot | SnapshotRecord,
        session: SessionRecord,
        authorization: AuthorizationRecord,
        call: CallRecord | None,
        *,
        new_session: bool,
    ) -> bool:
        told = public.authorization_events(authorization, session)
        return await store.open_authorization(
            connection,
            lane=session.lane,
            session_id=session.id,
            authorization_id=authorization.id,
            party_id=authorization.party_id,
            cpo_id=session.cpo_id,
            evse_id=session.evse_id,
            location_id=session.location_id,
            session_ref=session.session_ref,
            session_name=session_name(session.cpo_id, session.session_ref) if session.session_ref else None,
            new_session=new_session,
            territory=session.territory,
            time_zone=session.time_zone,
            currency=session.currency,
            tariff_sha256=snapshot.sha256,
            tariff_version=str(snapshot.version),
            tariff_canonical=snapshot.canonical,
            metadata=dict(authorization.metadata),
            rail=authorization.rail,
            funding=authorization.funding,
            account_party_id=authorization.account_party_id,
            state=authorization.state.value,
            hold_minor=authorization.hold_minor,
            payment_method=authorization.payment_method,
            customer=authorization.customer,
            off_session=authorization.off_session,
            call_id=call.id if call else None,
            next_ask_at=self.clock.wall_now() + self.policy.call_grace,
            events=public.event_rows(told),
            now=authorization.created_at,
            wall_now=self.clock.wall_now(),
        )

    async def _existing(
        self, connection: Connection, authorization_id: UUID
    ) -> tuple[AuthorizationRecord, SessionRecord, CallRecord | None] | None:
        """The same order again: a hold whose answer was lost is asked under its own key."""
        found = await store.authorized(
            connection, lane=lane_of(authorization_id), authorization_id=authorization_id
        )
        if found is None:
            return None
        existing, session = found
        call = None
        if existing.state in {PaymentState.REQUIRES_AUTHORIZATION, PaymentState.OUTCOME_UNKNOWN}:
            open_call = await store.open_call(connection, lane=existing.lane, authorization_id=existing.id)
            # Past the key's lifetime the PSP would hold a second time: only a look-up may answer.
            if open_call is not None and open_call.kind == "hold" and self._replayable(open_call):
                call = open_call
        return existing, session, call

    def _replayable(self, call: CallRecord) -> bool:
        return self.clock.wall_now() - call.created_at < KEY_LIFETIME

    async def _ask(
        self, authorization: AuthorizationRecord, session: SessionRecord, call: CallRecord
    ) -> AuthorizationRecord:
        """Phases 2 and 3: the PSP is asked with no transaction open, then its answer is committed."""
        outcome = await self.psp.hold(hold_order(authorization, call))
        async with self.pool.acquire() as connection:
            asked = Asked(call=call, authorization=authorization, session=session)
            return await self.outcomes.record_hold(connection, asked, outcome)


def refuse_if_taken(
    session: SessionRecord, current: AuthorizationRecord | None, order: AuthorizeOrder
) -> None:
    """Two rails can't both hold one session, and a session belongs to who opened it.

    Raises SessionAlreadyAuthorizedError.
    """
    active = current is not None and (
        current.state not in FINAL_STATES or current.state is PaymentState.CAPTURED
    )
    if active or session.state != "active" or session.demand_partner_id != order.party_id:
        raise SessionAlreadyAuthorizedError(f"session {order.session_ref} is authorized or ended already")
