"""The journal's lines and the trial balance as values, and the forms in which a file states an amount.

Owns: shapes, signs and rounding. Must not know: the database, any one format.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from clearing.books.chart import MappedAccount
from clearing.books.period import ReportingRates
from clearing.errors import InvalidBooksRequestError
from clearing.money import exponent, to_major


class BooksForm(StrEnum):
    """The file formats of the journal."""

    CSV = "csv"
    JSON = "json"
    DATEV = "datev"
    SAFT = "saft"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvDialect:
    """How a country's spreadsheet reads CSV: `delimiter`, decimal `point`, a byte order mark."""

    delimiter: str
    point: str
    bom: bool


# Excel splits at the list separator of its country and needs the mark to read UTF-8; machines read RFC 4180.
DIALECTS: Final[Mapping[str, CsvDialect]] = MappingProxyType(
    {
        "rfc4180": CsvDialect(delimiter=",", point=".", bom=False),
        "de": CsvDialect(delimiter=";", point=",", bom=True),
        "fr": CsvDialect(delimiter=";", point=",", bom=True),
        "it": CsvDialect(delimiter=";", point=",", bom=True),
        "ch": CsvDialect(delimiter=";", point=".", bom=True),
        "en": CsvDialect(delimiter=",", point=".", bom=True),
    }
)


def dialect(name: str) -> CsvDialect:
    """The dialect of that name. Raises InvalidBooksRequestError."""
    try:
        return DIALECTS[name]
    except KeyError:
        raise InvalidBooksRequestError("dialect", f"{name!r} is none of {', '.join(DIALECTS)}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """One transfer: `amount_minor` > 0 of `currency` from the debited to the credited account.

    `ordinal` counts within its entry. `booked_on` is the day in the platform's time zone.
    """

    booked_at: datetime
    booked_on: date
    batch_id: UUID
    kind: str
    subject_id: UUID
    reference: str
    ordinal: int
    debit: MappedAccount
    credit: MappedAccount
    amount_minor: int
    currency: str
    cpo_id: str
    cdr_id: str

    @property
    def document(self) -> str:
        """The entry's name: all of its lines have it, and no other entry has."""
        return f"{self.subject_id.hex}/{self.kind}{'/' if self.reference else ''}{self.reference}"

    @property
    def vat_code(self) -> str:
        """The VAT account that it moves, such as `NL/output`; empty for none."""
        return self.debit.vat_code or self.credit.vat_code

    @property
    def counterparty(self) -> str:
        """The party whose account it moves, else the CPO of the session."""
        return self.debit.party_id or self.credit.party_id or self.cpo_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalanceLine:
    """One account and currency: before the period, its debits and credits, and after it.

    `opening_minor` and `closing_minor` are positive on the account's own side: debits for assets and
    expenses, credits for the others.
    """

    number: str
    name: str
    side: str
    path: str
    currency: str
    opening_minor: int
    debit_minor: int
    credit_minor: int
    closing_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMovement:
    """Debits and credits of one account and currency, before a period and in it."""

    account: str
    currency: str
    before_debit_minor: int
    before_credit_minor: int
    debit_minor: int
    credit_minor: int


def trial_balance_line(moved: AccountMovement, account: MappedAccount) -> TrialBalanceLine:
    """A line of the trial balance, with the signs of the account's side."""
    sign = 1 if account.side.debit_positive else -1
    opening = sign * (moved.before_debit_minor - moved.before_credit_minor)
    return TrialBalanceLine(
        number=account.number,
        name=account.name,
        side=account.side.value,
        path=moved.account,
        currency=moved.currency,
        opening_minor=opening,
        debit_minor=moved.debit_minor,
        credit_minor=moved.credit_minor,
        closing_minor=opening + sign * (moved.debit_minor - moved.credit_minor),
    )


def converted(minor: int, currency: str, day: date, rates: ReportingRates) -> int:
    """Minor units of the reporting currency, half away from zero, as each transfer is converted by itself.

    Raises RateUnavailableError.
    """
    if currency == rates.currency:
        return minor
    value = to_major(minor, currency) * rates.on(currency, day).rate
    return int(value.scaleb(exponent(rates.currency)).to_integral_value(rounding=ROUND_HALF_UP))


def written(minor: int, currency: str, *, point: str = ".") -> str:
    """Minor units as digits with all decimals of the currency, such as `12.30`."""
    return f"{to_major(minor, currency):f}".replace(".", point)
