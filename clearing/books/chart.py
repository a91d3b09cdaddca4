"""The chart of accounts: which account of the accountant stands for each account of the ledger.

Owns: the mapping and on which side an account is positive. Must not know: amounts, file formats. The bundled
chart names every account that the ledger can have; an operator replaces its numbers with those of its own
chart.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Final

from clearing.errors import InvalidChartError

_COLUMNS: Final = ("pattern", "number", "name", "side")
_LONGEST_NUMBER: Final = 35


class AccountSide(StrEnum):
    """What kind of account it is, and so on which side its balance is positive."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    REVENUE = "revenue"
    EXPENSE = "expense"

    @property
    def debit_positive(self) -> bool:
        """Assets and expenses grow by debits, the others by credits."""
        return self in {AccountSide.ASSET, AccountSide.EXPENSE}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """One row: accounts that match `pattern` (`*` for any text) are the accountant's `number`."""

    pattern: str
    number: str
    name: str
    side: AccountSide


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedAccount:
    """An account of the ledger with its number, and the party or VAT jurisdiction that its path names."""

    path: str
    number: str
    name: str
    side: AccountSide
    party_id: str
    vat_code: str


class ChartOfAccounts:
    """The rows in their order; the first that matches counts."""

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[ChartRow]) -> None:
        """Raises InvalidChartError for a number that stands for accounts of two sides or has two names."""
        self.rows = tuple(rows)
        known: dict[str, ChartRow] = {}
        for row in self.rows:
            first = known.setdefault(row.number, row)
            if (first.side, first.name) != (row.side, row.name):
                raise InvalidChartError(
                    row.number,
                    f"is {first.name!r} ({first.side}) and {row.name!r} ({row.side}); use two numbers",
                )

    def map(self, path: str) -> MappedAccount:
        """The row of an account. Raises InvalidChartError if no row matches it."""
        for row in self.rows:
            if fnmatchcase(path, row.pattern):
                return MappedAccount(
                    path=path,
                    number=row.number,
                    name=row.name,
                    side=row.side,
                    party_id=_party_of(path),
                    vat_code=_vat_code_of(path),
                )
        raise InvalidChartError(path, "has no row in the chart of accounts; add one")


def parse_chart(text: str) -> ChartOfAccounts:
    """A chart from CSV: pattern, number, name, side. Raises InvalidChartError with the line."""
    reader = csv.DictReader(text.lstrip("\ufeff").splitlines())
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise InvalidChartError("line 1", f"expected the columns {','.join(_COLUMNS)}")
    return ChartOfAccounts(list(_rows(reader)))


def _rows(reader: Iterable[dict[str, str]]) -> Iterable[ChartRow]:
    for line, row in enumerate(reader, start=2):
        number, name = (row["number"] or "").strip(), (row["name"] or "").strip()
        if not (row["pattern"] and name and number.isascii() and number.isalnum()):
            raise InvalidChartError(
                f"line {line}", "expected a pattern, a number of letters and digits, a name"
            )
        if len(number) > _LONGEST_NUMBER:
            raise InvalidChartError(f"line {line}", f"a number has at most {_LONGEST_NUMBER} characters")
        try:
            side = AccountSide((row["side"] or "").strip())
        except ValueError:
            sides = ", ".join(AccountSide)
            raise InvalidChartError(f"line {line}", f"side {row['side']!r} is none of {sides}") from None
        yield ChartRow(pattern=row["pattern"].strip(), number=number, name=name, side=side)


@cache
def bundled_chart() -> ChartOfAccounts:
    """The chart of `clearing/books/chart.csv`."""
    return parse_chart((files("clearing.books") / "chart.csv").read_text(encoding="utf-8"))


def _party_of(path: str) -> str:
    kind, _, rest = path.partition(":")
    if kind in {"cpo", "partner", "emsp", "site"}:
        return rest.rpartition(":")[0]
    return rest if kind == "reserve" else ""


def _vat_code_of(path: str) -> str:
    """Such as `NL/output`."""
    kind, _, rest = path.partition(":")
    return rest.replace(":", "/") if kind == "vat" else ""
