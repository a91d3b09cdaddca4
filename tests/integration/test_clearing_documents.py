"""Documents of a closed period: numbered without gaps, issued once, refused with what to do."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from clearing.documents.invoice import DocumentType
from clearing.errors import InvalidDocumentError
from clearing.service import ClearingService
from clearing.work import documents
from gateway.database import Pool, transaction
from tests.fakes import clearing_world as world

NOW = world.SALE_AT + timedelta(hours=1)
START, END = date(2026, 10, 1), date(2026, 10, 31)
AFTER = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
MONTH_END = datetime(2026, 10, 31, 23, 0, tzinfo=UTC)  # midnight in Zurich, an hour after summer time ended


@pytest.fixture
async def service(pool: Pool) -> ClearingService:
    opened = ClearingService()
    async with transaction(pool) as connection:
        await opened.load_reference_data(connection, now=NOW)
        for party in world.PARTIES.values():
            agreed = None if party.id == "superapp" else START
            await opened.register_party(connection, replace(party, self_billing_since=agreed), now=NOW)
        for cpo in (world.NL_CPO, world.CH_CPO):
            await opened.put_agreement(connection, world.agreement(cpo), now=NOW)
        sessions = [world.session(number) for number in range(3)]
        sessions += [
            world.session(
                number, cpo=world.CH_CPO, captured_minor=905, kwh="16.74",
                tariff_json=world.tariff_json(world.CH_CPO, vat="8.1"), demand_partner_id="superapp",
            )
            for number in range(10, 13)
        ]  # fmt: skip
        batch = await opened.clear_batch(connection, sessions, now=NOW, batch_id=uuid4())
        assert not batch.parked, batch.parked
        await opened.refund_session(connection, world.session_id(10), minor=905, reference="re_1", now=NOW)
    return opened


async def issue(pool: Pool) -> tuple[list[documents.Document], list[str]]:
    async with transaction(pool) as connection:
        issued, refused = await documents.issue(connection, start=START, end=END, now=AFTER)
    return list(issued), [one.supplier_id for one in refused]


async def test_an_open_period_has_no_documents(pool: Pool, service: ClearingService) -> None:
    with pytest.raises(InvalidDocumentError, match="close the books up to 2026-11-01T00:00:00\\+01:00"):
        await issue(pool)


async def test_documents_are_numbered_once_and_refused_ones_follow(
    pool: Pool, service: ClearingService
) -> None:
    async with transaction(pool) as connection:
        await service.close_period(connection, until=MONTH_END, by="test", now=AFTER)
    issued, refused = await issue(pool)
    # 3 x (9.05 - 0.68) = 3 x 8.37, of which 80 % is 6.70: 20.10 at 8.1 % is 1.63, but 3 x 0.54 by session.
    found = {document.number: (document.net_minor, document.vat_minor) for document in issued}
    assert found == {
        "SB-CH-ALP-V-000001": (2010, 163),
        "CN-CH-ALP-V-000001": (670, 54),
        "SB-NL-ABC-O-000001": (1200, 0),
    }
    assert {document.type for document in issued} == {DocumentType.SELF_BILLED, DocumentType.CREDIT_NOTE}
    assert set(refused) == {"superapp"}  # it has not agreed to self-billing
    again, _ = await issue(pool)
    assert [document.number for document in again] == [document.number for document in issued]
    async with transaction(pool) as connection:
        await service.register_party(connection, replace(world.SUPERAPP, self_billing_since=START), now=AFTER)
    later, refused = await issue(pool)
    assert not refused
    assert {document.number for document in later} - set(found) == {
        "SB-superapp-O-000001", "SB-superapp-O-000002", "CN-superapp-O-000001",
    }  # fmt: skip


async def test_a_document_that_is_not_stored_takes_no_number(pool: Pool, service: ClearingService) -> None:
    async with transaction(pool) as connection:
        await service.close_period(connection, until=MONTH_END, by="test", now=AFTER)
    async with pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await documents.issue(connection, start=START, end=END, now=AFTER)
        await undone.rollback()
    issued, _ = await issue(pool)
    assert {document.number[-6:] for document in issued} == {"000001"}
