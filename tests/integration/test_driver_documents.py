"""Drivers' documents: one for each supply and correction, numbered without gaps, whoever issues them."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.captured_session import CapturedSession
from clearing.documents import driver_document_repository as store
from clearing.documents import driver_document_service
from clearing.documents.driver_document import seller_of
from clearing.documents.driver_document_service import DriverDocumentSources, ReadDocument
from clearing.documents.invoice import DocumentType
from clearing.documents.session_originals import SessionOriginals
from clearing.errors import ClearingConflictError
from clearing.parties.agreement import LegalModel
from clearing.parties.business_details import BusinessDetails
from clearing.parties.party import Party
from clearing.reporting.open_items import OpenCauseKind, open_causes
from clearing.services import ClearingServices, build_clearing
from gateway.audit.daily_audit import audit_daily
from gateway.clock import Clock, SystemClock
from gateway.database import Pool, transaction
from gateway.exception_kinds import ExceptionState
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.service import ExceptionService
from gateway.jobs.driver_documents import DriverDocumentJob
from gateway.jobs.party_documents import PartyDocumentJob
from tests.fakes import clearing_fixtures as world
from tests.fakes.en16931 import failed_rules

NOW = world.SALE_AT + timedelta(hours=1)
NL_SELLER = replace(world.NL_CPO, vat_id="NL004495445B01", vat_evidence=(world.evidence("NL004495445B01"),))


class FixedClock(Clock):
    """A clock that stands where it is put."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        await opened.reference_data.import_bundled_rates(connection, now=NOW)
        for party in (*world.PARTIES.values(), NL_SELLER):
            await opened.reference_data.register_party(connection, party, now=NOW)
        agent = world.agreement(world.NL_CPO, legal_model=LegalModel.DISCLOSED_AGENT)
        await opened.reference_data.put_agreement(connection, agent, now=NOW)
        await opened.reference_data.put_agreement(connection, world.agreement(world.CH_CPO), now=NOW)
    return opened


def at_alps(number: int) -> CapturedSession:
    """8.37 and 8.1 % VAT: 9.05 sold by the platform in its own name."""
    return world.session(
        number,
        cpo=world.CH_CPO,
        captured_minor=905,
        kwh="16.74",
        tariff_json=world.tariff_json(world.CH_CPO, vat="8.1"),
    )


async def clear(
    pool: Pool, service: ClearingServices, sessions: Sequence[CapturedSession], chain: int = 0
) -> None:
    async with transaction(pool) as connection:
        batch = await service.sessions.clear_batch(
            connection, sessions, now=NOW, batch_id=uuid4(), chain=chain
        )
        assert not batch.uncleared, batch.uncleared


async def issue(pool: Pool) -> int:
    job = DriverDocumentJob(pool=pool, clock=FixedClock(NOW))
    rounds = [await job.run_once()]
    while rounds[-1]:
        rounds.append(await job.run_once())
    return sum(rounds)


async def of_session(pool: Pool, number: int) -> list[ReadDocument]:
    async with pool.acquire() as connection:
        return await driver_document_service.list_by_session(connection, world.session_id(number))


async def names(pool: Pool, number: int) -> list[str]:
    return [one.document.name for one in await of_session(pool, number)]


async def test_each_session_gets_one_document_of_whoever_sold(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, [world.session(1), world.session(2), at_alps(10)])
    assert await issue(pool) == 1
    # The CPO sells through its agent and has a Dutch VAT id; the platform's id of the fixture is Swiss too.
    assert await names(pool, 1) == ["DI-NL-ABC-000000001"]
    assert await names(pool, 2) == ["DI-NL-ABC-000000002"]
    assert await names(pool, 10) == ["DI-platform-000000001"]
    (one,) = await of_session(pool, 1)
    assert (one.document.supply.net_minor, one.document.supply.vat_minor) == (500, 105)
    assert one.ubl is not None
    assert b"NL004495445B01" in one.ubl
    assert await issue(pool) == 0


async def test_a_session_that_is_not_cleared_has_no_document(pool: Pool, service: ClearingServices) -> None:
    with pytest.raises(ClearingConflictError, match="issued once it is cleared"):
        await of_session(pool, 1)


async def test_a_seller_without_a_vat_id_of_the_place_issues_receipts(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        await service.reference_data.register_party(
            connection, replace(world.CH_CPO, id="CH-OLD", vat_id=None, vat_evidence=()), now=NOW
        )
        await service.reference_data.put_agreement(
            connection,
            replace(
                world.agreement(world.CH_CPO, legal_model=LegalModel.DISCLOSED_AGENT),
                id="agr-old",
                cpo_id="CH-OLD",
            ),
            now=NOW,
        )
    await clear(pool, service, [replace(at_alps(11), cpo_id="CH-OLD")])
    await issue(pool)
    (one,) = await of_session(pool, 11)
    assert one.document.name == "DR-CH-OLD-000000001"
    assert one.document.no_invoice_because == "CH-ALP Ltd has proven no VAT id of CH on 2026-10-13"
    assert (one.ubl, one.cii) == (None, None)


async def test_a_refund_is_credited_and_names_what_it_corrects(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, [world.session(1)])
    async with transaction(pool) as connection:
        for reference in ("re_1", "re_2"):
            await service.sessions.refund(
                connection, world.session_id(1), minor=200, reference=reference, now=NOW
            )
        await service.sessions.fail_refund(connection, world.session_id(1), reference="re_2", now=NOW)
    await issue(pool)
    found = {one.document.name: one.document for one in await of_session(pool, 1)}
    assert {name: (one.type, one.preceding) for name, one in found.items()} == {
        "DI-NL-ABC-000000001": (DocumentType.INVOICE, None),
        "DC-NL-ABC-000000001": (DocumentType.CREDIT_NOTE, "DI-NL-ABC-000000001"),
        "DC-NL-ABC-000000002": (DocumentType.CREDIT_NOTE, "DI-NL-ABC-000000001"),
        "DI-NL-ABC-000000002": (DocumentType.INVOICE, "DC-NL-ABC-000000002"),
    }
    back = sum(one.supply.net_minor + one.supply.vat_minor for one in found.values())
    assert back == 605 - 200


async def test_the_day_of_a_sale_is_that_of_the_charge_point_whose_vat_applies(
    pool: Pool, service: ClearingServices
) -> None:
    # 00:30 in Bucharest on the first day of 21 %, 23:30 of the day before in Amsterdam, where the CPO is.
    at = datetime(2025, 7, 31, 21, 30, tzinfo=UTC)
    abroad = {"tax_jurisdiction": "RO", "time_zone": "Europe/Bucharest", "sale_at": at}
    await clear(pool, service, [world.session(1, **abroad)])
    await issue(pool)
    ((sold, ruling),) = [(one.document.supply, one.ruling) for one in await of_session(pool, 1)]
    assert (sold.sale_day, ruling.rate) == (date(2025, 8, 1), 21)


async def test_a_part_refunded_between_two_roundings_can_be_read(
    pool: Pool, service: ClearingServices
) -> None:
    # 1.53 is 1.42 and 0.11. Of 0.07 the VAT is 0.01, of 1.46 it is 0.10: the second part is 1.30 and 0.09,
    # and 8.1 % of 1.30 are 0.11.
    await clear(pool, service, [replace(at_alps(1), captured_minor=153, shortfall="hold_below_price")])
    for reference, minor in (("re_1", 7), ("re_2", 139)):
        async with transaction(pool) as connection:
            await service.sessions.refund(
                connection, world.session_id(1), minor=minor, reference=reference, now=NOW
            )
    await issue(pool)
    (given_back,) = [
        one.document.supply for one in await of_session(pool, 1) if one.document.supply.reference == "re_2"
    ]
    assert (given_back.net_minor, given_back.vat_minor) == (-130, -9)


async def test_a_credit_note_waits_for_the_document_of_another_chain(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, [world.session(1)], chain=7)
    async with transaction(pool) as connection:  # corrections go to chain 0, which is read first
        await service.sessions.refund(connection, world.session_id(1), minor=605, reference="re_1", now=NOW)
    async with transaction(pool) as connection:
        assert (
            await driver_document_service.issue_next(
                connection, chain=0, now=NOW, sources=DriverDocumentSources()
            )
            is None
        )
    assert await issue(pool) == 2
    assert await names(pool, 1) == ["DI-NL-ABC-000000001", "DC-NL-ABC-000000001"]


async def test_a_batch_that_can_not_be_documented_delays_its_own_chain_alone(
    pool: Pool, service: ClearingServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clear(pool, service, [world.session(1)], chain=0)
    await clear(pool, service, [world.session(2)], chain=1)

    def faulty(party: Party, ruling: Any, **rest: Any) -> Any:
        if not faults:
            faults.append(party.id)
            raise ZeroDivisionError("a bug")
        return seller_of(party, ruling, **rest)

    faults: list[str] = []
    monkeypatch.setattr(driver_document_service, "seller_of", faulty)
    with pytest.raises(ZeroDivisionError):  # the worker logs it and comes back
        await DriverDocumentJob(pool=pool, clock=FixedClock(NOW)).run_once()
    assert await names(pool, 2) == ["DI-NL-ABC-000000001"]
    assert await issue(pool) == 1
    assert await names(pool, 1) == ["DI-NL-ABC-000000002"]


async def test_a_renamed_seller_stays_as_printed(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, [world.session(1)])
    await issue(pool)
    before = await of_session(pool, 1)
    async with transaction(pool) as connection:
        await service.reference_data.register_party(
            connection, replace(NL_SELLER, name="Renamed NV"), now=NOW
        )
    assert await of_session(pool, 1) == before


async def test_a_transaction_that_fails_uses_no_number(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, [world.session(1)])
    async with pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        assert (
            await driver_document_service.issue_next(
                connection, chain=0, now=NOW, sources=DriverDocumentSources()
            )
            == 1
        )
        await undone.rollback()
    await issue(pool)
    assert await names(pool, 1) == ["DI-NL-ABC-000000001"]


async def test_workers_side_by_side_number_without_gaps(pool: Pool, service: ClearingServices) -> None:
    for chain in range(4):
        for batch in range(3):
            first = 100 * chain + 10 * batch
            sessions = [world.session(number) for number in range(first, first + 5)]
            await clear(pool, service, [*sessions, at_alps(first + 9)], chain=chain)
    jobs = [DriverDocumentJob(pool=pool, clock=FixedClock(NOW)) for _ in range(3)]
    for _ in range(12):
        await asyncio.gather(*(job.run_once() for job in jobs))
    async with pool.acquire() as connection:
        report = await audit_ledger(connection, now=NOW)
        assert (report.checks["documents_gapped"], report.checks["documents_unequal"]) == (0, 0)
        assert await store.list_chains(connection) == []
        rows = await connection.fetch("SELECT series, number FROM clearing.driver_document")
    assert Counter(row["series"] for row in rows) == {"DI-NL-ABC": 60, "DI-platform": 12}
    assert sorted(row["number"] for row in rows if row["series"] == "DI-NL-ABC") == list(range(1, 61))


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("DELETE FROM clearing.driver_document WHERE number = 1", (1, 1)),
        ("UPDATE clearing.driver_document SET net_minor = net_minor + 1 WHERE number = 2", (0, 1)),
        ("UPDATE clearing.driver_document SET number = 9 WHERE number = 2", (1, 0)),
        ("UPDATE clearing.document_series SET next_number = 9 WHERE series = 'DI-NL-ABC'", (1, 0)),
    ],
)
async def test_the_audit_finds_a_gap_and_a_changed_document(
    pool: Pool, service: ClearingServices, harm: str, found: tuple[int, int]
) -> None:
    await clear(pool, service, [world.session(1), world.session(2)])
    await issue(pool)
    async with pool.acquire() as connection:
        await connection.execute(harm)
        report = await audit_ledger(connection, now=NOW)
    assert (report.checks["documents_gapped"], report.checks["documents_unequal"]) == found
    checks = (await audit_daily(pool, clock=SystemClock(), psp=None)).audit.clearing.checks
    assert (min(checks["documents_gapped"], 1), checks["documents_unequal"]) == found


async def test_a_month_is_invoiced_once_hours_after_its_end_and_stays_open(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, [world.session(1), at_alps(10)])
    clock = FixedClock(datetime(2026, 11, 1, 4, 59, tzinfo=UTC))  # 5:59 in Zurich
    job = PartyDocumentJob(pool=pool, clock=clock, clearing=service)
    await job.run_once()
    counted = "SELECT count(*) FROM clearing.document"
    async with pool.acquire() as connection:
        assert await connection.fetchval(counted) == 0
    clock.at += timedelta(days=1)
    others = [PartyDocumentJob(pool=pool, clock=clock, clearing=service) for _ in range(2)]
    await asyncio.gather(*(one.run_once() for one in (job, *others)))
    async with pool.acquire() as connection:
        issued = await connection.fetch("SELECT series, number FROM clearing.document ORDER BY series")
        closed = await connection.fetchval("SELECT max(closed_until) FROM clearing.closed_period")
    # The platform's fee as the Dutch CPO's agent; no supplier has agreed to self-billing.
    assert [tuple(row) for row in issued] == [("IN-platform-O", 1)]
    assert closed is None


def without_address(party: Party) -> Party:
    return replace(party, details=BusinessDetails())


async def test_a_document_whose_seller_has_no_address_waits_and_is_issued_once_it_is_there(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        await service.reference_data.register_party(connection, without_address(NL_SELLER), now=NOW)
    await clear(pool, service, [world.session(1), world.session(2), at_alps(10)])
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, world.session_id(1), minor=121, reference="re_1", now=NOW)
    await issue(pool)
    later = NOW + timedelta(minutes=5)
    assert await names(pool, 10) == ["DI-platform-000000001"]  # another seller's are not delayed
    with pytest.raises(ClearingConflictError, match="not issued yet: 'NL-ABC' lacks address"):
        await of_session(pool, 1)
    async with pool.acquire() as connection:
        assert (await audit_ledger(connection, now=later)).findings == []
        causes = await open_causes(connection, now=NOW)
    (cause,) = [one for one in causes if one.kind is OpenCauseKind.DRIVER_DOCUMENT]
    assert (cause.name, cause.party_id) == ("NL-ABC", "NL-ABC")
    assert "3 documents for drivers" in cause.detail
    async with transaction(pool) as connection:
        await service.reference_data.register_party(connection, NL_SELLER, now=later)
    await DriverDocumentJob(pool=pool, clock=FixedClock(later)).run_once()
    assert await names(pool, 1) == ["DI-NL-ABC-000000001", "DC-NL-ABC-000000001"]
    assert await names(pool, 2) == ["DI-NL-ABC-000000002"]
    async with pool.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM clearing.pending_driver_document") == 0
        assert (await audit_ledger(connection, now=later)).findings == []


async def test_a_pending_document_is_issued_by_resolving_its_exception(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        await service.reference_data.register_party(connection, without_address(NL_SELLER), now=NOW)
    await clear(pool, service, [world.session(1)])
    await issue(pool)
    exceptions = ExceptionService(clearing=service)
    async with transaction(pool) as connection:
        await exceptions.refresh(connection, now=NOW, wall_now=NOW)
        (shown,) = await exceptions.list_exceptions(connection, ExceptionFilter(), limit=9)
        still = await exceptions.resolve(connection, shown.id, by="a", note="n", now=NOW, wall_now=NOW)
        assert still.record.state is ExceptionState.OPEN  # what it lacks is still not there
        await service.reference_data.register_party(connection, NL_SELLER, now=NOW)
        done = await exceptions.resolve(connection, shown.id, by="a", note="n", now=NOW, wall_now=NOW)
    assert done.record.state is ExceptionState.RESOLVED
    assert await names(pool, 1) == ["DI-NL-ABC-000000001"]


async def test_a_credit_note_states_the_quantity_that_it_corrects(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, [world.session(1)])
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, world.session_id(1), minor=121, reference="re_1", now=NOW)
    await issue(pool)
    sale, note = await of_session(pool, 1)
    assert (sale.document.supply.energy_kwh, note.document.supply.energy_kwh) == (Decimal(10), Decimal(2))
    assert note.ubl is not None
    assert b'<cbc:CreditedQuantity unitCode="KWH">2</cbc:CreditedQuantity>' in note.ubl
    assert b"<cbc:IssueDate>2026-10-13</cbc:IssueDate></cac:InvoiceDocumentReference>" in note.ubl


class Stored:
    """The originals of sessions, as the gateway stores them."""

    def __init__(self, *sessions: CapturedSession) -> None:
        self._sessions = {one.session_id: one for one in sessions}

    async def load(self, _: Any, session_ids: Sequence[UUID]) -> Mapping[UUID, SessionOriginals]:
        found = [self._sessions[one] for one in session_ids if one in self._sessions]
        return {
            one.session_id: SessionOriginals(
                cdr_json=one.cdr_json,
                cdr_version=one.cdr_version,
                tariff_json=one.tariff_json,
                tariff_sha256=one.tariff_sha256,
                tariff_version=one.tariff_version,
                time_zone=one.time_zone,
            )
            for one in found
        }


async def test_a_document_shows_place_times_and_prices_of_its_session_and_who_operates_it(
    pool: Pool, service: ClearingServices
) -> None:
    session = at_alps(10)
    await clear(pool, service, [session])
    sources = DriverDocumentSources(originals=Stored(session))
    await DriverDocumentJob(pool=pool, clock=FixedClock(NOW), sources=sources).run_once()
    (one,) = await of_session(pool, 10)
    charged = one.document.charged
    assert charged.operator == "CH-ALP Ltd"
    assert charged.address is not None
    assert charged.address.lines() == ["Kade 1", "Utrecht", "CH"]
    assert charged.started_at is not None
    assert charged.started_at.isoformat() == "2026-10-13T13:00:00+02:00"
    (item,) = charged.items
    assert (item.quantity, item.unit_price, item.amount_minor) == (Decimal("16.74"), Decimal("0.5000"), 837)
    text = (one.ubl or b"").decode()
    assert failed_rules("ubl", text) == []
    for part in (
        '<cbc:InvoicedQuantity unitCode="KWH">16.74</cbc:InvoicedQuantity>',
        '<cbc:PriceAmount currencyID="CHF">0.5000</cbc:PriceAmount>',
        "Strom, geliefert an einem Ladepunkt von CH-ALP Ltd.",
        "<cbc:CityName>Utrecht</cbc:CityName>",
    ):
        assert part in text
    assert failed_rules("cii", (one.cii or b"").decode()) == []


async def test_a_batch_that_is_not_there_is_not_passed_over(pool: Pool, service: ClearingServices) -> None:
    for number in (1, 2, 3):
        await clear(pool, service, [world.session(number)])
    # As of a chain that is read while a batch in the middle can't be: it comes later.
    away = "UPDATE clearing.batch SET position = $1 WHERE chain = 0 AND position = $2"
    async with pool.acquire() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(away, 1_000, 2)
        assert await issue(pool) == 1
        assert await connection.fetchval("SELECT count(*) FROM clearing.driver_document") == 1
        await connection.execute(away, 2, 1_000)
    assert await issue(pool) == 1  # both at once
    assert [await names(pool, number) for number in (2, 3)] == [
        ["DI-NL-ABC-000000002"],
        ["DI-NL-ABC-000000003"],
    ]


async def test_several_batches_that_are_undone_are_documented_once_with_what_is_known_then(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, [world.session(1)])
    await clear(pool, service, [world.session(2)])
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, world.session_id(1), minor=605, reference="re_1", now=NOW)
    await clear(pool, service, [world.session(3)])
    sources = DriverDocumentSources()

    async def next_batches(connection: Any) -> int | None:
        return await driver_document_service.issue_next(connection, chain=0, now=NOW, sources=sources)

    async with pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        assert [await next_batches(connection) for _ in range(4)] == [2, 1, 1, None]
        await undone.rollback()
    async with transaction(pool) as connection:
        renamed = replace(NL_SELLER, name="Renamed NV")
        await service.reference_data.register_party(connection, renamed, now=NOW)
    for expected in (2, 1, 1, None):
        async with transaction(pool) as connection:
            assert await next_batches(connection) == expected
    assert await names(pool, 1) == ["DI-NL-ABC-000000001", "DC-NL-ABC-000000001"]
    assert [await names(pool, number) for number in (2, 3)] == [
        ["DI-NL-ABC-000000002"],
        ["DI-NL-ABC-000000003"],
    ]
    for number in (1, 2, 3):
        assert {one.document.seller.name for one in await of_session(pool, number)} == {"Renamed NV"}
    async with pool.acquire() as connection:
        report = await audit_ledger(connection, now=NOW)
    assert (report.checks["documents_gapped"], report.checks["documents_unequal"]) == (0, 0)
