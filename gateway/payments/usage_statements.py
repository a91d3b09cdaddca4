"""Usage stated by the capture API: it ends the session, corrects it, or is provisional until the CDR comes.

Owns: which of these it is. Must not know: HTTP, how a CDR is priced, how money is captured.
"""

from dataclasses import dataclass, replace

from gateway.clock import Clock
from gateway.database import Pool
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments import presenters, usage_repository
from gateway.payments.capture import CaptureService
from gateway.payments.cdr_corrections import CdrCorrectionService
from gateway.payments.complete import CompletionService
from gateway.payments.errors import PaymentConflictError, PspRequestOpenError
from gateway.payments.missing_cdr import SessionUpdateSource
from gateway.payments.planned_end import IntendedEnd
from gateway.payments.records import AuthorizationRecord, SessionRecord, UsageSource
from gateway.payments.usage_repository import ProvisionalUsage, StatedUsage
from gateway.payments.usage_rights import is_provisional, may_release, may_replace, source_of_caller
from gateway.payments.views import AuthorizationView, SessionView
from gateway.webhooks.events import EventType, event_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenStatement:
    """The session as a statement left it; `ended`: it may be captured now. `view` None: read it again.

    `intended` is the request that ends its payment, where it was intended with the session's end.
    """

    view: SessionView | None
    ended: bool
    intended: IntendedEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageStatementService:
    """Takes usage from keys. `updates` None: no operator is connected."""

    pool: Pool
    clock: Clock
    completions: CompletionService
    captures: CaptureService
    cdr_corrections: CdrCorrectionService
    updates: SessionUpdateSource | None

    async def state(
        self,
        view: SessionView,
        *,
        cdr_raw: bytes,
        cdr_version: str,
        party_id: str,
        source: UsageSource,
        key: KeyClaim = UNKEYED,
    ) -> TakenStatement:
        """Take what `source` states, by the API key of `party_id`; `key` is that of the call.

        Raises CdrRejectedError, SessionAlreadyCompletedError, PaymentConflictError, PspRequestOpenError.
        """
        if view.session.cdr_id is None and await self._is_provisional(
            view.session, view.authorization, source
        ):
            await key.ensure(self.pool)
            shown = await self._keep(view, cdr_raw=cdr_raw, cdr_version=cdr_version, party_id=party_id)
            return TakenStatement(view=shown, ended=False)
        if may_replace(source, view.session):
            await key.ensure(self.pool)
            return await self._correct(view, cdr_raw=cdr_raw, cdr_version=cdr_version, source=source)
        ended = await self.completions.complete_and_intend(
            view,
            cdr_raw=cdr_raw,
            cdr_version=cdr_version,
            source=source,
            plan_end=self.captures.plan_end,
            key=key,
        )
        if ended.usage is not None:
            return TakenStatement(view=replace(view, usage=ended.usage), ended=False)
        return TakenStatement(view=replace(view, session=ended.session), ended=True, intended=ended.intended)

    async def with_usage(self, view: SessionView) -> SessionView:
        """The view with the usage that waits for a person, and with what its payer stated, if any."""
        session = view.session
        async with self.pool.acquire() as connection:
            usage = await usage_repository.find_waiting(
                connection, shard=session.shard, session_id=session.id
            )
            provisional = await usage_repository.find_provisional(
                connection, shard=session.shard, session_id=session.id
            )
        return replace(view, usage=usage, provisional=provisional)

    async def check_release(self, held: AuthorizationView, *, party_id: str, admin: bool) -> None:
        """Check that the caller may release a hold. Raises PaymentConflictError."""
        session = held.session
        source = source_of_caller(session, party_id=party_id, admin=admin)
        if source is UsageSource.PAYER:
            async with self.pool.acquire() as connection:
                waiting = await usage_repository.find_waiting(
                    connection, shard=session.shard, session_id=session.id
                )
            if waiting is not None and waiting.source is not UsageSource.PAYER:
                raise PaymentConflictError(
                    "the operator's usage of the session waits for a decision: that captures or releases it"
                )
        provisional = await self._is_provisional(session, held.authorization, source)
        method = held.authorization.authorization_method
        if not may_release(source, session, method=method, provisional=provisional):
            raise PaymentConflictError(
                "the operator reports that the session runs, or has accepted the vehicle: its CDR ends the "
                "session, and releases the hold where nothing was used"
            )

    async def _is_provisional(
        self, session: SessionRecord, authorization: AuthorizationRecord | None, source: UsageSource
    ) -> bool:
        if source is not UsageSource.PAYER:
            return False
        connected = False
        if self.updates is not None:
            async with self.pool.acquire() as connection:
                connected = await self.updates.sends_cdrs(connection, cpo_id=session.cpo_id)
        method = None if authorization is None else authorization.authorization_method
        return is_provisional(source, method=method, operator_sends_cdrs=connected)

    async def _correct(
        self, view: SessionView, *, cdr_raw: bytes, cdr_version: str, source: UsageSource
    ) -> TakenStatement:
        waits = await self.cdr_corrections.correct(
            view.session, cdr_raw=cdr_raw, cdr_version=cdr_version, source=source
        )
        if isinstance(waits, StatedUsage):
            return TakenStatement(view=replace(view, usage=waits), ended=False)
        if waits is not None:
            raise PspRequestOpenError(f"captured without a CDR before; {waits}; try again later")
        return TakenStatement(view=None, ended=True)

    async def _keep(
        self, view: SessionView, *, cdr_raw: bytes, cdr_version: str, party_id: str
    ) -> SessionView:
        session = view.session
        fixed = await self.completions.price_provisional(session, cdr_raw=cdr_raw, cdr_version=cdr_version)
        usage = ProvisionalUsage(
            shard=session.shard,
            session_id=session.id,
            party_id=party_id,
            cdr_version=cdr_version,
            cdr=cdr_raw,
            price_minor=fixed.price_minor,
            energy_wh=fixed.energy_wh,
            started_at=fixed.started_at,
            ended_at=fixed.ended_at,
            stated_at=self.clock.now(),
        )
        shown = replace(view, provisional=usage)
        events = event_rows(presenters.session_events(EventType.SESSION_USAGE_STATED, shown))
        async with self.pool.acquire() as connection:
            await usage_repository.keep_provisional(connection, usage, events=events)
            kept = await usage_repository.find_provisional(
                connection, shard=session.shard, session_id=session.id
            )
        if kept is None or kept.cdr != cdr_raw:
            raise PaymentConflictError(
                "the session runs no more and its payment is released: its operator's CDR decides"
            )
        return replace(view, provisional=kept)
