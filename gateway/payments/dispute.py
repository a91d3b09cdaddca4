"""Disputes: what the PSP says of them, recorded once, in whatever order it arrives.

Owns: opening and closing, and what is told. Must not know: who bears a dispute, how clearing reserves or
returns the money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool, named_queries, transaction
from gateway.ids import format_id, lane_of, new_id
from gateway.notify import events
from gateway.payments import public, store
from gateway.payments.orders import NotFoundError
from gateway.payments.psp import DisputeNews
from gateway.payments.records import DisputeRecord

_sql = named_queries("gateway", "after_capture.sql")
_OPENED = "opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputes:
    """The dispute service. `party_id` None is the platform."""

    pool: Pool
    clock: Clock

    async def heard(self, news: DisputeNews, *, lane: int, session_id: UUID) -> bool:
        """Record what the PSP says. A close that arrives first opens and closes; a repeat does nothing.

        False: the capture that it disputes is not recorded yet.
        """
        now, wall = self.clock.now(), self.clock.wall_now()
        async with transaction(self.pool) as connection:
            opened = await _sql.open_dispute(
                connection,
                lane=lane,
                session_id=session_id,
                dispute_id=new_id(lane=lane),
                psp_dispute=news.psp_dispute,
                amount_minor=news.amount_minor,
                fee_minor=news.fee_minor,
                reason=news.reason,
                task_id=new_id(lane=lane),
                now=now,
                wall_now=wall,
            )
            if opened:
                await self._tell(connection, lane, news.psp_dispute)
            elif not await _sql.dispute_by_psp_id(connection, lane=lane, psp_dispute=news.psp_dispute):
                return False
            else:
                await _sql.note_dispute_fee(
                    connection,
                    lane=lane,
                    psp_dispute=news.psp_dispute,
                    fee_minor=news.fee_minor,
                    closed=news.state != _OPENED,
                    task_id=new_id(lane=lane),
                    wall_now=wall,
                )
            if news.state == _OPENED:
                return True
            closed = await _sql.close_dispute(
                connection,
                lane=lane,
                psp_dispute=news.psp_dispute,
                state=news.state,
                task_id=new_id(lane=lane),
                now=now,
                wall_now=wall,
            )
            if closed:
                await self._tell(connection, lane, news.psp_dispute)
        return True

    async def get(self, *, party_id: str | None, dispute_id: UUID) -> DisputeRecord:
        """One dispute. Raises NotFoundError when there is none or it is another party's."""
        async with self.pool.acquire() as connection:
            found = await load_dispute(connection, lane=lane_of(dispute_id), dispute_id=dispute_id)
            session = None
            if found is not None:
                session = await store.session(connection, lane=found.lane, session_id=found.session_id)
        if (
            found is None
            or session is None
            or party_id not in {None, session.demand_partner_id, session.cpo_id}
        ):
            raise NotFoundError(f"no dispute {format_id('dsp', dispute_id)}")
        return found

    async def list(self, *, party_id: str | None, before: UUID | None, limit: int) -> Sequence[DisputeRecord]:
        """A page of disputes, newest first."""
        async with self.pool.acquire() as connection:
            return [
                DisputeRecord.from_row(row)
                async for row in _sql.list_disputes(
                    connection, party_id=party_id, before=before, row_limit=limit
                )
            ]

    async def _tell(self, connection: Connection, lane: int, psp_dispute: str) -> None:
        row = await _sql.dispute_by_psp_id(connection, lane=lane, psp_dispute=psp_dispute)
        dispute = DisputeRecord.from_row(row)
        session = await store.session(connection, lane=lane, session_id=dispute.session_id)
        if session is not None:
            await events.record(connection, public.dispute_events(dispute, session), now=self.clock.now())


async def load_dispute(connection: Connection, *, lane: int, dispute_id: UUID) -> DisputeRecord | None:
    """One dispute, or None."""
    row = await _sql.load_dispute(connection, lane=lane, id=dispute_id)
    return None if row is None else DisputeRecord.from_row(row)
