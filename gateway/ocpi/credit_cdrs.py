"""Credit CDRs: each takes its CDR back, or waits for a person; none is accepted without effect.

Owns: what a credit CDR does, and when. Must not know: how money is refunded, how a CDR arrives.
Source: OCPI mod_cdrs, Credit CDRs: own id, all data, only total_cost negative; a new CDR can follow, and need
not (ocpi#399).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import structlog

from clearing.cdr_checks.credit import CreditCheck, check_credit
from clearing.cdr_checks.limits import LimitName, limits_at
from clearing.money import to_major
from clearing.parties.party import PLATFORM_ID
from clearing.pricing.cdr import parse_cdr
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ids import shard_of
from gateway.ocpi.repository import cdrs
from gateway.ocpi.repository.cdrs import CdrRecord, CdrStatus, CreditState
from gateway.payments import usage_repository
from gateway.payments.service import PaymentService

_log = structlog.get_logger(__name__)
_AGAIN: Final = timedelta(minutes=1)
_BATCH: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditCdrService:
    """Gives credit CDRs their effect once they have waited for another CDR."""

    pool: Pool
    clock: Clock
    payments: PaymentService

    async def run(self) -> int:
        """Look at every credit CDR that is due. Returns how many had their effect."""
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            due = await cdrs.list_open_credits(
                connection, received_before=now, updated_before=now - _AGAIN, limit=_BATCH
            )
        done = 0
        for cpo_id, cdr_id in due:
            done += await self._look_at(cpo_id, cdr_id)
        return done

    async def _look_at(self, cpo_id: str, cdr_id: str) -> bool:
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            credit = await cdrs.load_cdr(connection, cpo_id, cdr_id)
            if credit is None or credit.credit_reference_id is None:
                return False
            credited = await cdrs.load_cdr(connection, cpo_id, credit.credit_reference_id)
            earlier = await cdrs.list_credits(connection, cpo_id, credit.credit_reference_id)
            waits_until = credit.received_at + await self._wait(connection, cpo_id, at=credit.received_at)
        if now < waits_until:
            return False
        found = check_credit(
            parse_cdr(credit.raw, version=credit.version),
            None if credited is None else parse_cdr(credited.raw, version=credited.version),
            earlier=earlier[0] if earlier and earlier[0] != credit.cdr_id else None,
            priced_net=None if credited is None else await self._priced_net(credited),
        )
        if found is not None:
            await self._mark(credit, found, now=now)
            return True
        return credited is not None and await self._reverse(credit, credited, now=now)

    async def _reverse(self, credit: CdrRecord, credited: CdrRecord, *, now: datetime) -> bool:
        """Refund what the credited CDR captured; one that was replaced or never captured needs none."""
        session_id = credited.session_id
        waits = None
        if credited.status is CdrStatus.COMPLETED and session_id is not None:
            view = await self.payments.get_session(party_id=credit.cpo_id, session_id=session_id)
            if (view.session.cdr_id or "").lower() == credited.cdr_id.lower():
                waits = await self.payments.cdr_corrections.credit(view.session)
                if waits is None:
                    await self.payments.capture(shard=shard_of(session_id), session_id=session_id)
        elif credited.status in {CdrStatus.PENDING, CdrStatus.UNMATCHED, CdrStatus.UNPRICEABLE}:
            return False  # it is credited_before as soon as it is settled
        elif session_id is not None:
            async with self.pool.acquire() as connection:
                await usage_repository.replace_usage(
                    connection,
                    shard=shard_of(session_id),
                    session_id=session_id,
                    cdr_id=credited.cdr_id,
                    now=now,
                )
        if waits is not None:
            _log.info("credit_waits", cpo=credit.cpo_id, cdr=credit.cdr_id, reason=waits)
            return False
        async with self.pool.acquire() as connection:
            await cdrs.mark_credit(
                connection, credit, state=CreditState.APPLIED, session_id=session_id, now=now
            )
        return True

    async def _priced_net(self, credited: CdrRecord) -> Decimal | None:
        """What a CDR that ended its session costs by the tariff, in major units without VAT."""
        if credited.session_id is None:
            return None
        view = await self.payments.get_session(party_id=credited.cpo_id, session_id=credited.session_id)
        session = view.session
        if session.price_net_minor is None or (session.cdr_id or "").lower() != credited.cdr_id.lower():
            return None
        return to_major(session.price_net_minor, session.currency)

    async def _mark(self, credit: CdrRecord, found: CreditCheck, *, now: datetime) -> None:
        state = CreditState.EXCEPTION if found.waits else CreditState.APPLIED
        reason = f"{found.code.value}: {found.text}"
        async with self.pool.acquire() as connection:
            await cdrs.mark_credit(connection, credit, state=state, reason=reason, now=now)

    async def _wait(self, connection: Connection, cpo_id: str, *, at: datetime) -> timedelta:
        rows = await usage_repository.list_limits(connection, [cpo_id, PLATFORM_ID])
        limits = limits_at((row.as_limit for row in rows), at)
        return timedelta(seconds=float(limits[LimitName.CREDIT_WAIT_H] * Decimal(3600)))
