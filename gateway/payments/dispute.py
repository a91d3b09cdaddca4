"""Disputes: what the PSP says of them, recorded once, in whatever order it arrives.

Owns: opening and closing, and what is published. Must not know: who is charged for a dispute, how clearing
reserves or returns the money.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id, new_id, shard_of
from gateway.payments import dispute_repository, presenters, repository
from gateway.payments.errors import NotFoundError
from gateway.payments.psp.port import DisputeUpdate
from gateway.payments.records import DisputeRecord
from gateway.webhooks import events

_OPENED = "opened"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeService:
    """Records disputes. `party_id` None is the platform."""

    pool: Pool
    clock: Clock

    async def record_update(self, update: DisputeUpdate, *, shard: int, session_id: UUID) -> bool:
        """Record what the PSP says. A close that arrives first opens and closes; a repeat does nothing.

        False: the capture that it disputes is not recorded yet.
        """
        now, wall = self.clock.now(), self.clock.wall_now()
        async with transaction(self.pool) as connection:
            opened = await dispute_repository.open_dispute(
                connection,
                shard=shard,
                session_id=session_id,
                dispute_id=new_id(shard=shard),
                psp_dispute=update.psp_dispute,
                amount_minor=update.amount_minor,
                fee_minor=update.fee_minor,
                fee_currency=update.fee_currency,
                reason=update.reason,
                task_id=new_id(shard=shard),
                now=now,
                wall_now=wall,
            )
            if opened:
                await self._publish(connection, shard, update.psp_dispute)
            elif not await dispute_repository.find_by_psp_id(
                connection, shard=shard, psp_dispute=update.psp_dispute
            ):
                return False
            else:
                await dispute_repository.record_fee(
                    connection,
                    shard=shard,
                    psp_dispute=update.psp_dispute,
                    fee_minor=update.fee_minor,
                    fee_currency=update.fee_currency,
                    closed=update.state != _OPENED,
                    task_id=new_id(shard=shard),
                    wall_now=wall,
                )
            if update.state == _OPENED:
                return True
            closed = await dispute_repository.close_dispute(
                connection,
                shard=shard,
                psp_dispute=update.psp_dispute,
                state=update.state,
                task_id=new_id(shard=shard),
                now=now,
                wall_now=wall,
            )
            if closed:
                await self._publish(connection, shard, update.psp_dispute)
        return True

    async def get(self, *, party_id: str | None, dispute_id: UUID) -> DisputeRecord:
        """One dispute. Raises NotFoundError when there is none or it is another party's."""
        async with self.pool.acquire() as connection:
            found = await dispute_repository.load(
                connection, shard=shard_of(dispute_id), dispute_id=dispute_id
            )
            session = None
            if found is not None:
                session = await repository.find_session(
                    connection, shard=found.shard, session_id=found.session_id
                )
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
            return await dispute_repository.list_disputes(
                connection, party_id=party_id, before=before, limit=limit
            )

    async def _publish(self, connection: Connection, shard: int, psp_dispute: str) -> None:
        dispute = await dispute_repository.find_by_psp_id(connection, shard=shard, psp_dispute=psp_dispute)
        if dispute is None:
            return
        session = await repository.find_session(connection, shard=shard, session_id=dispute.session_id)
        if session is not None:
            await events.record(connection, presenters.dispute_events(dispute, session), now=self.clock.now())
