"""Invoices: which document a supply gets, who may issue it, and its totals.

Owns: EN 16931 type codes, categories, VAT breakdown, totals by document, the rules that forbid a document.
Must not know: XML, numbering, the repository.

A document states the VAT that was booked, as the ledger, the API and the page do. EN 16931 computes it on the
document's sums and allows less than one unit of the currency between the two (BR-CO-17, BR-S-09), enough for
sessions that were rounded one by one. Only what lies beyond that is a rounding amount (BT-114).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import IntEnum
from typing import Final, Protocol

from clearing.documents import required_fields
from clearing.documents.charged_items import ChargedSession, TaxInCurrency, Unit
from clearing.documents.tax_currency import vat_in_state_currency
from clearing.errors import ClearingInvariantViolation, InvalidDocumentError
from clearing.fx import RateTable
from clearing.language import Language
from clearing.money import Rounding, exponent, quantize, vat_on
from clearing.parties.business_details import BusinessDetails, InvoiceProfile, language_of
from clearing.parties.party import Party
from clearing.sessions.identities import trader_within
from clearing.tax.vat import VAT_AREAS, Category, SupplyLeg, Trader, VatDecision, vat_area
from clearing.tax.vat_rates import VatRates


class DocumentType(IntEnum):
    """UNTDID 1001."""

    SELF_BILLED_CREDIT = 261
    INVOICE = 380
    CREDIT_NOTE = 381
    SELF_BILLED = 389

    @property
    def is_credit(self) -> bool:
        """Whether it gives money back."""
        return self in (DocumentType.CREDIT_NOTE, DocumentType.SELF_BILLED_CREDIT)

    @property
    def is_self_billed(self) -> bool:
        """Whether the customer has written it."""
        return self in (DocumentType.SELF_BILLED, DocumentType.SELF_BILLED_CREDIT)


PAID_OUT: Final = "terms_paid_out"
MOST_LINES: Final = 1000  # of a document: beyond that nobody checks it line by line
_QUANTITY_DIGITS: Final = 4


class Side(Protocol):
    """Whoever a document names: a registered party, its snapshot, or a driver who is not registered."""

    @property
    def id(self) -> str:
        """What the issuer calls it."""
        ...

    @property
    def name(self) -> str:
        """As the document prints it."""
        ...

    @property
    def country(self) -> str:
        """ISO 3166-1 alpha-2."""
        ...

    @property
    def details(self) -> BusinessDetails:
        """Address, registers, contact."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppliedSum:
    """What was supplied in a period under one ruling.

    Sums over `sessions` sessions, minor units, as journaled. `first_day` is at or before the day of the
    earliest supply, where that lies before the period: a late record, or a correction. `energy_kwh` is what
    was charged, of corrections what is corrected; None where the leg is no supply of electricity. `session`
    names the one that the sum is about, where it has a line of its own.
    """

    leg: SupplyLeg
    ruling: VatDecision
    net_minor: int
    vat_minor: int
    sessions: int
    first_day: date | None = None
    energy_kwh: Decimal | None = None
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecedingDocument:
    """What a credit note corrects (BT-25, BT-26). `issued_on` None: a document of before has no day here."""

    number: str
    issued_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line: a quantity of one item under one ruling.

    `item` is the key of its text. `sessions` are what it sums up; `session` is the one that it is about.
    `unit_price` in major units is shown to people; None: net by quantity. A negative net has a negative
    quantity, as a price is never negative (BR-27).
    """

    item: str
    quantity: Decimal
    unit: Unit
    net_minor: int
    category: Category
    rate: Decimal
    sessions: int = 0
    session: str = ""
    unit_price: Decimal | None = None

    def remark(self, texts: Mapping[str, str]) -> str:
        """What the line says beside its item (BT-127)."""
        if self.session:
            return texts["session_named"].format(session=self.session)
        if self.sessions == 1:
            return texts["sessions_one"]
        return texts["sessions_many"].format(count=self.sessions) if self.sessions else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VatGroup:
    """A row of the VAT breakdown (BG-23) with the rulings that lead to it."""

    category: Category
    rate: Decimal
    net_minor: int
    vat_minor: int
    rulings: Sequence[VatDecision]

    @property
    def exemption_code(self) -> str | None:
        """The VATEX code (BT-121), of the first ruling that has one."""
        return next((one.exemption_code for one in self.rulings if one.exemption_code), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A document ready to be numbered and written. Amounts of a credit note are positive.

    `paid_minor` is what was paid before the document was written (BT-113). `preceding` names what a credit
    note corrects (BT-25). `registered_in` is the VAT area whose id the supplier shows, "" for that of its
    place of establishment. `language` is that of the XML; a page comes in each. `charged` is the session that
    a driver's document is about. `tax` is the VAT in the state's currency, where the document has another.
    """

    type: DocumentType
    supplier: Side
    customer: Side
    supplier_vat_id: str | None
    customer_vat_id: str | None
    currency: str
    period_start: date
    period_end: date
    lines: Sequence[InvoiceLine]
    groups: Sequence[VatGroup]
    net_minor: int
    vat_minor: int
    due_minor: int
    preceding: Sequence[PrecedingDocument] = ()
    registered_in: str = ""
    paid_minor: int = 0
    terms: str = PAID_OUT
    language: Language = Language.ENGLISH
    profile: InvoiceProfile = InvoiceProfile.EN16931
    charged: ChargedSession | None = None
    tax: TaxInCurrency | None = None

    @property
    def gross_minor(self) -> int:
        """Net and VAT of the document (BT-112)."""
        return self.net_minor + self.vat_minor

    @property
    def rounding_minor(self) -> int:
        """What was booked beyond what the document may state (BT-114)."""
        return self.due_minor - self.gross_minor

    @property
    def outside_vat(self) -> bool:
        """Whether it is wholly outside VAT: then no VAT id is shown (BR-O-02 to BR-O-04)."""
        return all(group.category is Category.OUTSIDE for group in self.groups)


def invoices_of(
    sums: Sequence[SuppliedSum],
    *,
    supplier: Party,
    customer: Party,
    currency: str,
    period: tuple[date, date],
    self_billed: bool,
    rates: VatRates,
    fx: RateTable,
    preceding: Sequence[PrecedingDocument] = (),
    session: str = "",
) -> list[Invoice]:
    """The documents of one supplier, customer, currency and period (both days inclusive).

    What lies outside VAT gets a document of its own, as it may not be combined with another category (BR-O-11
    to 14), and so does what is supplied under each of the supplier's VAT registrations. Negative sums become
    credit notes, which name what they correct. VAT ids are those proven when it was supplied. `session` is
    the one that all sums are about. Raises InvalidDocumentError where a document may not be issued.
    """
    if self_billed and (supplier.self_billing_since is None or supplier.self_billing_since > period[0]):
        raise InvalidDocumentError(
            f"{supplier.id!r} has not agreed to self-billing from {period[0]} on; "
            "request an invoice of its own, or record its agreement"
        )
    days = (min([period[0], *(one.first_day for one in sums if one.first_day is not None)]), period[1])
    sides = _Sides(
        supplier=supplier,
        customer=customer,
        seller=trader_within(supplier, days, rates),
        buyer=trader_within(customer, days, rates),
        currency=currency,
        period=period,
        self_billed=self_billed,
        fx=fx,
        session=session,
    )
    found: list[Invoice] = []
    apart = _apart(sums, sides.seller)
    for outside, area, sign in sorted(apart, key=lambda key: (key[0], key[1], -key[2])):
        part = apart[outside, area, sign]
        invoice = _invoice(part, sign, area=area, sides=sides, preceding=preceding if sign < 0 else ())
        check(invoice)
        require_complete(invoice, customer=True)
        found.append(invoice)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    supplier: Party
    customer: Party
    seller: Trader
    buyer: Trader
    currency: str
    period: tuple[date, date]
    self_billed: bool
    fx: RateTable
    session: str

    @property
    def receiver(self) -> Party:
        """Whoever the platform writes to: the supplier, where it bills itself."""
        return self.supplier if self.self_billed else self.customer


def _apart(sums: Sequence[SuppliedSum], seller: Trader) -> dict[tuple[bool, str, int], list[SuppliedSum]]:
    """What may be on one document: by (outside VAT, the supplier's registration, sign as 1 or -1)."""
    parts: dict[tuple[bool, str, int], list[SuppliedSum]] = {}
    for one in sums:
        if one.net_minor:
            outside = one.ruling.category is Category.OUTSIDE
            key = (outside, _register(one.ruling, seller), 1 if one.net_minor > 0 else -1)
            parts.setdefault(key, []).append(one)
    return parts


def _register(ruling: VatDecision, seller: Trader) -> str:
    """The VAT area under whose id a supply is invoiced; "" is that of its place of establishment."""
    if ruling.category is not Category.STANDARD:
        return ""
    area = VAT_AREAS.get(ruling.vat_of, ruling.vat_of)
    return "" if area == vat_area(seller.tax_jurisdiction) else area


def _invoice(
    sums: Sequence[SuppliedSum],
    sign: int,
    *,
    area: str,
    sides: _Sides,
    preceding: Sequence[PrecedingDocument],
) -> Invoice:
    groups = _groups(sums, sign, currency=sides.currency)
    seller, buyer, receiver = sides.seller, sides.buyer, sides.receiver
    return Invoice(
        type=_type(sign, self_billed=sides.self_billed),
        supplier=sides.supplier,
        customer=sides.customer,
        supplier_vat_id=seller.identified_in(area) if area else seller.vat_id,
        customer_vat_id=(buyer.identified_in(area) if area else None) or buyer.vat_id,
        registered_in=area,
        currency=sides.currency,
        period_start=sides.period[0],
        period_end=sides.period[1],
        lines=[_line(one, sign, session=sides.session or one.session) for one in _with_lines(sums)],
        groups=groups,
        net_minor=sum(group.net_minor for group in groups),
        vat_minor=sum(group.vat_minor for group in groups),
        due_minor=sign * sum(one.net_minor + one.vat_minor for one in sums),
        preceding=preceding,
        language=language_of(receiver.details, receiver.country),
        profile=receiver.details.invoice_profile,
        tax=vat_in_state_currency(
            sum(group.vat_minor for group in groups),
            [one.ruling for one in sums],
            currency=sides.currency,
            day=sides.period[1],
            fx=sides.fx,
        ),
    )


def _with_lines(sums: Sequence[SuppliedSum]) -> Sequence[SuppliedSum]:
    """The sums that get a line each; of more sessions than a person reads, one for each leg and ruling."""
    if len(sums) <= MOST_LINES:
        return sums
    merged: dict[tuple[SupplyLeg, VatDecision], SuppliedSum] = {}
    for one in sums:
        known = merged.get((one.leg, one.ruling))
        merged[one.leg, one.ruling] = (
            replace(one, session="")
            if known is None
            else replace(
                known,
                net_minor=known.net_minor + one.net_minor,
                vat_minor=known.vat_minor + one.vat_minor,
                sessions=known.sessions + one.sessions,
                energy_kwh=(known.energy_kwh or Decimal(0)) + (one.energy_kwh or Decimal(0)),
            )
        )
    return list(merged.values())


def _type(sign: int, *, self_billed: bool) -> DocumentType:
    if self_billed:
        return DocumentType.SELF_BILLED if sign > 0 else DocumentType.SELF_BILLED_CREDIT
    return DocumentType.INVOICE if sign > 0 else DocumentType.CREDIT_NOTE


def _line(one: SuppliedSum, sign: int, *, session: str) -> InvoiceLine:
    """Electricity is counted in kWh; whatever is owed by the session, in sessions."""
    energy = quantize(abs(one.energy_kwh or Decimal(0)), digits=_QUANTITY_DIGITS, rounding=Rounding.HALF_AWAY)
    return InvoiceLine(
        item=f"item_{one.leg}",
        quantity=energy.normalize() if energy else Decimal(one.sessions),
        unit=Unit.KWH if energy else Unit.ONE,
        sessions=one.sessions,
        session=session,
        net_minor=sign * one.net_minor,
        category=one.ruling.category,
        rate=one.ruling.rate,
    )


def stated_vat(net_minor: int, booked_minor: int, rate: Decimal, *, currency: str) -> int:
    """The VAT that a document states on a sum: what was booked, as far as EN 16931 takes it.

    BR-CO-17 asks for a difference below one unit of the currency from the VAT on the sum; where the booked
    VAT lies further off, it is the nearest amount within that.
    """
    computed = vat_on(net_minor, rate)
    tolerance: int = 10 ** exponent(currency) - 1
    return min(max(booked_minor, computed - tolerance), computed + tolerance)


def _groups(sums: Sequence[SuppliedSum], sign: int, *, currency: str) -> list[VatGroup]:
    nets: dict[tuple[Category, Decimal], int] = {}
    booked: dict[tuple[Category, Decimal], int] = {}
    rulings: dict[tuple[Category, Decimal], dict[VatDecision, None]] = {}
    for one in sums:
        key = (one.ruling.category, one.ruling.rate)
        nets[key] = nets.get(key, 0) + sign * one.net_minor
        booked[key] = booked.get(key, 0) + sign * one.vat_minor
        rulings.setdefault(key, {})[one.ruling] = None
    return [
        VatGroup(
            category=category,
            rate=rate,
            net_minor=net,
            vat_minor=stated_vat(net, booked[category, rate], rate, currency=currency),
            rulings=tuple(rulings[category, rate]),
        )
        for (category, rate), net in nets.items()
    ]


def check(invoice: Invoice) -> None:
    """Reject a document that would be wrong even where a rule set accepts it.

    Raises InvalidDocumentError: reverse charge without both VAT ids (Directive 2006/112/EC art. 226(4)); VAT
    shown by a supplier with no proven VAT id (art. 203). ClearingInvariantViolation where totals don't add
    up.
    """
    categories = {group.category for group in invoice.groups}
    if Category.REVERSE_CHARGE in categories:
        for party, vat_id in (
            (invoice.supplier, invoice.supplier_vat_id),
            (invoice.customer, invoice.customer_vat_id),
        ):
            if vat_id is None:
                raise InvalidDocumentError(
                    f"reverse charge needs a VAT id of {party.id!r} proven between {invoice.period_start} "
                    f"and {invoice.period_end}"
                )
    if Category.STANDARD in categories and invoice.supplier_vat_id is None:
        where = invoice.registered_in or "its seat"
        raise InvalidDocumentError(
            f"{invoice.supplier.id!r} may show no VAT: no VAT id of {where} proven "
            f"between {invoice.period_start} and {invoice.period_end}"
        )
    if sum(line.net_minor for line in invoice.lines) != invoice.net_minor:
        raise ClearingInvariantViolation(
            f"the lines of {invoice.supplier.id!r}'s document don't sum to its net"
        )
    sessions = sum(line.sessions for line in invoice.lines)
    # A part given back to a driver lies between two roundings of the price: a unit more.
    if abs(invoice.rounding_minor) > sessions + 1:
        raise ClearingInvariantViolation(
            f"{invoice.rounding_minor} minor units of rounding over {sessions} sessions is not rounding"
        )


def require_complete(invoice: Invoice, *, customer: bool) -> None:
    """Refuse a document whose supplier, or `customer` too, lacks what the law or the profile demands.

    Raises InvalidDocumentError that names the party and the fields.
    """
    exempt = any(group.category is Category.EXEMPT for group in invoice.groups)
    supplier = invoice.supplier
    missing = required_fields.missing_of_supplier(
        supplier.details,
        supplier.country,
        profile=invoice.profile,
        exempt_without_vat_id=exempt and invoice.supplier_vat_id is None,
    )
    required_fields.require(supplier.id, missing)
    if customer:
        missing = required_fields.missing_of_customer(invoice.customer.details, profile=invoice.profile)
        required_fields.require(invoice.customer.id, missing)
