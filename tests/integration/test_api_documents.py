"""Documents over HTTP: receipts as JSON, PDF and XML, lists by party, and whose they are."""

import json
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from io import BytesIO

import pytest
from pypdf import PdfReader

from clearing.documents import invoice_service
from clearing.ledger import service as ledger_service
from clearing.meter_data.check import check_meter_data
from clearing.meter_data.transparency_xml import read_transparency_xml
from clearing.parties.party import VatEvidence, VatRegistration
from gateway.database import transaction
from gateway.ids import parse_id
from gateway.jobs.driver_documents import DriverDocumentJob
from tests.fakes.api import Api
from tests.fakes.en16931 import failed_rules
from tests.integration import test_api_disbursements as settlement
from tests.unit.clearing.meter_builders import METER, public_der, record, signed_values

api = settlement.api  # the fixture: parties, an agreement, a server


async def documented(api: Api) -> str:
    session = await settlement.settle(api)
    assert await DriverDocumentJob(pool=api.services.pool, clock=api.clock).run_once() == 1
    return session


async def test_a_receipt_before_clearing_is_a_conflict_that_says_when_it_is_issued(api: Api) -> None:
    session = (await api.authorize(key="a1")).json["session"]
    early = await api.call("GET", f"/v1/sessions/{session}/receipt")
    assert (early.status, early.json["code"]) == (409, "state_conflict")
    assert "issued once it is cleared" in early.json["detail"]


async def test_a_driver_gets_what_was_captured_as_json_and_pdf(api: Api) -> None:
    session = await documented(api)
    read = await api.call("GET", f"/v1/sessions/{session}/receipt")
    assert read.status == 200, read.text
    (one,) = read.json["documents"]
    captured = (await api.call("GET", f"/v1/sessions/{session}")).json["capture"]["amount"]
    # The platform sells in Germany and has no German VAT id here: proof of payment, no invoice.
    assert (one["type"], one["gross"], one["vat"]) == ("receipt", captured, None)
    assert one["no_invoice_because"].startswith("platform has proven no VAT id of DE")
    xml = await api.call("GET", f"/v1/sessions/{session}/receipt?format=xml")
    assert (xml.status, xml.json["code"]) == (409, "state_conflict")
    pdf = await api.call("GET", f"/v1/sessions/{session}/receipt?format=pdf&language=fr")
    assert pdf.headers["Content-Type"] == "application/pdf"
    shown = PdfReader(BytesIO(pdf.content)).pages[0].extract_text()
    assert one["number"] in shown
    assert "Reçu de paiement" in shown


async def signed(api: Api, session: str, *, public_key: bytes | None) -> None:
    """Put what the meter signed into the CDR of a session."""
    session_id = parse_id("ses", session)
    raw = await api.services.pool.fetchval("SELECT cdr FROM gateway.session WHERE id = $1", session_id)
    tree = json.loads(raw) | {
        "signed_data": signed_values(record(), key=public_key, url="https://check.example")
    }
    await api.services.pool.execute(
        "UPDATE gateway.session SET cdr = $1 WHERE id = $2", json.dumps(tree).encode(), session_id
    )


async def test_the_receipt_shows_what_the_meter_signed_and_offers_its_record(api: Api) -> None:
    session = await documented(api)
    path = f"/v1/sessions/{session}/receipt"
    none = await api.call("GET", f"{path}?format=meter_data")
    assert (none.status, none.json["code"]) == (409, "state_conflict")
    assert (await api.call("GET", path)).json["meter"] is None
    await signed(api, session, public_key=public_der())
    meter = (await api.call("GET", path)).json["meter"]
    assert (meter["meter"], meter["energy_kwh"], meter["url"]) == (METER, "10.0", "https://check.example")
    assert meter["end"] == {"value": "110.5", "unit": "kWh", "at": "2026-11-02T11:00:00Z", "clock": "S"}
    file = await api.call("GET", f"{path}?format=meter_data")
    assert file.headers["Content-Type"] == "application/xml"
    read = read_transparency_xml(file.content)
    assert check_meter_data(read).verdict == "self_asserted"
    pdf = await api.call("GET", f"{path}?format=pdf&language=de")
    shown = PdfReader(BytesIO(pdf.content)).pages[0].extract_text()
    for text in (METER, "Zählerstand zu Beginn", "100.5 kWh", "110.5 kWh", "10.0 kWh", "S.A.F.E."):
        assert text in shown
    foreign = await api.call("GET", f"{path}?format=meter_data", party="superapp")
    assert foreign.status == 404


async def test_readings_that_nobody_signed_are_not_printed(api: Api) -> None:
    session = await documented(api)
    await signed(api, session, public_key=public_der(seed=9))
    pdf = await api.call("GET", f"/v1/sessions/{session}/receipt?format=pdf")
    assert METER not in PdfReader(BytesIO(pdf.content)).pages[0].extract_text()


async def test_a_seller_with_a_vat_id_of_the_place_gives_an_invoice_in_xml(api: Api) -> None:
    known = await api.services.clearing.reference_data.find_party(api.services.pool, "platform")
    assert known is not None
    registration = VatRegistration(tax_jurisdiction="DE", vat_id="DE136695976", valid_from=date(2020, 1, 1))
    evidence = VatEvidence(
        effective_from=date(2020, 1, 1),
        vat_id="DE136695976",
        valid=True,
        source="declared",
        checked_at=api.clock.now(),
    )
    async with transaction(api.services.pool) as connection:
        await api.services.clearing.reference_data.register_party(
            connection,
            replace(known, vat_registrations=(registration,), vat_evidence=(evidence,)),
            now=api.clock.now(),
        )
    session = await documented(api)
    (one,) = (await api.call("GET", f"/v1/sessions/{session}/receipt")).json["documents"]
    assert (one["type"], one["net"] + one["vat"]) == ("invoice", one["gross"])
    xml = await api.call("GET", f"/v1/sessions/{session}/receipt?format=xml&document={one['number']}")
    assert failed_rules("ubl", xml.text) == []
    pdf = await api.call("GET", f"/v1/sessions/{session}/receipt?format=pdf")
    (attached,) = PdfReader(BytesIO(pdf.content)).attachments["factur-x.xml"]
    assert failed_rules("cii", attached.decode()) == []


async def test_another_partys_session_has_no_receipt(api: Api) -> None:
    session = await documented(api)
    for query in ("", "?format=pdf", "?format=xml"):
        foreign = await api.call("GET", f"/v1/sessions/{session}/receipt{query}", party="superapp")
        assert foreign.status == 404
    unknown = await api.call("GET", f"/v1/sessions/{session}/receipt?document=DI-platform-000000099")
    assert unknown.status == 404


async def test_a_party_sees_its_own_documents_only(api: Api) -> None:
    await settlement.settle(api)
    start = api.clock.now().date().replace(day=1)
    end = (start + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    api.clock.at += timedelta(days=40)
    async with transaction(api.services.pool) as connection:
        await connection.execute("UPDATE clearing.party SET self_billing_since = $1", date(2020, 1, 1))
        await connection.execute(
            "UPDATE clearing.reference_epoch SET epoch = gen_random_uuid() WHERE name = 'party'"
        )
    async with transaction(api.services.pool) as connection:
        now = api.clock.now()
        await ledger_service.close_period(connection, until=now - timedelta(hours=6), by="test", now=now)
        issued, rejected = await invoice_service.issue(connection, start=start, end=end, now=now)
    assert not rejected
    everything = (await api.call("GET", "/v1/documents", party="admin")).json["data"]
    assert {one["id"] for one in everything} == {one.number for one in issued}
    for party in ("DE-ABC", "parking"):
        own = (await api.call("GET", "/v1/documents", party=party)).json["data"]
        assert own == [one for one in everything if party in (one["supplier"], one["customer"])]
        assert own
        number = own[0]["id"]
        pdf = await api.call("GET", f"/v1/documents/{number}?format=pdf&language=de", party=party)
        assert PdfReader(BytesIO(pdf.content)).attachments.keys() == {"factur-x.xml"}
        again = await api.call("GET", f"/v1/documents/{number}?format=pdf&language=de", party=party)
        assert again.content == pdf.content
        async with api.services.pool.acquire() as connection:
            kept = await connection.fetchval(
                "SELECT sha256 FROM clearing.document_file WHERE name = $1 AND format = 'pdf'", number
            )
        assert kept == sha256(pdf.content).hexdigest()
        xml = await api.call("GET", f"/v1/documents/{number}?format=xml", party=party)
        assert failed_rules("ubl", xml.text) == []
        assert (await api.call("GET", f"/v1/documents/{number}", party=party)).json == own[0]
        foreign = await api.call("GET", f"/v1/documents/{number}", party="superapp")
        assert foreign.status == 404
    assert (await api.call("GET", "/v1/documents", party="superapp")).json["data"] == []
    first = (await api.call("GET", "/v1/documents?limit=1", party="admin")).json
    rest = (await api.call("GET", f"/v1/documents?cursor={first['next_cursor']}", party="admin")).json
    assert [*first["data"], *rest["data"]] == everything


@pytest.mark.parametrize("number", ["x", "SB-DE-ABC-V-000001", "SB-DE-ABC-V-1", "-000001", "A-" + "9" * 40])
async def test_an_unknown_number_is_not_found(api: Api, number: str) -> None:
    assert (await api.call("GET", f"/v1/documents/{number}")).status == 404
