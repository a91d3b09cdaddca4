"""Holds checked once a minute: about to end, waiting for the cardholder, or without a CDR for too long.

Owns: the round and its deadlines. Must not know how a hold is renewed or released.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.failure_log import log_failure
from gateway.ids import every_shard, format_id
from gateway.payments.errors import PaymentError
from gateway.payments.service import PaymentService
from gateway.payments.usage_repository import PREFIX as USAGE_PREFIX

_EVERY: Final = timedelta(minutes=1)
_BATCH: Final = 100
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDeadlines:
    """When a hold is checked, in business time.

    `renew_ahead` before its end; `action_patience` after a challenge was handed out; `cdr_patience` after the
    session was authorized, when no CDR came and the CPO has no policy of its own. A hold that was checked
    is checked again after `check_again_after`: holds that can't be helped delay no other.
    """

    renew_ahead: timedelta = timedelta(hours=12)
    action_poll: timedelta = timedelta(minutes=5)
    action_patience: timedelta = timedelta(hours=1)
    cdr_patience: timedelta = timedelta(days=30)
    check_again_after: timedelta = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class HoldMonitorJob:
    """One round a minute over the shards that this worker owns, bounded."""

    clock: Clock
    payments: PaymentService
    owned: Callable[[], Collection[int]] = every_shard
    deadlines: HoldDeadlines = field(default_factory=HoldDeadlines)
    name: str = "hold_monitor"
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round. Returns 0: a round is never followed at once by another."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + _EVERY
        await self._undecided()
        await self._forgotten()  # first: what is captured needs no renewal
        await self._ending()
        await self._actions()
        return 0

    async def _undecided(self) -> None:
        """Odd usage that nobody has decided a day before its hold ends: the lower amount is captured."""
        for shard, usage_id in await self.payments.stated_usage.list_to_settle(
            batch=_BATCH, shards=list(self.owned())
        ):
            with _alone(usage_id, prefix=USAGE_PREFIX):
                await self.payments.stated_usage.settle(shard=shard, usage_id=usage_id)

    async def _ending(self) -> None:
        before = self.clock.now() + self.deadlines.renew_ahead
        for shard, authorization_id in await self.payments.holds.list_holds_ending(
            before=before, batch=_BATCH, shards=list(self.owned())
        ):
            with _alone(authorization_id):
                if await self._turn(shard, authorization_id, self.deadlines.check_again_after):
                    await self.payments.holds.check_hold(shard=shard, authorization_id=authorization_id)

    async def _actions(self) -> None:
        """Read challenges at the PSP, in case a webhook was lost; void those that nobody answers."""
        now = self.clock.now()
        waiting = await self.payments.holds.list_actions_waiting(
            since=now - self.deadlines.action_poll, batch=_BATCH, shards=list(self.owned())
        )
        for shard, authorization_id in waiting:
            unanswered_before = now - self.deadlines.action_patience
            with _alone(authorization_id):
                if await self._turn(shard, authorization_id, _EVERY):
                    await self.payments.psp_events.check_challenge(
                        shard=shard, authorization_id=authorization_id, unanswered_before=unanswered_before
                    )

    async def _forgotten(self) -> None:
        """Sessions without a CDR.

        Released, or captured at the last known cost where the CPO's policy says so.
        """
        found = await self.payments.holds.list_stale_sessions(
            patience=self.deadlines.cdr_patience,
            lost_within=2 * self.deadlines.check_again_after,
            batch=_BATCH,
            shards=list(self.owned()),
        )
        for one in found:
            shown = format_id("auth", one.authorization_id)
            _log.warning("session_without_cdr", authorization=shown, action=one.action.value)
            with _alone(one.authorization_id):
                if await self._turn(one.shard, one.authorization_id, self.deadlines.check_again_after):
                    await self.payments.missing_cdrs.end(
                        shard=one.shard, authorization_id=one.authorization_id, action=one.action
                    )

    async def _turn(self, shard: int, authorization_id: UUID, rest: timedelta) -> bool:
        return await self.payments.holds.claim_check(
            shard=shard, authorization_id=authorization_id, interval=rest
        )


@contextmanager
def _alone(identifier: UUID, *, prefix: str = "auth") -> Iterator[None]:
    """The boundary of one hold: its failure is logged and delays no other."""
    try:
        yield
    except PaymentError as error:
        _log.info("hold_not_changed", subject=format_id(prefix, identifier), reason=str(error))
    except Exception as error:  # noqa: BLE001 - see above
        log_failure(_log, "hold_check_failed", error, subject=format_id(prefix, identifier))
