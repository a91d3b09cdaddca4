"""Top-ups are booked when they have arrived, once; they may fail, be cancelled, or be taken back."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.audit.system_audit import audit_system
from gateway.database import Pool, transaction
from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.rules import ExceptionRecord
from gateway.exceptions.service import ExceptionService
from gateway.ids import new_id
from gateway.payments.errors import InvalidPaymentRequestError, PaymentConflictError
from gateway.payments.funding import FundingService
from gateway.payments.requests import AuthorizationRequest, Estimate, PartnerAccount
from tests.simulation.application import FUNDED_MINOR, Ground, Simulated
from tests.simulation.market import PLACES, SUPERAPP
from tests.simulation.seeded import Hands

PLACE = PLACES["DE*ABC*E1"]


class Funded:
    """The whole system, with four top-ups on their way: two of the platform, two of a partner."""

    def __init__(self, system: Simulated) -> None:
        self.system = system
        self.funding = FundingService(pool=system.pool, clock=system.hands, psp=system.psp)

    async def events_arrive(self) -> None:
        for letter in self.system.engine.pop_webhooks():
            await self.system.payments.receive_psp_webhook(
                body=letter.body, signature=letter.headers["Stripe-Signature"]
            )
        await self.system.jobs["handle_psp_event"].run_once()

    async def balance(self) -> tuple[int, int]:
        account = await self.funding.get_account(party_id=SUPERAPP, currency="EUR")
        return account.balance_minor, account.pending_minor

    async def states(self) -> list[str]:
        rows = await self.system.pool.fetch("SELECT state FROM gateway.top_up ORDER BY subject")
        return [row["state"] for row in rows]

    async def published(self) -> list[tuple[str, str]]:
        rows = await self.system.pool.fetch(
            "SELECT type, party_id FROM gateway.event WHERE type LIKE 'top_up.%' ORDER BY type, party_id"
        )
        return [(row["type"], row["party_id"]) for row in rows]

    def topup(self, reference: str) -> Any:
        return next(one for one in self.system.objects("topup") if one["description"] == reference)

    def control(self, reference: str, verb: str) -> None:
        self.system.control("POST", f"topups/{self.topup(reference)['id']}/{verb}", {})

    async def open(self) -> list[ExceptionRecord]:
        hands, queue = self.system.hands, ExceptionService(clearing=self.system.clearing)
        async with transaction(self.system.pool) as connection:
            await queue.refresh(connection, now=hands.now(), wall_now=hands.wall_now())
            wanted = ExceptionFilter(kind=ExceptionKind.TOPUP_NOT_ARRIVED)
            return list(await queue.list_exceptions(connection, wanted, limit=10))

    async def is_sound(self) -> None:
        """Books, accounts and the PSP's balance agree, line by line."""
        audit = await audit_system(self.system.pool, clock=self.system.hands, psp=self.system.psp)
        assert [f"{one.check} {one.subject}: {one.detail}" for one in audit.all_findings] == []
        assert await self.system.reconcile() == 0


@pytest.fixture
async def funded(pool: Pool) -> AsyncIterator[Funded]:
    ground = Ground(pool)
    await ground.prepare()
    system = await ground.open(random.Random(3), Hands(), topup_days=3)
    yield Funded(system)
    system.engine.close()


def days(funded: Funded, count: int) -> None:
    funded.system.hands.advance(timedelta(days=count))
    funded.system.set_psp_clock()
    funded.system.engine.run_timers()


async def test_a_top_up_is_no_balance_and_in_no_book_before_it_has_arrived(funded: Funded) -> None:
    assert await funded.balance() == (0, FUNDED_MINOR)
    assert await funded.system.pool.fetchval("SELECT count(*) FROM clearing.entry") == 0
    assert await funded.published() == []
    await funded.is_sound()
    refused = AuthorizationRequest(
        authorization_id=new_id(),
        party_id=SUPERAPP,
        evse_id=PLACE.evse_id,
        method="app",
        payment=PartnerAccount(),
        session_ref="S1",
        estimate=Estimate(energy_wh=10_000, duration_s=3600),
        cpo_id=PLACE.cpo_id,
    )
    with pytest.raises(Exception, match="does not cover"):
        await funded.system.payments.authorize(refused)


@pytest.mark.parametrize("heard", [True, False], ids=["by event", "by question"])
async def test_a_top_up_that_arrives_is_booked_once_though_its_event_is_lost(
    funded: Funded, *, heard: bool
) -> None:
    days(funded, 4)
    for _ in range(2):
        if heard:
            await funded.events_arrive()
        else:
            funded.system.engine.pop_webhooks()
            await funded.funding.check_waiting(batch=10)
    assert await funded.states() == ["arrived"] * 4
    assert await funded.balance() == (FUNDED_MINOR, 0)
    arrived = [("top_up.arrived", "platform")] * 4 + [("top_up.arrived", SUPERAPP)] * 2
    assert await funded.published() == sorted(arrived)
    assert await funded.system.pool.fetchval("SELECT count(*) FROM clearing.entry") == 4
    again = await funded.funding.top_up_treasury(currency="EUR", amount_minor=1_000_000, reference="EUR")
    assert again.state == "arrived"
    assert len(funded.system.objects("topup")) == 4
    await funded.is_sound()


@pytest.mark.parametrize("ended", ["failed", "cancelled"])
async def test_a_top_up_that_fails_is_an_exception_and_moves_nothing(funded: Funded, ended: str) -> None:
    reference = "first EUR"
    if ended == "failed":
        funded.control(reference, "fail")
    else:
        await funded.system.psp._wire.post(
            f"/v1/topups/{funded.topup(reference)['id']}/cancel", dict, {}, key="c"
        )
    await funded.events_arrive()
    [one] = await funded.open()
    assert (one.reason, one.amount_minor, one.party_id) == (ended, FUNDED_MINOR, SUPERAPP)
    assert await funded.balance() == (0, 0)
    assert await funded.published() == [(f"top_up.{ended}", "platform"), (f"top_up.{ended}", SUPERAPP)]
    with pytest.raises(PaymentConflictError, match="reference of its own"):
        await funded.funding.fund_partner(
            funding_id=new_id(),
            party_id=SUPERAPP,
            currency="EUR",
            amount_minor=FUNDED_MINOR,
            reference=reference,
        )
    await funded.is_sound()


async def test_a_top_up_that_the_bank_takes_back_is_reversed_in_every_book(funded: Funded) -> None:
    days(funded, 4)
    await funded.events_arrive()
    await funded.system.payments.authorize(
        AuthorizationRequest(
            authorization_id=new_id(),
            party_id=SUPERAPP,
            evse_id=PLACE.evse_id,
            method="app",
            payment=PartnerAccount(),
            session_ref="S1",
            amount_minor=5000,
            cpo_id=PLACE.cpo_id,
        )
    )
    for reference in ("first EUR", "CHF"):
        funded.control(reference, "reverse")
    await funded.events_arrive()
    await funded.events_arrive()
    partner, platform = sorted(await funded.open(), key=lambda one: one.party_id is None)
    assert (partner.reason, partner.party_id) == ("reversed", SUPERAPP)
    assert "5000 minor units were spent" in partner.detail
    assert (platform.reason, platform.currency) == ("reversed", "CHF")
    account = await funded.funding.get_account(party_id=SUPERAPP, currency="EUR")
    assert (account.balance_minor, account.held_minor, account.credit_limit_minor) == (0, 5000, 5000)
    rows = await funded.system.pool.fetch("SELECT kind FROM clearing.entry WHERE kind = 'topup_reversed'")
    assert len(rows) == 2
    await funded.is_sound()


async def test_a_top_up_that_stays_on_its_way_is_asked_for_after_ten_days(funded: Funded) -> None:
    assert await funded.open() == []
    funded.system.hands.advance(timedelta(days=11))
    late = await funded.open()
    assert {one.reason for one in late} == {"late"}
    assert len(late) == 4
    days(funded, 0)
    await funded.funding.check_waiting(batch=10)
    assert await funded.open() == []


async def test_a_top_up_made_at_the_dashboard_is_left_to_the_reconciliation(funded: Funded) -> None:
    days(funded, 4)
    await funded.events_arrive()
    await funded.system.psp._wire.post(
        "/v1/topups", dict, {"amount": 700, "currency": "eur", "description": "by hand"}, key="h"
    )
    days(funded, 4)
    await funded.events_arrive()
    assert await funded.open() == []
    assert await funded.system.reconcile() == 1


async def test_an_account_that_cannot_be_topped_up_refuses_before_anything_is_written(funded: Funded) -> None:
    for currencies, said in ((frozenset[str](), "or any other"), (frozenset({"CHF"}), "only in CHF")):
        funding = FundingService(
            pool=funded.system.pool, clock=funded.system.hands, psp=funded.system.psp, currencies=currencies
        )
        with pytest.raises(InvalidPaymentRequestError, match=said):
            await funding.top_up_treasury(currency="EUR", amount_minor=100, reference="NEW")
    assert len(await funded.states()) == 4


async def test_a_top_up_that_the_psp_refuses_is_never_sent_again_and_frees_its_reference(
    funded: Funded,
) -> None:
    with pytest.raises(InvalidPaymentRequestError, match="rejected the top-up"):
        await funded.funding.top_up_treasury(currency="EUR", amount_minor=10**9, reference="NEW")
    assert len(await funded.states()) == 4
    days(funded, 1)
    await funded.funding.check_waiting(batch=10)
    assert len(funded.system.objects("topup")) == 4
    again = await funded.funding.top_up_treasury(currency="EUR", amount_minor=10**7, reference="NEW")
    assert again.state == "pending"


async def test_the_network_replaces_a_saved_card_and_the_party_sees_the_new_one(funded: Funded) -> None:
    pool = funded.system.pool
    _, method = funded.system.customers["ann"]
    await pool.execute(
        "INSERT INTO gateway.customer (id, party_id, psp_customer, created_at) "
        "VALUES (gen_random_uuid(), $1, 'cus_x', now())",
        SUPERAPP,
    )
    await pool.execute(
        "INSERT INTO gateway.payment_method_setup (id, party_id, customer_id, state, off_session, "
        "return_url, psp_setup, psp_method, created_at, updated_at) "
        "SELECT gen_random_uuid(), $1, id, 'succeeded', true, "
        "'https://app.example', 'seti_x', $2, now(), now() FROM gateway.customer",
        SUPERAPP,
        method,
    )
    await pool.execute(
        "INSERT INTO gateway.payment_method (psp_method, id, party_id, customer_id, setup_id, brand, last4, "
        "exp_month, exp_year, created_at) SELECT $2, gen_random_uuid(), $1, customer_id, id, 'visa', '4242', "
        "1, 2027, now() FROM gateway.payment_method_setup",
        SUPERAPP,
        method,
    )
    funded.system.engine.pop_webhooks()
    for _ in range(2):
        body = {"last4": "1881", "exp_month": 5, "exp_year": 2031}
        funded.system.control("POST", f"payment_methods/{method}/replace_card", body)
        await funded.events_arrive()
    found = await funded.system.payments.payers.get_saved_method(party_id=SUPERAPP, psp_method=method)
    assert (found.last4, found.exp_month, found.exp_year) == ("1881", 5, 2031)
    rows = await pool.fetch("SELECT party_id, data FROM gateway.event WHERE type = 'payment_method.updated'")
    assert [(row["party_id"], row["data"]["last4"]) for row in rows] == [(SUPERAPP, "1881")]
