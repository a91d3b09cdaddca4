"""The trial balance and the VAT return as CSV, in the dialects of the journal.

Owns: columns and how a value is written. Must not know: the database, how a figure is made.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from clearing.books.journal import CsvDialect, TrialBalanceLine, written
from clearing.books.vat_return import VatReturn

_TRIAL: Final = ("account", "name", "side", "path", "currency", "opening", "debit", "credit", "closing")
_VAT: Final = (
    *("table", "side", "country", "rate", "category", "supply", "currency", "base", "tax"),
    *("return_currency", "return_base", "return_tax", "supplies", "party", "vat_id"),
    *("account", "ledger", "figures", "difference"),
)
_FORMULA: Final = ("=", "+", "-", "@", "|", "%")


def trial_balance_csv(lines: Iterable[TrialBalanceLine], dialect: CsvDialect) -> bytes:
    """A row for each account and currency; amounts in major units, positive on the account's side."""
    return _table(
        _TRIAL,
        (
            {
                "account": _text(one.number),
                "name": _text(one.name),
                "side": one.side,
                "path": _text(one.path),
                "currency": one.currency,
                "opening": written(one.opening_minor, one.currency, point=dialect.point),
                "debit": written(one.debit_minor, one.currency, point=dialect.point),
                "credit": written(one.credit_minor, one.currency, point=dialect.point),
                "closing": written(one.closing_minor, one.currency, point=dialect.point),
            }
            for one in lines
        ),
        dialect,
    )


def vat_return_csv(found: VatReturn, dialect: CsvDialect) -> bytes:
    """Rows of four tables, named in the first column: figures, sales_list, oss (not declared), proof."""

    def amounts(currency: str, **minors: int) -> dict[str, str]:
        return {
            "currency": currency,
            **{name: written(minor, currency, point=dialect.point) for name, minor in minors.items()},
        }

    rows: list[dict[str, Any]] = [
        {
            "table": "figures",
            "side": one.side.value,
            "country": one.country,
            "rate": f"{one.rate:f}".replace(".", dialect.point),
            "category": one.category.value,
            "supply": one.supply.value,
            **amounts(one.currency, base=one.base_minor, tax=one.tax_minor),
            "return_currency": one.return_currency,
            "return_base": written(one.return_base_minor, one.return_currency, point=dialect.point),
            "return_tax": written(one.return_tax_minor, one.return_currency, point=dialect.point),
            "supplies": one.supplies,
        }
        for one in found.figures
    ]
    rows += [
        {
            "table": "sales_list",
            "country": one.country,
            "party": _text(one.customer_id),
            "vat_id": _text(one.vat_id or ""),
            **amounts(one.currency, base=one.base_minor),
        }
        for one in found.sales_list
    ]
    rows += [
        {
            "table": "oss",
            "country": one.country,
            "rate": f"{one.rate:f}".replace(".", dialect.point),
            **amounts(one.currency, base=one.base_minor, tax=one.tax_minor),
        }
        for one in found.oss
    ]
    rows += [
        {
            "table": "proof",
            "account": one.account,
            **amounts(
                one.currency,
                ledger=one.ledger_minor,
                figures=one.figures_minor,
                difference=one.difference_minor,
            ),
        }
        for one in found.proof
    ]
    return _table(_VAT, rows, dialect)


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], dialect: CsvDialect) -> bytes:
    text = io.StringIO()
    if dialect.bom:
        text.write("\ufeff")
    writer = csv.DictWriter(
        text, columns, restval="", delimiter=dialect.delimiter, lineterminator="\r\n", strict=True
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _text(text: str) -> str:
    """With a quote before what a spreadsheet would run as a formula."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
