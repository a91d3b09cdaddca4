"""What a driver gets for a supply: an invoice, or a receipt where no VAT may be shown; credit notes too.

Owns: which of them it is, its series, its EN 16931 form. Must not know: numbering, the repository, print.

The seller is whoever sold to the driver: the platform as reseller, the CPO where the platform is its
disclosed agent and writes in its name (Directive 2006/112/EC art. 220(1)). A document that shows VAT needs
the seller's VAT id of the state whose VAT it is (art. 226(3)); without it the driver gets proof of payment,
which is no invoice.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final
from uuid import UUID

from clearing.documents.charged_items import NOTHING_KNOWN, ChargedSession, Unit
from clearing.documents.invoice import (
    DocumentType,
    Invoice,
    InvoiceLine,
    PrecedingDocument,
    VatGroup,
    check,
)
from clearing.errors import InvalidDocumentError
from clearing.identifiers import format_id
from clearing.money import vat_on
from clearing.parties.business_details import (
    NO_DETAILS,
    BusinessAddress,
    BusinessDetails,
    InvoiceProfile,
    language_of,
    parse_details,
)
from clearing.parties.party import Party
from clearing.sessions.identities import trader_on
from clearing.tax.vat import Category, VatDecision
from clearing.tax.vat_rates import VatRates

SNAPSHOT_DIGITS: Final = 16
DRIVER_ID: Final = "driver"
SETTLED: Final = "terms_settled"
# (is it an invoice, does it give back) -> the start of the series' name.
_SERIES: Final = {(True, False): "DI", (True, True): "DC", (False, False): "DR", (False, True): "DB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """The seller as registered when the document was issued.

    `vat_id` only if proven on the day of the sale.
    """

    id: str
    name: str
    country: str
    vat_id: str | None
    details: BusinessDetails = NO_DETAILS

    def content(self) -> str:
        """The snapshot as canonical JSON, which is stored once and named by its hash."""
        fields = {
            "id": self.id,
            "name": self.name,
            "country": self.country,
            "vat_id": self.vat_id,
            "details": json.loads(self.details.to_json()),
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def snapshot_id(self) -> str:
        """The first 16 hex digits of the content's SHA-256."""
        return sha256(self.content().encode()).hexdigest()[:SNAPSHOT_DIGITS]


def seller_from(content: str) -> Seller:
    """A seller from its snapshot; one of before has no details."""
    fields = json.loads(content)
    return Seller(
        id=fields["id"],
        name=fields["name"],
        country=fields["country"],
        vat_id=fields["vat_id"],
        details=parse_details(json.dumps(fields.get("details", {}))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A driver who is not registered: named by role, placed where the electricity was charged."""

    country: str
    id: str = DRIVER_ID
    name: str = "Driver"
    details: BusinessDetails = NO_DETAILS


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSupply:
    """A supply to a driver as journaled: signed amounts in minor units, `sale_day` local to the charge point.

    `kind` and `reference` are those of the journal entry; `place` is the charge point's tax jurisdiction.
    """

    shard: int
    session_id: UUID
    kind: str
    reference: str
    supplier_id: str
    net_minor: int
    vat_minor: int
    currency: str
    ruling_id: str
    place: str
    sale_day: date
    energy_kwh: Decimal | None

    @property
    def gives_back(self) -> bool:
        """Whether the driver gets money back."""
        return self.net_minor + self.vat_minor < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDocument:
    """A document as issued. `no_invoice_because` is empty for an invoice or credit note.

    `supply` has its own signs; `preceding` names the document that this one corrects. `charged` is what the
    document shows of the session; of one issued before, nothing.
    """

    supply: DriverSupply
    seller: Seller
    series: str
    number: int
    issued_at: datetime
    issued_on: date
    preceding: str | None
    no_invoice_because: str
    charged: ChargedSession = field(default=NOTHING_KNOWN)

    @property
    def name(self) -> str:
        """The document's number as printed, unique for ever."""
        return document_name(self.series, self.number)

    @property
    def type(self) -> DocumentType:
        """What it is by UNTDID 1001."""
        return DocumentType.CREDIT_NOTE if self.supply.gives_back else DocumentType.INVOICE

    @property
    def is_invoice(self) -> bool:
        """Whether it is a tax document, not only proof of payment."""
        return not self.no_invoice_because


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDocumentRecord:
    """A document that a driver is not issued yet, and what it lacks; instants of the first and last attempt.

    `kind` and `reference` are of its journal entry.
    """

    session_id: UUID
    kind: str
    reference: str
    supplier_id: str
    reason: str
    first_at: datetime
    last_at: datetime


def document_name(series: str, number: int) -> str:
    """`DI-platform-000000001`."""
    return f"{series}-{number:09d}"


def seller_of(party: Party, ruling: VatDecision, *, sale_day: date, rates: VatRates) -> Seller:
    """A party's snapshot for a document about a sale of that day, with its id of the state whose VAT it is.

    Where no VAT is shown it is the id of its place of establishment.
    """
    trader = trader_on(party, sale_day, rates)
    shows = ruling.category is Category.STANDARD
    vat_id = trader.identified_in(ruling.vat_of) if shows else trader.vat_id
    return Seller(id=party.id, name=party.name, country=party.country, vat_id=vat_id, details=party.details)


def why_no_invoice(supply: DriverSupply, ruling: VatDecision, seller: Seller) -> str:
    """Why the supply gets a receipt only; empty where an invoice may be written."""
    if ruling.category is not Category.STANDARD:
        return ""
    if seller.vat_id is None:
        return f"{seller.name} has proven no VAT id of {ruling.vat_of} on {supply.sale_day}"
    if abs(vat_on(abs(supply.net_minor), ruling.rate) - abs(supply.vat_minor)) > 1:
        return f"the VAT within the price is the tariff's own, not {ruling.rate} % of {ruling.vat_of}"
    return ""


def series_of(supplier_id: str, *, invoice: bool, gives_back: bool) -> str:
    """The series of such a document: each seller numbers each kind apart."""
    return f"{_SERIES[invoice, gives_back]}-{supplier_id}"


def invoice_of(document: DriverDocument, ruling: VatDecision, *, country: str) -> Invoice:
    """The document in EN 16931's terms; `country` is where the electricity was charged.

    Raises InvalidDocumentError for a receipt: XML of it would claim to be an invoice.
    """
    if not document.is_invoice:
        raise InvalidDocumentError(f"{document.name} is a receipt, no invoice: {document.no_invoice_because}")
    supply, seller = document.supply, document.seller
    receiver = document.charged.buyer or seller
    due = abs(supply.net_minor + supply.vat_minor)
    group = VatGroup(
        category=ruling.category,
        rate=ruling.rate,
        net_minor=abs(supply.net_minor),
        # As booked: at most one minor unit from the VAT on the net, for the price was split with VAT in it.
        vat_minor=abs(supply.vat_minor),
        rulings=(ruling,),
    )
    invoice = Invoice(
        type=document.type,
        supplier=seller,
        customer=document.charged.buyer or Driver(country=country, details=_placed(country)),
        supplier_vat_id=seller.vat_id,
        customer_vat_id=None if document.charged.buyer is None else document.charged.buyer.vat_id,
        currency=supply.currency,
        period_start=supply.sale_day,
        period_end=supply.sale_day,
        lines=driver_lines(document, ruling),
        groups=[group],
        net_minor=abs(supply.net_minor),
        vat_minor=abs(supply.vat_minor),
        due_minor=due,
        preceding=_preceding(document),
        paid_minor=due,
        terms=SETTLED,
        language=language_of(receiver.details, receiver.country),
        profile=receiver.details.invoice_profile if document.charged.buyer else InvoiceProfile.EN16931,
        charged=document.charged,
        tax=document.charged.tax,
    )
    check(invoice)
    return invoice


def _placed(country: str) -> BusinessDetails:
    return BusinessDetails(address=BusinessAddress(country=country))


def driver_lines(document: DriverDocument, ruling: VatDecision) -> Sequence[InvoiceLine]:
    """The lines that sum to the net: as charged, or one of all where nothing is known of that."""
    supply = document.supply
    session = format_id("ses", supply.session_id)
    if not document.charged.items:
        energy = abs(supply.energy_kwh) if supply.energy_kwh else None
        one = InvoiceLine(
            item="item_to_driver",
            quantity=Decimal(1) if energy is None else energy.normalize(),
            unit=Unit.ONE if energy is None else Unit.KWH,
            session=session,
            net_minor=abs(supply.net_minor),
            category=ruling.category,
            rate=ruling.rate,
        )
        return [one]
    return [
        InvoiceLine(
            item=item.kind.value,
            quantity=item.quantity if item.amount_minor > 0 else -item.quantity,
            unit=item.unit,
            unit_price=item.unit_price,
            session=session,
            net_minor=item.amount_minor,
            category=ruling.category,
            rate=ruling.rate,
        )
        for item in document.charged.items
        if item.amount_minor
    ]


def _preceding(document: DriverDocument) -> tuple[PrecedingDocument, ...]:
    if document.preceding is None:
        return ()
    day = document.charged.corrects_day
    return (
        PrecedingDocument(
            number=document.preceding, issued_on=None if day is None else date.fromisoformat(day)
        ),
    )
