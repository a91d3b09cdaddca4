"""What is done for each kind of task: captures, residual charges, CDRs, events of the PSP, corrections.

Owns: which service each kind of task calls. Must not know how a service does its part. Clearing has a job of
its own, because it works in batches.
"""

from dataclasses import dataclass
from uuid import UUID

from clearing.errors import ClearingError, ClearingInvariantViolation
from gateway.acts.act import JobAct, acting
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.jobs import task_queue
from gateway.jobs.task_queue import Task
from gateway.jobs.task_runner import TaskHandler, TaskJob
from gateway.ocpi.cdr_settlement import CdrSettlementService
from gateway.payments.capture import CaptureResult
from gateway.payments.errors import PaymentConflictError
from gateway.payments.ledger_corrections import LedgerCorrections
from gateway.payments.service import PaymentService
from gateway.payments.unbooked_charge_settlement import UnbookedChargeSettlement
from gateway.payouts.connected_account_service import ConnectedAccountService
from gateway.task_kinds import TaskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHandlers:
    """One method for each kind of task. Each returns None when it is done, else why it can't be done yet."""

    pool: Pool
    payments: PaymentService
    cdrs: CdrSettlementService
    corrections: LedgerCorrections
    accounts: ConnectedAccountService

    async def complete_session(self, task: Task) -> str | None:
        """Complete a session by a CDR that arrived by OCPI, or as a person decided about odd usage."""
        if "stated_usage" in task.payload:
            return await self.cdrs.carry_out(
                shard=task.shard,
                usage_id=UUID(str(task.payload["stated_usage"])),
                release=bool(task.payload.get("release")),
            )
        return await self.cdrs.settle(cpo_id=str(task.payload["cpo_id"]), cdr_id=str(task.payload["cdr_id"]))

    async def capture_session(self, task: Task) -> str | None:
        """Capture a completed session whose capture did not finish."""
        if task.session_id is None:
            return None
        match await self.payments.capture(shard=task.shard, session_id=task.session_id):
            case CaptureResult.DONE:
                return None
            case CaptureResult.WAITING | CaptureResult.UNANSWERED:
                return "a call to the PSP is not answered yet, or the cardholder must act"
            case CaptureResult.UNSECURED:
                try:
                    if await self.unbooked.settle_session(shard=task.shard, session_id=task.session_id):
                        return None
                except PaymentConflictError as error:  # it is being adopted: nothing else pays meanwhile
                    return str(error)
                again = await self.payments.cdr_corrections.secure_again(
                    shard=task.shard, session_id=task.session_id
                )
                return "the session is being secured again" if again else None

    async def charge_residual(self, task: Task) -> str | None:
        """Charge the part of a captured session's price that is still owed."""
        if task.session_id is None:
            return None
        done = await self.payments.charge_residual(shard=task.shard, session_id=task.session_id)
        return None if done else "the off-session charge is not answered yet"

    async def book_correction(self, task: Task) -> str | None:
        """Post a refund or dispute, and delete the task in the same transaction."""
        if task.session_id is None:
            return None
        try:
            async with transaction(self.pool) as connection:
                booked = await self.corrections.book(
                    connection,
                    shard=task.shard,
                    session_id=task.session_id,
                    kind=str(task.payload["kind"]),
                    subject=UUID(str(task.payload["id"])),
                )
                if booked:
                    await task_queue.finish(connection, [task])
        except ClearingInvariantViolation:
            raise
        except ClearingError as error:  # such as closed books: it may pass
            return str(error)
        return None if booked else "its session is not cleared yet"

    async def settle_unbooked_charge(self, task: Task) -> str | None:
        """Carry out what was decided about money at the PSP that is in no book."""
        return await self.unbooked.settle(psp_payment=str(task.payload["psp_payment"]))

    @property
    def unbooked(self) -> UnbookedChargeSettlement:
        """Carries out what was decided about money at the PSP that is in no book."""
        payments = self.payments
        return UnbookedChargeSettlement(
            pool=self.pool,
            clock=payments.clock,
            psp=payments.psp,
            quotes=payments.quotes,
            snapshots=payments.snapshots,
            refunds=payments.refunds,
        )

    async def handle_psp_event(self, task: Task) -> str | None:
        """Apply what the PSP reported of a payment, or of an account that a party is paid to."""
        account = task.payload.get("connected_account")
        if account is not None:
            with acting(JobAct(name=TaskKind.HANDLE_PSP_EVENT)):
                return await self.accounts.follow(psp_account=str(account))
        return await self.payments.psp_events.handle_event(str(task.payload["event"]), shard=task.shard)


def task_jobs(
    handlers: TaskHandlers, *, pool: Pool, clock: Clock, lease_s: int, parallel_shards: int
) -> list[TaskJob]:
    """One job per kind of task, but clearing."""
    kinds: dict[TaskKind, TaskHandler] = {
        TaskKind.COMPLETE_SESSION: handlers.complete_session,
        TaskKind.CAPTURE_SESSION: handlers.capture_session,
        TaskKind.CHARGE_RESIDUAL: handlers.charge_residual,
        TaskKind.BOOK_CORRECTION: handlers.book_correction,
        TaskKind.HANDLE_PSP_EVENT: handlers.handle_psp_event,
        TaskKind.SETTLE_UNBOOKED_CHARGE: handlers.settle_unbooked_charge,
    }
    return [
        TaskJob(
            task_kind=kind,
            handle=handle,
            pool=pool,
            clock=clock,
            lease_s=lease_s,
            parallel_shards=parallel_shards,
        )
        for kind, handle in kinds.items()
    ]
