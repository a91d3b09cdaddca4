"""Every branch of the VAT table as a document of every kind, by the official rules of all profiles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from clearing.documents.charged_items import (
    ChargedItem,
    ChargedSession,
    DocumentBuyer,
    ItemKind,
    Unit,
)
from clearing.documents.driver_document import invoice_of
from clearing.documents.einvoice import cii, ubl
from clearing.documents.invoice import (
    DocumentType,
    Invoice,
    PrecedingDocument,
    SuppliedSum,
    invoices_of,
)
from clearing.documents.printed_page import invoice_page
from clearing.errors import InvalidDocumentError
from clearing.fx import RateTable
from clearing.language import Language
from clearing.money import vat_on
from clearing.parties.business_details import (
    BusinessAddress,
    BusinessContact,
    BusinessDetails,
    ElectronicAddress,
    InvoiceProfile,
)
from clearing.parties.party import Party, PartyKind
from clearing.reference_data import bundled_data
from clearing.sessions.identities import trader_on
from clearing.tax import vat
from clearing.tax.vat import CustomerKind, SupplyLeg, decide
from tests.fakes import clearing_fixtures as world
from tests.fakes.en16931 import failed_profile_rules, failed_rules, profile_rules_dir, schema
from tests.unit.clearing import test_driver_document as drivers

RATES = bundled_data.vat_rates()
FX = RateTable(bundled_data.ecb_reference_rates())
PERIOD = (date(2026, 10, 1), date(2026, 10, 31))
# A number of the register of companies by country, in the form that its scheme asks for.
REGISTERS = {"FR": "552100554", "NL": "12345678", "NO": "995525828"}


def details(country: str, profile: InvoiceProfile = InvoiceProfile.EN16931) -> BusinessDetails:
    return BusinessDetails(
        address=BusinessAddress(street="Street 1", post_code="10115", town="Town", country=country),
        tax_number="00100000017",
        register_number=REGISTERS.get(country),
        contact=BusinessContact(name="Billing", telephone="+49 30 123456", email="billing@example.com"),
        electronic_address=ElectronicAddress(scheme="9930", value="DE136695976"),
        buyer_reference="PO-1",
        invoice_profile=profile,
    )


def party(country: str, kind: PartyKind = PartyKind.CPO, **changes: object) -> Party:
    vat_id = changes.pop("vat_id", world.VAT_IDS[country])
    made = world.party(f"{country}-X", kind, country, "EUR", vat_id=vat_id, self_billing_since=PERIOD[0])
    return replace(made, details=details(country), **changes)


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A row of the VAT table: who supplies what to whom, where, and in which currency."""

    leg: SupplyLeg
    supplier: Party
    customer: Party
    place: str
    currency: str = "EUR"
    kind: CustomerKind = CustomerKind.BUSINESS


def branch(leg: SupplyLeg, supplier: Party, customer: Party, place: str = "", **changes: object) -> Branch:
    fields = {"leg": leg, "supplier": supplier, "customer": customer, "place": place or supplier.country}
    return Branch(**{**fields, **changes})  # type: ignore[arg-type] # a test's own table


HOST, DEALER, BUYER = PartyKind.SITE_HOST, PartyKind.EMSP, PartyKind.DEMAND_PARTNER
UNPROVEN = {"vat_id": None, "vat_evidence": ()}
PLATFORM = replace(world.PLATFORM, details=details("CH"), self_billing_since=PERIOD[0])
BRANCHES = {
    "dealer/union": branch(SupplyLeg.TO_DEALER, party("NL"), party("DE", DEALER, taxable_dealer=True)),
    "dealer/domestic": branch(SupplyLeg.TO_DEALER, party("NL"), party("NL", DEALER, taxable_dealer=True)),
    "dealer/domestic, Swiss": branch(SupplyLeg.TO_DEALER, party("CH"), PLATFORM, currency="CHF"),
    "dealer/domestic, Swiss in euro": branch(SupplyLeg.TO_DEALER, party("CH"), PLATFORM),
    "dealer/domestic_reverse_charge": branch(
        SupplyLeg.TO_DEALER, party("FR"), party("FR", DEALER, taxable_dealer=True)
    ),
    "dealer/domestic_reverse_charge, DE": branch(
        SupplyLeg.TO_DEALER, party("DE", taxable_dealer=True), party("DE", DEALER, taxable_dealer=True)
    ),
    "dealer/unproven": branch(SupplyLeg.TO_DEALER, party("NL"), party("DE", DEALER)),
    "dealer/ch_to_abroad": branch(SupplyLeg.TO_DEALER, party("CH"), party("DE", DEALER, taxable_dealer=True)),
    "dealer/seat": branch(SupplyLeg.TO_DEALER, party("NL"), PLATFORM),
    "dealer/domestic/small_business": branch(
        SupplyLeg.TO_DEALER, party("NL", small_business=True), party("NL", DEALER, taxable_dealer=True)
    ),
    "dealer/domestic/unregistered": branch(
        SupplyLeg.TO_DEALER, party("NL", **UNPROVEN), party("NL", DEALER, taxable_dealer=True)
    ),
    "service/domestic": branch(SupplyLeg.COMMISSION, party("DE", BUYER), party("DE")),
    "service/union": branch(SupplyLeg.COMMISSION, party("DE", BUYER), party("NL")),
    "service/unidentified": branch(SupplyLeg.COMMISSION, party("DE", BUYER), party("NL", **UNPROVEN)),
    "service/to_ch": branch(SupplyLeg.COMMISSION, party("DE", BUYER), PLATFORM),
    "service/to_uk": branch(SupplyLeg.FEE, PLATFORM, party("GB"), place="GB", currency="GBP"),
    "service/domestic, UK": branch(SupplyLeg.COMMISSION, party("GB", BUYER), party("GB"), currency="GBP"),
    "service/domestic, UK in euro": branch(SupplyLeg.COMMISSION, party("GB", BUYER), party("GB")),
    "site/local": branch(SupplyLeg.SITE, party("NL", HOST), PLATFORM),
    "site/no_vat_tax_jurisdiction": branch(SupplyLeg.SITE, party("NO", HOST), PLATFORM, place="SJ"),
    **{
        f"site/local/small_business, {country}": branch(
            SupplyLeg.SITE, party(country, HOST, small_business=True, **UNPROVEN), PLATFORM
        )
        for country in ("AT", "DE", "ES", "FR", "IT", "NL")
    },
    "driver/consumer": branch(
        SupplyLeg.TO_DRIVER, party("NL"), party("DE", BUYER), kind=CustomerKind.CONSUMER
    ),
    "driver/consumer/no_vat": branch(
        SupplyLeg.TO_DRIVER, party("NO"), party("DE", BUYER), place="SJ", kind=CustomerKind.CONSUMER
    ),
    "driver/business": branch(SupplyLeg.TO_DRIVER, party("NL"), party("NL", BUYER)),
    "driver/business, Swiss": branch(SupplyLeg.TO_DRIVER, party("NL"), party("CH", BUYER)),
    "driver/identified_business": branch(SupplyLeg.TO_DRIVER, PLATFORM, party("NL", BUYER), place="NL"),
    "driver/ch_business": branch(
        SupplyLeg.TO_DRIVER, party("CH"), replace(party("CH", BUYER), id="CH-Y"), currency="CHF"
    ),
    "driver/ch_foreign_business": branch(
        SupplyLeg.TO_DRIVER, party("CH"), party("DE", BUYER), currency="CHF"
    ),
    "driver/small_business": branch(
        SupplyLeg.TO_DRIVER, party("DE", small_business=True, **UNPROVEN), party("DE", BUYER)
    ),
}
# What Peppol BIS Billing says of its own process, customization and type codes. Self-billing is another
# process (P12), whose rules are not published beside these; every other rule of billing is asked of it too.
OF_BILLING_ALONE = (
    "PEPPOL-EN16931-R004",
    "PEPPOL-EN16931-R007",
    "PEPPOL-EN16931-P0100",
    "PEPPOL-EN16931-P0101",
)
KINDS = ("invoice", "credit note", "self-billed", "self-billed credit note")


def supplied(one: Branch, net_minor: int) -> SuppliedSum:
    ruling = decide(
        one.leg,
        supplier=trader_on(one.supplier, PERIOD[1], RATES),
        customer=trader_on(one.customer, PERIOD[1], RATES),
        customer_kind=one.kind,
        place=RATES.tax_jurisdiction(one.place),
        day=PERIOD[1],
        rates=RATES,
    )
    sold = one.leg in (SupplyLeg.TO_DEALER, SupplyLeg.TO_DRIVER)
    return SuppliedSum(
        leg=one.leg,
        ruling=ruling,
        net_minor=net_minor,
        vat_minor=vat_on(net_minor, ruling.rate),
        sessions=3,
        energy_kwh=Decimal("50.2207") if sold else None,
    )


def issue(one: Branch, kind: str, profile: InvoiceProfile = InvoiceProfile.EN16931) -> Invoice:
    credit, self_billed = "credit" in kind, "self" in kind
    receiver = replace(
        one.supplier if self_billed else one.customer,
        details=details((one.supplier if self_billed else one.customer).country, profile),
    )
    (invoice,) = invoices_of(
        [supplied(one, -2511 if credit else 2511)],
        supplier=receiver if self_billed else one.supplier,
        customer=one.customer if self_billed else receiver,
        currency=one.currency,
        period=PERIOD,
        self_billed=self_billed,
        rates=RATES,
        fx=FX,
        preceding=[PrecedingDocument(number="IN-1", issued_on=PERIOD[0])],
    )
    return invoice


def test_every_rule_of_the_table_is_here() -> None:
    source = Path(vat.__file__).read_text(encoding="utf-8")
    known = set(re.findall(r'"((?:driver|dealer|service|site)/[a-z_]+)"', source))
    tried = {supplied(one, 1).ruling.rule for one in BRANCHES.values()}
    assert {rule for rule in known if not any(one.startswith(rule) for one in tried)} == set()
    for suffix in ("/small_business", "/unregistered", "/no_vat_tax_jurisdiction"):
        assert any(rule.endswith(suffix) for rule in tried), suffix
    for start in ("dealer/seat_", "service/to_"):
        assert any(rule.startswith(start) for rule in tried), start


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(BRANCHES))
def test_the_official_rules_and_schemas_find_nothing(name: str, kind: str) -> None:
    invoice = issue(BRANCHES[name], kind)
    for syntax, write in (("ubl", ubl), ("cii", cii)):
        written = write(invoice, number="SB-1", issued_on=PERIOD[1])
        assert failed_rules(syntax, written.decode()) == []
        schema(syntax, credit=invoice.type.is_credit).assertValid(written)


@pytest.mark.skipif(
    profile_rules_dir() is None,
    reason="EINVOICE_RULES_DIR is not set: no rules of XRechnung and Peppol at hand (CONTRIBUTING.md)",
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(BRANCHES))
@pytest.mark.parametrize("profile", [InvoiceProfile.XRECHNUNG, InvoiceProfile.PEPPOL])
def test_the_receivers_profile_finds_nothing(name: str, kind: str, profile: InvoiceProfile) -> None:
    invoice = issue(BRANCHES[name], kind, profile)
    for syntax, write in (("ubl", ubl), ("cii", cii)):
        text = write(invoice, number="SB-1", issued_on=PERIOD[1]).decode()
        failed = failed_profile_rules(profile.value, syntax, text)
        if profile is InvoiceProfile.PEPPOL and invoice.type.is_self_billed:
            failed = [one for one in failed if not one.startswith(OF_BILLING_ALONE)]
        assert failed == []
    assert failed_rules("ubl", ubl(invoice, number="SB-1", issued_on=PERIOD[1]).decode()) == []


def test_vat_in_another_currency_than_the_states_is_stated_in_both() -> None:
    # Directive 2006/112/EC art. 230, MWSTV art. 45: 25.11 EUR of Swiss electricity bear 2.03 EUR.
    invoice = issue(BRANCHES["dealer/domestic, Swiss in euro"], "self-billed")
    assert invoice.tax is not None
    assert (invoice.tax.currency, invoice.vat_minor) == ("CHF", 203)
    assert invoice.tax.vat_minor == round(203 * invoice.tax.rate)
    text = ubl(invoice, number="SB-1", issued_on=PERIOD[1]).decode()
    assert "<cbc:TaxCurrencyCode>CHF</cbc:TaxCurrencyCode>" in text
    assert text.count("<cac:TaxTotal>") == 2
    page = invoice_page(invoice, number="SB-1", issued_on=PERIOD[1])
    assert any(note.startswith("VAT in CHF: ") and "(ECB" in note for note in page.notes)
    assert issue(BRANCHES["dealer/domestic, Swiss"], "self-billed").tax is None


def test_without_a_rate_no_document_is_issued() -> None:
    one = BRANCHES["dealer/domestic, Swiss in euro"]
    with pytest.raises(InvalidDocumentError, match="its VAT must be stated in CHF too"):
        invoices_of(
            [supplied(one, 2511)],
            supplier=one.supplier,
            customer=one.customer,
            currency="EUR",
            period=PERIOD,
            self_billed=True,
            rates=RATES,
            fx=RateTable(()),
        )


@pytest.mark.parametrize(
    ("country", "mention"),
    [
        ("AT", "Gutschrift"),
        ("CH", "Gutschrift"),
        ("DE", "Gutschrift"),
        ("FR", "Autofacturation"),
        ("GB", "Self-billing. The VAT shown is your output tax due to HMRC"),
        ("GR", "Self-billing"),
        ("IT", "Autofatturazione"),
        ("NL", "Factuur uitgereikt door afnemer"),
    ],
)
def test_self_billing_is_mentioned_in_the_words_of_the_suppliers_state(country: str, mention: str) -> None:
    supplier = party(country, HOST)
    invoice = issue(branch(SupplyLeg.SITE, supplier, PLATFORM, currency=currency_of(country)), "self-billed")
    for language in Language:
        page = invoice_page(invoice, number="SB-1", issued_on=PERIOD[1], language=language)
        assert page.notes[0] == mention
    assert f"<cbc:Note>{mention}." in ubl(invoice, number="SB-1", issued_on=PERIOD[1]).decode()


def currency_of(country: str) -> str:
    return {"CH": "CHF", "GB": "GBP"}.get(country, "EUR")


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("name", list(BRANCHES))
def test_a_page_is_wholly_in_its_language(name: str, language: Language) -> None:
    """No text of a page is that of another language, the state's own phrases left out."""
    invoice = issue(BRANCHES[name], "invoice")
    shown = texts_of(invoice, language)
    for other in Language:
        if other is not language:
            same = shown & texts_of(invoice, other)
            assert not [text for text in same if len(text.split()) > 3 and text not in STATE_PHRASES], same


STATE_PHRASES = {
    "Umsatzsteuerfrei: Kleinunternehmer (§ 6 Abs. 1 Z 27 UStG)",
    "Steuerfreier Kleinunternehmer (§ 19 UStG)",
    "TVA non applicable, article 293 B du CGI",
    "Operazione in franchigia da IVA, art. 1, commi da 54 a 89, L. 190/2014",
    "Vrijgesteld van OB op grond van artikel 25 Wet op de omzetbelasting 1968",
}


def texts_of(invoice: Invoice, language: Language) -> set[str]:
    page = invoice_page(invoice, number="SB-1", issued_on=PERIOD[1], language=language)
    return {page.title, *page.notes, *(line[0] for line in page.lines), *(line[1] for line in page.lines)}


@pytest.mark.parametrize(
    ("changes", "profile", "missing"),
    [
        ({"address": None}, InvoiceProfile.EN16931, "address"),
        (
            {"address": BusinessAddress(street=" ", post_code="", town="", country="DE")},
            InvoiceProfile.EN16931,
            "address.street, address.town, address.post_code",
        ),
        ({"contact": None}, InvoiceProfile.XRECHNUNG, "contact"),
        ({"electronic_address": None}, InvoiceProfile.PEPPOL, "electronic_address"),
    ],
)
def test_a_supplier_without_what_is_asked_for_gets_no_document(
    changes: dict[str, object], profile: InvoiceProfile, missing: str
) -> None:
    bare = replace(details("DE", profile), **changes)  # type: ignore[arg-type] # fields by name
    host = replace(party("DE", HOST), details=bare)
    one = branch(SupplyLeg.SITE, host, PLATFORM)
    with pytest.raises(InvalidDocumentError, match=f"'DE-X' lacks {missing};"):
        invoices_of(
            [supplied(one, 100)],
            supplier=host,
            customer=PLATFORM,
            currency="EUR",
            period=PERIOD,
            self_billed=True,
            rates=RATES,
            fx=FX,
        )


@pytest.mark.parametrize(
    ("country", "field"), [("FR", "register_number"), ("DE", "tax_number"), ("NL", "tax_number")]
)
def test_a_small_business_or_a_states_register_asks_for_more(country: str, field: str) -> None:
    bare = replace(details(country), **{field: None})
    host = replace(party(country, HOST, small_business=True, **UNPROVEN), details=bare)
    with pytest.raises(InvalidDocumentError, match=f"lacks {field}"):
        invoices_of(
            [supplied(branch(SupplyLeg.SITE, host, PLATFORM), 100)],
            supplier=host,
            customer=PLATFORM,
            currency="EUR",
            period=PERIOD,
            self_billed=True,
            rates=RATES,
            fx=FX,
        )


def test_a_receiver_with_a_profile_is_asked_for_its_reference() -> None:
    fleet = replace(
        party("DE"), details=replace(details("DE", InvoiceProfile.XRECHNUNG), buyer_reference=None)
    )
    one = branch(SupplyLeg.FEE, PLATFORM, fleet, place="DE")
    with pytest.raises(InvalidDocumentError, match="'DE-X' lacks buyer_reference"):
        invoices_of(
            [supplied(one, 100)],
            supplier=PLATFORM,
            customer=fleet,
            currency="EUR",
            period=PERIOD,
            self_billed=False,
            rates=RATES,
            fx=FX,
        )


def kinds() -> Sequence[tuple[str, InvoiceProfile, int]]:
    return [
        ("self-billed", InvoiceProfile.EN16931, 389),
        ("self-billed credit note", InvoiceProfile.EN16931, 261),
        ("self-billed credit note", InvoiceProfile.XRECHNUNG, 381),
        ("credit note", InvoiceProfile.PEPPOL, 381),
        ("invoice", InvoiceProfile.PEPPOL, 380),
    ]


@pytest.mark.parametrize(("kind", "profile", "code"), kinds())
def test_the_type_code_is_the_profiles(kind: str, profile: InvoiceProfile, code: int) -> None:
    invoice = issue(BRANCHES["dealer/domestic"], kind, profile)
    name = "CreditNoteTypeCode" if invoice.type.is_credit else "InvoiceTypeCode"
    text = ubl(invoice, number="SB-1", issued_on=PERIOD[1]).decode()
    assert f"<cbc:{name}>{code}</cbc:{name}>" in text
    assert invoice.type.is_credit == (DocumentType(code).is_credit)


def sold_session(profile: InvoiceProfile, *, post_code: str, credit: bool) -> Invoice:
    """A driver's document in the name of a German fleet: energy, time, a fee and a reduction."""
    ruling = supplied(BRANCHES["driver/business"], 1).ruling
    fleet = DocumentBuyer(
        id="buy_1", name="Fleet GmbH", country="DE", vat_id=None, details=details("DE", profile)
    )
    items = [
        (ItemKind.ENERGY, "8.1234", Unit.KWH, 406),
        (ItemKind.PARKING_TIME, "12.3333", Unit.MINUTE, 50),
        (ItemKind.SESSION_FEE, "1", Unit.ONE, 50),
        (ItemKind.MAXIMUM_PRICE, "1", Unit.ONE, -6),
    ]
    charged = ChargedSession(
        started_at=datetime(2026, 10, 13, 12, 0, tzinfo=UTC),
        ended_at=datetime(2026, 10, 13, 13, 5, 7, tzinfo=UTC),
        evse_id="NL*ABC*E1",
        address=BusinessAddress(street="Kade 1", post_code=post_code, town="Utrecht", country="NL"),
        operator="Polderlaad B.V.",
        items=tuple(
            ChargedItem(kind=kind, quantity=Decimal(count), unit=unit, unit_price=None, amount_minor=minor)
            for kind, count, unit, minor in items
        ),
        corrects_day="2026-10-02" if credit else None,
        buyer=fleet,
    )
    sign = -1 if credit else 1
    one = drivers.supply(ruling, net_minor=sign * 500, vat_minor=sign * 105)
    seller = replace(party("NL"), id="NL-ABC")
    written = drivers.document(
        seller, one, ruling, charged=charged, preceding="DI-1" if credit else None, no_invoice_because=""
    )
    return invoice_of(written, ruling, country="NL")


@pytest.mark.parametrize("credit", [False, True])
@pytest.mark.parametrize("post_code", ["", "3511 AB"])
@pytest.mark.parametrize("profile", list(InvoiceProfile))
def test_a_session_sold_to_a_business_passes_the_rules_of_its_profile(
    profile: InvoiceProfile, post_code: str, *, credit: bool
) -> None:
    invoice = sold_session(profile, post_code=post_code, credit=credit)
    text = ubl(invoice, number="DI-2", issued_on=PERIOD[1]).decode()
    assert failed_rules("ubl", text) == []
    assert "Polderlaad B.V." in text
    plain = replace(invoice, profile=InvoiceProfile.EN16931)
    assert failed_rules("cii", cii(plain, number="DI-2", issued_on=PERIOD[1]).decode()) == []
    for line in invoice.lines:
        assert line.net_minor * line.quantity > 0
    if profile is not InvoiceProfile.EN16931 and profile_rules_dir() is not None:
        assert failed_profile_rules(profile.value, "ubl", text) == []
