"""Disputes in the books where the PSP took more than was left, and named its fee late."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from clearing.errors import StateConflictError
from clearing.journal import treasury
from clearing.parties.agreement import LegalModel, Role
from clearing.service import ClearingService
from gateway.database import Pool, transaction
from tests.fakes import clearing_world as world

NOW = world.SALE_AT + timedelta(hours=1)
ONE = world.session_id(1)
GROSS = 605


async def cleared(pool: Pool, **terms: Any) -> ClearingService:
    """One session of 6.05 EUR in the ledger, 80/8/12 of net."""
    service = ClearingService()
    async with transaction(pool) as connection:
        await service.load_reference_data(connection, now=NOW)
        for party in world.PARTIES.values():
            await service.register_party(connection, party, now=NOW)
        await service.put_agreement(connection, world.agreement(world.NL_CPO, **terms), now=NOW)
    async with transaction(pool) as connection:
        batch = await service.clear_batch(connection, [world.session(1)], now=NOW, batch_id=uuid4())
        assert not batch.parked, batch.parked
    return service


async def balances(pool: Pool, service: ClearingService) -> dict[str, int]:
    async with transaction(pool) as connection:
        return {found.account: found.minor for found in await service.balances(connection) if found.minor}


async def prove(pool: Pool, service: ClearingService) -> None:
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await service.audit(connection, now=NOW)
    assert report.ok, (report.findings, report.proof)


@pytest.mark.parametrize("model", [LegalModel.RESELLER, LegalModel.DISCLOSED_AGENT])
@pytest.mark.parametrize("bearer", [None, Role.PLATFORM])
@pytest.mark.parametrize("refunded", [0, 200, GROSS])
async def test_what_a_dispute_takes_beyond_what_is_left_is_the_platforms_expense(
    pool: Pool, model: LegalModel, bearer: Role | None, refunded: int
) -> None:
    service = await cleared(pool, legal_model=model, dispute_bearer=bearer)
    async with transaction(pool) as connection:
        if refunded:
            await service.refund_session(connection, ONE, minor=refunded, reference="re_1", now=NOW)
    before = await balances(pool, service)
    async with transaction(pool) as connection:
        await service.open_dispute(connection, ONE, minor=GROSS, fee_minor=0, reference="du_1", now=NOW)
    during = await balances(pool, service)
    assert during.get("psp:stripe:receivable", 0) - before.get("psp:stripe:receivable", 0) == GROSS
    of_parts = -(during.get("platform:dispute:expense", 0) + refunded)
    assert of_parts >= 0  # beside what was refunded before, at most the VAT that stays due
    await prove(pool, service)
    async with transaction(pool) as connection:
        await service.win_dispute(connection, ONE, reference="du_1", now=NOW)
    assert await balances(pool, service) == before
    await prove(pool, service)


async def test_a_refund_sent_back_during_such_a_dispute_keeps_the_books_whole(pool: Pool) -> None:
    service = await cleared(pool)
    async with transaction(pool) as connection:
        await service.refund_session(connection, ONE, minor=200, reference="re_1", now=NOW)
        await service.open_dispute(connection, ONE, minor=GROSS, fee_minor=0, reference="du_1", now=NOW)
        await service.fail_refund(connection, ONE, reference="re_1", now=NOW)
    await prove(pool, service)
    async with transaction(pool) as connection:
        with pytest.raises(StateConflictError, match="more than the 0 left"):
            await service.refund_session(connection, ONE, minor=GROSS + 1, reference="re_2", now=NOW)


async def test_a_refund_that_meets_a_dispute_is_posted_and_its_excess_is_the_platforms(pool: Pool) -> None:
    service = await cleared(pool)
    before = await balances(pool, service)
    async with transaction(pool) as connection:
        await service.open_dispute(connection, ONE, minor=GROSS, fee_minor=0, reference="du_1", now=NOW)
        await service.refund_session(connection, ONE, minor=200, reference="re_1", now=NOW)
        with pytest.raises(StateConflictError, match="left"):
            await service.refund_session(connection, ONE, minor=GROSS + 1, reference="re_2", now=NOW)
    during = await balances(pool, service)
    assert during["psp:stripe:receivable"] - before["psp:stripe:receivable"] == GROSS + 200
    await prove(pool, service)
    async with transaction(pool) as connection:
        await service.win_dispute(connection, ONE, reference="du_1", now=NOW)
        await service.fail_refund(connection, ONE, reference="re_1", now=NOW)
    assert await balances(pool, service) == before
    await prove(pool, service)


async def test_a_fee_told_late_is_booked_by_its_difference_and_once(pool: Pool) -> None:
    service = await cleared(pool)
    of_capture = (await balances(pool, service))["platform:psp:expense"]
    async with transaction(pool) as connection:
        with pytest.raises(StateConflictError, match="no dispute"):
            await service.correct_dispute_fee(connection, ONE, fee_minor=1500, reference="du_1", now=NOW)
        await service.open_dispute(connection, ONE, minor=GROSS, fee_minor=500, reference="du_1", now=NOW)
    booked: list[int] = []
    for fee in (1500, 1500, 0, 1500):  # raised, told again, given back, charged once more
        async with transaction(pool) as connection:
            await service.correct_dispute_fee(
                connection, ONE, fee_minor=fee, reference="du_1", now=NOW + timedelta(seconds=len(booked))
            )
        booked.append((await balances(pool, service))["platform:psp:expense"] - of_capture)
        await prove(pool, service)
    assert booked == [-1500, -1500, 0, -1500]


async def test_the_fee_of_a_dispute_that_was_won_stays_with_the_psp(pool: Pool) -> None:
    service = await cleared(pool)
    of_capture = (await balances(pool, service))["platform:psp:expense"]
    async with transaction(pool) as connection:
        await service.open_dispute(connection, ONE, minor=GROSS, fee_minor=0, reference="du_1", now=NOW)
        await service.correct_dispute_fee(connection, ONE, fee_minor=1500, reference="du_1", now=NOW)
        await service.win_dispute(connection, ONE, reference="du_1", now=NOW)
    assert (await balances(pool, service))["platform:psp:expense"] - of_capture == -1500
    await prove(pool, service)


async def test_what_a_reference_is_booked_as_is_told(pool: Pool) -> None:
    service = await cleared(pool)
    entry = treasury.topup(currency="EUR", minor=900, reference="FLOAT-1")
    async with transaction(pool) as connection:
        assert await service.booked_amount(connection, entry) is None
        await service.record_treasury(
            connection, kind="topup", currency="EUR", minor=900, reference="FLOAT-1", now=NOW
        )
        assert await service.booked_amount(connection, entry) == ("EUR", 900)
