"""Refunds and disputes to the ledger: each unwound once from the stored split, after its session was cleared.

Owns: which correction an errand asks clearing for. Must not know how clearing unwinds it.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from clearing.errors import ClearingError
from clearing.service import ClearingService
from gateway.clock import Clock
from gateway.database import Connection, Pool, named_queries, transaction
from gateway.lanes import tasks
from gateway.lanes.tasks import Task
from gateway.payments import store
from gateway.payments.dispute import load_dispute
from gateway.payments.records import RefundRecord

KIND: Final = "correct"
_BATCH: Final = 50
_after = named_queries("gateway", "after_capture.sql")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionLane:
    """Posts corrections, one transaction each; what comes before its session's clearing waits."""

    pool: Pool
    clock: Clock
    clearing: ClearingService
    name: str = KIND

    async def run_once(self) -> int:
        """One round. Returns how many errands were taken."""
        async with self.pool.acquire() as connection:
            lanes = await tasks.lanes_with_work(connection, kind=KIND, wall_now=self.clock.wall_now())
        return sum([await self._run_lane(lane) for lane in lanes])

    async def _run_lane(self, lane: int) -> int:
        async with self.pool.acquire() as connection:
            leased = await tasks.lease(
                connection, lane=lane, kind=KIND, wall_now=self.clock.wall_now(), lease_s=60, batch=_BATCH
            )
        for task in sorted(leased, key=lambda one: one.id):
            try:
                async with transaction(self.pool) as connection:
                    if await self._correct(connection, task):
                        await tasks.finish(connection, [task])
                        continue
                reason = "its session is not cleared yet"
            except ClearingError as error:
                reason = str(error)
                _log.warning("correction_waits", session_id=str(task.session_id), reason=reason)
            except Exception as error:  # noqa: BLE001 - the boundary of one errand: the others must go on
                reason = f"{type(error).__name__}: {error}"
                _log.exception("correction_failed", session_id=str(task.session_id))
            async with self.pool.acquire() as connection:
                await tasks.postpone(connection, task, reason=reason, wall_now=self.clock.wall_now())
        return len(leased)

    async def _correct(self, connection: Connection, task: Task) -> bool:
        """Post what the errand names. False: its session is not in the ledger yet."""
        if task.session_id is None:
            return True
        session = await store.session(connection, lane=task.lane, session_id=task.session_id)
        if session is None or session.state != "cleared":
            return False
        subject = UUID(str(task.payload["id"]))
        if task.payload["kind"] == "refund":
            await self._refund(connection, task.lane, subject)
        elif task.payload["kind"] == "refund_failed":
            await self.clearing.fail_refund(
                connection, task.session_id, reference=str(subject), now=self.clock.now()
            )
        else:
            await self._dispute(connection, task.lane, subject, str(task.payload["kind"]))
        return True

    async def _refund(self, connection: Connection, lane: int, refund_id: UUID) -> None:
        """Post a refund, unless it failed before: then neither its going nor its coming back is posted."""
        row = await _after.refund_to_post(connection, lane=lane, id=refund_id)
        refund = None if row is None else RefundRecord.from_row(row)
        if refund is not None and refund.state == "failed":
            await _after.drop_unposted_refund(
                connection, lane=lane, session_id=refund.session_id, refund_id=refund.id
            )
        elif refund is not None:
            await self.clearing.refund_session(
                connection,
                refund.session_id,
                minor=refund.amount_minor,
                reference=str(refund.id),
                now=self.clock.now(),
            )

    async def _dispute(self, connection: Connection, lane: int, dispute_id: UUID, kind: str) -> None:
        dispute = await load_dispute(connection, lane=lane, dispute_id=dispute_id)
        if dispute is None:
            return
        now = self.clock.now()
        if kind == "dispute_opened":
            await self.clearing.open_dispute(
                connection,
                dispute.session_id,
                minor=dispute.amount_minor,
                fee_minor=dispute.fee_minor,
                reference=dispute.psp_dispute,
                now=now,
            )
        elif kind == "dispute_fee":
            await self.clearing.correct_dispute_fee(
                connection,
                dispute.session_id,
                fee_minor=dispute.fee_minor,
                reference=dispute.psp_dispute,
                now=now,
            )
        elif kind == "dispute_won":
            await self.clearing.win_dispute(
                connection, dispute.session_id, reference=dispute.psp_dispute, now=now
            )
