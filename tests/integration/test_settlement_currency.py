"""An account that settles in euro, charged in yen and francs: read, journalled, compared, audited."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.ledger import service as ledger_service
from clearing.parties.party import PartyKind
from clearing.services import ClearingServices, build_clearing
from gateway.database import Pool, transaction
from gateway.ids import format_id
from gateway.jobs.reconciliation import ReconciliationJob
from gateway.payments.psp.dispute_port import DisputeUpdate
from gateway.payments.psp.port import Captured, Held, PspCaptureRequest, PspHoldRequest, PspRefundRequest
from gateway.payments.psp.stripe.adapter import StripePsp
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.settings import PspSettings
from tests.fakes import clearing_fixtures as world
from tests.fakes.api import Hands
from tests.simulation.application import _json
from tests.simulation.in_process import WEBHOOK_SECRET, Wire, stripe_over

NOW = world.SALE_AT + timedelta(hours=1)
JP_CPO = world.party("JP-ABC", PartyKind.CPO, "NL", "JPY")
ONE = world.session_id(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    pool: Pool
    engine: PspEngine
    psp: StripePsp
    clearing: ClearingServices

    async def charge(self, minor: int, currency: str) -> Captured:
        held = await self.psp.hold(
            PspHoldRequest(
                idempotency_key="h",
                session_id=ONE,
                authorization_id=ONE,
                amount_minor=minor,
                currency=currency,
                payment_method="pm_card_visa",
            )
        )
        assert isinstance(held, Held)
        captured = await self.psp.capture(
            PspCaptureRequest(
                idempotency_key="c", psp_payment=held.psp_payment, amount_minor=minor, currency=currency
            )
        )
        assert isinstance(captured, Captured)
        return captured

    async def clear(self, cpo: Any, captured: Captured, **changes: Any) -> None:
        async with transaction(self.pool) as connection:
            batch = await self.clearing.sessions.clear_batch(
                connection,
                [
                    world.session(
                        1,
                        cpo,
                        psp_object_id=captured.psp_charge,
                        psp_fee_minor=captured.fee_minor,
                        psp_fee_currency=captured.fee_currency,
                        **changes,
                    )
                ],
                now=NOW,
                batch_id=uuid4(),
            )
            assert not batch.uncleared, batch.uncleared

    async def reconcile(self, *, after: timedelta = timedelta(days=6)) -> int:
        job = ReconciliationJob(
            pool=self.pool, clock=Hands(at=NOW + after), source=self.psp, clearing=self.clearing
        )
        return (await job.reconcile()).differences

    async def balances(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        async with transaction(self.pool) as connection:
            for one in await ledger_service.list_balances(connection):
                if one.minor:
                    found.setdefault(one.account, {})[one.currency] = one.minor
        return found

    async def prove(self) -> None:
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            report = await audit_ledger(connection, now=NOW)
        assert report.ok, (report.findings, report.proof)
        sums: dict[str, int] = {}
        for by_currency in (await self.balances()).values():
            for currency, minor in by_currency.items():
                sums[currency] = sums.get(currency, 0) + minor
        assert set(sums.values()) <= {0}


@pytest.fixture
async def system(pool: Pool) -> AsyncIterator[System]:
    engine = PspEngine(
        PspSettings(
            seed=1,
            start_at=int(NOW.timestamp()),
            pull_webhooks=True,
            webhook_url="http://system.test/hook",
            webhook_secret=WEBHOOK_SECRET,
            settlement_currencies=("eur",),
        )
    )
    clearing = build_clearing()
    async with transaction(pool) as connection:
        await clearing.reference_data.import_bundled_rates(connection, now=NOW)
        for party in (*world.PARTIES.values(), JP_CPO):
            await clearing.reference_data.register_party(connection, party, now=NOW)
        for cpo in (JP_CPO, world.CH_CPO):
            await clearing.reference_data.put_agreement(connection, world.agreement(cpo), now=NOW)
    yield System(
        pool=pool,
        engine=engine,
        psp=stripe_over(Wire(engine=engine), monotonic=lambda: 0.0),
        clearing=clearing,
    )
    engine.close()


async def test_a_charge_in_yen_is_received_in_euro_with_its_fee(system: System) -> None:
    """605 JPY at 172 JPY a euro, less 2 % and the day's step: 0.005692, so 3.44 EUR; the fee is 0.30 EUR."""
    captured = await system.charge(605, "JPY")
    assert (captured.amount_minor, captured.fee_currency) == (605, "EUR")
    (movement,) = await system.psp.list_movements_between(since=NOW, until=None, limit=10)  # type: ignore[misc]
    assert movement.currency == "EUR"
    assert movement.presentment.amount_minor == 605
    assert movement.presentment.currency == "JPY"
    assert movement.amount_minor == round(605 * movement.presentment.exchange_rate * 100)
    assert isinstance(movement.presentment.exchange_rate, Decimal)
    await system.clear(JP_CPO, captured, tariff_json=world.tariff_json(JP_CPO, price="50"))
    assert await system.reconcile() == 0
    balances = await system.balances()
    assert balances["psp:stripe:receivable"] == {"EUR": -(movement.amount_minor - movement.fee_minor)}
    assert balances["platform:psp:expense"] == {"EUR": -movement.fee_minor}
    # The demand partner is paid 8 % of 500 JPY in euro, by its lock: the rest is still owed in yen.
    assert balances["fx:JPY-EUR:position"]["JPY"] == 40 - 605
    assert balances["fx:JPY-EUR:result"]["EUR"] != 0  # the PSP's rate is not the reference rate
    await system.prove()
    assert await system.reconcile() == 0  # read again, booked once
    assert await system.balances() == balances


async def test_a_fee_that_differs_in_the_other_currency_is_a_difference(system: System) -> None:
    captured = await system.charge(605, "JPY")
    wrong = Captured(
        psp_charge=captured.psp_charge,
        amount_minor=605,
        fee_minor=(captured.fee_minor or 0) + 1,
        fee_currency="EUR",
    )
    await system.clear(JP_CPO, wrong, tariff_json=world.tariff_json(JP_CPO, price="50"))
    assert await system.reconcile() == 1


async def test_a_dispute_in_francs_costs_a_fee_in_euro(system: System) -> None:
    """The fee of 20.00 EUR is booked as euro, not as francs, and the withdrawal at its own day's rate."""
    captured = await system.charge(605, "CHF")
    await system.clear(world.CH_CPO, captured)
    later = int((NOW + timedelta(days=2)).timestamp())
    _json(system.engine, "POST", "/_sandbox/clock", {"now": later, "frozen": True})
    _json(system.engine, "POST", f"/_sandbox/charges/{captured.psp_charge}/dispute", {})
    events = [system.psp.parse_event(letter.body) for letter in system.engine.pop_webhooks()]
    named = next(event.dispute for event in events if event.dispute is not None)
    dispute = await system.psp.read_dispute(psp_dispute=named)
    assert isinstance(dispute, DisputeUpdate)
    assert (dispute.amount_minor, dispute.currency) == (605, "CHF")
    assert (dispute.fee_minor, dispute.fee_currency) == (2000, "EUR")
    async with transaction(system.pool) as connection:
        await system.clearing.sessions.open_dispute(
            connection,
            ONE,
            minor=dispute.amount_minor,
            fee_minor=dispute.fee_minor,
            fee_currency=dispute.fee_currency,
            reference=dispute.psp_dispute,
            now=NOW + timedelta(days=2),
        )
        assert not await system.clearing.sessions.correct_dispute_fee(
            connection,
            ONE,
            fee_minor=2000,
            fee_currency="EUR",
            reference=dispute.psp_dispute,
            now=NOW + timedelta(days=2),
        )
    assert await system.reconcile(after=timedelta(days=9)) == 0
    balances = await system.balances()
    assert balances["platform:psp:expense"] == {"EUR": -2000 - (captured.fee_minor or 0)}
    records = {one.currency: one for one in await system.psp.list_records()}  # type: ignore[union-attr]
    eur = records["EUR"]
    assert balances["psp:stripe:receivable"] == {"EUR": -(eur.converted_minor - eur.fee_minor)}
    assert (records["CHF"].captured_minor, records["CHF"].other_minor) == (605, -605)
    assert records["CHF"].converted_minor == 0
    await system.prove()


async def test_a_refund_in_yen_is_compared_in_yen_and_in_euro(system: System) -> None:
    captured = await system.charge(605, "JPY")
    await system.clear(JP_CPO, captured, tariff_json=world.tariff_json(JP_CPO, price="50"))
    refund = PspRefundRequest(
        idempotency_key="r",
        psp_charge=captured.psp_charge,
        amount_minor=605,
        currency="JPY",
        metadata={"refund": format_id("ref", ONE)},
    )
    await system.psp.refund(refund)
    async with transaction(system.pool) as connection:
        await system.clearing.sessions.refund(connection, ONE, minor=605, reference="re_1", now=NOW)
    # The gateway's own refund is not in this test, so its yen are the one difference; the euro agree.
    assert await system.reconcile() == 1
    balances = await system.balances()
    assert "JPY" not in balances["psp:stripe:receivable"]
    assert balances["psp:stripe:receivable"] == {"EUR": captured.fee_minor}
    await system.prove()
