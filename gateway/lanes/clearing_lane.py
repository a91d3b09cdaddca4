"""Captured sessions to committed journal, a batch at a time: one transaction per batch.

Owns: gathering a batch over many lanes, the hand-over to clearing, and what sessions and partners hear of it.
Must not know how clearing prices, taxes, converts or splits.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from clearing.errors import ClosedPeriodError
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
from gateway.payments import public
from gateway.payments.orders import SessionView
from gateway.payments.records import AuthorizationRecord, CaptureRecord, SessionRecord

KIND: Final = "clear"
IN_FLIGHT: Final = 3  # batches at once: one computes while PostgreSQL writes the others
_PORTION: Final = 32  # sessions told between two looks at the other work of the process
_ROUNDS: Final = 8  # batches one after another before the lane looks up
# The database's own trouble, or books closed at this instant: the worker waits and tries again.
_NO_SESSIONS_FAULT: Final = (
    ClosedPeriodError,
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
    """Clears what was captured. Several run side by side: rows locked by one are skipped by the others.

    With much to do, batches are in flight together, each in a transaction of its own: while one computes,
    PostgreSQL writes the others.
    """

    pool: Pool
    clock: Clock
    clearing: ClearingService
    batch_size: int
    chain: int
    name: str = KIND

    async def run_once(self) -> int:
        """Clear what is due, some tens of batches at most. Returns how many sessions it took."""
        lanes = await self._lanes_due()
        if not lanes:
            return 0
        try:
            return await self._in_flight(lanes)
        except _NO_SESSIONS_FAULT:
            raise
        except Exception:  # noqa: BLE001 - a session that clearing does not survive must not stop the others
            _log.exception("clearing_batch_failed")
        return await self._one_by_one(lanes)

    async def _lanes_due(self) -> list[int]:
        async with self.pool.acquire() as connection:
            rows = _clearing.lanes_due(connection, wall_now=self.clock.wall_now())
            return [row["lane"] async for row in rows]

    async def _in_flight(self, lanes: Sequence[int]) -> int:
        """Batches until less than half of one is found; another beside each that is not, up to the bound."""
        taken: list[int] = []

        async def work() -> None:
            for _ in range(_ROUNDS):
                count = await self._batch(lanes, more=more)
                taken.append(count)
                if 2 * count < self.batch_size:
                    return

        def more() -> None:
            if len(workers) < IN_FLIGHT:
                workers.append(group.create_task(work()))

        workers: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                more()
        except ExceptionGroup as failed:
            away = (error for error in failed.exceptions if isinstance(error, _NO_SESSIONS_FAULT))
            raise next(away, failed.exceptions[0]) from None
        return sum(taken)

    async def _batch(self, lanes: Sequence[int], *, more: Callable[[], None]) -> int:
        async with transaction(self.pool) as connection:
            await _clearing.plan_anew(connection)
            taken = await self._take(connection, lanes)
            if 2 * len(taken) >= self.batch_size:
                more()
            if taken:
                await self._clear(connection, taken)
        return len(taken)

    async def _one_by_one(self, lanes: Sequence[int]) -> int:
        """After a batch that failed whole: each session by itself, the faulty one parked with its reason."""
        async with transaction(self.pool) as connection:
            suspects = await self._take(connection, lanes)
        done = 0
        for task in suspects:
            try:
                async with transaction(self.pool) as connection:
                    await self._clear(connection, [task])
                done += 1
            except _NO_SESSIONS_FAULT:
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

    async def _take(self, connection: Connection, lanes: Sequence[int]) -> list[Task]:
        """Errands of every lane, each with its share of the batch, until the caller's transaction ends."""
        rows = _clearing.take_due(
            connection,
            lanes=lanes,
            wall_now=self.clock.wall_now(),
            share=-(-self.batch_size // len(lanes)),
        )
        return [Task(**dict(row.items())) async for row in rows]

    async def _clear(self, connection: Connection, taken: Sequence[Task]) -> None:
        sessions = await self._captured(connection, [task for task in taken if task.session_id is not None])
        batch = await self.clearing.clear_batch(
            connection, sessions, now=self.clock.now(), batch_id=new_id(), chain=self.chain
        )
        await self._mark(connection, batch)
        await self._tell(connection, batch)
        await tasks.finish(connection, taken)
        _log.info("cleared", sessions=len(batch.cleared), parked=len(batch.parked), again=len(batch.already))

    async def _captured(self, connection: Connection, due: Sequence[Task]) -> list[CapturedSession]:
        found = _clearing.captured_sessions(
            connection, lanes=[task.lane for task in due], ids=[task.session_id for task in due]
        )
        rows = [row async for row in found]
        named = _clearing.tariffs(connection, hashes=list({row["tariff_sha256"] for row in rows}))
        tariffs = {row["sha256"]: row async for row in named}
        return [captured_session(row, tariffs[row["tariff_sha256"]]) for row in rows]

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
        """Partners hear of each session: three reads and one write for all of them."""
        news = {cleared.session_id: EventType.SESSION_CLEARED for cleared in batch.cleared}
        for parked in batch.parked:
            _log.error("session_parked", session=format_id("ses", parked.session_id), reason=parked.reason)
            news[parked.session_id] = EventType.SESSION_PARKED
        if not news:
            return
        views = await _views(connection, list(news))
        told: list[NewEvent] = []
        for place, (session_id, kind) in enumerate(news.items()):
            if session_id in views:
                told += public.session_events(kind, views[session_id])
            if place % _PORTION == 0:
                await asyncio.sleep(0)
        await events.record(connection, told, now=self.clock.now())


async def _views(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, SessionView]:
    """The sessions as partners see them, each with its authorization and its capture."""
    named = {"lanes": [lane_of(session_id) for session_id in ids], "ids": ids}
    authorizations = {
        row["session_id"]: AuthorizationRecord.from_row(row)
        async for row in _clearing.told_authorizations(connection, **named)
    }
    captures = {
        row["session_id"]: CaptureRecord.from_row(row)
        async for row in _clearing.told_captures(connection, **named)
    }
    return {
        row["id"]: SessionView(
            session=SessionRecord.from_row(row),
            authorization=authorizations.get(row["id"]),
            capture=captures.get(row["id"]),
        )
        async for row in _clearing.told_sessions(connection, **named)
    }


def captured_session(row: Mapping[str, Any], tariff: Mapping[str, Any]) -> CapturedSession:
    """A row of the hand-over, with that of its tariff, as clearing's value."""
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
        tariff_json=tariff["canonical"],
        tariff_version=tariff["version"],
        cdr_id=row["cdr_id"],
        cdr_json=row["cdr"],
        cdr_version=row["cdr_version"],
        psp_object_id=row["psp_charge"],
        psp_fee_minor=row["fee_minor"],
        psp_fee_currency=row["fee_currency"],
        shortfall=_shortfall(row),
    )


def _shortfall(row: Mapping[str, Any]) -> str | None:
    """Why less than the price is handed over, where it is."""
    if row["receivable_minor"]:
        return "hold_below_price"
    if row["uncleared_minor"] and row["amount_minor"] < row["price_minor"]:
        return "refunded_before_clearing"
    return None
