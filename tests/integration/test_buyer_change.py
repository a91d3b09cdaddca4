"""A business that is named after its session was cleared: credit note, new invoice, VAT booked again."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.books.period import BooksPeriod
from clearing.books.service import BooksService
from clearing.documents import driver_document_service
from clearing.documents.driver_document_service import ReadDocument
from clearing.errors import ClearingConflictError
from clearing.ledger import service as ledger_service
from clearing.parties.agreement import LegalModel, Role, Share
from clearing.parties.party import DocumentCadence, Party
from clearing.services import ClearingServices
from gateway.database import Pool, transaction
from gateway.jobs.driver_documents import DriverDocumentJob
from tests.fakes import clearing_fixtures as world
from tests.fakes.en16931 import failed_rules
from tests.integration.test_buyers import buyer, service
from tests.integration.test_driver_documents import FixedClock

__all__ = ["service"]
NOW = world.SALE_AT + timedelta(hours=1)
LATER = NOW + timedelta(days=3)
ONE = world.session_id(1)


async def clear(pool: Pool, opened: ClearingServices, *sessions: world.CapturedSession) -> None:
    async with transaction(pool) as connection:
        batch = await opened.sessions.clear_batch(connection, sessions, now=NOW, batch_id=uuid4())
        assert not batch.uncleared, batch.uncleared


async def name(pool: Pool, opened: ClearingServices, to: Party, *, session: Any = ONE) -> bool:
    async with transaction(pool) as connection:
        await opened.reference_data.register_party(connection, to, now=NOW)
        return await opened.sessions.change_buyer(connection, session, buyer_id=to.id, now=LATER)


async def documents(pool: Pool, *, hour: int) -> list[ReadDocument]:
    """Those issued by then, in the order of issue."""
    job = DriverDocumentJob(pool=pool, clock=FixedClock(NOW + timedelta(hours=hour)))
    while await job.run_once():
        pass
    async with pool.acquire() as connection:
        return await driver_document_service.list_by_session(connection, ONE)


async def balances(pool: Pool) -> dict[str, int]:
    async with transaction(pool) as connection:
        found = await ledger_service.list_balances(connection)
    return {f"{one.account} {one.currency}": one.minor for one in found if one.minor}


async def vat_of_documents(pool: Pool, opened: ClearingServices) -> None:
    """The ledger's audit, and a VAT return whose figures are proved against the VAT accounts."""
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await audit_ledger(connection, now=LATER)
        assert report.ok, (report.findings, report.proof)
        period = BooksPeriod(first=date(2026, 10, 1), last=date(2026, 10, 31), time_zone="Europe/Zurich")
        await BooksService(opened.reference_data).vat_return(connection, period)


def shown(found: list[ReadDocument]) -> list[tuple[str, int, int, str | None]]:
    return [
        (
            one.document.name,
            one.document.supply.net_minor,
            one.document.supply.vat_minor,
            one.document.preceding,
        )
        for one in found
    ]


async def test_a_buyer_named_late_gets_an_invoice_and_the_drivers_is_cancelled(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1))
    await documents(pool, hour=1)
    before = await balances(pool)
    assert await name(pool, service, buyer("DE"))
    assert not await name(pool, service, buyer("DE"))
    found = await documents(pool, hour=9)
    assert shown(found) == [
        ("DI-platform-000000001", 500, 105, None),
        ("DC-platform-000000001", -500, -105, "DI-platform-000000001"),
        ("DI-platform-000000002", 500, 105, None),
    ]
    _, note, invoice = found
    assert note.document.charged.buyer is None
    assert invoice.document.charged.buyer is not None
    assert invoice.document.charged.buyer.name == "Fleet B.V."
    assert [one.quantity for one in invoice.document.charged.items] == []  # no originals in this test
    assert invoice.document.supply.energy_kwh == 10
    for one in found:
        assert failed_rules("ubl", (one.ubl or b"").decode()) == []
        assert failed_rules("cii", (one.cii or b"").decode()) == []
    assert b"Fleet B.V." in (invoice.ubl or b"")
    assert b"Fleet B.V." not in (note.ubl or b"")
    assert await balances(pool) == before  # the same rate: nothing moved but the supply to the driver
    await vat_of_documents(pool, service)


async def cleared_at_once(pool: Pool, opened: ClearingServices, to: Party, **changes: Any) -> dict[str, int]:
    """What the books show where the buyer was known before: of a second session, the first one's deducted."""
    before = await balances(pool)
    await clear(pool, opened, world.session(2, buyer_id=to.id, **changes))
    after = await balances(pool)
    return {path: after.get(path, 0) - before.get(path, 0) for path in {*before, *after}}


@pytest.mark.parametrize("model", list(LegalModel))
@pytest.mark.parametrize(
    "shares",
    [
        (Share(role=Role.DEMAND_PARTNER, basis_points=800), Share(role=Role.PLATFORM, basis_points=1200)),
        (Share(role=Role.SITE_HOST, fixed_minor=20), Share(role=Role.PLATFORM, basis_points=1200)),
    ],
)
async def test_named_late_the_books_are_as_if_the_buyer_had_been_known(
    pool: Pool, service: ClearingServices, model: LegalModel, shares: tuple[Share, ...]
) -> None:
    identified = buyer("NL")  # a reverse charge where the seller is not established there: another net
    if model is LegalModel.DISCLOSED_AGENT:
        identified = replace(identified, vat_evidence=())
    async with transaction(pool) as connection:
        agreement = world.agreement(world.NL_CPO, version=2, legal_model=model, shares=shares)
        await service.reference_data.put_agreement(connection, agreement, now=NOW)
    facts: dict[str, Any] = {"demand_partner_id": "parking", "site_host_id": "hotel"}
    await clear(pool, service, world.session(1, **facts))
    assert await name(pool, service, identified)
    named_late = await balances(pool)
    assert await cleared_at_once(pool, service, identified, **facts) == named_late
    await documents(pool, hour=9)
    await vat_of_documents(pool, service)


async def test_a_reverse_charge_found_late_takes_the_vat_out_of_books_and_documents(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1))
    assert await name(pool, service, buyer("NL"))
    found = await documents(pool, hour=9)
    assert [one[1:3] for one in shown(found)] == [(500, 105), (-500, -105), (605, 0)]
    assert found[2].ruling.rule == "driver/identified_business"
    assert "vat:NL:output EUR" not in await balances(pool)
    await vat_of_documents(pool, service)


async def test_a_refund_before_is_not_sold_anew_and_one_after_corrects_the_new_invoice(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1))
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, ONE, minor=121, reference="re_1", now=NOW)
    await documents(pool, hour=1)
    assert await name(pool, service, buyer("DE"))
    await documents(pool, hour=2)
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, ONE, minor=242, reference="re_2", now=LATER)
        with pytest.raises(ClearingConflictError, match="more than the 242 that remain"):
            await service.sessions.refund(connection, ONE, minor=243, reference="re_3", now=LATER)
    found = await documents(pool, hour=9)
    assert shown(found) == [
        ("DI-platform-000000001", 500, 105, None),
        ("DC-platform-000000001", -100, -21, "DI-platform-000000001"),
        ("DC-platform-000000002", -400, -84, "DI-platform-000000001"),
        ("DI-platform-000000002", 400, 84, None),
        ("DC-platform-000000003", -200, -42, "DI-platform-000000002"),
    ]
    assert found[3].document.supply.energy_kwh == 8
    assert found[4].document.charged.buyer is not None
    await vat_of_documents(pool, service)


async def test_another_buyer_again_cancels_the_invoice_of_the_one_before(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1))
    await documents(pool, hour=1)
    assert await name(pool, service, buyer("NL"))
    await documents(pool, hour=2)
    assert await name(pool, service, buyer("DE"))
    found = await documents(pool, hour=9)
    assert [one[1:] for one in shown(found)] == [
        (500, 105, None),
        (-500, -105, "DI-platform-000000001"),
        (605, 0, None),
        (-605, 0, "DI-platform-000000002"),
        (500, 105, None),
    ]
    assert found[4].document.charged.buyer is not None
    assert found[4].document.charged.buyer.country == "DE"
    await vat_of_documents(pool, service)


async def test_a_fleet_named_late_has_the_session_on_its_invoice_of_the_month(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, world.session(1))
    assert await name(pool, service, buyer("DE", DocumentCadence.MONTHLY))
    _, note, receipt = await documents(pool, hour=9)
    assert note.document.is_invoice
    assert "with its other sessions of the period" in receipt.document.no_invoice_because
    await vat_of_documents(pool, service)


async def test_a_disputed_or_refunded_sale_is_not_issued_anew(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, world.session(1), world.session(2))
    async with transaction(pool) as connection:
        await service.sessions.open_dispute(
            connection, ONE, minor=605, fee_minor=1500, reference="dp_1", now=NOW
        )
        await service.sessions.refund(connection, world.session_id(2), minor=605, reference="re_1", now=NOW)
    with pytest.raises(ClearingConflictError, match="disputed"):
        await name(pool, service, buyer("DE"))
    with pytest.raises(ClearingConflictError, match="nothing left to invoice"):
        await name(pool, service, buyer("DE"), session=world.session_id(2))
    with pytest.raises(ClearingConflictError, match="has not been cleared"):
        await name(pool, service, buyer("DE"), session=world.session_id(3))
