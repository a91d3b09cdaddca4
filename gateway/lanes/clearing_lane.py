"""Captured sessions to committed journal, a batch at a time: one transaction per batch.

Owns: gathering a batch over many lanes, the hand-over to clearing, and what sessions and partners hear of it.
Must not know how clearing prices, taxes, converts or splits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from clearing.results import ClearingBatch
from clearing.service import ClearingService
from clearing.session import CapturedSession, Funding, Rail
from gateway.clock import Clock
from gateway.database import Connection, Pool, named_queries, transaction
from gateway.ids import format_id, lane_of, new_id
from gateway.lanes import tasks
from gateway.lanes.tasks import Task
from gateway.notify import events
from gateway.notify.events import EventType, NewEvent
from gateway.payments import public, store
from gateway.payments.orders import SessionView

KIND: Final = "clear"
# The database's own trouble, in which no session is at fault: the worker waits and tries again.
_DATABASE_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.TransactionRollbackError,
    asyncpg.exceptions.InsufficientResourcesError,
    OSError,
)
_clearing = named_queries("gateway", "clearing.sql")
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class ClearingLane:
    """Clears what was captured. Several run side by side: rows locked by one are skipped by the others."""

    pool: Pool
    clock: Clock
    clearing: ClearingService
    batch_size: int
    chain: int
    name: str = KIND
    _start: int = field(default=0)

    async def run_once(self) -> int:
        """Clear one batch. Returns how many sessions it took."""
        async with self.pool.acquire() as connection:
            lanes = await tasks.lanes_with_work(connection, kind=KIND, wall_now=self.clock.wall_now())
        if not lanes:
            return 0
        self._start += 1
        turn = self._start % len(lanes)
        try:
            return await self._batch(lanes[turn:] + lanes[:turn], size=self.batch_size)
        except _DATABASE_AWAY:
            raise
        except Exception:  # noqa: BLE001 - a session that clearing does not survive must not stop the others
            _log.exception("clearing_batch_failed")
        return await self._one_by_one(lanes)

    async def _batch(self, lanes: Sequence[int], *, size: int) -> int:
        async with transaction(self.pool) as connection:
            taken = await self._gather(connection, lanes, size=size)
            if taken:
                await self._clear(connection, taken)
        return len(taken)

    async def _one_by_one(self, lanes: Sequence[int]) -> int:
        """After a batch that failed whole: each session by itself, the faulty one parked with its reason."""
        async with transaction(self.pool) as connection:
            suspects = await self._gather(connection, lanes, size=self.batch_size)
        done = 0
        for task in suspects:
            try:
                async with transaction(self.pool) as connection:
                    await self._clear(connection, [task])
                done += 1
            except _DATABASE_AWAY:
                raise
            except Exception as error:  # noqa: BLE001 - the boundary of one session
                _log.exception("session_not_cleared", session_id=str(task.session_id))
                async with self.pool.acquire() as connection:
                    await tasks.park(
                        connection,
                        task,
                        reason=f"{type(error).__name__}: {error}",
                        wall_now=self.clock.wall_now(),
                    )
        return done

    async def _gather(self, connection: Connection, lanes: Sequence[int], *, size: int) -> list[Task]:
        taken: list[Task] = []
        for lane in lanes:
            left = size - len(taken)
            if left == 0:
                break
            taken += await tasks.lock(
                connection, lane=lane, kind=KIND, wall_now=self.clock.wall_now(), batch=left
            )
        return taken

    async def _clear(self, connection: Connection, taken: Sequence[Task]) -> None:
        now = self.clock.now()
        due = [task for task in taken if task.session_id is not None]
        rows = [
            row
            async for row in _clearing.captured_sessions(
                connection, lanes=[task.lane for task in due], ids=[task.session_id for task in due]
            )
        ]
        sessions = [captured_session(row) for row in rows]
        batch = await self.clearing.clear_batch(
            connection, sessions, now=now, batch_id=new_id(), chain=self.chain
        )
        await self._mark(connection, batch)
        await self._tell(connection, batch)
        await tasks.finish(connection, taken)
        _log.info("cleared", sessions=len(batch.cleared), parked=len(batch.parked), again=len(batch.already))

    async def _mark(self, connection: Connection, batch: ClearingBatch) -> None:
        marks = [(session.session_id, "cleared", "") for session in batch.cleared]
        marks += [(parked.session_id, "parked", parked.reason) for parked in batch.parked]
        marks += [(session_id, "cleared", "") for session_id in batch.already]
        await _clearing.mark_sessions(
            connection,
            lanes=[lane_of(session_id) for session_id, _, _ in marks],
            ids=[session_id for session_id, _, _ in marks],
            states=[state for _, state, _ in marks],
            flags=[flag for _, _, flag in marks],
            now=self.clock.now(),
        )

    async def _tell(self, connection: Connection, batch: ClearingBatch) -> None:
        told: list[NewEvent] = []
        for cleared in batch.cleared:
            told += await self._news(connection, cleared.session_id, EventType.SESSION_CLEARED)
        for parked in batch.parked:
            _log.error("session_parked", session=format_id("ses", parked.session_id), reason=parked.reason)
            told += await self._news(connection, parked.session_id, EventType.SESSION_PARKED)
        await events.record(connection, told, now=self.clock.now())

    async def _news(self, connection: Connection, session_id: UUID, kind: EventType) -> list[NewEvent]:
        lane = lane_of(session_id)
        session = await store.session(connection, lane=lane, session_id=session_id)
        if session is None:
            return []
        view = SessionView(
            session=session,
            authorization=await store.current_authorization(connection, lane=lane, session_id=session_id),
            capture=await store.capture(connection, lane=lane, session_id=session_id),
        )
        return public.session_events(kind, view)


def captured_session(row: Mapping[str, Any]) -> CapturedSession:
    """A row of the hand-over as clearing's value."""
    shortfall = None if row["receivable_minor"] == 0 else "hold_below_price"
    on_account = row["funding"] == "partner_account"
    return CapturedSession(
        lane=row["lane"],
        session_id=row["id"],
        cpo_id=row["cpo_id"],
        demand_partner_id=row["demand_partner_id"],
        site_host_id=row["site_host_id"],
        emsp_id=row["emsp_id"],
        rail=Rail(row["rail"]),
        funding=Funding.PARTNER_ACCOUNT if on_account else Funding.PSP,
        account_party_id=row["account_party_id"],
        territory=row["territory"],
        time_zone=row["time_zone"],
        sale_at=row["ended_at"],
        captured_at=row["captured_at"],
        captured_minor=row["amount_minor"],
        currency=row["currency"],
        tariff_sha256=row["tariff_sha256"],
        tariff_json=row["canonical"],
        tariff_version=row["version"],
        cdr_id=row["cdr_id"],
        cdr_json=row["cdr"],
        cdr_version=row["cdr_version"],
        psp_object_id=row["psp_charge"],
        psp_fee_minor=row["fee_minor"],
        psp_fee_currency=row["fee_currency"],
        shortfall=shortfall,
    )
