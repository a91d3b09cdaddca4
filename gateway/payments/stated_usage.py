"""What is done with usage that a check found odd: a person's decision, or the lower amount in time.

Owns: the actions, the amount of each, how a decision is carried out. Must not know: the rules of the checks,
how the decision reaches us.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ids import ALL_SHARDS, format_id, shard_of
from gateway.payments import repository, usage_repository
from gateway.payments.capture import CaptureService
from gateway.payments.cdr_corrections import CdrCorrectionService
from gateway.payments.complete import CompletionService, below_tariff
from gateway.payments.errors import PaymentConflictError
from gateway.payments.state_machine import PaymentState
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.usage_repository import PREFIX, StatedUsage, UsageState
from gateway.payments.views import SessionView

BEFORE_HOLD_ENDS: Final = timedelta(days=1)


class UsageAction(StrEnum):
    """What a person decides about usage that waits."""

    TAKE_AS_IS = "take_as_is"  # the price by the tariff is captured
    TAKE_LOWER = "take_lower"  # the lowest of the tariff's price, the CPO's total and the payer's statement
    SET_AMOUNT = "set_amount"  # an amount below the tariff's price
    REJECT = "reject"  # nothing is captured; the hold stays for a corrected CDR
    RELEASE = "release"  # nothing is captured, and the hold is released


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDecision:
    """An action; `amount_minor`, VAT included, goes with SET_AMOUNT."""

    action: UsageAction
    amount_minor: int | None = None


def amount_of(usage: StatedUsage, decision: UsageDecision) -> int | None:
    """What a decision captures in minor units; None: nothing, the usage is rejected.

    Raises PaymentConflictError where the action does not fit the usage; the text says which do.
    """
    if decision.action in {UsageAction.REJECT, UsageAction.RELEASE}:
        return None
    if usage.price_minor is None:
        raise PaymentConflictError("it can't be priced: reject it or release the hold")
    match decision.action:
        case UsageAction.TAKE_LOWER:
            if usage.lower_minor is None:
                raise PaymentConflictError(
                    "no lower amount can be defended: take it as it is or set an amount"
                )
            return usage.lower_minor
        case UsageAction.SET_AMOUNT:
            if decision.amount_minor is None or not 0 <= decision.amount_minor <= usage.price_minor:
                raise PaymentConflictError(
                    f"expected an amount from 0 to {usage.price_minor}, the tariff's price in minor units"
                )
            return decision.amount_minor
        case _:
            return usage.price_minor


async def decide(
    connection: Connection,
    usage_id: UUID,
    decision: UsageDecision,
    *,
    by: str,
    now: datetime,
    wall_now: datetime,
) -> bool:
    """Record a decision and leave the task that carries it out; False when nothing waits under that id.

    Raises PaymentConflictError.
    """
    usage = await usage_repository.load_usage(connection, shard=shard_of(usage_id), usage_id=usage_id)
    if usage is None or usage.state is not UsageState.EXCEPTION:
        return False
    amount = amount_of(usage, decision)
    return await usage_repository.decide(
        connection,
        usage,
        state=UsageState.REJECTED if amount is None else UsageState.ACCEPTED,
        amount_minor=amount,
        release=decision.action is UsageAction.RELEASE,
        by=by,
        now=now,
        wall_now=wall_now,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedUsageService:
    """Carries decisions out."""

    pool: Pool
    clock: Clock
    snapshots: TariffSnapshotCache
    completions: CompletionService
    cdr_corrections: CdrCorrectionService
    captures: CaptureService

    async def load(self, *, shard: int, usage_id: UUID) -> StatedUsage | None:
        """One statement."""
        async with self.pool.acquire() as connection:
            return await usage_repository.load_usage(connection, shard=shard, usage_id=usage_id)

    async def list_to_settle(
        self, *, batch: int, shards: Sequence[int] = ALL_SHARDS
    ) -> list[tuple[int, UUID]]:
        """Usage that nobody has decided a day before its hold ends: shard and id."""
        before = self.clock.now() + BEFORE_HOLD_ENDS
        async with self.pool.acquire() as connection:
            return await usage_repository.list_to_settle(
                connection, shards=shards, before=before, batch=batch
            )

    async def settle(self, *, shard: int, usage_id: UUID) -> None:
        """Capture the amount that can be defended in time; the usage still waits for a person.

        Raises PaymentError.
        """
        usage = await self.load(shard=shard, usage_id=usage_id)
        if usage is None or usage.state is not UsageState.EXCEPTION or usage.in_time_minor is None:
            return
        view = await self._view(usage)
        fixed = await self.completions.price_cdr(
            view.session, cdr_raw=usage.cdr, cdr_version=usage.cdr_version
        )
        fixed = replace(fixed, flags=[*fixed.flags, *usage.reasons], stated_by=usage.source)
        fixed = below_tariff(fixed, usage.in_time_minor)
        await self.completions.end(view, fixed)
        async with self.pool.acquire() as connection:
            await usage_repository.record_settled(
                connection, usage, minor=fixed.price_minor, now=self.clock.now()
            )
        await self.captures.capture(shard=shard, session_id=usage.session_id)

    async def carry_out(self, *, shard: int, usage_id: UUID, release: bool) -> str | None:
        """Carry a decision out. None: done; else what it waits for. Raises PaymentError."""
        usage = await self.load(shard=shard, usage_id=usage_id)
        if usage is None or usage.state not in {UsageState.ACCEPTED, UsageState.REJECTED}:
            return None
        view = await self._view(usage)
        if usage.state is UsageState.REJECTED:
            return await self._reject(view, usage, release=release)
        waits = await self._take(view, usage)
        if waits is None:
            await self.captures.capture(shard=shard, session_id=usage.session_id)
        return waits

    async def _take(self, view: SessionView, usage: StatedUsage) -> str | None:
        session = view.session
        if session.cdr_id is None:
            await self.completions.complete(
                view, cdr_raw=usage.cdr, cdr_version=usage.cdr_version, source=usage.source
            )
            return None
        settled = usage.settled_minor is not None or session.yields_to_operator
        if session.cdr_id.lower() == usage.cdr_key and not settled:
            if session.price_minor == usage.amount_minor:
                return None  # carried out before
            settled = True  # a process ended after it settled the lower amount, before it recorded that
        fixed = await self.completions.price_cdr(session, cdr_raw=usage.cdr, cdr_version=usage.cdr_version)
        fixed = below_tariff(replace(fixed, stated_by=usage.source), usage.amount_minor or 0)
        return await self.cdr_corrections.correct_to(session, fixed, owed=settled)

    async def _reject(self, view: SessionView, usage: StatedUsage, *, release: bool) -> str | None:
        """Nothing is captured; what was captured before the decision is refunded."""
        session = view.session
        if session.cdr_id is not None and session.cdr_id.lower() == usage.cdr_key:
            fixed = await self.completions.price_cdr(
                session, cdr_raw=usage.cdr, cdr_version=usage.cdr_version
            )
            waits = await self.cdr_corrections.correct_to(session, below_tariff(fixed, 0))
            if waits is None:
                await self.captures.capture(shard=session.shard, session_id=session.id)
            return waits
        held = view.authorization
        if release and held is not None and held.state is PaymentState.AUTHORIZED:
            await self.captures.release(authorization_id=held.id, expected_version=None)
        return None

    async def _view(self, usage: StatedUsage) -> SessionView:
        async with self.pool.acquire() as connection:
            found = await repository.find_session_with_payment(
                connection, shard=usage.shard, session_id=usage.session_id
            )
        if found is None:
            raise PaymentConflictError(f"the session of {format_id(PREFIX, usage.id)} is missing")
        return SessionView(
            session=found[0],
            tariff=await self.snapshots.reference(found[0].tariff_sha256),
            authorization=found[1],
            capture=found[2],
        )
