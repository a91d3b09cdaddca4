"""Disputes: what the PSP says of them, recorded once, in whatever order it arrives.

Owns: opening and closing, and what is published. Must not know: who is charged for a dispute, how clearing
reserves or returns the money.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id, new_id, shard_of
from gateway.payments import dispute_repository, presenters, repository
from gateway.payments.errors import NotFoundError
from gateway.payments.psp.dispute_port import DisputeState, DisputeUpdate
from gateway.payments.records import DisputeRecord
from gateway.webhooks import events

_ENDS: Final = frozenset({DisputeState.WON, DisputeState.LOST, DisputeState.CLOSED})
# A dispute begins as what it was before it ended: an inquiry where no money had moved.
_FIRST_STATES: Final = {
    DisputeState.INQUIRY: DisputeState.INQUIRY,
    DisputeState.CLOSED: DisputeState.INQUIRY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeService:
    """Records disputes. `party_id` None is the platform."""

    pool: Pool
    clock: Clock

    async def record_update(self, update: DisputeUpdate, *, shard: int, session_id: UUID) -> bool:
        """Record what the PSP says. A close that arrives first opens and closes; a repeat does nothing.

        False: the capture that it disputes is not recorded yet.
        """
        times = {"now": self.clock.now(), "wall_now": self.clock.wall_now()}
        named = {"shard": shard, "psp_dispute": update.psp_dispute}
        async with transaction(self.pool) as connection:
            opened = await dispute_repository.open_dispute(
                connection,
                session_id=session_id,
                dispute_id=new_id(shard=shard),
                state=_FIRST_STATES.get(update.state, DisputeState.OPENED),
                fee_currency=update.fee_currency,
                reason=update.reason,
                now=times["now"],
                **_figures(update),
                **named,
            )
            before = await dispute_repository.find_by_psp_id(
                connection, shard=shard, psp_dispute=update.psp_dispute
            )
            if before is None:
                return False
            changed = await self._record_figures(connection, update, named, times, opened=opened)
            if opened or changed:
                known = None if opened else before.state
                await self._publish(connection, shard, update.psp_dispute, known=known)
            if update.state not in _ENDS:
                return True
            closed = await dispute_repository.close_dispute(
                connection, state=update.state, task_id=new_id(shard=shard), **times, **named
            )
            if closed:
                await self._publish(connection, shard, update.psp_dispute)
        return True

    async def _record_figures(
        self,
        connection: Connection,
        update: DisputeUpdate,
        named: Mapping[str, Any],
        times: Mapping[str, datetime],
        *,
        opened: bool,
    ) -> bool:
        """What was withdrawn, its fee, and what the card's bank waits for; whether any of it is news."""
        withdrawn = False
        task_id = new_id(shard=named["shard"])
        fee = {"fee_minor": update.fee_minor, "fee_currency": update.fee_currency, "task_id": task_id}
        if update.withdrawn_minor is not None:
            withdrawn = await dispute_repository.withdraw(
                connection, withdrawn_minor=update.withdrawn_minor, **fee, **times, **named
            )
            if not withdrawn:
                await dispute_repository.record_fee(
                    connection, closed=update.state in _ENDS, wall_now=times["wall_now"], **fee, **named
                )
        if opened:
            return withdrawn
        updated = await dispute_repository.update_dispute(
            connection, state=update.state, **_figures(update), **named
        )
        return withdrawn or updated

    async def get(self, *, party_id: str | None, dispute_id: UUID) -> DisputeRecord:
        """One dispute. Raises NotFoundError when there is none or it is another party's."""
        async with self.pool.acquire() as connection:
            found = await dispute_repository.load(
                connection, shard=shard_of(dispute_id), dispute_id=dispute_id
            )
            if found is None or not await repository.is_shown_to(
                connection, party_id, shard=found.shard, session_id=found.session_id
            ):
                raise NotFoundError(f"no dispute {format_id('dsp', dispute_id)}")
        return found

    async def list(self, *, party_id: str | None, before: UUID | None, limit: int) -> Sequence[DisputeRecord]:
        """A page of disputes, newest first."""
        async with self.pool.acquire() as connection:
            return await dispute_repository.list_disputes(
                connection, party_id=party_id, before=before, limit=limit
            )

    async def _publish(
        self, connection: Connection, shard: int, psp_dispute: str, *, known: str | None = None
    ) -> None:
        """Publish the dispute's new state, or that something within the `known` state has changed."""
        dispute = await dispute_repository.find_by_psp_id(connection, shard=shard, psp_dispute=psp_dispute)
        if dispute is None:
            return
        session = await repository.find_session(connection, shard=shard, session_id=dispute.session_id)
        if session is not None:
            news = presenters.dispute_events(dispute, session, changed=dispute.state == known)
            await events.record(connection, news, now=self.clock.now())


def _figures(update: DisputeUpdate) -> dict[str, Any]:
    """What may change while the dispute goes on."""
    return {
        "amount_minor": update.amount_minor,
        "response": update.response,
        "respond_by": update.respond_by,
        "submissions": update.submissions,
        "is_refundable": update.is_refundable,
    }
