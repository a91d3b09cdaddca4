"""Businesses that buy sessions: the VAT that applies to them, invoices in their names, one for each month."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from clearing.audit import audit_ledger
from clearing.captured_session import CapturedSession
from clearing.documents import driver_document_service, invoice_service
from clearing.documents import service as document_service
from clearing.documents.driver_document_service import ReadDocument
from clearing.documents.printed_page import driver_page
from clearing.parties.business_details import BusinessAddress, BusinessDetails
from clearing.parties.party import DocumentCadence, Party, PartyKind
from clearing.services import ClearingServices, build_clearing
from gateway.database import Pool, transaction
from gateway.ids import format_id, parse_id
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.driver_documents import DriverDocumentJob
from gateway.partners import buyer_repository
from tests.fakes import clearing_fixtures as world
from tests.fakes.api import Api, cdr
from tests.fakes.en16931 import failed_rules
from tests.integration import test_api_disbursements as settlement
from tests.integration.test_driver_documents import FixedClock

api = settlement.api  # the fixture: parties, an agreement, a server
NOW = world.SALE_AT + timedelta(hours=1)
START, END = date(2026, 10, 1), date(2026, 10, 31)
AFTER = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def buyer(country: str, cadence: DocumentCadence = DocumentCadence.SESSION, **changes: Any) -> Party:
    made = world.party(f"buy-{country}", PartyKind.BUYER, country, "EUR", connected_account=None)
    details = BusinessDetails(
        address=BusinessAddress(street="Fleet 2", post_code="1000 AA", town="Den Haag", country=country),
        buyer_reference="PO-77",
    )
    return replace(made, name="Fleet B.V.", document_cadence=cadence, details=details, **changes)


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        await opened.reference_data.import_bundled_rates(connection, now=NOW)
        for party in world.PARTIES.values():
            await opened.reference_data.register_party(connection, party, now=NOW)
        await opened.reference_data.put_agreement(connection, world.agreement(world.NL_CPO), now=NOW)
    return opened


async def sell(
    pool: Pool, service: ClearingServices, to: Party, *sessions: CapturedSession
) -> list[ReadDocument]:
    """Clear sessions sold to a business; the documents of the first."""
    async with transaction(pool) as connection:
        await service.reference_data.register_party(connection, to, now=NOW)
        sold = [replace(one, buyer_id=to.id) for one in sessions]
        batch = await service.sessions.clear_batch(connection, sold, now=NOW, batch_id=uuid4())
        assert not batch.uncleared, batch.uncleared
    return await documents(pool, sessions[0])


async def documents(pool: Pool, session: CapturedSession) -> list[ReadDocument]:
    job = DriverDocumentJob(pool=pool, clock=FixedClock(NOW))
    while await job.run_once():
        pass
    async with pool.acquire() as connection:
        return await driver_document_service.list_by_session(connection, session.session_id)


async def test_a_business_without_a_valid_vat_id_pays_the_vat_of_the_charge_point(
    pool: Pool, service: ClearingServices
) -> None:
    unproven = buyer("NL", vat_evidence=())
    (one,) = await sell(pool, service, unproven, world.session(1))
    assert one.ruling.rule == "driver/business"
    assert (one.document.supply.net_minor, one.document.supply.vat_minor) == (500, 105)
    text = (one.ubl or b"").decode()
    assert failed_rules("ubl", text) == []
    assert "Fleet B.V." in text
    assert "<cbc:StreetName>Fleet 2</cbc:StreetName>" in text
    assert "<cbc:BuyerReference>PO-77</cbc:BuyerReference>" in text
    page = driver_page(one.document, one.ruling)
    assert page.buyer[:4] == ["Fleet B.V.", "Fleet 2", "1000 AA Den Haag", "NL"]
    assert "Your reference: PO-77" in page.buyer


async def test_a_business_identified_where_it_charges_gets_a_reverse_charge(
    pool: Pool, service: ClearingServices
) -> None:
    # Directive 2006/112/EC art. 39 and 195: the Swiss platform is not established in the Netherlands.
    (one,) = await sell(pool, service, buyer("NL"), world.session(1))
    assert one.ruling.rule == "driver/identified_business"
    assert (one.document.supply.net_minor, one.document.supply.vat_minor) == (605, 0)
    for syntax, written in (("ubl", one.ubl), ("cii", one.cii)):
        text = (written or b"").decode()
        assert failed_rules(syntax, text) == []
        assert "NL004495445B01" in text
        assert "VATEX-EU-AE" in text
    async with pool.acquire() as connection:
        assert (await audit_ledger(connection, now=NOW)).findings == []


async def test_a_fleet_gets_one_invoice_a_month_and_its_drivers_receipts(
    pool: Pool, service: ClearingServices
) -> None:
    fleet = buyer("NL", DocumentCadence.MONTHLY, vat_evidence=())
    sessions = [world.session(number) for number in range(1, 4)]
    (one,) = await sell(pool, service, fleet, *sessions)
    assert one.document.name == "DR-platform-000000001"
    assert (
        one.document.no_invoice_because
        == "it is invoiced to Fleet B.V. with its other sessions of the period"
    )
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, world.session_id(1), minor=121, reference="re_1", now=NOW)
        issued, _ = await invoice_service.issue(
            connection, start=START, end=END, now=AFTER, parties=[fleet.id]
        )
    found = {one.number: (one.net_minor, one.vat_minor, one.customer_id) for one in issued}
    assert found == {
        "IN-platform-V-NL-000001": (1500, 315, fleet.id),
        "CN-platform-V-NL-000001": (100, 21, fleet.id),
    }
    async with pool.acquire() as connection:
        invoice = await document_service.find_document(
            connection, name="IN-platform-V-NL-000001", party_id=fleet.id
        )
        note = await document_service.find_document(
            connection, name="CN-platform-V-NL-000001", party_id=fleet.id
        )
        assert (await audit_ledger(connection, now=NOW)).findings == []
    assert invoice is not None
    assert note is not None
    text = invoice.ubl.decode()
    assert text.count('<cbc:InvoicedQuantity unitCode="KWH">10</cbc:InvoicedQuantity>') == 3
    for number in range(1, 4):  # each session has a line, in the XML and on the page
        named = f"{format_id('ses', world.session_id(number))}, 2026-10-13"
        assert named in text
        for page in invoice.pages.values():
            assert any(named in str(line) for line in page.lines)
    assert '<cbc:PrepaidAmount currencyID="EUR">18.15</cbc:PrepaidAmount>' in text
    assert '<cbc:PayableAmount currencyID="EUR">0.00</cbc:PayableAmount>' in text
    assert '<cbc:CreditedQuantity unitCode="KWH">2</cbc:CreditedQuantity>' in note.ubl.decode()
    for document in (invoice, note):
        assert failed_rules("ubl", document.ubl.decode()) == []
        assert failed_rules("cii", document.cii.decode()) == []


async def test_a_driver_who_is_no_business_is_on_no_collective_invoice(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        await service.sessions.clear_batch(connection, [world.session(9)], now=NOW, batch_id=uuid4())
        issued, _ = await invoice_service.issue(connection, start=START, end=END, now=AFTER)
    assert {one.customer_id for one in issued} <= {"platform", "NL-ABC"}


BODY = {
    "name": "Fleet GmbH",
    "address": {"street": "Weg 1", "post_code": "10115", "town": "Berlin", "country": "DE"},
    "vat_id": "DE136695976",
    "reference": "PO-9",
}


async def test_a_partner_names_its_buyer_when_it_authorizes(api: Api) -> None:
    made = await api.call("POST", "/v1/buyers", BODY, key="b1")
    assert made.status == 201, made.text
    assert (made.json["invoicing"], made.json["vat_id_valid"]) == ("session", False)
    again = await api.call("POST", "/v1/buyers", BODY, key="b1")
    assert again.json == made.json
    assert (await api.call("GET", f"/v1/buyers/{made.json['id']}")).json == made.json
    assert [one["id"] for one in (await api.call("GET", "/v1/buyers")).json["data"]] == [made.json["id"]]
    shown = (await api.authorize(key="a1", buyer=made.json["id"])).json
    stored = await api.services.pool.fetchrow("SELECT session_id, buyer_id FROM gateway.session_buyer")
    assert stored is not None
    assert stored["buyer_id"] == made.json["id"]
    assert shown["state"] == "authorized"


async def test_another_partys_buyer_does_not_exist(api: Api) -> None:
    made = await api.call("POST", "/v1/buyers", BODY, key="b1", party="superapp")
    assert (await api.call("GET", f"/v1/buyers/{made.json['id']}")).status == 404
    assert (await api.authorize(key="a1", buyer=made.json["id"])).status == 400
    session = await settlement_session(api)
    answer = await api.call("POST", f"/v1/sessions/{session}/set-buyer", {"buyer": made.json["id"]}, key="s1")
    assert answer.status == 404


async def settlement_session(api: Api) -> str:
    return str((await api.authorize(key="a2")).json["session"])


async def test_a_buyer_is_named_before_and_after_the_session_is_cleared(api: Api) -> None:
    made = await api.call("POST", "/v1/buyers", BODY, key="b1")
    body = {"buyer": made.json["id"]}
    session = await settlement_session(api)
    answer = await api.call("POST", f"/v1/sessions/{session}/set-buyer", body, key="s1")
    assert (answer.status, answer.json["id"]) == (200, made.json["id"])
    foreign = await api.call("POST", f"/v1/sessions/{session}/set-buyer", body, key="s2", party="superapp")
    assert foreign.status == 404
    cleared = await settlement.settle(api)
    late = await api.call("POST", f"/v1/sessions/{cleared}/set-buyer", body, key="s3")
    assert (late.status, late.json["id"]) == (200, made.json["id"])
    while await DriverDocumentJob(pool=api.services.pool, clock=api.clock).run_once():
        pass
    shown = (await api.call("GET", f"/v1/sessions/{cleared}/receipt")).json["documents"]
    assert [(one["type"], one["buyer"]) for one in shown] == [
        ("receipt", None),  # the platform of these tests has no VAT id
        ("refund_receipt", None),
        ("receipt", made.json["id"]),
    ]
    pdf = await api.call("GET", f"/v1/sessions/{cleared}/receipt?format=pdf")
    assert shown[2]["number"] in pdf.headers["Content-Disposition"]


async def test_a_wrong_vat_id_names_its_field(api: Api) -> None:
    answer = await api.call("POST", "/v1/buyers", {**BODY, "vat_id": "DE136695977"}, key="b1")
    assert answer.status == 400
    assert "vat_id" in answer.text


async def test_a_buyer_named_while_its_session_is_cleared_is_on_its_document(api: Api) -> None:
    made = await api.call("POST", "/v1/buyers", BODY, key="b1")
    pool, buyer_id = api.services.pool, made.json["id"]
    shown = (await api.authorize(key="a1")).json
    session_id = parse_id("ses", shown["session"])
    await api.call("POST", f"/v1/sessions/{shown['session']}/complete", {"cdr": json.loads(cdr())}, key="c1")
    api.clock.pass_wall(5)
    job = ClearingJob(
        pool=pool,
        clock=api.clock,
        sessions=api.services.clearing.sessions,
        batch_size=10,
        chain=0,
    )
    async with transaction(pool) as connection:
        assert await buyer_repository.lock_session(connection, session_id, party_id="parking") == "completed"
        clearing = asyncio.create_task(job.run_once())
        await asyncio.sleep(0.5)  # clearing has read what it can read
        assert await buyer_repository.set_buyer(
            connection, session_id, buyer_id, party_id="parking", now=api.clock.now()
        )
    assert await clearing == 1
    await DriverDocumentJob(pool=pool, clock=api.clock).run_once()
    async with pool.acquire() as connection:
        (one,) = await driver_document_service.list_by_session(connection, session_id)
    assert one.ruling.rule == "driver/business"
