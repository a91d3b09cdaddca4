"""A disbursement's statement as CSV (RFC 4180): a row for each line, and the balances around them.

Owns: the columns. Must not know: the repository, where the rows go.

Amounts are decimal texts with a point, beside a column of minor units. Text that a spreadsheet would run as
a formula gets a quote before it. Rows of type `line` sum to the disbursement; `opening`, `later`, `payout`
and `closing` are the balances, as in the statement's proof.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from clearing.money import to_major
from clearing.settlement_statements.lines import SettlementLine
from clearing.settlement_statements.statement import Statement, StatementTotals, later_minor

COLUMNS: Final = (
    "type",
    "line",
    "kind",
    "session",
    "about",
    "reference",
    "cdr_id",
    "sale_at",
    "booked_at",
    "authorization_method",
    "tax_jurisdiction",
    "energy_kwh",
    "session_currency",
    "gross",
    "net",
    "vat",
    "vat_rate",
    "part",
    "part_vat",
    "deducted",
    "psp_fee",
    "other",
    "owed",
    "fx_pair",
    "fx_rate",
    "fx_markup_bps",
    "fx_date",
    "fx_source",
    "amount",
    "amount_minor",
    "currency",
    "due_date",
    "moved",
    "origin",
    "flags",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def harmless(text: str) -> str:
    """The text, with a quote before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_FORMULA) else text


def header_row() -> str:
    """The names of the columns."""
    return _row(COLUMNS)


def opening_row(statement: Statement) -> str:
    """The balance before."""
    return _balance("opening", statement.opening_minor, statement)


def line_row(line: SettlementLine, *, number: int, currency: str) -> str:
    """One line."""
    return _named(_cells(line, number, currency))


def closing_rows(statement: Statement, tally: StatementTotals) -> Sequence[str]:
    """What was booked and is not in the disbursement, the disbursement, the balance after."""
    return (
        _balance("later", later_minor(statement, tally), statement),
        _balance("payout", -statement.payout.amount_minor, statement),
        _balance("closing", statement.closing_minor, statement),
    )


def _balance(kind: str, minor: int, statement: Statement) -> str:
    reference = statement.payout.end_to_end_id if kind == "payout" else ""
    cells = {
        "type": kind,
        "reference": harmless(reference),
        "amount": _major(minor, statement.currency),
        "amount_minor": str(minor),
        "currency": statement.currency,
    }
    return _named(cells)


def _cells(line: SettlementLine, number: int, currency: str) -> Mapping[str, str]:
    return {
        "type": "line",
        "line": str(number),
        "kind": harmless(line.kind),
        "session": harmless(line.session or ""),
        "about": harmless(line.about or ""),
        "reference": harmless(line.reference),
        "cdr_id": harmless(line.cdr_id or ""),
        "sale_at": "" if line.sale_at is None else line.sale_at.isoformat(),
        "booked_at": line.booked_at.isoformat(),
        "authorization_method": harmless(line.authorization_method or ""),
        "tax_jurisdiction": harmless(line.tax_jurisdiction or ""),
        "energy_kwh": _decimal(line.energy_kwh),
        "session_currency": line.currency,
        **_price(line),
        **_part(line),
        **_exchange(line),
        "amount": _major(line.amount_minor, currency),
        "amount_minor": str(line.amount_minor),
        "currency": currency,
        "due_date": line.due_date.isoformat(),
        "moved": harmless("; ".join(f"{move.old} to {move.new}: {move.reason}" for move in line.moved)),
        "origin": line.origin.value,
        "flags": harmless(" ".join(line.flags)),
    }


def _price(line: SettlementLine) -> Mapping[str, str]:
    if line.price is None:
        return {}
    unit = line.currency
    return {
        "gross": _major(line.price.gross_minor, unit),
        "net": _major(line.price.net_minor, unit),
        "vat": _major(line.price.vat_minor, unit),
        "vat_rate": _decimal(line.price.vat_rate),
    }


def _part(line: SettlementLine) -> Mapping[str, str]:
    part, unit = line.part, line.currency
    if not part.supplies and not part.psp_fee_minor:
        return {}
    return {
        "part": _major(part.net_minor, unit),
        "part_vat": _major(part.vat_minor, unit),
        "deducted": "" if line.deducted_minor is None else _major(line.deducted_minor, unit),
        "psp_fee": _major(part.psp_fee_minor, unit),
        "other": _major(part.other_minor, unit),
        "owed": "" if part.owed_minor is None else _major(part.owed_minor, unit),
    }


def _exchange(line: SettlementLine) -> Mapping[str, str]:
    lock = line.lock
    if lock is None:
        return {}
    return {
        "fx_pair": f"{lock.base}/{lock.quote}",
        "fx_rate": _decimal(lock.rate),
        "fx_markup_bps": str(lock.markup_bps),
        "fx_date": lock.rate_date.isoformat(),
        "fx_source": harmless(lock.source),
    }


def _major(minor: int, currency: str) -> str:
    return f"{to_major(minor, currency):f}"


def _decimal(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"


def _named(cells: Mapping[str, str]) -> str:
    return _row([cells.get(name, "") for name in COLUMNS])


def _row(cells: Sequence[str]) -> str:
    """A row without its line's end, which is CR LF."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()
