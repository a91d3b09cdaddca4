"""DATEV posting batches (Buchungsstapel): EXTF header version 700, category 21, format version 13.

Owns: the header, the columns and how a value is written. Must not know: the database, which period is
exported. Source: developer.datev.de, DATEV format, pages "Header" and "Buchungsstapel": 31 header fields, 125
columns, fields separated by semicolons, texts in quotes, lines ended by CR LF, comma before decimals, code
page 1252.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Final

from clearing.books.journal import written
from clearing.errors import InvalidBooksRequestError

ENCODING: Final = "cp1252"
MAX_LINES: Final = 99_999  # of one batch
_BREAK: Final = "\r\n"
_NOT_IN_DOCUMENT: Final = re.compile(r"[^A-Za-z0-9$&%*+\-/]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ACCOUNT: Final = re.compile(r"[0-9]{1,9}")
_LARGEST_MINOR: Final = 10**12 - 1  # ten digits before the comma
_DECIMALS: Final = 2
COLUMNS: Final = (
    "Umsatz (ohne Soll/Haben-Kz)",
    "Soll/Haben-Kennzeichen",
    "WKZ Umsatz",
    "Kurs",
    "Basis-Umsatz",
    "WKZ Basis-Umsatz",
    "Konto",
    "Gegenkonto (ohne BU-Schlüssel)",
    "BU-Schlüssel",
    "Belegdatum",
    "Belegfeld 1",
    "Belegfeld 2",
    "Skonto",
    "Buchungstext",
    "Postensperre",
    "Diverse Adressnummer",
    "Geschäftspartnerbank",
    "Sachverhalt",
    "Zinssperre",
    "Beleglink",
    *(f"Beleginfo - {what} {number}" for number in range(1, 9) for what in ("Art", "Inhalt")),
    "KOST1 - Kostenstelle",
    "KOST2 - Kostenstelle",
    "Kost-Menge",
    "EU-Land u. UStID (Bestimmung)",
    "EU-Steuersatz (Bestimmung)",
    "Abw. Versteuerungsart",
    "Sachverhalt L+L",
    "Funktionsergänzung L+L",
    "BU 49 Hauptfunktionstyp",
    "BU 49 Hauptfunktionsnummer",
    "BU 49 Funktionsergänzung",
    *(
        f"{what} {number}"
        for number in range(1, 21)
        for what in ("Zusatzinformation - Art", "Zusatzinformation- Inhalt")
    ),
    "Stück",
    "Gewicht",
    "Zahlweise",
    "Forderungsart",
    "Veranlagungsjahr",
    "Zugeordnete Fälligkeit",
    "Skontotyp",
    "Auftragsnummer",
    "Buchungstyp",
    "USt-Schlüssel (Anzahlungen)",
    "EU-Land (Anzahlungen)",
    "Sachverhalt L+L (Anzahlungen)",
    "EU-Steuersatz (Anzahlungen)",
    "Erlöskonto (Anzahlungen)",
    "Herkunft-Kz",
    "Buchungs GUID",
    "KOST-Datum",
    "SEPA-Mandatsreferenz",
    "Skontosperre",
    "Gesellschaftername",
    "Beteiligtennummer",
    "Identifikationsnummer",
    "Zeichnernummer",
    "Postensperre bis",
    "Bezeichnung SoBil-Sachverhalt",
    "Kennzeichen SoBil-Buchung",
    "Festschreibung",
    "Leistungsdatum",
    "Datum Zuord. Steuerperiode",
    "Fälligkeit",
    "Generalumkehr (GU)",
    "Steuersatz",
    "Land",
    "Abrechnungsreferenz",
    "BVV-Position",
    "EU-Land u. UStID (Ursprung)",
    "EU-Steuersatz (Ursprung)",
    "Abw. Skontokonto",
)
_PLACE: Final[Mapping[str, int]] = MappingProxyType({name: place for place, name in enumerate(COLUMNS)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DatevBatch:
    """The header: adviser's and client's number, financial year, length of account numbers.

    `locked`: the period is closed, so its postings are fixed (Festschreibung).
    """

    adviser: int
    client: int
    year_start: date
    first: date
    last: date
    account_length: int
    currency: str
    name: str
    created_at: datetime
    locked: bool

    def __post_init__(self) -> None:
        if not 1001 <= self.adviser <= 9_999_999:  # noqa: PLR2004 - DATEV, header field 11
            raise InvalidBooksRequestError("datev adviser", f"{self.adviser} is not within 1001 to 9999999")
        if not 1 <= self.client <= 99_999:  # noqa: PLR2004 - header field 12
            raise InvalidBooksRequestError("datev client", f"{self.client} is not within 1 to 99999")
        if not 4 <= self.account_length <= 8:  # noqa: PLR2004 - header field 14
            raise InvalidBooksRequestError(
                "datev account length", f"{self.account_length} is not within 4 to 8"
            )
        if not self.year_start <= self.first or (self.last - self.year_start).days > 366:  # noqa: PLR2004 - one year
            raise InvalidBooksRequestError("period", "a DATEV batch lies within one financial year")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatevPosting:
    """`amount_minor` > 0 debited to `account` and credited to `contra`, in the batch's currency."""

    amount_minor: int
    account: str
    contra: str
    day: date
    document: str
    text: str
    second_document: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


def header_lines(batch: DatevBatch) -> Iterator[str]:
    """The header and the columns' names, each with its line break."""
    created = f"{batch.created_at:%Y%m%d%H%M%S}{batch.created_at.microsecond // 1000:03d}"
    fields = (
        *('"EXTF"', "700", "21", '"Buchungsstapel"', "13", created, "", '"NC"', '""', '""'),
        *(str(batch.adviser), str(batch.client), f"{batch.year_start:%Y%m%d}", str(batch.account_length)),
        *(f"{batch.first:%Y%m%d}", f"{batch.last:%Y%m%d}", _text(batch.name, 30), '""', "1", "0"),
        *("1" if batch.locked else "0", f'"{batch.currency}"', "", '""', "", "", '""', "", "", '""', '""'),
    )
    yield ";".join(fields) + _BREAK
    yield ";".join(COLUMNS) + _BREAK


def posting_line(posting: DatevPosting, batch: DatevBatch) -> str:
    """One posting as a line. Raises InvalidBooksRequestError for an account or amount that DATEV rejects."""
    for account in (posting.account, posting.contra):
        if _ACCOUNT.fullmatch(account) is None or len(account) > batch.account_length + 1:
            raise InvalidBooksRequestError(
                "chart of accounts",
                f"DATEV takes numbers of at most {batch.account_length + 1} digits, not {account!r}",
            )
    if not 0 < posting.amount_minor <= _LARGEST_MINOR:
        raise InvalidBooksRequestError("amount", f"{posting.amount_minor} can't be posted to DATEV")
    row = [""] * len(COLUMNS)
    row[_PLACE["Umsatz (ohne Soll/Haben-Kz)"]] = written(posting.amount_minor, batch.currency, point=",")
    row[_PLACE["Soll/Haben-Kennzeichen"]] = '"S"'
    row[_PLACE["WKZ Umsatz"]] = f'"{batch.currency}"'
    row[_PLACE["Konto"]] = posting.account
    row[_PLACE["Gegenkonto (ohne BU-Schlüssel)"]] = posting.contra
    row[_PLACE["Belegdatum"]] = f"{posting.day:%d%m}"
    row[_PLACE["Belegfeld 1"]] = _text(_NOT_IN_DOCUMENT.sub("-", posting.document), 36)
    if posting.second_document:
        row[_PLACE["Belegfeld 2"]] = _text(_NOT_IN_DOCUMENT.sub("-", posting.second_document), 12)
    row[_PLACE["Buchungstext"]] = _text(posting.text, 60)
    row[_PLACE["Festschreibung"]] = "1" if batch.locked else "0"
    for number, (kind, content) in enumerate(posting.notes.items(), start=1):
        row[_PLACE[f"Zusatzinformation - Art {number}"]] = _text(kind, 20)
        row[_PLACE[f"Zusatzinformation- Inhalt {number}"]] = _text(content, 210)
    return ";".join(row) + _BREAK


def check_currency(currency: str, decimals: int) -> None:
    """DATEV writes amounts with two decimals. Raises InvalidBooksRequestError for another currency."""
    if decimals != _DECIMALS:
        raise InvalidBooksRequestError(
            "currency", f"DATEV takes amounts with two decimals; {currency} has {decimals}"
        )


def _text(text: str, limit: int) -> str:
    """A text in quotes, in the characters of code page 1252."""
    plain = _CONTROL.sub(" ", text).encode(ENCODING, "replace").decode(ENCODING)[:limit]
    return '"' + plain.replace('"', '""') + '"'
