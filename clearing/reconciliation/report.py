"""The reconciliation report as an HTML page, CSV and JSON lines, written row by row.

Owns: its formats. Must not know: the database. Amounts are shown in major units with the currency's digits;
JSON has minor units. Cells can't become formulas in a spreadsheet.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from typing import Final
from uuid import UUID

from clearing.identifiers import format_id
from clearing.money import to_major

_HEADINGS: Final = (
    "pair",
    "reference",
    "type",
    "amount",
    "currency",
    "since",
    "age_days",
    "owner",
    "proposal",
    "detail",
    "candidates",
    "id",
)
_LONG: Final = frozenset({"reference", "proposal", "detail", "candidates", "id"})  # wrapped to fit a page
_NO_ID: Final = UUID(int=0)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceFilter:
    """Which open differences are asked for; None: any."""

    owner: str | None = None
    pair: str | None = None
    min_age_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDifference:
    """An open difference: `amount_minor` is left minus right, its age counts from `since`."""

    pair: str
    reference: str
    currency: str
    type: str
    amount_minor: int
    since: date
    owner: str
    proposal: str
    detail: str
    first_seen_at: datetime
    age_days: int
    id: UUID = _NO_ID
    prefix: str = "rdf"  # of its id, as the API shows it
    candidates: Sequence[str] = ()
    left_minor: int | None = None  # what each side has open; None where it has nothing
    right_minor: int | None = None
    resolved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankPosition:
    """One currency, in minor units: `unexplained_minor` is the excess of our books that nothing explains."""

    currency: str
    books_minor: int
    bank_minor: int
    ours_in_flight_minor: int
    theirs_in_flight_minor: int
    unexplained_minor: int
    as_of: date


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCount:
    """Items of one side of a pair."""

    pair: str
    side: str
    items: int
    open: int
    oldest_open: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSum:
    """What one side of a pair has open in one currency: items, their sum in minor units, the oldest."""

    pair: str
    side: str
    currency: str
    items: int
    amount_minor: int
    oldest: date


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceAge:
    """The open differences of one owner: how many, by days since they arose."""

    owner: str
    differences: int
    up_to_7: int
    up_to_30: int
    up_to_90: int
    over_90: int
    oldest: date


def json_line(difference: OpenDifference) -> str:
    """One difference as a JSON object on one line."""
    return json.dumps(
        {
            "pair": difference.pair,
            "reference": difference.reference,
            "type": difference.type,
            "amount_minor": difference.amount_minor,
            "currency": difference.currency,
            "since": difference.since.isoformat(),
            "age_days": difference.age_days,
            "owner": difference.owner,
            "proposal": json.loads(difference.proposal),
            "detail": difference.detail,
            "candidates": list(difference.candidates),
            "id": _shown_id(difference),
        },
        ensure_ascii=False,
    )


def csv_header() -> str:
    """The names of the columns."""
    return _csv(_HEADINGS)


def csv_row(difference: OpenDifference) -> str:
    """One difference as a CSV row (RFC 4180), without its line's end."""
    return _csv([_harmless(cell) for cell in _cells(difference)])


def _shown_id(difference: OpenDifference) -> str:
    """Its id as the API shows it; empty for what has none, such as a receivable."""
    return "" if difference.id == _NO_ID else format_id(difference.prefix, difference.id)


def _cells(difference: OpenDifference) -> Sequence[str]:
    return (
        difference.pair,
        difference.reference,
        difference.type,
        f"{to_major(difference.amount_minor, difference.currency):f}",
        difference.currency,
        difference.since.isoformat(),
        str(difference.age_days),
        difference.owner,
        difference.proposal,
        difference.detail,
        " ".join(difference.candidates),
        _shown_id(difference),
    )


def _harmless(cell: str) -> str:
    """Text that a spreadsheet would run as a formula, after a quote; numbers stay numbers."""
    if not cell.startswith(_FORMULA) or cell.lstrip("-").replace(".", "", 1).isdigit():
        return cell
    return f"'{cell}"


def _csv(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()


def page_head(counts: Sequence[ItemCount], bank: Sequence[BankPosition] = (), *, at: datetime) -> str:
    """The page up to its table of differences: time, items of each side, the bank's balance and ours."""
    positions = "".join(
        f"<tr><td>{escape(one.currency)}<td>{one.as_of}"
        + "".join(
            f"<td class=n>{to_major(minor, one.currency):f}"
            for minor in (
                one.books_minor,
                one.theirs_in_flight_minor,
                one.ours_in_flight_minor,
                one.bank_minor,
                one.unexplained_minor,
            )
        )
        for one in bank
    )
    rows = "".join(
        f"<tr><td>{escape(one.pair)}<td>{escape(one.side)}<td class=n>{one.items}<td class=n>{one.open}"
        f"<td>{one.oldest_open or ''}"
        for one in counts
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<title>Reconciliation</title>"
        "<style>body{font:15px system-ui;margin:2rem;max-width:96rem}"
        "table{border-collapse:collapse;margin:1rem 0}"
        "td,th{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
        ".n{text-align:right}.w{overflow-wrap:anywhere}td:not(.w){white-space:nowrap}</style>"
        f"<h1>Reconciliation</h1><p>As of {escape(at.isoformat(timespec='minutes'))}. "
        "This report is read-only. A person approves or rejects each proposal "
        "and checks each candidate.</p>"
        f"<table><tr><th>pair<th>side<th>items<th>open<th>oldest open{rows}</table>"
        "<table><tr><th>bank account<th>as of<th>our books<th>only at the bank<th>only in our books"
        f"<th>the bank<th>unexplained{positions}</table>"
        f"<table><tr>{''.join(f'<th>{name}' for name in _HEADINGS)}"
    )


def page_row(difference: OpenDifference) -> str:
    """One difference as a row of the page."""
    return "<tr>" + "".join(
        f"<td{' class=w' if name in _LONG else ''}>{escape(cell)}"
        for name, cell in zip(_HEADINGS, _cells(difference), strict=True)
    )


def page_foot(count: int) -> str:
    """The end of the page."""
    text = "No difference is open." if count == 0 else f"{count} lines are open."
    return f"</table><p>{text}</p></html>"
