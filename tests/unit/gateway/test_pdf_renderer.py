"""Printed documents: PDF/A-3b that opens, says it is Factur-X, and carries our XML byte for byte."""

from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO

import pytest
from facturx import get_facturx_xml_from_pdf
from pypdf import PdfReader

from clearing.documents.driver_document import invoice_of
from clearing.documents.einvoice import cii
from clearing.documents.facturx import declare
from clearing.documents.printed_page import driver_page, invoice_page
from clearing.documents.translations import labels
from clearing.errors import ClearingInvariantViolation
from clearing.language import Language
from gateway.pdf_renderer import render, render_now
from tests.unit.clearing import test_driver_document as drivers
from tests.unit.clearing import test_invoice as invoices

AT = datetime(2026, 10, 13, 13, 0, tzinfo=UTC)


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(pdf), strict=True).pages)


@pytest.mark.parametrize("name", list(drivers.cases()))
async def test_an_invoice_is_pdf_a_3b_with_our_xml_attached(name: str) -> None:
    document, ruling = drivers.cases()[name]
    xml = cii(invoice_of(document, ruling, country="NL"), number=document.name, issued_on=document.issued_on)
    pdf = await render(driver_page(document, ruling), cii=xml, issued_at=AT)
    reader = PdfReader(BytesIO(pdf), strict=True)
    assert reader.attachments == {"factur-x.xml": [xml]}
    found, carried = get_facturx_xml_from_pdf(BytesIO(pdf), check_xsd=True)
    assert (found, carried) == ("factur-x.xml", xml)
    xmp = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    for fact in (
        "<pdfaid:part>3</pdfaid:part>",
        "<pdfaid:conformance>B</pdfaid:conformance>",
        "<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>",
        "<fx:DocumentFileName>factur-x.xml</fx:DocumentFileName>",
        "<fx:DocumentType>INVOICE</fx:DocumentType>",
    ):
        assert fact in xmp
    assert reader.trailer["/ID"]  # PDF/A wants it in the last trailer too
    (file,) = reader.trailer["/Root"]["/AF"]
    assert file.get_object()["/AFRelationship"] == "/Alternative"
    assert document.name in text_of(pdf)


def test_the_same_page_is_set_to_the_same_bytes() -> None:
    document, ruling = drivers.cases()["standard"]
    page = driver_page(document, ruling)
    assert render_now(page, cii=b"<a/>", issued_at=AT) == render_now(page, cii=b"<a/>", issued_at=AT)


@pytest.mark.parametrize("language", list(Language))
def test_every_language_sets_what_was_paid(language: Language) -> None:
    document, ruling = drivers.cases()["standard"]
    shown = text_of(render_now(driver_page(document, ruling, language=language), cii=None, issued_at=AT))
    assert labels(language)["invoice"] in shown
    assert "6.05 EUR" in shown
    assert "NL004495445B01" in shown
    assert "?" not in shown


@pytest.mark.parametrize("name", list(invoices.cases()))
def test_invoices_between_parties_are_set_too(name: str) -> None:
    invoice = invoices.cases()[name]
    page = invoice_page(invoice, number="SB-1", issued_on=date(2026, 11, 2))
    shown = text_of(render_now(page, cii=b"<a/>", issued_at=AT))
    assert invoice.supplier.name in shown
    assert page.total[1] in shown


def test_a_receipt_says_that_it_is_none_and_shows_no_vat() -> None:
    ruling = drivers.ruling(drivers.CH_SELLER, "NL")
    receipt = drivers.document(drivers.CH_SELLER, drivers.supply(ruling), ruling)
    shown = text_of(render_now(driver_page(receipt, ruling), cii=None, issued_at=AT))
    assert "not an invoice" in shown
    assert "CHE" not in shown
    assert "21" not in shown.replace(receipt.name, "").replace(str(receipt.supply.session_id), "")


@pytest.mark.parametrize(
    "name", ['#panic("x")', "*a* _b_ $x$ @c <d> \\ ]", "\u5145\u96fb\u516c\u53f8", "\U0001f50c A"]
)
def test_a_name_is_text_and_never_markup(name: str) -> None:
    document, ruling = drivers.cases()["standard"]
    named = replace(document, seller=replace(document.seller, name=name))
    shown = text_of(render_now(driver_page(named, ruling), cii=None, issued_at=AT))
    kept = "".join(sign if sign.isascii() else "?" for sign in name)
    assert kept.replace(" ", "") in shown.replace(" ", "").replace("\n", "")


def test_a_foreign_file_is_not_declared() -> None:
    with pytest.raises(ClearingInvariantViolation, match="not laid out"):
        declare(b"%PDF-1.7\n%%EOF")
