"""Refunds, credits and disputes on a real PostgreSQL: exact reversal of stored originals, clawback."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.errors import ClearingConflictError
from clearing.fx import ReferenceRate
from clearing.ledger import service as ledger_service
from clearing.parties.agreement import LegalModel, Role
from clearing.payouts.disbursement import Paid
from clearing.services import ClearingServices, build_clearing
from clearing.sessions.corrections import Correction
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)
THURSDAY = datetime(2026, 10, 15, 8, 0, tzinfo=UTC)
ONE = world.session_id(1)


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        await opened.reference_data.import_bundled_rates(connection, now=NOW)
        for party in world.PARTIES.values():
            await opened.reference_data.register_party(connection, party, now=NOW)
        for cpo in (world.NL_CPO, world.CH_CPO, world.GB_CPO):
            await opened.reference_data.put_agreement(connection, world.agreement(cpo), now=NOW)
    return opened


async def clear(pool: Pool, service: ClearingServices, *sessions: world.CapturedSession) -> None:
    async with transaction(pool) as connection:
        batch = await service.sessions.clear_batch(connection, sessions, now=NOW, batch_id=uuid4())
        assert not batch.uncleared, batch.uncleared


async def refund(pool: Pool, service: ClearingServices, minor: int, reference: str = "re_1") -> Correction:
    async with transaction(pool) as connection:
        return await service.sessions.refund(connection, ONE, minor=minor, reference=reference, now=NOW)


async def balances(pool: Pool, service: ClearingServices) -> dict[str, int]:
    async with transaction(pool) as connection:
        return {
            f"{found.account} {found.currency}": found.minor
            for found in await ledger_service.list_balances(connection)
        }


async def prove(pool: Pool, service: ClearingServices) -> None:
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await audit_ledger(connection, now=NOW)
    assert report.ok, (report.findings, report.proof)


async def test_a_partial_refund_reverses_each_part_in_proportion(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1))
    # 2.00 of 6.05: VAT 1.05 x 200/605 = 0.35, net 1.65 at 80/8/12 = 1.32, 0.13, 0.20.
    done = await refund(pool, service, 200)
    assert {share.party_id: share.amount_minor for share in done.shares} == {"NL-ABC": -132, "superapp": -13}
    left = await balances(pool, service)
    assert left["vat:NL:output EUR"] == 105 - 35
    assert left["platform:fee:revenue EUR"] == 60 - 20
    assert left["psp:stripe:receivable EUR"] == -(605 - 34 - 200)
    await prove(pool, service)


async def test_a_full_refund_leaves_only_the_psp_fee(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, world.session(1, demand_partner_id="parking", site_host_id="hotel"))
    for reference, minor in (("re_1", 1), ("re_2", 333), ("re_3", 271)):
        await refund(pool, service, minor, reference)
    left = {account: minor for account, minor in (await balances(pool, service)).items() if minor}
    assert left == {"platform:psp:expense EUR": -34, "psp:stripe:receivable EUR": 34}
    await prove(pool, service)


async def test_the_same_refund_twice_is_posted_once(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, world.session(1))
    first, second = await refund(pool, service, 100), await refund(pool, service, 100)
    assert (first.posted, second.posted, second.minor) == (True, False, 100)
    await prove(pool, service)


async def test_more_than_was_captured_is_never_reversed(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, world.session(1))
    await refund(pool, service, 600)
    with pytest.raises(ClearingConflictError, match="more than the 5 that remain"):
        await refund(pool, service, 6, "re_2")
    with pytest.raises(ClearingConflictError, match="has not been cleared"):
        async with transaction(pool) as connection:
            await service.sessions.refund(connection, uuid4(), minor=1, reference="re_3", now=NOW)


async def test_a_refund_after_payout_is_netted_against_later_sales(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1))
    async with transaction(pool) as connection:
        for plan in await service.disbursements.plan(connection, now=THURSDAY):
            await service.disbursements.begin(connection, plan.id, now=THURSDAY)
            await service.disbursements.record_outcome(
                connection, plan.id, Paid(rail_reference=plan.party_id), now=THURSDAY
            )
    await refund(pool, service, 605)
    await prove(pool, service)
    friday = THURSDAY + timedelta(days=1)
    async with transaction(pool) as connection:
        assert not await service.disbursements.plan(
            connection, now=friday
        )  # a receivable is carried, never paid
    sale = world.SALE_AT + timedelta(hours=1)
    await clear(pool, service, *(world.session(number, sale_at=sale) for number in (2, 3)))
    async with transaction(pool) as connection:
        plans = await service.disbursements.plan(connection, now=friday)
    assert {plan.party_id: plan.amount_minor for plan in plans} == {"NL-ABC": 800 - 400, "superapp": 80 - 40}
    await prove(pool, service)


async def test_a_refund_uses_the_lock_of_the_capture_not_todays_rate(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1, demand_partner_id="parking"))
    async with transaction(pool) as connection:
        cheap = ReferenceRate(
            base="EUR",
            quote="CHF",
            rate_date=world.SALE_AT.date() + timedelta(days=30),
            rate=Decimal("0.5"),
            source="X",
        )
        await service.reference_data.import_rates(connection, [cheap], now=NOW)
        await service.reference_data.register_party(
            connection, replace(world.PARKING, settlement_currency="EUR"), now=NOW
        )
        later = NOW + timedelta(days=31)
        done = await service.sessions.refund(connection, ONE, minor=605, reference="re_1", now=later)
    # 0.40 EUR at the rate of 12 October 2026 and 8.1 % Swiss VAT on the commission, reversed in francs.
    share = next(share for share in done.shares if share.party_id == "parking")
    assert share.currency == "CHF"
    left = await balances(pool, service)
    assert left["partner:parking:payable CHF"] == 0
    assert left["fx:EUR-CHF:position CHF"] == left["fx:EUR-CHF:position EUR"] == 0
    await prove(pool, service)


async def test_a_dispute_reverses_the_parts_and_winning_reinstates_them(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1))
    before = await balances(pool, service)
    async with transaction(pool) as connection:
        lost = await service.sessions.open_dispute(
            connection, ONE, minor=605, fee_minor=2000, reference="dp_1", now=NOW
        )
    assert {share.party_id: share.amount_minor for share in lost.shares} == {"NL-ABC": -400, "superapp": -40}
    during = await balances(pool, service)
    assert during["vat:NL:output EUR"] == 105  # the supply stands
    assert during["platform:dispute:expense EUR"] == -105
    await prove(pool, service)
    async with transaction(pool) as connection:
        await service.sessions.win_dispute(connection, ONE, reference="dp_1", now=NOW)
        assert not (await service.sessions.win_dispute(connection, ONE, reference="dp_1", now=NOW)).posted
        with pytest.raises(ClearingConflictError, match="no dispute"):
            await service.sessions.win_dispute(connection, ONE, reference="dp_2", now=NOW)
    after = await balances(pool, service)
    changed = {
        account: minor - before.get(account, 0)
        for account, minor in after.items()
        if minor != before.get(account, 0)
    }
    assert changed == {
        "platform:psp:expense EUR": -2000,
        "psp:stripe:receivable EUR": 2000,
    }  # the PSP keeps its fee
    await prove(pool, service)


async def test_a_refund_charged_to_the_platform_leaves_the_partners_parts(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        agreed = world.agreement(world.NL_CPO, version=2, refund_charged_to=Role.PLATFORM)
        await service.reference_data.put_agreement(connection, agreed, now=NOW)
    await clear(pool, service, world.session(1))
    done = await refund(pool, service, 605)
    assert not done.shares
    left = await balances(pool, service)
    assert left["platform:fee:revenue EUR"] == 60 - 500
    assert left["vat:NL:output EUR"] == 0
    await prove(pool, service)


async def test_as_agent_the_whole_is_reversed_from_the_cpo_and_partners(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        agreed = world.agreement(
            world.CH_CPO, version=2, legal_model=LegalModel.DISCLOSED_AGENT, psp_cost_charged_to=Role.CPO
        )
        await service.reference_data.put_agreement(connection, agreed, now=NOW)
    tariff = world.tariff_json(world.CH_CPO, vat="8.1")
    await clear(pool, service, world.session(1, cpo=world.CH_CPO, tariff_json=tariff, captured_minor=541))
    posted = await balances(pool, service)
    # 5.41 = 5.00 + 0.41; fee 0.60 + 8.1 % = 0.65; partner 0.40; PSP 0.34: the CPO gets the other 4.02.
    assert posted["cpo:CH-ALP:payable CHF"] == 402
    assert posted["vat:CH:output CHF"] == 5
    await refund(pool, service, 541)
    left = {account: minor for account, minor in (await balances(pool, service)).items() if minor}
    # The CPO bears the PSP's fee, also of a sale that was undone.
    assert left == {"cpo:CH-ALP:payable CHF": -34, "psp:stripe:receivable CHF": 34}
    await prove(pool, service)


async def test_an_agent_that_brings_the_driver_itself_has_one_fee_which_is_reversed_whole(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        agreed = world.agreement(world.CH_CPO, version=2, legal_model=LegalModel.DISCLOSED_AGENT)
        await service.reference_data.put_agreement(connection, agreed, now=NOW)
    tariff = world.tariff_json(world.CH_CPO, vat="8.1")
    own = world.session(
        1, cpo=world.CH_CPO, captured_minor=541, tariff_json=tariff, demand_partner_id="platform"
    )
    await clear(pool, service, replace(own, psp_fee_minor=None, psp_fee_currency=None))
    # Net 5.00, of which 8 % as the demand partner and 12 % as the platform: 1.00, and 8.1 % on it.
    booked = await balances(pool, service)
    assert (booked["platform:fee:revenue CHF"], booked["vat:CH:output CHF"]) == (100, 8)
    assert booked["cpo:CH-ALP:payable CHF"] == 541 - 100 - 8
    async with pool.acquire() as connection:
        fees = await connection.fetchval(
            "SELECT leg ->> 'net' FROM clearing.entry, jsonb_array_elements(legs::jsonb) AS leg "
            "WHERE leg ->> 'leg' = 'fee'"
        )
    assert fees == "100"  # what its invoice is written from
    for reference, minor in (("re_1", 100), ("re_2", 333), ("re_3", 108)):
        await refund(pool, service, minor, reference)
    assert not {account: minor for account, minor in (await balances(pool, service)).items() if minor}
    await prove(pool, service)
