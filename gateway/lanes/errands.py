"""Errands done one by one: captures left over, CDRs that arrived by OCPI, events of the PSP.

Owns: what each errand calls and what becomes of it. Must not know how payments or OCPI do their part.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import lane_of
from gateway.lanes import tasks
from gateway.lanes.tasks import Task
from gateway.payments.capture import Ended
from gateway.payments.orders import PaymentError
from gateway.payments.records import SessionRecord
from gateway.payments.service import PaymentService
from gateway.store.ocpi_cdrs import CdrStatus, OcpiStore, StoredCdr

_log = structlog.get_logger(__name__)
BATCH: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrandLane:
    """Leases errands of one kind lane by lane and does each; a failed one waits and is tried again."""

    name: str
    pool: Pool
    clock: Clock
    lease_s: int
    at_once: int
    do: Callable[[Task], Awaitable[str | None]]  # None: done; else why not yet

    async def run_once(self) -> int:
        """One round over all lanes with due errands."""
        async with self.pool.acquire() as connection:
            lanes = await tasks.lanes_with_work(connection, kind=self.name, wall_now=self.clock.wall_now())
        gate = asyncio.Semaphore(self.at_once)
        async with asyncio.TaskGroup() as group:
            rounds = [group.create_task(self._run_lane(lane, gate)) for lane in lanes]
        return sum(done.result() for done in rounds)

    async def _run_lane(self, lane: int, gate: asyncio.Semaphore) -> int:
        async with gate:
            async with self.pool.acquire() as connection:
                leased = await tasks.lease(
                    connection,
                    lane=lane,
                    kind=self.name,
                    wall_now=self.clock.wall_now(),
                    lease_s=self.lease_s,
                    batch=BATCH,
                )
            for task in leased:
                await self._run(task)
        return len(leased)

    async def _run(self, task: Task) -> None:
        with structlog.contextvars.bound_contextvars(session_id=str(task.session_id)):
            try:
                reason = await self.do(task)
            except Exception as error:  # noqa: BLE001 - the boundary of one errand: the others must go on
                _log.exception("errand_failed", kind=self.name, attempts=task.attempts)
                reason = f"{type(error).__name__}: {error}"
        async with self.pool.acquire() as connection:
            await self._end(connection, task, reason)

    async def _end(self, connection: Connection, task: Task, reason: str | None) -> None:
        if reason is None:
            await tasks.finish(connection, [task])
        else:
            await tasks.postpone(connection, task, reason=reason, wall_now=self.clock.wall_now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Errands:
    """What each kind of errand does."""

    pool: Pool
    clock: Clock
    payments: PaymentService
    cdrs: OcpiStore

    async def capture(self, task: Task) -> str | None:
        """A completed session whose capture nobody finished."""
        if task.session_id is None:
            return None
        ended = await self.payments.capture(lane=task.lane, session_id=task.session_id)
        match ended:
            case Ended.DONE:
                return None
            case Ended.WAITING | Ended.ASKED:
                return "a call to the PSP is not answered yet, or the cardholder must act"
            case Ended.UNSECURED:
                again = await self.payments.late.secure_again(lane=task.lane, session_id=task.session_id)
                return "the session is being secured again" if again else None

    async def collect(self, task: Task) -> str | None:
        """A captured session of which a part is still owed."""
        if task.session_id is None:
            return None
        done = await self.payments.collect(lane=task.lane, session_id=task.session_id)
        return None if done else "the off-session charge is not answered yet"

    async def psp_event(self, task: Task) -> str | None:
        """The PSP said that something happened to a payment."""
        return await self.payments.hearing.heard_event(str(task.payload["event"]))

    async def complete(self, task: Task) -> str | None:
        """A CDR arrived by OCPI: find its session, price it, capture. What can't be matched is kept."""
        cpo_id, cdr_id = str(task.payload["cpo_id"]), str(task.payload["cdr_id"])
        async with self.pool.acquire() as connection:
            cdr = await self.cdrs.load_cdr(connection, cpo_id, cdr_id)
            if cdr is None or cdr.status is CdrStatus.SETTLED:
                return None
            session_id = await self.cdrs.resolve_session(connection, cdr)
        if cdr.credit:  # what waited for it may go on: the CDR that takes the reversed one's place
            async with transaction(self.pool) as connection:
                await self.cdrs.replay_waiting(
                    connection, now=self.clock.now(), wall_now=self.clock.wall_now(), cpo_id=cpo_id
                )
            return None
        if session_id is None:
            await self._mark(cdr, CdrStatus.UNMATCHED, "no session of this CPO carries its reference", None)
            return None
        return await self._settle(cdr, session_id)

    async def _settle(self, cdr: StoredCdr, session_id: UUID) -> str | None:
        try:
            view = await self.payments.get_session(party_id=cdr.cpo_id, session_id=session_id)
            waits = await self._fix(view.session, cdr)
        except PaymentError as error:
            await self._mark(cdr, CdrStatus.UNPRICEABLE, str(error), session_id)
            return None
        if waits is not None:
            return waits
        await self._mark(cdr, CdrStatus.SETTLED, None, session_id)
        await self.payments.capture(lane=lane_of(session_id), session_id=session_id)
        return None

    async def _fix(self, session: SessionRecord, cdr: StoredCdr) -> str | None:
        """Let the CDR end its session, or correct one that a reversed CDR ended. None: done."""
        if session.cdr_id is not None and session.cdr_id != cdr.cdr_id:
            async with self.pool.acquire() as connection:
                reversed_by = await self.cdrs.credits_of(connection, cdr.cpo_id, session.cdr_id)
            if reversed_by or session.awaits_cdr:
                return await self.payments.late.correct(
                    session, cdr_raw=cdr.raw, cdr_version=cdr.version.value
                )
        await self.payments.completions.complete(session, cdr_raw=cdr.raw, cdr_version=cdr.version.value)
        return None

    async def _mark(
        self, cdr: StoredCdr, status: CdrStatus, reason: str | None, session_id: UUID | None
    ) -> None:
        if reason is not None:
            _log.warning(
                "cdr_not_settled", cpo=cdr.cpo_id, cdr=cdr.cdr_id, status=status.value, reason=reason
            )
        async with self.pool.acquire() as connection:
            await self.cdrs.mark_cdr(
                connection,
                cdr.cpo_id,
                cdr.cdr_id,
                status=status,
                reason=reason,
                session_id=session_id,
                now=self.clock.now(),
            )


def errand_lanes(
    errands: Errands, *, pool: Pool, clock: Clock, lease_s: int, at_once: int
) -> list[ErrandLane]:
    """One lane per kind of errand."""
    kinds: dict[str, Callable[[Task], Awaitable[str | None]]] = {
        "complete": errands.complete,
        "capture": errands.capture,
        "collect": errands.collect,
        "psp_event": errands.psp_event,
    }
    return [
        ErrandLane(name=kind, pool=pool, clock=clock, lease_s=lease_s, at_once=at_once, do=do)
        for kind, do in kinds.items()
    ]
