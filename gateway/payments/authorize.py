"""Secure the payment of a session about to start: the same phases for card, app and Plug & Charge.

Owns: the order of the phases (freeze the tariff, commit the intent, send the hold, or hold on a funded
account) and the hold's amount. Must not know: HTTP, OCPI's messages, how a PSP is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from clearing.errors import ClearingError
from clearing.pricing.tariff import TariffSnapshot
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ids import in_shard, new_id, shard_of
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments import double_tap_repository, presenters, psp_request_repository, repository
from gateway.payments.errors import (
    AccountLimitExceededError,
    InvalidPaymentRequestError,
    NotFoundError,
    PaymentError,
    SessionAlreadyAuthorizedError,
    TariffMissingError,
)
from gateway.payments.new_authorization import (
    PlannedHold,
    new_authorization_record,
    new_session_record,
    stored_fields,
)
from gateway.payments.payers import unknown_payer
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp.port import RequiresAction
from gateway.payments.psp.rules import AmountRules
from gateway.payments.psp_requests import PspRequestService
from gateway.payments.quotes import QuoteService
from gateway.payments.records import (
    AuthorizationRecord,
    PspRequestKind,
    PspRequestRecord,
    SessionRecord,
    session_name,
)
from gateway.payments.requests import AuthorizationRequest, ChargePoint, PartnerAccount, PspMethod
from gateway.payments.second_authorization import reject_second_authorization, reopened
from gateway.payments.session_buyer import name_buyer
from gateway.payments.state_machine import FINAL_STATES, PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payments.views import AuthorizationView
from gateway.stored_tariffs import StoredTariff
from gateway.webhooks.events import event_rows

_TRIES: Final = 3  # an earlier authorization that has ended is replaced; another request may be faster


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """An authorization with its request to the PSP, if one is open; `new`: it was written just now."""

    authorization: AuthorizationRecord
    session: SessionRecord
    request: PspRequestRecord | None
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationService:
    """Authorizes sessions."""

    pool: Pool
    psp_requests: PspRequestService
    quotes: QuoteService
    tariffs: TariffSnapshotService
    snapshots: TariffSnapshotCache
    clock: Clock
    policy: PaymentPolicy

    async def authorize(self, request: AuthorizationRequest, *, key: KeyClaim = UNKEYED) -> AuthorizationView:
        """Hold the session's estimated cost. The same `authorization_id` again is the same authorization.

        `key` is that of the call: it is claimed with the first write, or before another one.

        Raises EvseNotFoundError, TariffMissingError, AccountLimitExceededError,
        SessionAlreadyAuthorizedError, InvalidPaymentRequestError, NotFoundError (the payer is another
        party's), KeyInUseError. A decline and a lost answer are states of the authorization, not errors.
        """
        at_psp = isinstance(request.payment, PspMethod)
        features = await self.psp_requests.hold_features() if at_psp else ()
        opened = await self._opened(request, features, key)
        if opened.request is None:
            return await self.build_view_with_action(opened.authorization, opened.session)
        sent = await self.psp_requests.send(
            opened.request,
            authorization=opened.authorization,
            session=opened.session,
            first=opened.new,
            key=key,
        )
        view = await self.build_view(sent.authorization, opened.session)
        return self._with_action(view, sent.outcome)

    async def _opened(self, request: AuthorizationRequest, features: Sequence[str], key: KeyClaim) -> _Opened:
        """Phase 1, as if the request came for the first time; what it collides with is read after that."""
        try:
            async with self.pool.acquire() as connection:
                hold = await self._freeze(connection, request, features)
        except PaymentError:
            await key.ensure(self.pool)
            async with self.pool.acquire() as connection:
                existing = await self._existing(connection, request.authorization_id)
            if existing is None:
                raise
            return existing  # the tariff was removed since: the request was carried out before
        hold = replace(hold, key=key)
        try:
            return await self._write_new(hold, None)
        except (asyncpg.UniqueViolationError, AccountLimitExceededError, NotFoundError):
            await key.ensure(self.pool)
            async with self.pool.acquire() as connection:
                existing = await self._existing(connection, request.authorization_id)
            return existing or await self._open(hold)

    async def authorize_again(
        self,
        session: SessionRecord,
        last: AuthorizationRecord,
        *,
        authorization_id: UUID,
        amount_minor: int,
    ) -> AuthorizationRecord:
        """Hold again, merchant-initiated under the last mandate, for a session that has ended."""
        now = self.clock.now()
        snapshot = await self.snapshots.get(session.tariff_sha256)
        features = await self.psp_requests.hold_features()
        fresh = replace(
            last,
            id=authorization_id,
            state=PaymentState.REQUIRES_AUTHORIZATION,
            version=1,
            hold_minor=self._amounts.hold(amount_minor, session.currency),
            off_session=True,
            psp_payment=None,
            capture_before=None,
            incrementable=False,
            max_capture_minor=None,
            created_at=now,
            updated_at=now,
        )
        psp_request = self._new_hold(fresh, features)
        if not await self._write(snapshot, session, fresh, psp_request, new_session=False):
            raise unknown_payer(psp_customer=fresh.customer, psp_method=fresh.payment_method or "")
        sent = await self.psp_requests.send(psp_request, authorization=fresh, session=session, first=True)
        return sent.authorization

    async def expected_hold(self, request: AuthorizationRequest) -> tuple[int, str]:
        """The amount that `authorize` would hold now, and its currency. Raises as `authorize`."""
        async with self.pool.acquire() as connection:
            hold = await self._freeze(connection, request, ())
        return hold.amount_minor, hold.snapshot.currency

    async def build_view(
        self, authorization: AuthorizationRecord, session: SessionRecord
    ) -> AuthorizationView:
        """An authorization with the tariff the driver is shown."""
        return AuthorizationView(
            authorization=authorization,
            session=session,
            tariff=await self.snapshots.reference(session.tariff_sha256),
        )

    async def build_view_with_action(
        self, authorization: AuthorizationRecord, session: SessionRecord
    ) -> AuthorizationView:
        """As `build_view`; while the cardholder must act, with the action and its secrets from the PSP."""
        view = await self.build_view(authorization, session)
        if authorization.state is not PaymentState.REQUIRES_ACTION or authorization.psp_payment is None:
            return view
        return self._with_action(
            view, await self.psp_requests.psp.inspect(psp_payment=authorization.psp_payment)
        )

    def _with_action(self, view: AuthorizationView, outcome: object) -> AuthorizationView:
        waits = view.authorization.state is PaymentState.REQUIRES_ACTION
        if not waits or not isinstance(outcome, RequiresAction):
            return view
        return replace(view, action=outcome, publishable_key=self.psp_requests.psp.payers.publishable_key)

    @property
    def _amounts(self) -> AmountRules:
        return self.psp_requests.psp.rules.amounts

    async def _freeze(
        self, connection: Connection, request: AuthorizationRequest, features: Sequence[str]
    ) -> PlannedHold:
        """Freeze the tariff in force and derive the hold from it."""
        now = self.clock.now()
        begun = request.started_at or now
        point = await self.quotes.charge_point(
            connection,
            evse_id=request.evse_id,
            cpo_id=request.cpo_id,
            now=begun,
            choice=request.tariff_choice,
        )
        try:
            snapshot = self.tariffs.freeze(point.tariff_raw, version=point.tariff_version)
            amount = self._amount(request, point, snapshot, begun)
        except ClearingError as error:
            raise TariffMissingError(
                f"the tariff of EVSE {request.evse_id} can't price a session: {error}"
            ) from error
        most = self._amounts.max_minor
        if not 0 <= amount <= most:
            raise InvalidPaymentRequestError(f"a hold of {amount} minor units is outside 0 to {most}")
        return PlannedHold(
            request=request, point=point, snapshot=snapshot, amount_minor=amount, features=features, now=now
        )

    def _amount(
        self, request: AuthorizationRequest, point: ChargePoint, snapshot: TariffSnapshot, now: datetime
    ) -> int:
        if request.amount_minor is not None:
            amount = request.amount_minor
        else:
            estimate = request.estimate or self.policy.default_estimate(max_power_w=point.max_power_w)
            amount = self.tariffs.quote(
                snapshot,
                energy_wh=estimate.energy_wh,
                duration_s=estimate.duration_s,
                start=now,
                time_zone=point.time_zone,
                max_power_w=point.max_power_w,
            ).hold_minor
        most = request.max_amount_minor
        if isinstance(request.payment, PartnerAccount):
            return amount if most is None else min(amount, most)
        return self._amounts.hold(amount, snapshot.currency, most_minor=most)

    async def _open(self, hold: PlannedHold) -> _Opened:
        """Phase 1: commit session, authorization and the intended hold; on an account, the hold itself."""
        async with self.pool.acquire() as connection:
            named = await self._named_session(connection, hold)
            shard = named.shard if named else shard_of(hold.request.authorization_id)
            authorization_id = in_shard(hold.request.authorization_id, shard)
            if named is not None:
                existing = await self._existing(connection, authorization_id)
                if existing is not None:
                    return existing
                current = await repository.find_current_authorization(
                    connection, shard=shard, session_id=named.id
                )
                reject_second_authorization(named, current, hold.request)
        try:
            return await self._write_new(hold, named)
        except asyncpg.UniqueViolationError as error:
            raise SessionAlreadyAuthorizedError(
                f"session {hold.request.session_ref} is authorized already"
            ) from error

    async def _name_buyer(self, hold: PlannedHold, session_id: UUID) -> None:
        if hold.request.buyer_id is None:
            return
        await hold.key.ensure(self.pool)
        async with self.pool.acquire() as connection:
            await name_buyer(connection, hold.request, session_id, now=hold.now)

    async def _write_new(self, hold: PlannedHold, named: SessionRecord | None) -> _Opened:
        """Commit the intent. Raises UniqueViolationError where session or authorization are there already."""
        shard = named.shard if named else shard_of(hold.request.authorization_id)
        session = named or new_session_record(hold, shard)
        authorization = new_authorization_record(
            hold, session, in_shard(hold.request.authorization_id, shard)
        )
        psp_request = self._new_hold(authorization, hold.features) if authorization.funding == "psp" else None
        await self._name_buyer(hold, session.id)
        reuses = hold.request.reuses_recent
        done, ended = False, None
        for _ in range(_TRIES):
            done = await self._write(
                hold.snapshot,
                session,
                authorization,
                psp_request,
                new_session=named is None,
                reuses_recent=reuses,
                replaced_id=ended,
                key=hold.key,
            )
            recent = await self._recent(authorization, session) if reuses and not done else None
            if recent is None:
                break
            found = recent.authorization
            if found.id == authorization.id or found.state not in FINAL_STATES:
                return recent
            ended = found.id
        if not done:
            raise _not_opened(authorization)
        self.snapshots.stored.keep(
            StoredTariff(
                sha256=hold.snapshot.sha256,
                version=str(hold.snapshot.version),
                canonical=hold.snapshot.canonical,
                currency=hold.snapshot.currency,
            )
        )
        return _Opened(
            authorization=authorization,
            session=reopened(session, now=hold.now),
            request=psp_request,
            new=True,
        )

    async def _recent(self, fresh: AuthorizationRecord, session: SessionRecord) -> _Opened | None:
        """What the same payment method authorized at the same EVSE a moment ago.

        The same request again is found with its own open request; another one's is left to its sender.
        """
        async with self.pool.acquire() as connection:
            recent = await double_tap_repository.find_recent(
                connection,
                party_id=fresh.party_id,
                payment_method=fresh.payment_method or "",
                evse_id=session.evse_id,
            )
            if recent is None:
                return None
            found = await self._existing(connection, recent)
        return found if found is None or recent == fresh.id else replace(found, request=None)

    async def _named_session(self, connection: Connection, hold: PlannedHold) -> SessionRecord | None:
        if hold.request.session_ref is None:
            return None
        found = await repository.find_session_by_foreign_id(
            connection,
            kind="session_ref",
            foreign_id=session_name(hold.point.cpo_id, hold.request.session_ref),
        )
        if found is None:
            return None
        return await repository.find_session(connection, shard=found[0], session_id=found[1])

    def _new_hold(self, authorization: AuthorizationRecord, features: Sequence[str]) -> PspRequestRecord:
        return self.psp_requests.new(
            PspRequestKind.HOLD,
            authorization,
            amount_minor=authorization.hold_minor,
            hold_features=features,
        )

    async def _write(
        self,
        snapshot: TariffSnapshot | StoredTariff,
        session: SessionRecord,
        authorization: AuthorizationRecord,
        psp_request: PspRequestRecord | None,
        *,
        new_session: bool,
        reuses_recent: bool = False,
        replaced_id: UUID | None = None,
        key: KeyClaim = UNKEYED,
    ) -> bool:
        if not key.rides_in(session.shard):
            await key.ensure(self.pool)
        events = presenters.authorization_events(
            authorization,
            session,
            tariff=self.tariffs.reference(
                sha256=snapshot.sha256, canonical=snapshot.canonical, version=str(snapshot.version)
            ),
        )
        written = await self.psp_requests.recorder.phases.open_authorization(
            alone=authorization.funding == "partner_account",
            shard=session.shard,
            session_id=session.id,
            authorization_id=authorization.id,
            party_id=authorization.party_id,
            cpo_id=session.cpo_id,
            evse_id=session.evse_id,
            location_id=session.location_id,
            evse_uid=session.evse_uid,
            evse_power_w=session.evse_power_w,
            power_type=session.power_type,
            session_ref=session.session_ref,
            session_name=session_name(session.cpo_id, session.session_ref) if session.session_ref else None,
            new_session=new_session,
            tax_jurisdiction=session.tax_jurisdiction,
            time_zone=session.time_zone,
            currency=session.currency,
            tariff_sha256=snapshot.sha256,
            tariff_version=str(snapshot.version),
            tariff_canonical=snapshot.canonical,
            flags=list(session.flags),
            **stored_fields(authorization),
            customer_id=new_id(),
            reuses_recent=reuses_recent,
            replaced_id=replaced_id,
            default_within_s=double_tap_repository.DEFAULT_WITHIN_S,
            request_id=psp_request.id if psp_request else None,
            hold_features=list(psp_request.hold_features or ()) if psp_request else None,
            next_attempt_at=self.clock.wall_now() + self.policy.call_grace,
            events=event_rows(events),
            now=authorization.created_at,
            wall_now=self.clock.wall_now(),
            **key.claim_fields(),
        )
        key.written(claimed=written.begun)
        return written.done

    async def _existing(self, connection: Connection, authorization_id: UUID) -> _Opened | None:
        """The same request again: a hold whose answer was lost is sent again under its own key."""
        found = await repository.find_authorization_with_session(
            connection, shard=shard_of(authorization_id), authorization_id=authorization_id
        )
        if found is None:
            return None
        existing, session = found
        psp_request = None
        if existing.state in {PaymentState.REQUIRES_AUTHORIZATION, PaymentState.OUTCOME_UNKNOWN}:
            open_request = await psp_request_repository.open_request(
                connection, shard=existing.shard, authorization_id=existing.id
            )
            if open_request is not None and open_request.kind is PspRequestKind.HOLD:
                psp_request = open_request
        return _Opened(authorization=existing, session=session, request=psp_request, new=False)


def _not_opened(authorization: AuthorizationRecord) -> PaymentError:
    """Why nothing was written: the payer is not the party's, or the account does not cover the hold."""
    if authorization.payment_method is not None:
        return unknown_payer(psp_customer=authorization.customer, psp_method=authorization.payment_method)
    return AccountLimitExceededError(
        f"the funded account of {authorization.account_party_id} in {authorization.currency} "
        f"does not cover a hold of {authorization.hold_minor} minor units; fund it or raise its limit"
    )
