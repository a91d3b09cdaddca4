"""The books, the PSP and the bank compared, now and then: new lines in, differences out.

Owns: the round and what is fetched for it. Must not know how lines are matched.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from clearing.errors import ClearingError
from clearing.ledger.psp_conversion import PspConversion
from clearing.payouts import forecast_service
from clearing.reconciliation.service import PspLine, ReconciliationService, RunResult
from clearing.services import ClearingServices, build_clearing
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.payments import reconciliation_repository, unbooked_charge_repository
from gateway.payments.psp.failures import PspOutcomeUnknown
from gateway.payments.psp.movement_port import PspMovement
from gateway.payments.service import PaymentService
from gateway.payments.unbooked_charge_repository import UnbookedCharge

_EVERY: Final = timedelta(hours=1)
# Looked at again each time: what the PSP or a slow writer brought late is kept once.
_OVERLAP: Final = timedelta(days=3)
_FIRST: Final = timedelta(days=400)
_LIMIT: Final = 100_000  # lines in memory
_WINDOW: Final = timedelta(days=1)
_SHORTEST: Final = timedelta(seconds=1)  # the PSP's own resolution
_TOP_UPS: Final = frozenset({"topup", "topup_reversal"})
_CHARGES: Final = frozenset({"charge", "payment"})
_PSP: Final = "psp"
_REFUNDS: Final = "refunds"
_PAGE: Final = 5_000
_log = structlog.get_logger(__name__)


class MovementSource(Protocol):
    """Lists the lines of the PSP's balance."""

    async def list_movements_between(
        self, *, since: datetime, until: datetime | None, limit: int
    ) -> Sequence[PspMovement] | PspOutcomeUnknown:
        """Lines created since, and before `until` (None: up to the latest), in any order; `limit` at most."""
        ...


@dataclass(slots=True, kw_only=True)
class ReconciliationJob:
    """One comparison an hour.

    The PSP is read window by window of time, each kept and marked as read by a transaction of its own:
    however many lines there are, and however often it falls silent, what was read is read.
    """

    pool: Pool
    clock: Clock
    source: MovementSource
    reconciler: ReconciliationService = field(default_factory=ReconciliationService)
    clearing: ClearingServices = field(default_factory=build_clearing)
    payments: PaymentService | None = None  # None: charges that no book has are differences alone
    every: timedelta = _EVERY
    limit: int = _LIMIT
    name: str = "reconciliation"
    _next: datetime | None = field(default=None)
    _stopped_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round where it is time. Returns 0: a round is never followed at once by another."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + self.every
        await self.reconcile()
        return 0

    async def reconcile(self) -> RunResult:
        """Fetch, then compare; without the PSP's answer what is known is compared all the same."""
        started = self.clock.now()
        await self._keep_forecast(started)
        await self._read_psp(started)
        if self.payments is not None:
            await self.payments.psp_events.unbooked.resume_adoptions()
        since = await self._since(started, name=_REFUNDS)
        async with transaction(self.pool) as connection:
            await self.reconciler.record_book_lines(connection, await _left_out(connection), now=started)
            gone = await unbooked_charge_repository.list_refunded(connection, since=since - _OVERLAP)
            lines = (line for charge in gone for line in _refunded_lines(charge))
            await self.reconciler.record_book_lines(connection, lines, now=started)
            async for refunds in _refunds(connection, since=since):
                await self.reconciler.record_book_lines(connection, refunds, now=started)
            await self.reconciler.mark_read(connection, name=_REFUNDS, to=started, now=started)
            result = await self.reconciler.run(connection, now=started)
        level = _log.warning if result.differences else _log.info
        level("reconciled", matched=result.matched, differences=result.differences, resolved=result.resolved)
        return result

    async def _read_psp(self, now: datetime) -> None:
        """Keep the PSP's lines up to now, the oldest first; where it falls silent, the next round goes on."""
        since = self._stopped_at or await self._since(now, name=_PSP)
        window, limit = _WINDOW, self.limit
        while since < now:
            until = since + window if since + window < now else None
            found = await self.source.list_movements_between(since=since, until=until, limit=limit)
            if isinstance(found, PspOutcomeUnknown):
                _log.warning("psp_movements_unanswered", reason=found.reason, read_to=since.isoformat())
                self._stopped_at = since
                return
            if len(found) < limit:
                await self._keep_lines(found, since=since, to=until or now, now=now)
                await self._check_charges(found)
                since = until or now
                if 4 * len(found) < limit:
                    window *= 2
            elif window > _SHORTEST:
                window = max(window / 2, _SHORTEST)
            else:
                limit *= 2
        self._stopped_at = None

    async def _check_charges(self, found: Sequence[PspMovement]) -> None:
        """Charges that the PSP lists and that no book here has: each becomes an exception of its own."""
        listed = {
            one.psp_payment: one.source
            for one in found
            if one.kind in _CHARGES and one.psp_payment is not None and one.amount_minor > 0
        }
        if self.payments is None or not listed:
            return
        unknown = await self.payments.psp_events.unbooked.check_listed(listed)
        if unknown:
            _log.warning("psp_charges_not_booked", charges=unknown)

    async def _keep_lines(
        self, found: Sequence[PspMovement], *, since: datetime, to: datetime, now: datetime
    ) -> None:
        async with transaction(self.pool) as connection:
            counts_to = await reconciliation_repository.list_residual_charges_since(
                connection, since=since - _OVERLAP
            )
            lines = (line for one in found for line in _lines(one, counts_to))
            await self.reconciler.record_psp_lines(connection, lines, now=now)
            conversions = [
                conversion
                for one in sorted(found, key=attrgetter("created_at", "id"))
                if (conversion := _conversion(one, counts_to)) is not None
            ]
            await self.clearing.exchange_rates.record_psp_conversions(connection, conversions, now=now)
            await self.reconciler.mark_read(connection, name=_PSP, to=to, now=now)

    async def _keep_forecast(self, now: datetime) -> None:
        """Today's forecast and the errors of those before; what can't be forecast keeps nothing else up."""
        try:
            async with transaction(self.pool) as connection:
                await forecast_service.store_snapshot(connection, self.clearing.disbursements, now=now)
                await forecast_service.measure(connection, now=now)
        except ClearingError as error:
            _log.warning("forecast_not_kept", reason=str(error))

    async def _since(self, now: datetime, *, name: str) -> datetime:
        """From where on a source is read; kept in the database, so that a new worker goes on."""
        async with self.pool.acquire() as connection:
            read_to = await self.reconciler.read_to(connection, name=name)
        return (now - _FIRST) if read_to is None or read_to > now else read_to - _OVERLAP


def _reference(movement: PspMovement, counts_to: Mapping[str, str]) -> str:
    """A top-up is known to both sides by the reference that was given with it; the rest by the PSP's id.

    Two charges of one capture are one movement to our books.
    """
    if movement.kind in _TOP_UPS and movement.description:
        return f"topup:{movement.description}"
    return counts_to.get(movement.source, movement.source)


def _lines(movement: PspMovement, counts_to: Mapping[str, str]) -> Iterator[PspLine]:
    """The movement as it was settled and, where the PSP converted it, in the currency of its charge too.

    Our books have the charge in its own currency, and what the PSP made of it with the fee in the other.
    """
    settled = PspLine(
        id=movement.id,
        kind=movement.kind,
        reference=_reference(movement, counts_to),
        fee_minor=movement.fee_minor,
        amount_minor=movement.amount_minor,
        currency=movement.currency,
        occurred_on=movement.created_at.date(),
    )
    yield settled
    if movement.presentment is not None:
        yield replace(
            settled,
            id=f"{movement.id}/presentment",
            amount_minor=movement.presentment.amount_minor,
            currency=movement.presentment.currency,
            fee_minor=0,
        )


def _conversion(movement: PspMovement, counts_to: Mapping[str, str]) -> PspConversion | None:
    """What the PSP converted; None where it converted nothing."""
    presented = movement.presentment
    if presented is None or presented.amount_minor == 0:
        return None
    return PspConversion(
        movement_id=movement.id,
        source=_reference(movement, counts_to),
        base=presented.currency,
        quote=movement.currency,
        sold_minor=presented.amount_minor,
        bought_minor=movement.amount_minor,
        rate=presented.exchange_rate,
    )


async def _left_out(connection: Connection) -> list[PspLine]:
    """The part of a capture that was refunded before the journal had it."""
    return [
        PspLine(
            id=f"uncleared:{row['session_id']}",
            kind="uncleared",
            reference=row["psp_charge"],
            amount_minor=row["uncleared_minor"],
            currency=row["currency"],
            occurred_on=row["captured_at"].date(),
        )
        async for row in reconciliation_repository.refunded_before_clearing(connection)
    ]


def _refunded_lines(charge: UnbookedCharge) -> Iterator[PspLine]:
    """A charge that was never ours and was refunded: both of its movements, and the fee as it is booked."""
    own_fee = charge.fee_currency == charge.currency
    paid = PspLine(
        id=f"unbooked:{charge.psp_payment}",
        kind="unbooked_charge",
        reference=charge.psp_charge,
        amount_minor=charge.amount_minor,
        currency=charge.currency,
        occurred_on=charge.updated_at.date(),
        fee_minor=charge.fee_minor or 0 if own_fee else 0,
    )
    yield paid
    if charge.fee_minor and charge.fee_currency is not None and not own_fee:
        yield replace(
            paid,
            id=f"{paid.id}/fee",
            amount_minor=0,
            currency=charge.fee_currency,
            fee_minor=charge.fee_minor,
        )
    yield replace(
        paid,
        id=f"{paid.id}/{charge.psp_refund}",
        kind="refund",
        reference=charge.psp_refund or "",
        amount_minor=-charge.amount_minor,
        fee_minor=0,
    )


async def _refunds(connection: Connection, *, since: datetime) -> AsyncIterator[list[PspLine]]:
    """Refunds that reached the PSP since, a page at a time."""
    after_at, after_id = since - _OVERLAP, UUID(int=0)
    while True:
        page = await reconciliation_repository.list_refunds_since(
            connection, since=since, after_at=after_at, after_id=after_id, limit=_PAGE
        )
        yield [line for row in page for line in _refund_lines(row)]
        if len(page) < _PAGE:
            return
        after_at, after_id = page[-1]["finished_at"], page[-1]["id"]


def _refund_lines(row: Any) -> list[PspLine]:
    sent = PspLine(
        id=f"refund:{row['id']}",
        kind="refund",
        reference=row["psp_refund"],
        amount_minor=-row["amount_minor"],
        currency=row["currency"],
        occurred_on=row["finished_at"].date(),
    )
    if row["state"] != "failed":
        return [sent]
    back = replace(
        sent, id=f"refund_failed:{row['id']}", kind="refund_failed", amount_minor=row["amount_minor"]
    )
    return [sent, back]
