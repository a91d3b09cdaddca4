"""Corrections: a CDR that corrects another, and a CDR for which there is no active hold any more.

Owns: what is still possible then. Must not know: how CDRs arrive, how clearing reverses a refund. The rule
stays: one capture per session, never more than the tariff's result.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid5

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id, in_shard, new_id
from gateway.payments import (
    cdr_correction_repository,
    presenters,
    psp_request_repository,
    repository,
)
from gateway.payments.authorize import AuthorizationService
from gateway.payments.complete import CompletionService, PricedCdr
from gateway.payments.errors import CdrRejectedError, NotFoundError, PaymentConflictError
from gateway.payments.records import AuthorizationRecord, CaptureRecord, SessionRecord, UsageSource
from gateway.payments.refund import RefundReason, RefundRequest, RefundService
from gateway.payments.session_state import SessionEvent, advance_session
from gateway.payments.state_machine import PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.usage_repository import StatedUsage
from gateway.payments.views import SessionView
from gateway.schemas.api_schemas import SessionState
from gateway.webhooks.events import EventType, event_rows

_CHARGES: Final = 2  # at most: the captured hold, and the residual charge
CREDITED: Final = "credited"  # the flag of a session whose CDR was credited without another in its place
_UNPAID: Final = "unpaid"  # the flag of a session that nobody can pay for
_REFUND_UNANSWERED: Final = (
    "a refund of the session is not answered yet: what is kept is not known until then"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrCorrectionService:
    """Corrects sessions, and secures again those that lost their hold."""

    pool: Pool
    clock: Clock
    snapshots: TariffSnapshotCache
    completions: CompletionService
    authorizations: AuthorizationService
    refunds: RefundService

    async def correct(
        self,
        session: SessionRecord,
        *,
        cdr_raw: bytes,
        cdr_version: str,
        source: UsageSource = UsageSource.OPERATOR_CDR,
    ) -> StatedUsage | str | None:
        """A credit CDR and this new CDR correct a session. None: done; else what it waits for.

        The new CDR is checked as any other: one that is odd waits for a person. Where the session was
        captured at its last known cost or by the payer's statement, and this is its operator's first CDR,
        what it costs above that is receivable.
        Otherwise as `correct_to`. Raises CdrRejectedError.
        """
        fixed = await self.completions.assess(
            session, cdr_raw=cdr_raw, cdr_version=cdr_version, source=source
        )
        if isinstance(fixed, StatedUsage):
            return fixed
        return await self.correct_to(session, fixed, owed=session.yields_to_operator)

    async def credit(self, session: SessionRecord) -> str | None:
        """A credit CDR takes the session's CDR back: what was captured is refunded, a hold released.

        None: done; else what it waits for.
        """
        if session.cdr is None or session.cdr_version is None or CREDITED in session.flags:
            return None
        fixed = await self.completions.price_cdr(
            session, cdr_raw=session.cdr, cdr_version=session.cdr_version
        )
        return await self.correct_to(
            session, replace(fixed, price_minor=0, price_net_minor=0, flags=[CREDITED])
        )

    async def correct_to(self, session: SessionRecord, fixed: PricedCdr, *, owed: bool = False) -> str | None:
        """Let a session cost what `fixed` says. None: done; else what it waits for.

        Before the capture, the capture follows the new price; after it, what was captured above the new
        price is refunded. For a higher new price nothing more is captured; with `owed` the rest is
        receivable. Raises CdrRejectedError.
        """
        async with self.pool.acquire() as connection:
            capture = await _capture_that_counts(connection, session)
            ended = await repository.find_session_by_foreign_id(
                connection, kind="cdr", foreign_id=f"{session.cpo_id}:{fixed.cdr_id.lower()}"
            )
        if ended is not None and ended[1] != session.id:
            raise CdrRejectedError(f"CDR {fixed.cdr_id} of {session.cpo_id} has ended another session")
        if capture is not None:
            if (
                session.state is not SessionState.CLEARED
            ):  # clearing proves what was captured by the CDR it was for
                return "the session's capture is still on its way to the ledger"
            if await self.refunds.is_unanswered(shard=session.shard, session_id=session.id):
                return _REFUND_UNANSWERED
            try:
                await self._refund_above(session, fixed, capture)
            except PaymentConflictError as error:  # a request is open: its outcome comes first
                return str(error)
            if await self.refunds.is_unanswered(shard=session.shard, session_id=session.id):
                return _REFUND_UNANSWERED  # it may be rejected still, and then the other charge is asked
        async with transaction(self.pool) as connection:
            await cdr_correction_repository.lock_session(
                connection, shard=session.shard, session_id=session.id
            )
            since = await _capture_that_counts(connection, session)
            if capture is None and since is not None:
                return "the session's capture has begun; what is too much is refunded after it"
            await self._replace(connection, session, fixed)
            if owed:
                await cdr_correction_repository.set_receivable(
                    connection, shard=session.shard, session_id=session.id
                )
        return None

    async def retry_clearing(self, *, session_id: UUID) -> None:
        """Hand a captured session that is an exception to clearing once more.

        What was captured above the price and refunded is left out; all other refunds are posted after it.
        Raises PaymentConflictError where it is no exception, or a refund is not answered.
        """
        async with transaction(self.pool) as connection:
            retried = await cdr_correction_repository.retry_clearing(
                connection,
                session_id=session_id,
                now=self.clock.now(),
                wall_now=self.clock.wall_now(),
            )
        if not retried:
            raise PaymentConflictError(
                f"session {format_id('ses', session_id)} can't be cleared again: it is no exception after a "
                "capture, or a refund is not answered yet"
            )

    async def secure_again(self, *, shard: int, session_id: UUID) -> bool:
        """A completed session whose hold ended by itself: hold again, off-session, what it costs.

        True: a hold was requested, capture may follow. False: nobody can pay; the session is an exception.
        """
        async with self.pool.acquire() as connection:
            found = await repository.find_session_with_payment(connection, shard=shard, session_id=session_id)
            if found is None or found[0].price_minor is None or found[0].state is not SessionState.COMPLETED:
                return False
            session, last, capture = found
            # What no CDR has confirmed is captured from the hold it had, and from nothing else.
            if last is not None and not session.awaits_cdr and await self._may_charge(connection, last):
                again = in_shard(uuid5(last.id, "secured again"), shard)
                known = await repository.find_authorization(connection, shard=shard, authorization_id=again)
            else:
                again, known = None, None
        if again is not None and known is None and last is not None:
            with suppress(NotFoundError):  # the driver has removed the payment method since
                view = await self.authorizations.authorize_again(
                    session, last, authorization_id=again, amount_minor=found[0].price_minor
                )
                if view.state is not PaymentState.FAILED:
                    return True
        await self._mark_exception(session, last, capture)
        return False

    async def _may_charge(self, connection: Connection, last: AuthorizationRecord) -> bool:
        if last.state is not PaymentState.VOIDED or last.funding != "psp" or last.customer is None:
            return False
        released = await psp_request_repository.was_released(
            connection, shard=last.shard, authorization_id=last.id
        )
        return not released

    async def _refund_above(self, session: SessionRecord, fixed: PricedCdr, capture: CaptureRecord) -> None:
        """Refund what is kept above the price, from each charge that brought it.

        A charge may refuse (one that is disputed does): then the other one is asked.
        """
        refused = False
        for part in range(_CHARGES):
            kept = capture.amount_minor - capture.refunded_minor - capture.disputed_minor
            if kept <= fixed.price_minor:
                return
            name = f"corrected by {fixed.cdr_id}" + (f", part {part + 1}" if part else "")
            refund = await self.refunds.refund(
                RefundRequest(
                    refund_id=uuid5(session.id, name),
                    session_id=session.id,
                    amount_minor=kept - fixed.price_minor,
                    reason=RefundReason.CDR_CORRECTED,
                    metadata={"cdr": fixed.cdr_id},
                    up_to=True,
                    from_residual=refused,
                ),
                party_id=None,
            )
            refused = refund.state == "failed"
            async with self.pool.acquire() as connection:
                capture = (
                    await repository.find_capture(connection, shard=session.shard, session_id=session.id)
                    or capture
                )

    async def _replace(self, connection: Connection, session: SessionRecord, fixed: PricedCdr) -> None:
        replaced = await cdr_correction_repository.replace_cdr(
            connection,
            shard=session.shard,
            session_id=session.id,
            replaces=session.cdr_id,
            cdr_id=fixed.cdr_id,
            cdr_version=fixed.cdr_version,
            cdr=fixed.cdr_raw,
            price_minor=fixed.price_minor,
            price_net_minor=fixed.price_net_minor,
            energy_wh=fixed.energy_wh,
            started_at=fixed.started_at,
            ended_at=fixed.ended_at,
            flags=[flag for flag in fixed.flags if flag not in session.flags],
            stated_by=fixed.stated_by.value,
            now=self.clock.now(),
        )
        if replaced:
            await cdr_correction_repository.renew_capture_task(
                connection,
                shard=session.shard,
                id=new_id(shard=session.shard),
                session_id=session.id,
                run_at=self.clock.wall_now(),
            )

    async def _mark_exception(
        self, session: SessionRecord, last: AuthorizationRecord | None, capture: CaptureRecord | None
    ) -> None:
        exception = replace(
            session,
            state=advance_session(session.state, SessionEvent.STOPPED),
            flags=[*session.flags, _UNPAID],
        )
        view = SessionView(
            session=exception,
            tariff=await self.snapshots.reference(session.tariff_sha256),
            authorization=last,
            capture=capture,
        )
        async with transaction(self.pool) as connection:
            await cdr_correction_repository.mark_unpaid_exception(
                connection,
                shard=session.shard,
                session_id=session.id,
                flag=_UNPAID,
                events=event_rows(presenters.session_events(EventType.SESSION_EXCEPTION, view)),
                now=self.clock.now(),
            )


async def _capture_that_counts(connection: Connection, session: SessionRecord) -> CaptureRecord | None:
    """The session's capture, unless the PSP rejected it: then nothing was captured."""
    found = await repository.find_capture(connection, shard=session.shard, session_id=session.id)
    return None if found is None or found.state == "failed" else found
