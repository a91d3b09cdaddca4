"""Documents of a period: numbered without gaps, by each party's cadence, once, rejected with what to do."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import pytest
from facturx import get_facturx_xml_from_pdf

from clearing.audit import audit_ledger
from clearing.documents import einvoice, invoice_service
from clearing.documents import service as document_service
from clearing.documents.document import DocumentFile, DocumentSummary
from clearing.documents.invoice import DocumentType, Invoice
from clearing.errors import ClearingError, ClearingInvariantViolation, InvalidDocumentError, UnclearableError
from clearing.identifiers import format_id
from clearing.language import Language
from clearing.parties.business_details import BusinessDetails
from clearing.parties.party import DocumentCadence
from clearing.services import ClearingServices, build_clearing
from gateway.cli.clearing import issue_and_write
from gateway.database import Pool, transaction
from gateway.jobs.party_documents import PartyDocumentJob
from gateway.jobs.period_close import PeriodCloseJob
from tests.fakes import clearing_fixtures as world
from tests.fakes.en16931 import failed_rules

NOW = world.SALE_AT + timedelta(hours=1)
START, END = date(2026, 10, 1), date(2026, 10, 31)
AFTER = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
MONTH_END = datetime(2026, 10, 31, 23, 0, tzinfo=UTC)  # midnight in Zurich, an hour after summer time ended


@dataclass
class FixedClock:
    """A clock that stands still."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        await opened.reference_data.import_bundled_rates(connection, now=NOW)
        for party in world.PARTIES.values():
            agreed = None if party.id == "superapp" else START
            await opened.reference_data.register_party(
                connection, replace(party, self_billing_since=agreed), now=NOW
            )
        for cpo in (world.NL_CPO, world.CH_CPO):
            await opened.reference_data.put_agreement(connection, world.agreement(cpo), now=NOW)
        sessions = [world.session(number) for number in range(3)]
        sessions += [
            world.session(
                number,
                cpo=world.CH_CPO,
                captured_minor=905,
                kwh="16.74",
                tariff_json=world.tariff_json(world.CH_CPO, vat="8.1"),
                demand_partner_id="superapp",
            )
            for number in range(10, 13)
        ]
        batch = await opened.sessions.clear_batch(connection, sessions, now=NOW, batch_id=uuid4())
        assert not batch.uncleared, batch.uncleared
        await opened.sessions.refund(connection, world.session_id(10), minor=905, reference="re_1", now=NOW)
    return opened


async def issue(pool: Pool) -> tuple[list[DocumentSummary], list[str]]:
    async with transaction(pool) as connection:
        issued, rejected = await invoice_service.issue(connection, start=START, end=END, now=AFTER)
    return list(issued), [one.supplier_id for one in rejected]


async def test_a_period_that_lasts_has_no_documents(pool: Pool, service: ClearingServices) -> None:
    early = MONTH_END - timedelta(seconds=1)
    with pytest.raises(InvalidDocumentError, match="lasts until 2026-11-01T00:00:00\\+01:00"):
        async with transaction(pool) as connection:
            await invoice_service.issue(connection, start=START, end=END, now=early)


async def test_the_books_need_not_be_closed(pool: Pool, service: ClearingServices) -> None:
    issued, _ = await issue(pool)
    assert issued
    async with pool.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM clearing.closed_period") == 0


async def test_documents_are_numbered_once_and_rejected_ones_follow(
    pool: Pool, service: ClearingServices
) -> None:
    issued, rejected = await issue(pool)
    # 3 x (9.05 - 0.68) = 3 x 8.37, of which 80 % is 6.70: 3 x 0.54 was booked, which is stated.
    found = {document.number: (document.net_minor, document.vat_minor) for document in issued}
    assert found == {
        "SB-CH-ALP-V-000001": (2010, 162),
        "CN-CH-ALP-V-000001": (670, 54),
        "SB-NL-ABC-O-000001": (1200, 0),
    }
    assert {document.type for document in issued} == {
        DocumentType.SELF_BILLED,
        DocumentType.SELF_BILLED_CREDIT,
    }
    assert set(rejected) == {"superapp"}  # it has not agreed to self-billing
    again, _ = await issue(pool)
    assert [document.number for document in again] == [document.number for document in issued]
    async with transaction(pool) as connection:
        await service.reference_data.register_party(
            connection, replace(world.SUPERAPP, self_billing_since=START), now=AFTER
        )
    later, rejected = await issue(pool)
    assert not rejected
    assert {document.number for document in later} - set(found) == {
        "SB-superapp-O-000001",
        "SB-superapp-O-000002",
        "CN-superapp-O-000001",
    }


async def test_a_document_that_is_not_stored_uses_no_number(pool: Pool, service: ClearingServices) -> None:
    async with pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await invoice_service.issue(connection, start=START, end=END, now=AFTER)
        await undone.rollback()
    issued, _ = await issue(pool)
    assert {document.number[-6:] for document in issued} == {"000001"}


async def xml(pool: Pool, number: str) -> str:
    async with pool.acquire() as connection:
        found = await document_service.find_document(connection, name=number, party_id=None)
    assert found is not None
    return found.ubl.decode()


@pytest.mark.parametrize(
    "fault",
    [UnclearableError("unknown_tax_jurisdiction", "a bug"), InvalidDocumentError("not like this")],
)
async def test_one_pairs_fault_uses_no_number_and_delays_no_other_document(
    pool: Pool, service: ClearingServices, monkeypatch: pytest.MonkeyPatch, fault: ClearingError
) -> None:
    written = einvoice.ubl

    def faulty(invoice: Invoice, *, number: str, issued_on: date) -> bytes:
        if invoice.supplier.id == "NL-ABC":
            raise fault
        return written(invoice, number=number, issued_on=issued_on)

    monkeypatch.setattr(invoice_service, "ubl", faulty)
    issued, rejected = await issue(pool)
    assert "SB-CH-ALP-V-000001" in {one.number for one in issued}
    assert "NL-ABC" in rejected
    monkeypatch.undo()
    issued, _ = await issue(pool)
    assert "SB-NL-ABC-O-000001" in {one.number for one in issued}


async def test_a_credit_note_names_the_invoice_that_it_corrects(
    pool: Pool, service: ClearingServices
) -> None:
    # Directive 2006/112/EC art. 219; EN 16931 BT-25. Both are of October.
    await issue(pool)
    text = await xml(pool, "CN-CH-ALP-V-000001")
    assert "<cac:InvoiceDocumentReference><cbc:ID>SB-CH-ALP-V-000001</cbc:ID>" in text
    assert failed_rules("ubl", text) == []


async def test_a_credit_note_of_a_later_month_names_the_invoice_of_the_earlier(
    pool: Pool, service: ClearingServices
) -> None:
    await issue(pool)
    later = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, world.session_id(1), minor=605, reference="re_9", now=later)
        issued, _ = await invoice_service.issue(
            connection, start=date(2026, 11, 1), end=date(2026, 11, 30), now=datetime(2026, 12, 2, tzinfo=UTC)
        )
    assert [one.number for one in issued] == ["CN-NL-ABC-O-000001"]
    assert "<cbc:ID>SB-NL-ABC-O-000001</cbc:ID>" in await xml(pool, "CN-NL-ABC-O-000001")


async def test_the_same_days_are_never_invoiced_twice(pool: Pool, service: ClearingServices) -> None:
    half = date(2026, 10, 15)
    async with transaction(pool) as connection:
        first, _ = await invoice_service.issue(connection, start=START, end=half, now=AFTER)
    assert [one.number for one in first][:1] == ["CN-CH-ALP-V-000001"]
    whole, rejected = await issue(pool)  # the month overlaps the half that is documented
    assert [one.number for one in whole] == [one.number for one in first]
    assert {"NL-ABC", "CH-ALP"} <= set(rejected)
    async with transaction(pool) as connection:
        rest, rejected_later = await invoice_service.issue(
            connection, start=half + timedelta(days=1), end=END, now=AFTER
        )
        assert (rest, rejected_later) == ([], [])
        skipped, gap = await invoice_service.issue(
            connection, start=date(2026, 12, 1), end=date(2026, 12, 31), now=datetime(2027, 2, 1, tzinfo=UTC)
        )
    assert not skipped
    assert "issue from the next day on" in gap[0].reason  # November would be forgotten


@pytest.mark.parametrize(
    ("cadence", "periods"),
    [
        (
            DocumentCadence.DAILY,
            [(date(2026, 10, 13), date(2026, 10, 13)), (date(2026, 10, 14), date(2026, 10, 14))],
        ),
        (DocumentCadence.WEEKLY, [(date(2026, 10, 12), date(2026, 10, 18))]),
        (DocumentCadence.MONTHLY, [(date(2026, 10, 1), date(2026, 10, 31))]),
    ],
)
async def test_each_party_is_invoiced_by_its_cadence_and_every_session_once(
    pool: Pool, service: ClearingServices, cadence: DocumentCadence, periods: list[tuple[date, date]]
) -> None:
    async with transaction(pool) as connection:
        party = replace(world.NL_CPO, self_billing_since=START, document_cadence=cadence)
        await service.reference_data.register_party(connection, party, now=NOW)
        day = timedelta(days=1)
        session = world.session(50, sale_at=world.SALE_AT + day)
        await service.sessions.clear_batch(connection, [session], now=NOW + day, batch_id=uuid4())
    job = PartyDocumentJob(pool=pool, clock=FixedClock(AFTER), clearing=service)
    await job.run_once()
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT period_start, period_end, net_minor FROM clearing.document WHERE supplier_id = 'NL-ABC' "
            "ORDER BY period_start"
        )
    assert [(row["period_start"], row["period_end"]) for row in rows] == periods
    assert sum(row["net_minor"] for row in rows) == 4 * 400


async def test_a_document_for_each_session_names_its_own_original(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        party = replace(world.CH_CPO, self_billing_since=START, document_cadence=DocumentCadence.SESSION)
        await service.reference_data.register_party(connection, party, now=NOW)
    clock = FixedClock(AFTER)
    await PartyDocumentJob(pool=pool, clock=clock, clearing=service).run_once()
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT subject, series, number FROM clearing.document WHERE supplier_id = 'CH-ALP' "
            "ORDER BY series, number"
        )
    invoices = {row["subject"]: row["number"] for row in rows if row["series"].startswith("SB")}
    notes = {row["subject"]: row["number"] for row in rows if row["series"].startswith("CN")}
    assert len(invoices) == 3
    assert notes == {str(world.session_id(10)): 1}
    text = await xml(pool, "CN-CH-ALP-V-000001")
    own = invoices[str(world.session_id(10))]
    assert f"<cbc:Note>Ladevorgang {format_id('ses', world.session_id(10))}</cbc:Note>" in text
    assert f"<cac:InvoiceDocumentReference><cbc:ID>SB-CH-ALP-V-{own:06d}</cbc:ID>" in text
    assert text.count("InvoiceDocumentReference") == 2


async def test_a_cadence_that_changes_leaves_no_day_out_and_none_twice(
    pool: Pool, service: ClearingServices
) -> None:
    weekly = replace(world.NL_CPO, self_billing_since=START, document_cadence=DocumentCadence.WEEKLY)
    async with transaction(pool) as connection:
        await service.reference_data.register_party(connection, weekly, now=NOW)
        for day in range(1, 25, 5):
            at = world.SALE_AT + timedelta(days=day)
            await service.sessions.clear_batch(
                connection,
                [world.session(60 + day, sale_at=at)],
                now=at + timedelta(hours=1),
                batch_id=uuid4(),
            )
    clock = FixedClock(datetime(2026, 10, 20, 12, 0, tzinfo=UTC))
    await PartyDocumentJob(pool=pool, clock=clock, clearing=service).run_once()
    async with transaction(pool) as connection:
        monthly = replace(weekly, document_cadence=DocumentCadence.MONTHLY)
        await service.reference_data.register_party(connection, monthly, now=NOW)
    clock.at = datetime(2026, 12, 2, 12, 0, tzinfo=UTC)
    await PartyDocumentJob(pool=pool, clock=clock, clearing=service).run_once()
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT period_start, period_end, net_minor FROM clearing.document WHERE supplier_id = 'NL-ABC' "
            "ORDER BY period_start"
        )
    assert [(row["period_start"].day, row["period_end"].day) for row in rows] == [(12, 18), (19, 31), (1, 30)]
    assert sum(row["net_minor"] for row in rows) == (3 + 5) * 400


async def test_a_document_exception_is_retried_until_it_is_issued(
    pool: Pool, service: ClearingServices
) -> None:
    clock = FixedClock(AFTER)
    job = PartyDocumentJob(pool=pool, clock=clock, clearing=service)
    await job.run_once()
    kept = "SELECT DISTINCT supplier_id, reason FROM clearing.document_exception"
    async with pool.acquire() as connection:
        (row,) = await connection.fetch(kept)
        waiting = await invoice_service.list_document_exceptions(connection)
    assert {(one.supplier_id, one.period_start, one.first_at) for one in waiting} == {
        ("superapp", START, AFTER)
    }
    assert row["supplier_id"] == "superapp"
    assert "has not agreed to self-billing" in row["reason"]
    async with transaction(pool) as connection:
        agreed = replace(world.SUPERAPP, self_billing_since=START)
        await service.reference_data.register_party(connection, agreed, now=AFTER)
    clock.at += timedelta(days=1)
    await job.run_once()
    async with pool.acquire() as connection:
        assert await connection.fetch(kept) == []
        assert (
            await connection.fetchval("SELECT count(*) FROM clearing.document WHERE supplier_id = 'superapp'")
            == 3
        )


async def test_an_altered_document_is_found(pool: Pool, service: ClearingServices) -> None:
    await issue(pool)
    async with pool.acquire() as connection:
        assert await document_service.find_altered(connection) == []
        await connection.execute(
            "UPDATE clearing.document SET content = jsonb_set(content, '{ubl}', '\"<Invoice/>\"') "
            "WHERE series = 'SB-NL-ABC-O'"
        )
        assert await document_service.find_altered(connection) == ["SB-NL-ABC-O-000001"]
        report = await audit_ledger(connection, now=AFTER)
        assert report.checks["documents_altered"] == 1
        with pytest.raises(ClearingInvariantViolation, match="is not what was issued"):
            await document_service.find_document(connection, name="SB-NL-ABC-O-000001", party_id=None)


async def test_a_file_is_the_same_for_ever(pool: Pool, service: ClearingServices) -> None:
    file = DocumentFile(name="SB-NL-ABC-O-000001", format="pdf")

    async def old() -> bytes:
        return b"as it was set in 2026"

    async def new() -> bytes:
        return b"as a later typesetter would"

    async with pool.acquire() as connection:
        first = await document_service.store_file(connection, file, old, now=NOW)
        assert await document_service.store_file(connection, file, new, now=AFTER) == first
        await connection.execute("UPDATE clearing.document_file SET content = 'x'")
        with pytest.raises(ClearingInvariantViolation, match="is not what was handed out"):
            await document_service.store_file(connection, file, new, now=AFTER)


async def test_books_are_closed_by_themselves_only_where_that_is_set_and_nothing_stands_open(
    pool: Pool, service: ClearingServices
) -> None:
    clock = FixedClock(datetime(2026, 11, 10, 12, 0, tzinfo=UTC))
    closed = "SELECT max(closed_until) FROM clearing.closed_period"
    for after in (None, timedelta(days=15), timedelta(days=9)):
        await PeriodCloseJob(pool=pool, clock=clock, clearing=service, after=after).run_once()
        async with pool.acquire() as connection:
            assert await connection.fetchval(closed) is None


async def test_the_command_writes_factur_x_beside_the_xml(
    pool: Pool, service: ClearingServices, database_url: str, tmp_path: Path
) -> None:
    period = (START, END)
    _, rejected = await issue_and_write(pool, period, tmp_path, Language.GERMAN)
    assert {one.supplier_id for one in rejected} == {"superapp"}
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"SB-CH-ALP-V-000001{end}" for end in (".pdf", ".ubl.xml", ".cii.xml")} <= names
    pdf = (tmp_path / "SB-CH-ALP-V-000001.pdf").read_bytes()
    name, carried = get_facturx_xml_from_pdf(BytesIO(pdf), check_xsd=True)
    assert name == "factur-x.xml"
    assert carried == (tmp_path / "SB-CH-ALP-V-000001.cii.xml").read_bytes()
    again = tmp_path / "again"
    again.mkdir()
    await issue_and_write(pool, period, again, Language.GERMAN)
    assert (again / "SB-CH-ALP-V-000001.pdf").read_bytes() == pdf


async def test_a_document_that_lacks_an_address_is_issued_by_itself_once_it_is_there(
    pool: Pool, service: ClearingServices
) -> None:
    agreed = replace(world.NL_CPO, self_billing_since=START)
    async with transaction(pool) as connection:
        bare = replace(agreed, details=BusinessDetails())
        await service.reference_data.register_party(connection, bare, now=NOW)
    clock = FixedClock(AFTER)
    job = PartyDocumentJob(pool=pool, clock=clock, clearing=service)
    await job.run_once()
    kept = "SELECT reason FROM clearing.document_exception WHERE supplier_id = 'NL-ABC'"
    issued = "SELECT count(*) FROM clearing.document WHERE supplier_id = 'NL-ABC'"
    async with pool.acquire() as connection:
        assert "'NL-ABC' lacks address; add this with POST /v1/parties" in await connection.fetchval(kept)
        assert await connection.fetchval(issued) == 0
    clock.at += timedelta(minutes=5)  # not on the next day
    async with transaction(pool) as connection:
        await service.reference_data.register_party(connection, agreed, now=clock.at)
    await job.run_once()
    async with pool.acquire() as connection:
        assert await connection.fetchval(kept) is None
        assert await connection.fetchval(issued) == 1
