"""The payment room's front: what the HTTP edge, the OCPI edge and the worker ask of it.

Owns: whose object is whose (another party's object is not found), and reads. Must not know: HTTP, SQL.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from clearing.pricing.engine import PricedSession
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ids import format_id, lane_of
from gateway.payments import store
from gateway.payments.anchor import TariffAnchor
from gateway.payments.authorize import Authorizations
from gateway.payments.capture import Captures, Ended
from gateway.payments.collect import Collections
from gateway.payments.complete import Completions
from gateway.payments.dispute import Disputes
from gateway.payments.hearing import PspHearing
from gateway.payments.holds import Holds
from gateway.payments.late import LateTruth
from gateway.payments.missing import LastUpdates, MissingCdrs
from gateway.payments.orders import (
    AuthorizationView,
    AuthorizeOrder,
    Estimate,
    NotFoundError,
    PriceView,
    QuoteView,
    SessionFilter,
    SessionView,
    StateConflictError,
    TariffSource,
    VersionConflictError,
)
from gateway.payments.outcomes import Outcomes
from gateway.payments.payment import PaymentState
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp import Psp
from gateway.payments.quotes import Quotes
from gateway.payments.records import CaptureRecord, SessionRecord
from gateway.payments.refund import Refunds
from gateway.payments.resolver import Resolver
from gateway.payments.snapshots import Snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentService:
    """Everything that is asked of payments. `admin` is the platform, which sees every party's objects."""

    pool: Pool
    clock: Clock
    anchor: TariffAnchor
    snapshots: Snapshots
    quotes: Quotes
    authorizations: Authorizations
    completions: Completions
    captures: Captures
    collections: Collections
    resolver: Resolver
    refunds: Refunds
    disputes: Disputes
    holds: Holds
    hearing: PspHearing
    late: LateTruth
    missing: MissingCdrs
    psp: Psp
    outcomes: Outcomes

    async def authorize(self, order: AuthorizeOrder) -> AuthorizationView:
        """Hold a session's estimated cost; see Authorizations.authorize."""
        return await self.authorizations.authorize(order)

    async def release(
        self,
        *,
        party_id: str,
        authorization_id: UUID,
        expected_version: int | None = None,
        admin: bool = False,
    ) -> AuthorizationView:
        """Release a hold whole. Raises NotFoundError, VersionConflictError, StateConflictError."""
        await self.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=admin)
        await self.captures.release(authorization_id=authorization_id, expected_version=expected_version)
        return await self.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=admin)

    async def quote(self, *, evse_id: str, estimate: Estimate) -> QuoteView:
        """What an expected session would cost now. Raises EvseNotFoundError, TariffMissingError."""
        return await self.quotes.quote(evse_id=evse_id, estimate=estimate)

    async def increment(
        self,
        *,
        party_id: str,
        authorization_id: UUID,
        amount_minor: int,
        expected_version: int | None,
        admin: bool = False,
    ) -> AuthorizationView:
        """Raise a hold to `amount_minor` in all; a hold that is as high already is left as it is.

        Raises NotFoundError, VersionConflictError, StateConflictError (not held, refused, or not known yet).
        """
        view = await self.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=admin)
        standing = view.authorization
        if expected_version is not None and expected_version != standing.version:
            raise VersionConflictError(f"the authorization is at version {standing.version}; read it again")
        if standing.state is not PaymentState.AUTHORIZED:
            raise StateConflictError(f"an authorization that is {standing.state} can't be raised")
        if standing.hold_minor < amount_minor:
            raised = await self.captures.increment(standing, amount_minor=amount_minor)
            if raised is False:
                raise StateConflictError("the issuer or the account refused to raise the hold")
            if raised is None:
                raise StateConflictError("the PSP has not answered yet; read the authorization again")
        return await self.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=admin)

    async def complete(
        self,
        *,
        party_id: str,
        session_id: UUID,
        cdr_raw: bytes | Callable[[SessionRecord], bytes],
        cdr_version: str,
        expected_version: int | None = None,
        admin: bool = False,
    ) -> SessionView:
        """End a session by its CDR and capture at once; what can't be captured now is captured by the worker.

        `cdr_raw` may be made of the session, for a partner that has only metered usage.

        Raises NotFoundError, CdrRefusedError, SessionAlreadyCompletedError, VersionConflictError.
        """
        view = await self.get_session(party_id=party_id, session_id=session_id, admin=admin)
        if (
            expected_version is not None
            and view.authorization is not None
            and expected_version != view.authorization.version
        ):
            raise VersionConflictError(
                f"the authorization is at version {view.authorization.version}; read it again"
            )
        raw = cdr_raw if isinstance(cdr_raw, bytes) else cdr_raw(view.session)
        seen = None
        if view.session.awaits_cdr:
            waits = await self.late.correct(view.session, cdr_raw=raw, cdr_version=cdr_version)
            if waits is not None:
                raise StateConflictError(f"captured at its last known cost before; {waits}; ask again")
        else:
            ended = await self.completions.complete(view.session, cdr_raw=raw, cdr_version=cdr_version)
            seen = replace(view, session=ended)
        done = await self.captures.finish(lane=view.session.lane, session_id=session_id, seen=seen)
        if done.view is not None:
            return done.view
        return await self.get_session(party_id=party_id, session_id=session_id, admin=admin)

    async def clear_again(self, *, session_id: UUID) -> SessionView:
        """The platform's: hand a session that was set aside to clearing once more.

        Raises NotFoundError, StateConflictError.
        """
        await self.get_session(party_id="", session_id=session_id, admin=True)
        await self.late.clear_again(session_id=session_id)
        return await self.get_session(party_id="", session_id=session_id, admin=True)

    async def capture(self, *, lane: int, session_id: UUID) -> Ended:
        """The worker's errand: capture what a completed session costs."""
        return await self.captures.capture(lane=lane, session_id=session_id)

    async def collect(self, *, lane: int, session_id: UUID) -> bool:
        """The worker's errand: charge off-session what the hold did not cover. False: look again later."""
        return await self.collections.collect(lane=lane, session_id=session_id)

    async def get_authorization(
        self, *, party_id: str, authorization_id: UUID, admin: bool = False
    ) -> AuthorizationView:
        """One authorization. Raises NotFoundError when there is none or it is another party's."""
        async with self.pool.acquire() as connection:
            found = await store.authorized(
                connection, lane=lane_of(authorization_id), authorization_id=authorization_id
            )
        if found is None or not (admin or party_id == found[0].party_id):
            raise NotFoundError(f"no authorization {format_id('auth', authorization_id)}")
        return await self.authorizations.view(*found)

    async def get_session(self, *, party_id: str, session_id: UUID, admin: bool = False) -> SessionView:
        """One session with its authorization and capture. Raises NotFoundError."""
        lane = lane_of(session_id)
        async with self.pool.acquire() as connection:
            found = await store.standing(connection, lane=lane, session_id=session_id)
        if found is None or not (admin or party_id in {found[0].demand_partner_id, found[0].cpo_id}):
            raise NotFoundError(f"no session {format_id('ses', session_id)}")
        return SessionView(session=found[0], authorization=found[1], capture=found[2])

    async def get_capture(self, *, party_id: str, capture_id: UUID, admin: bool = False) -> CaptureRecord:
        """One capture. Raises NotFoundError."""
        async with self.pool.acquire() as connection:
            found = await store.capture_by_id(connection, lane=lane_of(capture_id), capture_id=capture_id)
            session = None
            if found is not None:
                session = await store.session(connection, lane=found.lane, session_id=found.session_id)
        if (
            found is None
            or session is None
            or not (admin or party_id in {session.demand_partner_id, session.cpo_id})
        ):
            raise NotFoundError(f"no capture {format_id('cap', capture_id)}")
        return found

    async def list_authorizations(
        self, *, party_id: str, admin: bool = False, limit: int, before: UUID | None
    ) -> Sequence[AuthorizationView]:
        """A page of authorizations, newest first, those older than `before`."""
        async with self.pool.acquire() as connection:
            found = await store.authorizations(
                connection, party_id=None if admin else party_id, state=None, before=before, limit=limit
            )
            pairs = []
            for authorization in found:
                session = await store.session(
                    connection, lane=authorization.lane, session_id=authorization.session_id
                )
                if session is not None:
                    pairs.append((authorization, session))
        return [await self.authorizations.view(authorization, session) for authorization, session in pairs]

    async def list_sessions(
        self, *, party_id: str, admin: bool = False, wanted: SessionFilter, limit: int, before: UUID | None
    ) -> Sequence[SessionView]:
        """A page of sessions, newest first, those older than `before`."""
        async with self.pool.acquire() as connection:
            found = await store.sessions(
                connection, party_id=None if admin else party_id, wanted=wanted, before=before, limit=limit
            )
            return [await self._view(connection, session) for session in found]

    async def list_captures(
        self, *, party_id: str, admin: bool = False, limit: int, before: UUID | None
    ) -> Sequence[CaptureRecord]:
        """A page of captures, newest first, those older than `before`."""
        async with self.pool.acquire() as connection:
            return await store.captures(
                connection, party_id=None if admin else party_id, before=before, limit=limit
            )

    async def price_breakdown(self, *, party_id: str, session_id: UUID, admin: bool = False) -> PriceView:
        """A completed session's price, line by line, from the stored originals. Raises NotFoundError."""
        view = await self.get_session(party_id=party_id, session_id=session_id, admin=admin)
        session = view.session
        if session.cdr is None or session.cdr_version is None:
            raise NotFoundError(
                f"session {format_id('ses', session_id)} has no price yet: it is not completed"
            )
        return PriceView(
            session=session, priced=await self._price_again(session, session.cdr, session.cdr_version)
        )

    async def psp_webhook(self, *, body: bytes, signature: str) -> None:
        """Keep one authentic event of the PSP, once. Raises WebhookRefusedError."""
        await self.hearing.webhook(body=body, signature=signature)

    async def _view(self, connection: Connection, session: SessionRecord) -> SessionView:
        return SessionView(
            session=session,
            authorization=await store.current_authorization(
                connection, lane=session.lane, session_id=session.id
            ),
            capture=await store.capture(connection, lane=session.lane, session_id=session.id),
        )

    async def _price_again(self, session: SessionRecord, cdr_raw: bytes, cdr_version: str) -> PricedSession:
        snapshot = await self.snapshots.get(session.tariff_sha256)
        return self.anchor.price(
            sha256=snapshot.sha256,
            canonical=snapshot.canonical,
            version=snapshot.version,
            cdr=self.anchor.read_cdr(cdr_raw, version=cdr_version),
            time_zone=session.time_zone,
        )


def build_payments(
    *,
    pool: Pool,
    psp: Psp,
    tariffs: TariffSource,
    clock: Clock,
    policy: PaymentPolicy,
    updates: LastUpdates | None = None,
) -> PaymentService:
    """Wire the room: one anchor cache, one recorder of outcomes, the services over them."""
    anchor, snapshots = TariffAnchor(), Snapshots(pool=pool)
    outcomes = Outcomes(clock=clock, policy=policy)
    quotes = Quotes(pool=pool, tariffs=tariffs, anchor=anchor, clock=clock)
    holds = Holds(pool=pool, psp=psp, clock=clock, policy=policy)
    refunds = Refunds(pool=pool, psp=psp, clock=clock, policy=policy)
    disputes = Disputes(pool=pool, clock=clock)
    completions = Completions(pool=pool, anchor=anchor, snapshots=snapshots, clock=clock, policy=policy)
    authorizations = Authorizations(
        pool=pool,
        psp=psp,
        quotes=quotes,
        anchor=anchor,
        snapshots=snapshots,
        clock=clock,
        outcomes=outcomes,
        policy=policy,
    )
    captures = Captures(pool=pool, psp=psp, clock=clock, outcomes=outcomes, policy=policy)
    resolver = Resolver(
        pool=pool, psp=psp, clock=clock, outcomes=outcomes, refunds=refunds, holds=holds, policy=policy
    )
    return PaymentService(
        pool=pool,
        clock=clock,
        anchor=anchor,
        snapshots=snapshots,
        quotes=quotes,
        authorizations=authorizations,
        completions=completions,
        captures=captures,
        collections=Collections(pool=pool, psp=psp, clock=clock, outcomes=outcomes, policy=policy),
        resolver=resolver,
        refunds=refunds,
        disputes=disputes,
        holds=holds,
        hearing=PspHearing(
            pool=pool,
            clock=clock,
            psp=psp,
            outcomes=outcomes,
            resolver=resolver,
            captures=captures,
            refunds=refunds,
            disputes=disputes,
        ),
        late=LateTruth(
            pool=pool, clock=clock, completions=completions, authorizations=authorizations, refunds=refunds
        ),
        missing=MissingCdrs(pool=pool, completions=completions, captures=captures, updates=updates),
        psp=psp,
        outcomes=outcomes,
    )
