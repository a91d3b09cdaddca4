"""Drivers' documents: invoice or receipt, valid by the official rules, and amounts that are the journal's."""

import csv
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.captured_session import shard_of
from clearing.documents.driver_document import (
    DriverDocument,
    DriverSupply,
    invoice_of,
    seller_of,
    series_of,
    why_no_invoice,
)
from clearing.documents.einvoice import cii, ubl
from clearing.documents.invoice import DocumentType
from clearing.documents.printed_page import driver_page
from clearing.errors import InvalidDocumentError
from clearing.money import half_away, net_and_vat, to_major, vat_on
from clearing.parties.party import Party
from clearing.reference_data import bundled_data
from clearing.sessions.identities import trader_on
from clearing.tax.vat import Category, CustomerKind, SupplyLeg, VatDecision, decide
from tests.fakes import clearing_fixtures as world
from tests.fakes.en16931 import failed_rules, schema

RATES = bundled_data.vat_rates()
DAY = date(2026, 10, 13)
NL_SELLER = replace(world.NL_CPO, vat_id="NL004495445B01", vat_evidence=(world.evidence("NL004495445B01"),))
CH_SELLER = replace(
    world.PLATFORM,
    vat_id="CHE107787577MWST",
    vat_registrations=(),
    vat_evidence=(world.evidence("CHE107787577MWST"),),
)


def ruling(party: Party, place: str) -> VatDecision:
    return decide(
        SupplyLeg.TO_DRIVER,
        supplier=trader_on(party, DAY, RATES),
        customer=None,
        customer_kind=CustomerKind.CONSUMER,
        place=RATES.tax_jurisdiction(place),
        day=DAY,
        rates=RATES,
    )


def supply(decision: VatDecision, gross: int = 605, **changes: Any) -> DriverSupply:
    net, vat = net_and_vat(gross, decision.rate) if decision.category is Category.STANDARD else (gross, 0)
    session_id = world.session_id(7)
    fields: dict[str, Any] = {
        "shard": shard_of(session_id),
        "session_id": session_id,
        "kind": "capture",
        "reference": "",
        "supplier_id": "NL-ABC",
        "net_minor": net,
        "vat_minor": vat,
        "currency": "EUR",
        "ruling_id": "r",
        "place": "NL",
        "sale_day": DAY,
        "energy_kwh": Decimal("10.0"),
    }
    return DriverSupply(**{**fields, **changes})


def document(party: Party, one: DriverSupply, decision: VatDecision, **changes: Any) -> DriverDocument:
    seller = seller_of(party, decision, sale_day=DAY, rates=RATES)
    reason = why_no_invoice(one, decision, seller)
    fields: dict[str, Any] = {
        "supply": one,
        "seller": seller,
        "number": 3,
        "preceding": None,
        "no_invoice_because": reason,
        "series": series_of(party.id, invoice=not reason, gives_back=one.gives_back),
        "issued_at": datetime(2026, 10, 13, 13, 0, tzinfo=UTC),
        "issued_on": DAY,
    }
    return DriverDocument(**{**fields, **changes})


def test_vat_is_invoiced_under_the_number_of_the_state_whose_vat_it_is() -> None:
    decision = ruling(CH_SELLER, "NL")
    assert decision.vat_of == "NL"
    reason = why_no_invoice(
        supply(decision), decision, seller_of(CH_SELLER, decision, sale_day=DAY, rates=RATES)
    )
    assert reason == "platform Ltd has proven no VAT id of NL on 2026-10-13"
    seller = seller_of(NL_SELLER, decision, sale_day=DAY, rates=RATES)
    assert not why_no_invoice(supply(decision), decision, seller)


def test_a_seller_registered_locally_shows_its_local_id() -> None:
    seller = world.registered(CH_SELLER, "NL")
    decision = ruling(seller, "NL")
    shown = seller_of(seller, decision, sale_day=DAY, rates=RATES)
    assert shown.vat_id == "NL004495445B01"
    assert not why_no_invoice(supply(decision), decision, shown)
    assert seller_of(seller, ruling(seller, "CH"), sale_day=DAY, rates=RATES).vat_id == "CHE107787577MWST"


def test_one_vat_area_has_one_registration() -> None:
    decision = ruling(CH_SELLER, "LI")
    assert decision.vat_of == "LI"
    assert not why_no_invoice(
        supply(decision), decision, seller_of(CH_SELLER, decision, sale_day=DAY, rates=RATES)
    )


def test_a_vat_id_proven_later_or_lapsed_makes_no_invoice() -> None:
    lapsed = replace(
        NL_SELLER,
        vat_evidence=(*NL_SELLER.vat_evidence, world.evidence("NL004495445B01", since=DAY, valid=False)),
    )
    decision = ruling(NL_SELLER, "NL")
    assert "no VAT id of NL" in why_no_invoice(
        supply(decision), decision, seller_of(lapsed, decision, sale_day=DAY, rates=RATES)
    )


def test_the_tariffs_own_vat_is_not_shown_as_that_of_the_tax_jurisdiction() -> None:
    decision = ruling(NL_SELLER, "NL")
    odd = supply(decision, net_minor=555, vat_minor=50)  # 9 % of the tariff, where 21 % is due
    assert "the tariff's own" in why_no_invoice(
        odd, decision, seller_of(NL_SELLER, decision, sale_day=DAY, rates=RATES)
    )


def test_a_receipt_has_no_xml() -> None:
    decision = ruling(CH_SELLER, "NL")
    receipt = document(CH_SELLER, supply(decision), decision)
    assert receipt.name == "DR-platform-000000003"
    with pytest.raises(InvalidDocumentError, match="is a receipt, no invoice: platform Ltd has proven no"):
        invoice_of(receipt, decision, country="NL")


def test_what_was_paid_is_what_is_invoiced_and_nothing_is_due() -> None:
    # 6.05 at 21 %: 5.00 and 1.05, as in Directive 2006/112/EC art. 226(8) to (10).
    decision = ruling(NL_SELLER, "NL")
    invoice = invoice_of(document(NL_SELLER, supply(decision), decision), decision, country="NL")
    assert (invoice.net_minor, invoice.vat_minor, invoice.paid_minor) == (500, 105, 605)
    assert b'<cbc:PayableAmount currencyID="EUR">0.00</cbc:PayableAmount>' in ubl(
        invoice, number="DI-NL-ABC-000000003", issued_on=DAY
    )


@given(gross=st.integers(1, 10**7))
def test_every_gross_is_invoiced_to_the_unit(gross: int) -> None:
    decision = ruling(NL_SELLER, "NL")
    one = supply(decision, gross)
    if one.net_minor == 0:
        return
    invoice = invoice_of(document(NL_SELLER, one, decision), decision, country="NL")
    assert invoice.gross_minor == invoice.paid_minor == gross
    assert (invoice.vat_minor, invoice.rounding_minor) == (one.vat_minor, 0)


def every_rate() -> list[Decimal]:
    with (files("clearing") / "rates" / "vat.csv").open(encoding="utf-8", newline="") as file:
        return sorted({Decimal(row["rate"]) for row in csv.DictReader(file)} - {Decimal(0)})


@pytest.mark.parametrize("rate", every_rate(), ids=str)
def test_the_vat_within_a_price_is_within_the_tolerance_of_the_rules_for_every_price(rate: Decimal) -> None:
    """BR-CO-17 and BR-S-09 ask for less than one unit of the currency; the split is at most one cent off."""
    apart: dict[int, int] = {}
    for gross in range(1, 20_001):
        net, vat = net_and_vat(gross, rate)
        assert net + vat == gross
        off = vat - vat_on(net, rate)
        assert abs(off) <= 1, gross
        apart.setdefault(off, gross)
    decision = replace(ruling(NL_SELLER, "NL"), rate=rate)
    for gross in apart.values():
        one = document(NL_SELLER, supply(decision, gross), decision, no_invoice_because="")
        if one.supply.net_minor == 0:
            continue
        invoice = invoice_of(one, decision, country="NL")
        page = driver_page(one, decision)
        stated = f"{to_major(one.supply.vat_minor, 'EUR'):f}"
        assert page.sums[1][1] == f"{stated} EUR"
        for syntax, write in (("ubl", ubl), ("cii", cii)):
            written = write(invoice, number=one.name, issued_on=one.issued_on).decode()
            assert f">{stated}<" in written
            assert failed_rules(syntax, written) == []


def cases() -> dict[str, tuple[DriverDocument, VatDecision]]:
    standard = ruling(NL_SELLER, "NL")
    small = replace(NL_SELLER, small_business=True)
    exempt, outside = ruling(small, "NL"), ruling(NL_SELLER, "SJ")
    back = supply(standard, net_minor=-250, vat_minor=-53, kind="refund", reference="re_1")
    return {
        "standard": (document(NL_SELLER, supply(standard), standard), standard),
        "one cent apart": (document(NL_SELLER, supply(standard, 3), standard), standard),
        "exempt": (document(small, supply(exempt), exempt), exempt),
        "outside": (document(NL_SELLER, supply(outside, place="SJ"), outside), outside),
        "credit note": (
            document(NL_SELLER, back, standard, preceding="DI-NL-ABC-000000003"),
            standard,
        ),
    }


@pytest.mark.parametrize("name", list(cases()))
@pytest.mark.parametrize("syntax", ["ubl", "cii"])
def test_the_official_rules_and_schemas_find_nothing(name: str, syntax: str) -> None:
    one, decision = cases()[name]
    invoice = invoice_of(one, decision, country="NL")
    written = (ubl if syntax == "ubl" else cii)(invoice, number=one.name, issued_on=one.issued_on)
    assert failed_rules(syntax, written.decode()) == []
    credit = invoice.type is DocumentType.CREDIT_NOTE
    assert credit == (name == "credit note")
    schema(syntax, credit=credit).assertValid(written)


@given(
    gross=st.integers(1, 20_000),
    steps=st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)),
    rate=st.sampled_from([Decimal(text) for text in ("2.6", "6", "8.1", "9", "21", "25.5", "27")]),
)
def test_any_refunded_part_has_a_valid_credit_note(gross: int, steps: tuple[int, int], rate: Decimal) -> None:
    before, after = sorted(step % (gross + 1) for step in steps)
    decision = replace(ruling(NL_SELLER, "NL"), rate=rate)
    _, vat = net_and_vat(gross, rate)
    earlier, later = (half_away(vat * minor, gross) for minor in (before, after))
    back = supply(decision, net_minor=before - earlier - after + later, vat_minor=earlier - later)
    if after == before:
        return
    written = document(NL_SELLER, back, decision, preceding="DI-NL-ABC-000000001", no_invoice_because="")
    invoice = invoice_of(written, decision, country="NL")
    assert invoice.due_minor == after - before
    assert invoice.gross_minor == invoice.due_minor
    assert invoice.vat_minor == abs(back.vat_minor)
