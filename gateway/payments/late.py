"""Late truth: a CDR that corrects another, and a CDR for which no hold stands any more.

Owns: what is still possible then. Must not know: how CDRs arrive, how clearing unwinds a refund. The rule
stays: one capture per session, never more than the tariff's result.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

from gateway.clock import Clock
from gateway.database import Connection, Pool, named_queries, transaction
from gateway.ids import at_lane, format_id, lane_of, new_id
from gateway.notify.events import EventType
from gateway.payments import public, store
from gateway.payments.authorize import Authorizations
from gateway.payments.complete import Completions, Fixed
from gateway.payments.orders import CdrRefusedError, SessionView, StateConflictError
from gateway.payments.payment import PaymentState
from gateway.payments.records import AuthorizationRecord, CaptureRecord, SessionRecord
from gateway.payments.refund import RefundReason, RefundRequest, Refunds

_sql = named_queries("gateway", "holds.sql")
_after = named_queries("gateway", "after_capture.sql")
_CHARGES: Final = 2  # at most: the capture of the hold, and what was charged off-session


@dataclass(frozen=True, slots=True, kw_only=True)
class LateTruth:
    """Corrections and sessions that lost their hold."""

    pool: Pool
    clock: Clock
    completions: Completions
    authorizations: Authorizations
    refunds: Refunds

    async def correct(self, session: SessionRecord, *, cdr_raw: bytes, cdr_version: str) -> str | None:
        """A credit CDR and this new CDR correct a session. None: done; else what it waits for.

        Before the capture, the capture follows the new price; after it, what was captured above the new
        price is refunded. A higher new price takes nothing more; where the session was captured at its last
        known cost, and this is its first CDR, the rest is owed. Raises CdrRefusedError.
        """
        fixed = await self.completions.priced(session, cdr_raw=cdr_raw, cdr_version=cdr_version)
        async with self.pool.acquire() as connection:
            capture = await _capture_that_counts(connection, session)
            ended = await store.find_session(
                connection, kind="cdr", foreign_id=f"{session.cpo_id}:{fixed.cdr_id}"
            )
        if ended is not None and ended[1] != session.id:
            raise CdrRefusedError(f"CDR {fixed.cdr_id} of {session.cpo_id} has ended another session")
        if capture is not None:
            if session.state != "cleared":  # clearing proves what was captured by the CDR it was captured for
                return "the session's capture is still on its way to the ledger"
            if await self.refunds.waits(lane=session.lane, session_id=session.id):
                return "a refund of the session is not answered yet: what is kept is not known until then"
            try:
                await self._refund_above(session, fixed, capture)
            except StateConflictError as error:  # the PSP is being asked something: its answer comes first
                return str(error)
        async with transaction(self.pool) as connection:
            await _sql.hold_session(connection, lane=session.lane, session_id=session.id)
            since = await _capture_that_counts(connection, session)
            if capture is None and since is not None:
                return "the session's capture has begun; what is too much is refunded after it"
            await self._replace(connection, session, fixed)
            if session.awaits_cdr:
                await _sql.owe_rest(connection, lane=session.lane, session_id=session.id)
        return None

    async def clear_again(self, *, session_id: UUID) -> None:
        """Hand a captured session that clearing set aside to it once more.

        Of a capture above its price less what was given back; refunds of any other are posted after it.
        Raises StateConflictError where it is not set aside, nothing is left of a capture above its price, or
        a refund is not answered.
        """
        lane = lane_of(session_id)
        async with self.pool.acquire() as connection:
            again = await _after.clear_again(
                connection,
                lane=lane,
                session_id=session_id,
                task_id=new_id(lane=lane),
                now=self.clock.now(),
                wall_now=self.clock.wall_now(),
            )
        if not again:
            raise StateConflictError(
                f"session {format_id('ses', session_id)} can't be cleared again: it is not set aside after a "
                "capture, all of it was given back, or a refund is not answered yet"
            )

    async def secure_again(self, *, lane: int, session_id: UUID) -> bool:
        """A completed session whose hold ended by itself: hold anew, off-session, what it costs.

        True: a hold was asked for, capture may follow. False: nobody can pay; the session waits for a person.
        """
        async with self.pool.acquire() as connection:
            session = await store.session(connection, lane=lane, session_id=session_id)
            if session is None or session.price_minor is None or session.state != "completed":
                return False
            last = await store.current_authorization(connection, lane=lane, session_id=session_id)
            # What no CDR has confirmed is taken from the hold it had, and from nothing else.
            if last is not None and not session.awaits_cdr and await self._may_charge(connection, last):
                again = at_lane(uuid5(last.id, "secured again"), lane)
                known = await store.authorization(connection, lane=lane, authorization_id=again)
            else:
                again, known = None, None
        if again is not None and known is None and last is not None:
            view = await self.authorizations.authorize_again(
                session, last, authorization_id=again, amount_minor=session.price_minor
            )
            if view.state is not PaymentState.FAILED:
                return True
        await self._park(session, last)
        return False

    async def _may_charge(self, connection: Connection, last: AuthorizationRecord) -> bool:
        if last.state is not PaymentState.VOIDED or last.funding != "psp" or last.customer is None:
            return False
        released = await _sql.was_released(connection, lane=last.lane, authorization_id=last.id)
        return not released

    async def _refund_above(self, session: SessionRecord, fixed: Fixed, capture: CaptureRecord) -> None:
        """Give back what is kept above the price, of each charge it was taken by."""
        for part in range(_CHARGES):
            kept = capture.amount_minor - capture.refunded_minor - capture.disputed_minor
            if kept <= fixed.price_minor:
                return
            name = f"corrected by {fixed.cdr_id}" + (f", part {part + 1}" if part else "")
            await self.refunds.refund(
                RefundRequest(
                    refund_id=uuid5(session.id, name),
                    session_id=session.id,
                    amount_minor=kept - fixed.price_minor,
                    reason=RefundReason.CDR_CORRECTED,
                    metadata={"cdr": fixed.cdr_id},
                    up_to=True,
                ),
                party_id=None,
            )
            async with self.pool.acquire() as connection:
                capture = await store.capture(connection, lane=session.lane, session_id=session.id) or capture

    async def _replace(self, connection: Connection, session: SessionRecord, fixed: Fixed) -> None:
        replaced = await _sql.replace_cdr(
            connection,
            lane=session.lane,
            session_id=session.id,
            replaces=session.cdr_id,
            cdr_id=fixed.cdr_id,
            cdr_version=fixed.cdr_version,
            cdr=fixed.cdr_raw,
            price_minor=fixed.price_minor,
            price_net_minor=fixed.price_net_minor,
            energy_wh=fixed.energy_wh,
            ended_at=fixed.ended_at,
            now=self.clock.now(),
        )
        if replaced:
            await _sql.renew_capture_errand(
                connection,
                lane=session.lane,
                id=new_id(lane=session.lane),
                session_id=session.id,
                run_at=self.clock.wall_now(),
            )

    async def _park(self, session: SessionRecord, last: AuthorizationRecord | None) -> None:
        view = SessionView(session=session, authorization=last, capture=None)
        async with self.pool.acquire() as connection:
            await _sql.park_unpaid(
                connection,
                lane=session.lane,
                session_id=session.id,
                flag="unpaid",
                events=public.event_rows(public.session_events(EventType.SESSION_PARKED, view)),
                now=self.clock.now(),
            )


async def _capture_that_counts(connection: Connection, session: SessionRecord) -> CaptureRecord | None:
    """The session's capture, unless the PSP refused it: then nothing was taken."""
    found = await store.capture(connection, lane=session.lane, session_id=session.id)
    return None if found is None or found.state == "failed" else found
