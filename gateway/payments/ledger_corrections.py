"""Refunds and disputes to the ledger.

Each is posted once, from the stored split, after its session's clearing.

Owns: which correction is asked of clearing. Must not know how clearing computes or posts it, or the tasks
that call this.
"""

from dataclasses import dataclass
from uuid import UUID

from clearing.sessions.service import SessionClearingService
from gateway.clock import Clock
from gateway.database import Connection
from gateway.payments import dispute_repository, refund_repository, repository


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCorrections:
    """Posts corrections, each in the caller's transaction."""

    clock: Clock
    sessions: SessionClearingService

    async def book(
        self, connection: Connection, *, shard: int, session_id: UUID, kind: str, subject: UUID
    ) -> bool:
        """Post a correction of `kind` that is about the refund or dispute `subject`.

        Returns False while its session is not in the ledger. Raises ClearingError.
        """
        session = await repository.find_session(connection, shard=shard, session_id=session_id)
        if session is None or session.state != "cleared":
            return False
        if kind == "refund":
            await self._refund(connection, shard, subject)
        elif kind == "refund_failed":
            await self._refund_failed(connection, shard, subject)
        else:
            await self._dispute(connection, shard, subject, kind)
        return True

    async def _refund(self, connection: Connection, shard: int, refund_id: UUID) -> None:
        """Post a refund, without what clearing left out of its capture.

        One that failed before is not posted, and neither is its return.
        """
        refund = await refund_repository.lock(connection, shard=shard, refund_id=refund_id)
        if refund is not None and refund.state == "failed":
            await refund_repository.delete_unposted_tasks(
                connection, shard=shard, session_id=refund.session_id, refund_id=refund.id
            )
        elif refund is not None:
            posted = refund.amount_minor - await refund_repository.assign_left_out(connection, refund)
            if posted:
                await self.sessions.refund(
                    connection,
                    refund.session_id,
                    minor=posted,
                    reference=str(refund.id),
                    now=self.clock.now(),
                )

    async def _refund_failed(self, connection: Connection, shard: int, refund_id: UUID) -> None:
        """Post the return of a refund, as far as the refund was posted."""
        refund = await refund_repository.load(connection, shard=shard, refund_id=refund_id)
        if refund is not None and refund.unposted_minor < refund.amount_minor:
            await self.sessions.fail_refund(
                connection, refund.session_id, reference=str(refund.id), now=self.clock.now()
            )

    async def _dispute(self, connection: Connection, shard: int, dispute_id: UUID, kind: str) -> None:
        dispute = await dispute_repository.load(connection, shard=shard, dispute_id=dispute_id)
        if dispute is None:
            return
        now = self.clock.now()
        withdrawn, fee = dispute.withdrawn_minor, dispute.fee_minor
        # After a full refund a dispute withdraws nothing and may cost a fee: without one there is no entry.
        unposted = kind == "dispute_opened" or (kind == "dispute_fee" and not withdrawn)
        if unposted and (withdrawn or fee):
            await self.sessions.open_dispute(
                connection,
                dispute.session_id,
                minor=withdrawn,
                fee_minor=fee,
                fee_currency=dispute.fee_currency,
                reference=dispute.psp_dispute,
                now=now,
            )
        if kind == "dispute_fee" and (withdrawn or fee):
            await self.sessions.correct_dispute_fee(
                connection,
                dispute.session_id,
                fee_minor=fee,
                fee_currency=dispute.fee_currency,
                reference=dispute.psp_dispute,
                now=now,
            )
        elif kind == "dispute_won" and withdrawn:
            await self.sessions.win_dispute(
                connection, dispute.session_id, reference=dispute.psp_dispute, now=now
            )
