"""What the PSP, banks, partners and operators saw after a restore's point comes back, step by step.

Owns: the order of the steps (docs/operations/backup.md) and what is looked at again. Must not know: HTTP, how
one object is restored. Each step may be repeated: what is back is not brought back twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.errors import GatewayError
from gateway.ids import format_id, new_id, shard_of
from gateway.ocpi.repository import pulls
from gateway.payments.psp.failures import PspOutcomeUnknown
from gateway.payments.psp.movement_port import PspMovement
from gateway.payments.service import PaymentService
from gateway.recovery import repository
from gateway.recovery.restore_steps import RestoreReport, RestoreStep
from gateway.recovery.restored_payments import RestoredPayments
from gateway.recovery.restored_payouts import RestoredPayouts
from gateway.schemas.recovery import PlatformRestoredSchema
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent

# Before the point: what was on its way then is looked at as well.
MARGIN: Final = timedelta(hours=1)
_LIMIT: Final = 1_000_000


class PspNotAnsweringError(GatewayError):
    """The PSP's own record could not be read: without it nothing can be said."""


class MovementReader(Protocol):
    """Lists the lines of the PSP's balance."""

    async def list_movements_between(
        self, *, since: datetime, until: datetime | None, limit: int
    ) -> Sequence[PspMovement] | PspOutcomeUnknown:
        """Lines created since, in any order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreCheckService:
    """Brings back what is at others; nothing is sent to the PSP but questions."""

    pool: Pool
    clock: Clock
    payments: PaymentService
    clearing: ClearingServices
    movements: MovementReader

    async def run(self, restored_to: datetime, *, adopt: bool, sent_files: Path | None) -> RestoreReport:
        """All steps for a point (business time). `adopt`: charges that name a session are its captures.

        Raises:
            PspNotAnsweringError: the PSP does not answer.
        """
        since = restored_to - MARGIN
        restored = RestoredPayments(payments=self.payments)
        payouts = RestoredPayouts(pool=self.pool, clock=self.clock, clearing=self.clearing)
        paid, psp_events = await self._read_events(since)
        lines = await self._read_movements(since)
        steps = [
            psp_events,
            await restored.restore_holds(paid),
            await restored.restore_charges(lines, adopt=adopt),
            await restored.restore_refunds(lines),
            await self._open_requests(),
            await payouts.hold_for_transfers(lines),
            await payouts.keep_files_unsent(),
            await payouts.hold_for_files(sent_files),
            await self._ask_operators(since),
            await self._publish(restored_to),
        ]
        async with transaction(self.pool) as connection:
            await repository.add_restore_check(
                connection,
                restored_to=restored_to,
                checked_at=self.clock.wall_now(),
                steps=[step.to_json() for step in steps],
            )
        return RestoreReport(restored_to=restored_to, steps=steps)

    async def _read_events(self, since: datetime) -> tuple[list[str], RestoreStep]:
        """Keep the PSP's events, as its webhooks would have; return the payments that they speak of."""
        psp = self.payments.psp
        listed, kept, paid = 0, 0, set()
        async for page in psp.event_pages_since(since=since, limit=_LIMIT):
            if isinstance(page, PspOutcomeUnknown):
                raise PspNotAnsweringError(f"the PSP's events can't be read: {page.reason}")
            listed += len(page)
            for body in page:
                event = psp.parse_event(body)
                kept += await self.payments.psp_events.keep_event(event, body)
                if event.psp_payment is not None:
                    paid.add(event.psp_payment)
        return sorted(paid), RestoreStep(
            name="psp_events",
            looked_at=f"{listed} events since {since.isoformat()}",
            done=[f"{kept} events kept for the workers"] if kept else [],
        )

    async def _read_movements(self, since: datetime) -> Sequence[PspMovement]:
        found = await self.movements.list_movements_between(since=since, until=None, limit=_LIMIT)
        if isinstance(found, PspOutcomeUnknown):
            raise PspNotAnsweringError(f"the PSP's balance can't be read: {found.reason}")
        return found

    async def _open_requests(self) -> RestoreStep:
        async with self.pool.acquire() as connection:
            count = await repository.count_open_requests(connection)
        return RestoreStep(
            name="psp_requests",
            looked_at="requests to the PSP that were open at the point",
            done=[f"{count} are asked about by the workers, under their old keys"] if count else [],
        )

    async def _ask_operators(self, since: datetime) -> RestoreStep:
        async with transaction(self.pool) as connection:
            count = await pulls.rewind(connection, since=since, wall_now=self.clock.wall_now())
        return RestoreStep(
            name="ocpi_lists",
            looked_at="lists of OCPI peers",
            done=[f"{count} lists are read again from {since.isoformat()}"] if count else [],
        )

    async def _publish(self, restored_to: datetime) -> RestoreStep:
        """Once for a point, to every party. Deliveries that were open at the point are open again anyway."""
        now = self.clock.now()
        async with transaction(self.pool) as connection:
            if not await repository.is_first_check(connection, restored_to=restored_to):
                return RestoreStep(name="webhooks", looked_at="parties, which were notified before")
            parties = await repository.list_parties(connection)
            await events.record(
                connection, [_restored(party_id, restored_to) for party_id in parties], now=now
            )
        return RestoreStep(
            name="webhooks",
            looked_at="parties",
            done=[f"platform.restored is published to {len(parties)} parties"],
        )


def _restored(party_id: str, restored_to: datetime) -> NewEvent:
    identifier = new_id()
    shown = PlatformRestoredSchema(id=format_id("rst", identifier), restored_to=restored_to)
    return NewEvent(
        type=EventType.PLATFORM_RESTORED,
        party_id=party_id,
        object_id=shown.id,
        data=shown.as_json(),
        shard=shard_of(identifier),
    )
