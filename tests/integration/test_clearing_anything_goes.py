"""Whatever happens, in whatever order, the books prove themselves: seeded walks over every operation."""

import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.captured_session import AuthorizationMethod, FundingSource
from clearing.errors import ClearingConflictError
from clearing.ledger import service as ledger_service
from clearing.parties.agreement import Deficit, LegalModel, Role, Share, Tier
from clearing.payouts.disbursement import (
    Disbursement,
    Paid,
    RailOutcome,
    RailOutcomeUnknown,
    Rejected,
)
from clearing.services import build_clearing
from gateway.database import Connection, Pool, transaction
from tests.fakes import clearing_fixtures as world

STEPS = 60
VAT = {"NL": "21.0", "DE": "19.0", "CH": "8.1", "GB": "20.0", "FR": "20.0"}
GROSS = {"NL": 605, "DE": 595, "CH": 541, "GB": 600, "FR": 600}
CPOS = (world.NL_CPO, world.DE_CPO, world.CH_CPO, world.GB_CPO, world.FR_CPO)


class Walk:
    """One seeded life of the books; time moves on, nothing is undone but by the books' own means."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.service = build_clearing()
        self.now = world.SALE_AT - timedelta(days=40)  # the bundled exchange rates end with October
        self.cleared: list[UUID] = []
        self.disputes: list[tuple[UUID, str]] = []
        self.number = 0
        self.references = 0

    async def open(self, connection: Connection) -> None:
        await self.service.reference_data.import_bundled_rates(connection, now=self.now)
        for party in world.PARTIES.values():
            await self.service.reference_data.register_party(connection, party, now=self.now)
        for cpo in CPOS:
            await self.service.reference_data.put_agreement(connection, self._agreement(cpo, 1), now=self.now)

    def _agreement(self, cpo: Any, version: int) -> Any:
        pick = self.random.choice
        tiers = (Tier(from_sessions=self.random.randint(2, 20), basis_points=500),)
        shares = (
            Share(
                role=Role.DEMAND_PARTNER,
                basis_points=800,
                fixed_minor=pick([0, 5]),
                cap_minor=pick([None, 90]),
            ),
            Share(role=Role.SITE_HOST, basis_points=300),
            Share(role=Role.EMSP, basis_points=200),
            Share(
                role=Role.PLATFORM, basis_points=1200, floor_minor=pick([None, 20]), tiers=pick([(), tiers])
            ),
        )
        return world.agreement(
            cpo,
            version=version,
            shares=shares,
            legal_model=pick(list(LegalModel)),
            deficit=pick(list(Deficit)),
            psp_cost_charged_to=pick([Role.PLATFORM, Role.CPO]),
            refund_charged_to=pick([None, Role.PLATFORM]),
            dispute_charged_to=pick([None, Role.PLATFORM]),
            fx_markup_bps=pick([0, 30]),
        )

    async def step(self, connection: Connection) -> None:
        self.now += timedelta(minutes=self.random.randint(1, 400))
        operations = [self.clear] * 5 + [
            self.refund,
            self.refund,
            self.dispute,
            self.win,
            self.pay,
            self.pay,
        ]
        operations += [self.change_terms, self.change_party, self.top_up, self.close]
        await self.random.choice(operations)(connection)

    async def clear(self, connection: Connection) -> None:
        sessions = []
        for _ in range(self.random.randint(1, 12)):
            self.number += 1
            cpo = self.random.choice(CPOS)
            shortfall = self.random.random() < 0.1
            sessions.append(
                world.session(
                    self.number,
                    cpo=cpo,
                    tariff_json=world.tariff_json(cpo, vat=VAT[cpo.country]),
                    captured_minor=self.random.randint(1, GROSS[cpo.country] - 1)
                    if shortfall
                    else GROSS[cpo.country],
                    shortfall="hold_below_price" if shortfall else None,
                    demand_partner_id=self.random.choice(["superapp", "parking", "platform"]),
                    site_host_id=self.random.choice([None, "hotel"]),
                    emsp_id=self.random.choice([None, "NL-EMP"]),
                    authorization_method=self.random.choice(list(AuthorizationMethod)),
                    funding=self.random.choice(list(FundingSource)),
                    sale_at=self.now,
                )
            )
        again = [world.session(1)] if self.number > 1 else []
        batch = await self.service.sessions.clear_batch(
            connection, [*sessions, *again], now=self.now, batch_id=uuid4(), chain=self.random.randint(0, 2)
        )
        assert not batch.uncleared, batch.uncleared
        self.cleared += [cleared.session_id for cleared in batch.cleared]

    async def refund(self, connection: Connection) -> None:
        if not self.cleared:
            return
        self.references += 1
        with suppress(ClearingConflictError):  # more than is left
            await self.service.sessions.refund(
                connection,
                self.random.choice(self.cleared),
                minor=self.random.randint(1, 400),
                reference=f"re_{self.references}",
                now=self.now,
            )

    async def dispute(self, connection: Connection) -> None:
        if not self.cleared:
            return
        self.references += 1
        session_id, reference = self.random.choice(self.cleared), f"dp_{self.references}"
        with suppress(ClearingConflictError):  # more than is left
            await self.service.sessions.open_dispute(
                connection,
                session_id,
                minor=self.random.randint(1, 300),
                fee_minor=1500,
                reference=reference,
                now=self.now,
            )
            self.disputes.append((session_id, reference))

    async def win(self, connection: Connection) -> None:
        if self.disputes:
            session_id, reference = self.disputes.pop()
            await self.service.sessions.win_dispute(connection, session_id, reference=reference, now=self.now)

    async def pay(self, connection: Connection) -> None:
        self.now += timedelta(hours=self.random.randint(1, 60))
        await self.service.disbursements.plan(connection, now=self.now)
        for begun in await self.service.disbursements.begin_due(connection, now=self.now, limit=1000):
            if self.random.random() < 0.9:  # else the worker dies between intent and result
                await self.service.disbursements.record_outcome(
                    connection, begun.id, self._outcome(begun), now=self.now
                )

    def _outcome(self, begun: Disbursement) -> RailOutcome:
        outcomes: list[RailOutcome] = [Paid(rail_reference=f"tr_{begun.id.hex}")] * 3
        outcomes += [
            Rejected(code="balance_insufficient", detail="top up"),
            RailOutcomeUnknown(detail="timeout"),
        ]
        return self.random.choice(outcomes)

    async def change_terms(self, connection: Connection) -> None:
        self.references += 1
        cpo = self.random.choice(CPOS)
        await self.service.reference_data.put_agreement(
            connection, self._agreement(cpo, 1 + self.references), now=self.now
        )

    async def change_party(self, connection: Connection) -> None:
        party = self.random.choice([known for known in world.PARTIES.values() if known.id != "platform"])
        currency = self.random.choice(["EUR", "CHF", "GBP"])
        hold = self.random.choice([None, None, "bank details changed"])
        changed = replace(party, settlement_currency=currency, payout_hold=hold, minimum_payout_minor=50)
        await self.service.reference_data.register_party(connection, changed, now=self.now)

    async def top_up(self, connection: Connection) -> None:
        self.references += 1
        await ledger_service.record_top_up(
            connection,
            currency="CHF",
            minor=1000,
            reference=f"tu_{self.references}",
            now=self.now,
        )
        await ledger_service.record_partner_funding(
            connection,
            partner_id="superapp",
            currency="EUR",
            minor=5000,
            reference=f"pf_{self.references}",
            now=self.now,
        )

    async def close(self, connection: Connection) -> None:
        await ledger_service.close_period(connection, until=self.now, by="walk", now=self.now)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
async def test_the_books_prove_themselves_after_anything(pool: Pool, seed: int) -> None:
    walk = Walk(seed)
    async with transaction(pool) as connection:
        await walk.open(connection)
    for step in range(STEPS):
        async with transaction(pool) as connection:
            await walk.step(connection)
        if step % 10 == 9:
            async with transaction(pool, isolation="repeatable_read") as connection:
                report = await audit_ledger(connection, now=walk.now)
            assert report.ok, (
                seed,
                step,
                report.findings,
                [line for line in report.proof if line.difference_minor],
            )
    assert len(walk.cleared) > 20
