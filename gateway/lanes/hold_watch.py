"""Holds looked after, once a minute: about to end, waiting for the cardholder, or without a CDR for too long.

Owns: the round and its deadlines. Must not know how a hold is renewed or released.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.ids import format_id
from gateway.payments.orders import PaymentError
from gateway.payments.service import PaymentService

_EVERY: Final = timedelta(minutes=1)
_BATCH: Final = 100
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDeadlines:
    """When a hold is looked after, in business time.

    `renew_ahead` before its end; `action_patience` after a challenge was handed out; `cdr_patience` after the
    session was authorized, when no CDR came and the CPO has no policy of its own. A hold that was looked at
    has its next turn after `look_again`: those that nothing can be done about keep no other waiting.
    """

    renew_ahead: timedelta = timedelta(hours=12)
    action_poll: timedelta = timedelta(minutes=5)
    action_patience: timedelta = timedelta(hours=1)
    cdr_patience: timedelta = timedelta(days=30)
    look_again: timedelta = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class HoldWatchLane:
    """One round a minute, bounded."""

    clock: Clock
    payments: PaymentService
    deadlines: HoldDeadlines = field(default_factory=HoldDeadlines)
    name: str = "hold_watch"
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round. Returns 0: a round is never followed at once by another."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + _EVERY
        await self._forgotten()  # first: what is captured needs no renewal
        await self._ending()
        await self._actions()
        return 0

    async def _ending(self) -> None:
        before = self.clock.now() + self.deadlines.renew_ahead
        for lane, authorization_id in await self.payments.holds.ending(before=before, batch=_BATCH):
            with _alone(authorization_id):
                if await self._turn(lane, authorization_id, self.deadlines.look_again):
                    await self.payments.holds.look_after(lane=lane, authorization_id=authorization_id)

    async def _actions(self) -> None:
        """A challenge whose webhook was lost is read at the PSP; one that nobody answers is given up."""
        now = self.clock.now()
        waiting = await self.payments.holds.actions_waiting(
            since=now - self.deadlines.action_poll, batch=_BATCH
        )
        for lane, authorization_id in waiting:
            given_up = now - self.deadlines.action_patience
            with _alone(authorization_id):
                if await self._turn(lane, authorization_id, _EVERY):
                    await self.payments.hearing.after_action(
                        lane=lane, authorization_id=authorization_id, give_up_before=given_up
                    )

    async def _forgotten(self) -> None:
        """What no CDR ended: released, or captured at the last known cost where the CPO's policy says so."""
        found = await self.payments.holds.forgotten(
            patience=self.deadlines.cdr_patience, lost_within=2 * self.deadlines.look_again, batch=_BATCH
        )
        for one in found:
            shown = format_id("auth", one.authorization_id)
            _log.warning("session_without_cdr", authorization=shown, action=one.action.value)
            with _alone(one.authorization_id):
                if await self._turn(one.lane, one.authorization_id, self.deadlines.look_again):
                    await self.payments.missing.end(
                        lane=one.lane, authorization_id=one.authorization_id, action=one.action
                    )

    async def _turn(self, lane: int, authorization_id: UUID, rest: timedelta) -> bool:
        return await self.payments.holds.take_turn(lane=lane, authorization_id=authorization_id, rest=rest)


@contextmanager
def _alone(authorization_id: UUID) -> Iterator[None]:
    """The boundary of one hold: what goes wrong with it is told and holds up no other."""
    try:
        yield
    except PaymentError as error:
        _log.info("hold_left_as_it_is", authorization=format_id("auth", authorization_id), reason=str(error))
    except Exception:  # noqa: BLE001 - see above
        _log.exception("hold_not_looked_after", authorization=format_id("auth", authorization_id))
