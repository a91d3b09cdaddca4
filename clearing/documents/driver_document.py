"""What a driver gets for a supply: an invoice, or a receipt where no VAT may be shown; credit notes too.

Owns: which of them it is, its series, its EN 16931 form. Must not know: numbering, the repository, print.

The seller is whoever sold to the driver: the platform as reseller, the CPO where the platform is its
disclosed agent and writes in its name (Directive 2006/112/EC art. 220(1)). A document that shows VAT needs
the seller's VAT id of the state whose VAT it is (art. 226(3)); without it the driver gets proof of payment,
which is no invoice.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final
from uuid import UUID

from clearing.documents.invoice import DESCRIPTIONS, DocumentType, Invoice, InvoiceLine, VatGroup, check
from clearing.errors import InvalidDocumentError
from clearing.identifiers import format_id
from clearing.money import vat_on
from clearing.parties.party import Party
from clearing.sessions.identities import trader_on
from clearing.tax.vat import Category, SupplyLeg, VatDecision
from clearing.tax.vat_rates import VatRates

SNAPSHOT_DIGITS: Final = 16
DRIVER_ID: Final = "driver"
SETTLED: Final = "Settled by the payment of the charging session."
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

    def content(self) -> str:
        """The snapshot as canonical JSON, which is stored once and named by its hash."""
        fields = {"id": self.id, "name": self.name, "country": self.country, "vat_id": self.vat_id}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def snapshot_id(self) -> str:
        """The first 16 hex digits of the content's SHA-256."""
        return sha256(self.content().encode()).hexdigest()[:SNAPSHOT_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A driver who is not registered: named by role, placed where the electricity was charged."""

    country: str
    id: str = DRIVER_ID
    name: str = "Driver"


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

    `supply` has its own signs; `preceding` names the document that this one corrects.
    """

    supply: DriverSupply
    seller: Seller
    series: str
    number: int
    issued_at: datetime
    issued_on: date
    preceding: str | None
    no_invoice_because: str

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
    return Seller(id=party.id, name=party.name, country=party.country, vat_id=vat_id)


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
    supply = document.supply
    net, due = abs(supply.net_minor), abs(supply.net_minor + supply.vat_minor)
    energy = "" if supply.energy_kwh is None else f"{supply.energy_kwh.normalize():f} kWh, "
    line = InvoiceLine(
        description=DESCRIPTIONS[SupplyLeg.TO_DRIVER],
        sessions=1,
        net_minor=net,
        category=ruling.category,
        rate=ruling.rate,
        note=f"{energy}session {format_id('ses', supply.session_id)}",
    )
    group = VatGroup(
        category=ruling.category,
        rate=ruling.rate,
        net_minor=net,
        # As booked: at most one minor unit from the VAT on the net, for the price was split with VAT in it.
        vat_minor=abs(supply.vat_minor),
        reason=ruling.reason,
        exemption_code=ruling.exemption_code,
    )
    invoice = Invoice(
        type=document.type,
        supplier=document.seller,
        customer=Driver(country=country),
        supplier_vat_id=document.seller.vat_id,
        customer_vat_id=None,
        currency=supply.currency,
        period_start=supply.sale_day,
        period_end=supply.sale_day,
        lines=[line],
        groups=[group],
        net_minor=net,
        vat_minor=abs(supply.vat_minor),
        due_minor=due,
        preceding=() if document.preceding is None else (document.preceding,),
        paid_minor=due,
        terms=SETTLED,
    )
    check(invoice)
    return invoice
