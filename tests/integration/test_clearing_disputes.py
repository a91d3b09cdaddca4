"""Disputes in the books where the PSP took more than was left, and named its fee late."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.errors import ClearingConflictError
from clearing.ledger import service as ledger_service
from clearing.parties.agreement import LegalModel, Role
from clearing.services import ClearingServices, build_clearing
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)
ONE = world.session_id(1)
GROSS = 605


async def cleared(pool: Pool, **terms: Any) -> ClearingServices:
    """One session of 6.05 EUR in the ledger, 80/8/12 of net."""
    service = build_clearing()
    async with transaction(pool) as connection:
        await service.reference_data.import_bundled_rates(connection, now=NOW)
        for party in world.PARTIES.values():
            await service.reference_data.register_party(connection, party, now=NOW)
        await service.reference_data.put_agreement(
            connection, world.agreement(world.NL_CPO, **terms), now=NOW
        )
    async with transaction(pool) as connection:
        batch = await service.sessions.clear_batch(connection, [world.session(1)], now=NOW, batch_id=uuid4())
        assert not batch.uncleared, batch.uncleared
    return service


async def balances(pool: Pool, service: ClearingServices) -> dict[str, int]:
    async with transaction(pool) as connection:
        return {
            found.account: found.minor
            for found in await ledger_service.list_balances(connection)
            if found.minor
        }


async def prove(pool: Pool, service: ClearingServices) -> None:
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await audit_ledger(connection, now=NOW)
    assert report.ok, (report.findings, report.proof)


@pytest.mark.parametrize("model", [LegalModel.RESELLER, LegalModel.DISCLOSED_AGENT])
@pytest.mark.parametrize("charged_to", [None, Role.PLATFORM])
@pytest.mark.parametrize("refunded", [0, 200, GROSS])
async def test_what_a_dispute_withdraws_beyond_the_remainder_is_the_platforms_expense(
    pool: Pool, model: LegalModel, charged_to: Role | None, refunded: int
) -> None:
    service = await cleared(pool, legal_model=model, dispute_charged_to=charged_to)
    async with transaction(pool) as connection:
        if refunded:
            await service.sessions.refund(connection, ONE, minor=refunded, reference="re_1", now=NOW)
    before = await balances(pool, service)
    async with transaction(pool) as connection:
        await service.sessions.open_dispute(
            connection, ONE, minor=GROSS, fee_minor=0, reference="du_1", now=NOW
        )
    during = await balances(pool, service)
    assert during.get("psp:stripe:receivable", 0) - before.get("psp:stripe:receivable", 0) == GROSS
    of_parts = -(during.get("platform:dispute:expense", 0) + refunded)
    assert of_parts >= 0  # beside what was refunded before, at most the VAT that stays due
    await prove(pool, service)
    async with transaction(pool) as connection:
        await service.sessions.win_dispute(connection, ONE, reference="du_1", now=NOW)
    assert await balances(pool, service) == before
    await prove(pool, service)


async def test_a_failed_refund_during_such_a_dispute_leaves_the_books_balanced(pool: Pool) -> None:
    service = await cleared(pool)
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, ONE, minor=200, reference="re_1", now=NOW)
        await service.sessions.open_dispute(
            connection, ONE, minor=GROSS, fee_minor=0, reference="du_1", now=NOW
        )
        await service.sessions.fail_refund(connection, ONE, reference="re_1", now=NOW)
    await prove(pool, service)
    async with transaction(pool) as connection:
        with pytest.raises(ClearingConflictError, match="more than the 0 that remain"):
            await service.sessions.refund(connection, ONE, minor=GROSS + 1, reference="re_2", now=NOW)


async def test_a_refund_that_meets_a_dispute_is_posted_and_its_excess_is_the_platforms(pool: Pool) -> None:
    service = await cleared(pool)
    before = await balances(pool, service)
    async with transaction(pool) as connection:
        await service.sessions.open_dispute(
            connection, ONE, minor=GROSS, fee_minor=0, reference="du_1", now=NOW
        )
        await service.sessions.refund(connection, ONE, minor=200, reference="re_1", now=NOW)
        with pytest.raises(ClearingConflictError, match="remain"):
            await service.sessions.refund(connection, ONE, minor=GROSS + 1, reference="re_2", now=NOW)
    during = await balances(pool, service)
    assert during["psp:stripe:receivable"] - before["psp:stripe:receivable"] == GROSS + 200
    await prove(pool, service)
    async with transaction(pool) as connection:
        await service.sessions.win_dispute(connection, ONE, reference="du_1", now=NOW)
        await service.sessions.fail_refund(connection, ONE, reference="re_1", now=NOW)
    assert await balances(pool, service) == before
    await prove(pool, service)


async def test_a_fee_reported_late_is_booked_by_its_difference_and_once(pool: Pool) -> None:
    service = await cleared(pool)
    of_capture = (await balances(pool, service))["platform:psp:expense"]
    async with transaction(pool) as connection:
        with pytest.raises(ClearingConflictError, match="no dispute"):
            await service.sessions.correct_dispute_fee(
                connection, ONE, fee_minor=1500, reference="du_1", now=NOW
            )
        await service.sessions.open_dispute(
            connection, ONE, minor=GROSS, fee_minor=500, reference="du_1", now=NOW
        )
    booked: list[int] = []
    for fee in (1500, 1500, 0, 1500):  # raised, reported again, returned, charged once more
        async with transaction(pool) as connection:
            await service.sessions.correct_dispute_fee(
                connection, ONE, fee_minor=fee, reference="du_1", now=NOW + timedelta(seconds=len(booked))
            )
        booked.append((await balances(pool, service))["platform:psp:expense"] - of_capture)
        await prove(pool, service)
    assert booked == [-1500, -1500, 0, -1500]


async def test_the_fee_of_a_dispute_that_was_won_stays_with_the_psp(pool: Pool) -> None:
    service = await cleared(pool)
    of_capture = (await balances(pool, service))["platform:psp:expense"]
    async with transaction(pool) as connection:
        await service.sessions.open_dispute(
            connection, ONE, minor=GROSS, fee_minor=0, reference="du_1", now=NOW
        )
        await service.sessions.correct_dispute_fee(connection, ONE, fee_minor=1500, reference="du_1", now=NOW)
        await service.sessions.win_dispute(connection, ONE, reference="du_1", now=NOW)
    assert (await balances(pool, service))["platform:psp:expense"] - of_capture == -1500
    await prove(pool, service)


async def test_a_top_up_is_found_by_its_reference(pool: Pool) -> None:
    async with transaction(pool) as connection:
        assert await ledger_service.load_posted_top_up(connection, reference="FLOAT-1") is None
        await ledger_service.record_top_up(
            connection, currency="EUR", minor=900, reference="FLOAT-1", now=NOW
        )
        assert await ledger_service.load_posted_top_up(connection, reference="FLOAT-1") == ("EUR", 900)
