"""SAF-T, the OECD's Standard Audit File for Tax, schema version 2.0: accounts and general ledger entries.

Owns: the elements, their order and lengths. Must not know: the database, which period is exported. Source:
OECD, Guidance for the Standard Audit File - Tax, version 2.0 (2010); its schema as national versions keep it.
A national file (Norway, Portugal, Romania, ...) has elements and code lists of its own; this is the common
part.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Final
from xml.sax.saxutils import escape

from clearing.books.chart import AccountSide
from clearing.books.journal import written
from clearing.parties.business_details import BusinessAddress, BusinessContact

NAMESPACE: Final = "urn:OECD:StandardAuditFile-Taxation/2.00"
_SHORT, _MIDDLE1, _MIDDLE2, _LONG = 18, 35, 70, 256
_NOT_USED: Final = "NotUsed"  # the schema's word where a contact must have a name
_TYPES: Final = {
    AccountSide.ASSET: "Asset",
    AccountSide.LIABILITY: "Liability",
    AccountSide.EQUITY: "Liability",
    AccountSide.REVENUE: "Sale",
    AccountSide.EXPENSE: "Expense",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SaftHeader:
    """Whose books, of which days, in which currency, written by which version of the software."""

    company: str
    registration: str
    address: BusinessAddress
    contact: BusinessContact | None
    vat_id: str | None
    currency: str
    first: date
    last: date
    created_on: date
    software_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaftAccount:
    """One account of the chart: balances are debits minus credits, in the file's currency."""

    number: str
    name: str
    side: AccountSide
    opening_minor: int
    closing_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SaftParty:
    """A party with accounts of its own, and what it is owed over all of them: debits minus credits."""

    id: str
    name: str
    registration: str | None
    address: BusinessAddress
    vat_id: str | None
    opening_minor: int
    closing_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SaftTotals:
    """How many transactions and how much debit the entries have; credit is the same."""

    transactions: int
    debit_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SaftLine:
    """One side of a transfer: `amount_minor` in the file's currency, `currency_minor` as it was booked."""

    record_id: str
    account: str
    debit: bool
    amount_minor: int
    currency: str
    currency_minor: int
    rate: str
    text: str
    counterparty: str
    party: str = ""  # whose account it is


@dataclass(frozen=True, slots=True, kw_only=True)
class SaftTransaction:
    """One journal entry with its lines."""

    id: str
    day: date
    batch: str
    text: str
    lines: Iterable[SaftLine]


def opening(
    header: SaftHeader, accounts: Iterable[SaftAccount], parties: Sequence[SaftParty], totals: SaftTotals
) -> Iterator[str]:
    """The file up to its first transaction."""
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<AuditFile xmlns="{NAMESPACE}">\n'
    yield "".join(
        (
            "<Header>",
            _element("AuditFileVersion", "2.00", 9),
            _element("AuditFileCountry", header.address.country, 2),
            _element("AuditFileDateCreated", header.created_on.isoformat(), 10),
            _element("SoftwareCompanyName", "networkcore", _MIDDLE2),
            _element("SoftwareID", "networkcore", _LONG),
            _element("SoftwareVersion", header.software_version, _SHORT),
            "<Company>",
            _element("RegistrationNumber", header.registration, _MIDDLE1),
            _element("Name", header.company, _MIDDLE2),
            _address(header.address),
            _contact(header.contact),
            _registration(header.vat_id),
            "</Company>",
            _element("DefaultCurrencyCode", header.currency, 3),
            "<SelectionCriteria>",
            _element("SelectionStartDate", header.first.isoformat(), 10),
            _element("SelectionEndDate", header.last.isoformat(), 10),
            "</SelectionCriteria>",
            _element("TaxAccountingBasis", "Invoice", 9),
            "</Header>\n<MasterFiles><GeneralLedgerAccounts>\n",
        )
    )
    for account in accounts:
        yield _account(account, header.currency)
    yield "</GeneralLedgerAccounts>"
    if parties:
        yield "<Suppliers>\n"
        for party in parties:
            yield _party(party, header.currency)
        yield "</Suppliers>"
    yield "</MasterFiles>\n<GeneralLedgerEntries>"
    yield _element("NumberOfEntries", str(totals.transactions), 18)
    yield _element("TotalDebit", written(totals.debit_minor, header.currency), 20)
    yield _element("TotalCredit", written(totals.debit_minor, header.currency), 20)
    yield "<Journal><JournalID>GL</JournalID><Description>General ledger</Description><Type>GL</Type>\n"


def transaction(found: SaftTransaction, header: SaftHeader) -> str:
    """One transaction, on a line of its own."""
    day = found.day.isoformat()
    return "".join(
        (
            "<Transaction>",
            _element("TransactionID", _identifier(found.id), _MIDDLE2),
            _element("Period", str(found.day.month), 2),
            _element("PeriodYear", str(found.day.year), 4),
            _element("TransactionDate", day, 10),
            _element("Description", found.text, _LONG),
            _element("BatchID", found.batch, _MIDDLE1),
            _element("SystemEntryDate", day, 10),
            _element("GLPostingDate", day, 10),
            *(_line(line, header.currency) for line in found.lines),
            "</Transaction>\n",
        )
    )


def closing() -> str:
    """The end of the file."""
    return "</Journal></GeneralLedgerEntries>\n</AuditFile>\n"


def _line(line: SaftLine, currency: str) -> str:
    side = "DebitAmount" if line.debit else "CreditAmount"
    rate = _element("ExchangeRate", line.rate, 18) if line.currency != currency else ""
    return "".join(
        (
            "<Line>",
            _element("RecordID", line.record_id, _SHORT),
            _element("AccountID", line.account, _MIDDLE1),
            _element("SupplierID", _party_id(line.party), _MIDDLE1) if line.party else "",
            _element("Description", line.text, _LONG),
            f"<{side}>",
            _element("Amount", written(line.amount_minor, currency), 20),
            _element("CurrencyCode", line.currency, 3),
            _element("CurrencyAmount", written(line.currency_minor, line.currency), 20),
            rate,
            f"</{side}>",
            _element("ReferenceNumber", line.counterparty, _MIDDLE1) if line.counterparty else "",
            "</Line>",
        )
    )


def _account(account: SaftAccount, currency: str) -> str:
    return "".join(
        (
            "<Account>",
            _element("AccountID", account.number, _MIDDLE1),
            _element("AccountDescription", account.name, _LONG),
            _element("AccountType", _TYPES[account.side], 9),
            _balance("Opening", account.opening_minor, currency),
            _balance("Closing", account.closing_minor, currency),
            "</Account>\n",
        )
    )


def _party(party: SaftParty, currency: str) -> str:
    return "".join(
        (
            "<Supplier>",
            _element("RegistrationNumber", party.registration, _MIDDLE1) if party.registration else "",
            _element("Name", party.name, _MIDDLE2),
            _address(party.address),
            _registration(party.vat_id),
            _element("SupplierID", _party_id(party.id), _MIDDLE1),
            _balance("Opening", party.opening_minor, currency),
            _balance("Closing", party.closing_minor, currency),
            "</Supplier>\n",
        )
    )


def _party_id(party_id: str) -> str:
    """An id too long for the schema is replaced by its hash, so that it stays unique."""
    return party_id if len(party_id) <= _MIDDLE1 else sha256(party_id.encode()).hexdigest()[:_MIDDLE1]


def _address(address: BusinessAddress) -> str:
    parts = (
        ("StreetName", address.street, _MIDDLE2),
        ("City", address.town, _MIDDLE1),
        ("PostalCode", address.post_code, _SHORT),
        ("Country", address.country, 2),
    )
    return f"<Address>{''.join(_element(*part) for part in parts if part[1])}</Address>"


def _contact(contact: BusinessContact | None) -> str:
    name = _NOT_USED if contact is None else contact.name
    telephone = _NOT_USED if contact is None else contact.telephone
    person = _element("FirstName", _NOT_USED, _MIDDLE1) + _element("LastName", name, _MIDDLE2)
    email = "" if contact is None else _element("Email", contact.email, _MIDDLE2)
    return (
        f"<Contact><ContactPerson>{person}</ContactPerson>"
        f"{_element('Telephone', telephone, _SHORT)}{email}</Contact>"
    )


def _identifier(document: str) -> str:
    """A name too long for the schema is replaced by its hash, so that it stays unique."""
    return document if len(document) <= _MIDDLE2 else sha256(document.encode()).hexdigest()


def _balance(when: str, minor: int, currency: str) -> str:
    return _element(f"{when}{'Debit' if minor >= 0 else 'Credit'}Balance", written(abs(minor), currency), 20)


def _registration(vat_id: str | None) -> str:
    if vat_id is None:
        return ""
    number = _element("TaxRegistrationNumber", vat_id, _MIDDLE1)
    return f"<TaxRegistration>{number}{_element('TaxType', 'VAT', 9)}</TaxRegistration>"


def _element(tag: str, text: str, limit: int) -> str:
    plain = "".join(character for character in text if character >= " ")[:limit]
    return f"<{tag}>{escape(plain)}</{tag}>"
