"""Invoices: totals by document, what may not be issued, and EN 16931 validity by the official rules."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.documents.charged_items import Unit
from clearing.documents.einvoice import cii, ubl
from clearing.documents.invoice import (
    DocumentType,
    Invoice,
    InvoiceLine,
    PrecedingDocument,
    SuppliedSum,
    invoices_of,
    stated_vat,
)
from clearing.documents.printed_page import invoice_page
from clearing.documents.translations import labels
from clearing.errors import InvalidDocumentError
from clearing.fx import RateTable
from clearing.language import Language
from clearing.money import vat_on
from clearing.parties.party import Party, PartyKind
from clearing.reference_data import bundled_data
from clearing.sessions.identities import trader_on
from clearing.tax.vat import Category, SupplyLeg, VatDecision, decide
from tests.fakes import clearing_fixtures as world
from tests.fakes.en16931 import failed_rules, schema

RATES = bundled_data.vat_rates()
FX = RateTable(bundled_data.ecb_reference_rates())
PERIOD = (date(2026, 10, 1), date(2026, 10, 31))
CH_CPO = replace(
    world.CH_CPO,
    vat_id="CHE123456788",
    vat_evidence=(world.evidence("CHE123456788"),),
    self_billing_since=PERIOD[0],
)
NL_CPO = replace(
    world.NL_CPO,
    vat_id="NL004495445B01",
    vat_evidence=(world.evidence("NL004495445B01"),),
    self_billing_since=PERIOD[0],
)
PLATFORM = replace(world.PLATFORM, self_billing_since=None)
DE_BUYER = world.party("DE-RSL", PartyKind.EMSP, "DE", "EUR", vat_id="DE136695976", taxable_dealer=True)


def ruling(
    leg: SupplyLeg, supplier: Party, customer: Party, *, place: str | None = None, day: date = PERIOD[1]
) -> VatDecision:
    return decide(
        leg,
        supplier=trader_on(supplier, day, RATES),
        customer=trader_on(customer, day, RATES),
        place=RATES.tax_jurisdiction(place or supplier.tax_jurisdiction),
        day=day,
        rates=RATES,
    )


def supplied(leg: SupplyLeg, supplier: Party, customer: Party, nets: list[int]) -> SuppliedSum:
    decision = ruling(leg, supplier, customer)
    vat = sum(vat_on(net, decision.rate) for net in nets)
    return SuppliedSum(leg=leg, ruling=decision, net_minor=sum(nets), vat_minor=vat, sessions=len(nets))


def preceding(number: str) -> PrecedingDocument:
    return PrecedingDocument(number=number, issued_on=date(2026, 10, 2))


def issue(supplier: Party, customer: Party, *sums: SuppliedSum, **changes: Any) -> list[Invoice]:
    fields = {
        "currency": supplier.settlement_currency,
        "period": PERIOD,
        "self_billed": True,
        "rates": RATES,
        "fx": FX,
        **changes,
    }
    return invoices_of(sums, supplier=supplier, customer=customer, **fields)


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (1000, 1000), (1001, 1)])
def test_sessions_have_a_line_each_up_to_what_a_person_reads(count: int, lines: int) -> None:
    one = replace(supplied(SupplyLeg.TO_DEALER, CH_CPO, PLATFORM, [837]), energy_kwh=Decimal(10))
    (invoice,) = issue(
        CH_CPO, PLATFORM, *(replace(one, session=f"ses_{n}, 2026-10-13") for n in range(count))
    )
    assert len(invoice.lines) == lines
    assert invoice.net_minor == 837 * count
    assert invoice.lines[0].session == ("" if lines < count else "ses_0, 2026-10-13")
    assert sum(line.quantity for line in invoice.lines) == 10 * count
    assert sum(line.sessions for line in invoice.lines) == count


def test_a_document_states_the_vat_that_was_booked() -> None:
    # 3 x 8.37 at 8.1 %: 0.68 each is 2.04; 25.11 at 8.1 % is 2.03. EN 16931 allows either.
    (invoice,) = issue(CH_CPO, PLATFORM, supplied(SupplyLeg.TO_DEALER, CH_CPO, PLATFORM, [837, 837, 837]))
    assert (invoice.net_minor, invoice.vat_minor, invoice.gross_minor) == (2511, 204, 2715)
    assert (invoice.due_minor, invoice.rounding_minor) == (2715, 0)
    for written in (
        ubl(invoice, number="SB-1", issued_on=PERIOD[1]),
        cii(invoice, number="SB-1", issued_on=PERIOD[1]),
    ):
        assert b"2.04<" in written
        assert b"2.03<" not in written
        assert b"Rounding" not in written
    page = invoice_page(invoice, number="SB-1", issued_on=PERIOD[1])
    assert [amount for _, amount in page.sums] == ["25.11 CHF", "2.04 CHF", "27.15 CHF"]


def test_what_lies_beyond_the_tolerance_of_the_rules_is_a_rounding_amount() -> None:
    # 500 sessions of 0.06 at 8.1 %: each is booked without VAT (0.00486), the sum of 30.00 bears 2.43.
    (invoice,) = issue(CH_CPO, PLATFORM, supplied(SupplyLeg.TO_DEALER, CH_CPO, PLATFORM, [6] * 500))
    assert (invoice.net_minor, invoice.due_minor) == (3000, 3000)
    assert (invoice.vat_minor, invoice.rounding_minor) == (243 - 99, -144)
    written = ubl(invoice, number="SB-1", issued_on=PERIOD[1])
    assert failed_rules("ubl", written.decode()) == []


@pytest.mark.parametrize(
    ("currency", "booked", "stated"),
    [
        ("EUR", 1000, 1000),
        ("EUR", 1099, 1099),
        ("EUR", 1100, 1099),
        ("EUR", 901, 901),
        ("EUR", 0, 901),
        ("JPY", 1001, 1000),
        ("JPY", 999, 1000),
    ],
)
def test_the_tolerance_is_less_than_one_unit_of_the_currency(currency: str, booked: int, stated: int) -> None:
    assert stated_vat(10_000, booked, Decimal(10), currency=currency) == stated


def test_self_billing_needs_an_agreement() -> None:
    without = replace(CH_CPO, self_billing_since=None)
    with pytest.raises(InvalidDocumentError, match="has not agreed to self-billing"):
        issue(without, PLATFORM, supplied(SupplyLeg.TO_DEALER, without, PLATFORM, [837]))
    later = replace(CH_CPO, self_billing_since=date(2026, 10, 2))
    with pytest.raises(InvalidDocumentError, match="has not agreed"):
        issue(later, PLATFORM, supplied(SupplyLeg.TO_DEALER, later, PLATFORM, [837]))


def lapsed(party: Party, since: date) -> Party:
    found = [
        world.evidence(party.vat_id or ""),
        world.evidence(party.vat_id or "", since=since, valid=False),
    ]
    return replace(party, vat_evidence=tuple(found))


@pytest.mark.parametrize("side", ["supplier", "customer"])
def test_reverse_charge_needs_both_vat_ids(side: str) -> None:
    one = supplied(SupplyLeg.TO_DEALER, NL_CPO, DE_BUYER, [1000])
    assert one.ruling.category is Category.REVERSE_CHARGE
    supplier = lapsed(NL_CPO, PERIOD[0]) if side == "supplier" else NL_CPO
    customer = lapsed(DE_BUYER, PERIOD[0]) if side == "customer" else DE_BUYER
    with pytest.raises(InvalidDocumentError, match="needs a VAT id of"):
        issue(supplier, customer, one)


def test_what_was_supplied_before_an_id_lapsed_is_invoiced_under_it() -> None:
    # Validity is that of the chargeable event (Directive 2006/112/EC art. 63), not of the day of issue.
    buyer = lapsed(DE_BUYER, date(2026, 10, 15))
    early = ruling(SupplyLeg.TO_DEALER, NL_CPO, buyer, day=date(2026, 10, 14))
    late = ruling(SupplyLeg.TO_DEALER, NL_CPO, buyer, day=date(2026, 10, 15))
    assert (early.category, late.category) == (Category.REVERSE_CHARGE, Category.STANDARD)
    sums = [
        SuppliedSum(leg=SupplyLeg.TO_DEALER, ruling=early, net_minor=1000, vat_minor=0, sessions=1),
        SuppliedSum(leg=SupplyLeg.TO_DEALER, ruling=late, net_minor=1000, vat_minor=210, sessions=1),
    ]
    (invoice,) = issue(NL_CPO, buyer, *sums)
    assert (invoice.customer_vat_id, invoice.vat_minor) == ("DE136695976", 210)


def test_what_was_supplied_before_the_period_is_invoiced_under_the_id_of_its_day() -> None:
    # A record that came late, or a correction of an earlier sale; the ids lapsed with the period's first day.
    one = replace(supplied(SupplyLeg.TO_DEALER, NL_CPO, DE_BUYER, [1000]), first_day=date(2026, 9, 29))
    (invoice,) = issue(lapsed(NL_CPO, PERIOD[0]), lapsed(DE_BUYER, PERIOD[0]), one)
    assert (invoice.supplier_vat_id, invoice.customer_vat_id) == ("NL004495445B01", "DE136695976")


def test_each_registration_has_a_document_of_its_own_with_its_own_id() -> None:
    # Directive art. 226(3): a German host of ground in Germany and the Netherlands, registered in both.
    host = replace(
        world.registered(world.party("host", PartyKind.SITE_HOST, "DE", "EUR"), "NL"),
        self_billing_since=PERIOD[0],
    )
    sums = [
        SuppliedSum(
            leg=SupplyLeg.SITE,
            ruling=ruling(SupplyLeg.SITE, host, PLATFORM, place=place),
            net_minor=1000,
            vat_minor=vat,
            sessions=1,
        )
        for place, vat in (("DE", 190), ("NL", 210))
    ]
    german, dutch = issue(host, PLATFORM, *sums)
    assert (german.registered_in, german.supplier_vat_id, german.vat_minor) == ("", "DE136695976", 190)
    assert (dutch.registered_in, dutch.supplier_vat_id, dutch.vat_minor) == ("NL", "NL004495445B01", 210)


def test_vat_is_not_invoiced_by_one_who_may_not_show_it() -> None:
    one = supplied(SupplyLeg.TO_DEALER, CH_CPO, PLATFORM, [1000])
    with pytest.raises(InvalidDocumentError, match="may show no VAT"):
        issue(replace(CH_CPO, vat_id=None, vat_evidence=()), PLATFORM, one)


def test_what_lies_outside_vat_has_its_own_document_without_vat_id() -> None:
    outside = supplied(SupplyLeg.TO_DEALER, NL_CPO, PLATFORM, [1000])
    taxed = replace(outside, ruling=ruling(SupplyLeg.TO_DEALER, CH_CPO, PLATFORM), vat_minor=81)
    found = issue(replace(NL_CPO, tax_jurisdiction="CH", country="CH"), PLATFORM, outside, taxed)
    assert [{group.category for group in invoice.groups} for invoice in found] == [
        {Category.STANDARD},
        {Category.OUTSIDE},
    ]
    text = ubl(found[1], number="SB-1", issued_on=PERIOD[1]).decode()
    assert "NL004495445B01" not in text
    assert "VATEX-EU-O" in text


def test_negative_sums_become_a_credit_note_with_positive_amounts() -> None:
    sale = supplied(SupplyLeg.TO_DEALER, CH_CPO, PLATFORM, [1000])
    back = replace(sale, net_minor=-400, vat_minor=-32, sessions=1)
    invoice, note = issue(CH_CPO, PLATFORM, sale, back, preceding=[preceding("SB-7"), preceding("SB-8")])
    assert (invoice.type, note.type) == (DocumentType.SELF_BILLED, DocumentType.SELF_BILLED_CREDIT)
    assert (note.net_minor, note.vat_minor, note.due_minor) == (400, 32, 432)
    for text in (
        ubl(note, number="CN-1", issued_on=PERIOD[1]),
        cii(note, number="CN-1", issued_on=PERIOD[1]),
    ):
        assert b"SB-7<" in text
        assert b"SB-8<" in text
    assert invoice.preceding == ()


@given(nets=st.lists(st.integers(1, 10**6), min_size=1, max_size=200))
def test_what_is_due_is_what_was_booked_and_so_is_the_vat(nets: list[int]) -> None:
    (invoice,) = issue(CH_CPO, PLATFORM, supplied(SupplyLeg.TO_DEALER, CH_CPO, PLATFORM, nets))
    assert invoice.due_minor == sum(net + vat_on(net, Decimal("8.1")) for net in nets)
    assert invoice.rounding_minor == 0
    assert invoice.vat_minor == sum(vat_on(net, Decimal("8.1")) for net in nets)


def cases() -> dict[str, Invoice]:
    small = replace(world.SITE, small_business=True, self_billing_since=PERIOD[0])
    sale = supplied(SupplyLeg.TO_DEALER, CH_CPO, PLATFORM, [837, 837, 837])
    return {
        "standard": issue(CH_CPO, PLATFORM, sale)[0],
        "reverse_charge": issue(NL_CPO, DE_BUYER, supplied(SupplyLeg.TO_DEALER, NL_CPO, DE_BUYER, [1000, 5]))[
            0
        ],
        "outside": issue(NL_CPO, PLATFORM, supplied(SupplyLeg.TO_DEALER, NL_CPO, PLATFORM, [1000]))[0],
        "exempt": issue(small, PLATFORM, supplied(SupplyLeg.SITE, small, PLATFORM, [50]))[0],
        "fee": issue(PLATFORM, CH_CPO, supplied(SupplyLeg.FEE, PLATFORM, CH_CPO, [100]), self_billed=False)[
            0
        ],
        "credit_note": issue(
            CH_CPO,
            PLATFORM,
            replace(sale, net_minor=-837, vat_minor=-68),
            preceding=[preceding("SB-1"), preceding("SB-2")],
        )[0],
    }


@pytest.mark.parametrize("name", list(cases()))
@pytest.mark.parametrize("syntax", ["ubl", "cii"])
def test_the_official_rules_and_schemas_find_nothing(name: str, syntax: str) -> None:
    invoice = cases()[name]
    write = ubl if syntax == "ubl" else cii
    written = write(invoice, number="SB-2026-0001", issued_on=PERIOD[1])
    assert failed_rules(syntax, written.decode()) == []
    schema(syntax, credit=invoice.type.is_credit).assertValid(written)


@pytest.mark.parametrize(("sessions", "remark"), [(1, "1 charging session"), (2, "2 charging sessions")])
def test_a_line_prints_the_number_of_its_sessions(sessions: int, remark: str) -> None:
    line = InvoiceLine(
        item="item_fee",
        quantity=Decimal(sessions),
        unit=Unit.ONE,
        sessions=sessions,
        net_minor=72,
        category=Category.STANDARD,
        rate=Decimal(19),
    )
    assert line.remark(labels(Language.ENGLISH)) == remark
