"""The payments' service for other packages: what the HTTP API, OCPI and the worker call.

Owns: whose object is whose (another party's object is not found), and reads. Must not know: HTTP, SQL.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from clearing.pricing.engine import PricedSession
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import format_id, shard_of
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments import double_tap_repository, repository
from gateway.payments.authorize import AuthorizationService
from gateway.payments.capture import CaptureResult, CaptureService
from gateway.payments.cdr_corrections import CdrCorrectionService
from gateway.payments.cdr_services import cdr_services
from gateway.payments.complete import CompletionService
from gateway.payments.dispute import DisputeService
from gateway.payments.dispute_evidence import DisputeEvidenceService
from gateway.payments.errors import (
    NotFoundError,
    PaymentConflictError,
    PspRequestOpenError,
    VersionConflictError,
    conflict_of,
)
from gateway.payments.hold_renewal import HoldRenewalService
from gateway.payments.list_service import PaymentListService
from gateway.payments.missing_cdr import MissingCdrService, SessionUpdateSource
from gateway.payments.outcome_resolver import OutcomeResolver
from gateway.payments.outcomes import OutcomeRecorder
from gateway.payments.payers import PayerService
from gateway.payments.phase_repository import PhaseRepository
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp.port import Psp
from gateway.payments.psp_event_repository import PspEventRepository
from gateway.payments.psp_events import PspEventHandler
from gateway.payments.psp_incidents import PspIncidentLog
from gateway.payments.psp_requests import PspRequestService
from gateway.payments.quotes import QuoteService
from gateway.payments.records import CaptureRecord, SessionRecord
from gateway.payments.refund import RefundService
from gateway.payments.requests import (
    ANY_DRIVER,
    AuthorizationRequest,
    Estimate,
    TariffChoice,
    TariffSource,
)
from gateway.payments.residual_charge import ResidualChargeService
from gateway.payments.state_machine import PaymentState
from gateway.payments.stated_usage import StatedUsageService
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payments.terminals import TerminalService
from gateway.payments.usage_checks import UsageCheckService
from gateway.payments.usage_rights import source_of_caller
from gateway.payments.usage_statements import UsageStatementService
from gateway.payments.views import AuthorizationView, PriceView, QuoteView, SessionView


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentService:
    """Everything that payments do. `admin` is the platform, which sees every party's objects."""

    pool: Pool
    clock: Clock
    tariffs: TariffSnapshotService
    snapshots: TariffSnapshotCache
    quotes: QuoteService
    authorizations: AuthorizationService
    completions: CompletionService
    captures: CaptureService
    residual_charges: ResidualChargeService
    resolver: OutcomeResolver
    refunds: RefundService
    disputes: DisputeService
    holds: HoldRenewalService
    psp_events: PspEventHandler
    cdr_corrections: CdrCorrectionService
    missing_cdrs: MissingCdrService
    stated_usage: StatedUsageService
    usage_statements: UsageStatementService
    psp_requests: PspRequestService

    @property
    def psp(self) -> Psp:
        """The PSP that the requests go to."""
        return self.psp_requests.psp

    @property
    def lists(self) -> PaymentListService:
        """Pages of sessions, authorizations and captures."""
        return PaymentListService(pool=self.pool, snapshots=self.snapshots)

    @property
    def terminals(self) -> TerminalService:
        """Payment terminals of parties."""
        return TerminalService(pool=self.pool, clock=self.clock, psp=self.psp.terminals)

    @property
    def payers(self) -> PayerService:
        """Customers of parties, and their payment methods."""
        return self.psp_events.payers

    @property
    def dispute_evidence(self) -> DisputeEvidenceService:
        """Answers disputes with evidence."""
        return DisputeEvidenceService(disputes=self.disputes, psp=self.psp)

    async def authorize(self, request: AuthorizationRequest, *, key: KeyClaim = UNKEYED) -> AuthorizationView:
        """Hold a session's estimated cost; see AuthorizationService.authorize."""
        return await self.authorizations.authorize(request, key=key)

    async def release(
        self,
        *,
        party_id: str,
        authorization_id: UUID,
        expected_version: int | None = None,
        admin: bool = False,
    ) -> AuthorizationView:
        """Release a hold whole. Raises NotFoundError, VersionConflictError, PaymentConflictError."""
        held = await self.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=admin)
        await self.usage_statements.check_release(held, party_id=party_id, admin=admin)
        await self.captures.release(authorization_id=authorization_id, expected_version=expected_version)
        return await self.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=admin)

    async def get_double_tap_policy(self, *, party_id: str) -> int:
        """For how many seconds a party's drivers are protected from a second hold."""
        async with self.pool.acquire() as connection:
            return await double_tap_repository.load_policy(connection, party_id=party_id)

    async def set_double_tap_policy(self, *, party_id: str, within_s: int) -> None:
        """Set it; 0: each request holds."""
        async with transaction(self.pool) as connection:
            await double_tap_repository.set_policy(connection, party_id=party_id, within_s=within_s)

    async def quote(
        self, *, evse_id: str, estimate: Estimate, choice: TariffChoice = ANY_DRIVER
    ) -> QuoteView:
        """What an expected session would cost now. Raises EvseNotFoundError, TariffMissingError."""
        return await self.quotes.quote(evse_id=evse_id, estimate=estimate, choice=choice)

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

        Raises NotFoundError, VersionConflictError, PaymentConflictError (not held, rejected, unanswered).
        """
        view = await self.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=admin)
        current = view.authorization
        if expected_version is not None and expected_version != current.version:
            raise VersionConflictError(f"the authorization is at version {current.version}; read it again")
        if current.state is not PaymentState.AUTHORIZED:
            raise conflict_of(current.state, "raised")
        if current.hold_minor < amount_minor:
            raised = await self.captures.increment(current, view.session, amount_minor=amount_minor)
            if raised is False:
                raise PaymentConflictError("the issuer or the account rejected the increment")
            if raised is None:
                raise PspRequestOpenError("the PSP has not answered yet; read the authorization again")
        return await self.get_authorization(party_id=party_id, authorization_id=authorization_id, admin=admin)

    async def record_start(self, *, session_id: UUID, started_at: datetime) -> None:
        """Record when a running session began, as its CPO reports it; the CDR's own start replaces it."""
        async with self.pool.acquire() as connection:
            await repository.record_start(
                connection,
                shard=shard_of(session_id),
                session_id=session_id,
                started_at=started_at,
                now=self.clock.now(),
            )

    async def complete(
        self,
        *,
        party_id: str,
        session_id: UUID,
        cdr_raw: bytes | Callable[[SessionRecord], bytes],
        cdr_version: str,
        expected_version: int | None = None,
        admin: bool = False,
        key: KeyClaim = UNKEYED,
    ) -> SessionView:
        """End a session by its CDR and capture at once; what can't be captured now is captured by the worker.

        `cdr_raw` may be built from the session, for a partner that has only metered usage. `key` is that of
        the call: it is claimed with the first write, or before another one.

        What a check finds odd waits for a person (`usage` of the view), and what the payer states of a
        connected operator's session waits for its CDR (`provisional`): nothing is captured.

        Raises NotFoundError, CdrRejectedError, SessionAlreadyCompletedError, VersionConflictError.
        """
        view = await self.get_session(party_id=party_id, session_id=session_id, admin=admin)
        cdr = cdr_raw if isinstance(cdr_raw, bytes) else cdr_raw(view.session)
        if (
            expected_version is not None
            and view.authorization is not None
            and expected_version != view.authorization.version
            and view.session.cdr != cdr  # by the same bytes it has ended: this request's own first attempt
        ):
            raise VersionConflictError(
                f"the authorization is at version {view.authorization.version}; read it again"
            )
        taken = await self.usage_statements.state(
            view,
            cdr_raw=cdr,
            cdr_version=cdr_version,
            party_id=party_id,
            source=source_of_caller(view.session, party_id=party_id, admin=admin),
            key=key,
        )
        if taken.view is not None and not taken.ended:
            return taken.view
        if taken.view is not None and taken.intended is not None:
            done = await self.captures.send_end(taken.view.session, taken.intended, key=key)
        else:
            await key.ensure(self.pool)
            done = await self.captures.finish(
                shard=view.session.shard, session_id=session_id, seen=taken.view
            )
        if done.view is not None:
            return done.view
        return await self.get_session(party_id=party_id, session_id=session_id, admin=admin)

    async def retry_clearing(self, *, session_id: UUID) -> SessionView:
        """The platform's: hand a session that is an exception to clearing once more.

        Raises NotFoundError, PaymentConflictError.
        """
        await self.get_session(party_id="", session_id=session_id, admin=True)
        await self.cdr_corrections.retry_clearing(session_id=session_id)
        return await self.get_session(party_id="", session_id=session_id, admin=True)

    async def capture(self, *, shard: int, session_id: UUID) -> CaptureResult:
        """The worker's task: capture what a completed session costs."""
        return await self.captures.capture(shard=shard, session_id=session_id)

    async def charge_residual(self, *, shard: int, session_id: UUID) -> bool:
        """The worker's task: charge off-session what the hold did not cover. False: try again later."""
        return await self.residual_charges.charge(shard=shard, session_id=session_id)

    async def get_authorization(
        self, *, party_id: str, authorization_id: UUID, admin: bool = False, with_action: bool = False
    ) -> AuthorizationView:
        """One authorization. Raises NotFoundError when there is none or it is another party's.

        `with_action`: while the cardholder must act, with the action and its secrets, read from the PSP.
        """
        async with self.pool.acquire() as connection:
            found = await repository.find_authorization_with_session(
                connection, shard=shard_of(authorization_id), authorization_id=authorization_id
            )
        if found is None or not (admin or party_id == found[0].party_id):
            raise NotFoundError(f"no authorization {format_id('auth', authorization_id)}")
        if with_action:
            return await self.authorizations.build_view_with_action(*found)
        return await self.authorizations.build_view(*found)

    async def get_session(self, *, party_id: str, session_id: UUID, admin: bool = False) -> SessionView:
        """One session with its authorization and capture. Raises NotFoundError."""
        shard = shard_of(session_id)
        async with self.pool.acquire() as connection:
            found = await repository.find_session_with_payment(connection, shard=shard, session_id=session_id)
        if found is None or not (admin or party_id in {found[0].demand_partner_id, found[0].cpo_id}):
            raise NotFoundError(f"no session {format_id('ses', session_id)}")
        return SessionView(
            session=found[0],
            tariff=await self.snapshots.reference(found[0].tariff_sha256),
            authorization=found[1],
            capture=found[2],
        )

    async def with_usage(self, view: SessionView) -> SessionView:
        """The view with the usage that waits for a person, and with what its payer stated, if any."""
        return await self.usage_statements.with_usage(view)

    async def get_capture(self, *, party_id: str, capture_id: UUID, admin: bool = False) -> CaptureRecord:
        """One capture. Raises NotFoundError."""
        async with self.pool.acquire() as connection:
            found = await repository.find_capture_by_id(
                connection, shard=shard_of(capture_id), capture_id=capture_id
            )
            if found is None or not await repository.is_shown_to(
                connection, None if admin else party_id, shard=found.shard, session_id=found.session_id
            ):
                raise NotFoundError(f"no capture {format_id('cap', capture_id)}")
        return found

    async def explain_price(self, *, party_id: str, session_id: UUID, admin: bool = False) -> PriceView:
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

    async def receive_psp_webhook(self, *, body: bytes, signature: str) -> None:
        """Keep one authentic event of the PSP, once. Raises WebhookRejectedError."""
        await self.psp_events.receive_webhook(body=body, signature=signature)

    async def _price_again(self, session: SessionRecord, cdr_raw: bytes, cdr_version: str) -> PricedSession:
        snapshot = await self.snapshots.get(session.tariff_sha256)
        return self.tariffs.price(
            sha256=snapshot.sha256,
            canonical=snapshot.canonical,
            version=snapshot.version,
            cdr=self.tariffs.read_cdr(cdr_raw, version=cdr_version),
            time_zone=session.time_zone,
        )


def _build_psp_requests(
    pool: Pool, psp: Psp, clock: Clock, policy: PaymentPolicy, incidents: PspIncidentLog | None
) -> PspRequestService:
    return PspRequestService(
        pool=pool,
        psp=psp,
        clock=clock,
        snapshots=TariffSnapshotCache(pool=pool, tariffs=TariffSnapshotService()),
        recorder=OutcomeRecorder(pool=pool, clock=clock, rules=psp.rules, phases=PhaseRepository.over(pool)),
        policy=policy,
        incidents=incidents or PspIncidentLog(pool=pool, clock=clock),
    )


def build_payments(
    *,
    pool: Pool,
    psp: Psp,
    tariffs: TariffSource,
    clock: Clock,
    policy: PaymentPolicy,
    updates: SessionUpdateSource | None = None,
    incidents: PspIncidentLog | None = None,
    checked: bool = True,
) -> PaymentService:
    """Compose the services over one cache of tariffs and one service for requests to the PSP.

    `checked` False leaves the checks of CDRs out: for a benchmark or test of the capture alone.
    """
    psp_requests = _build_psp_requests(pool, psp, clock, policy, incidents)
    snapshots = psp_requests.snapshots
    quotes = QuoteService(pool=pool, source=tariffs, tariffs=snapshots.tariffs, clock=clock)
    refunds = RefundService(pool=pool, clock=clock, psp_requests=psp_requests)
    disputes = DisputeService(pool=pool, clock=clock)
    captures = CaptureService(pool=pool, clock=clock, psp_requests=psp_requests, snapshots=snapshots)
    checks = UsageCheckService(pool=pool, clock=clock, source=tariffs, tariffs=snapshots.tariffs)
    completions = CompletionService(
        pool=pool,
        phases=psp_requests.recorder.phases,
        tariffs=snapshots.tariffs,
        snapshots=snapshots,
        clock=clock,
        policy=policy,
        checks=checks if checked else None,
    )
    authorizations = AuthorizationService(
        pool=pool,
        psp_requests=psp_requests,
        quotes=quotes,
        tariffs=snapshots.tariffs,
        snapshots=snapshots,
        clock=clock,
        policy=policy,
    )
    return PaymentService(
        pool=pool,
        clock=clock,
        tariffs=snapshots.tariffs,
        snapshots=snapshots,
        quotes=quotes,
        authorizations=authorizations,
        completions=completions,
        captures=captures,
        residual_charges=ResidualChargeService(pool=pool, psp_requests=psp_requests),
        resolver=OutcomeResolver(pool=pool, clock=clock, psp_requests=psp_requests, policy=policy),
        refunds=refunds,
        disputes=disputes,
        holds=HoldRenewalService(pool=pool, psp=psp, clock=clock, psp_requests=psp_requests),
        psp_events=PspEventHandler(
            pool=pool,
            kept=PspEventRepository.over(pool),
            clock=clock,
            psp=psp,
            snapshots=snapshots,
            outcomes=psp_requests.recorder,
            psp_requests=psp_requests,
            captures=captures,
            refunds=refunds,
            disputes=disputes,
            payers=PayerService(pool=pool, clock=clock, psp=psp.payers),
        ),
        **cdr_services(completions, captures, authorizations, refunds, updates),
        psp_requests=psp_requests,
    )
